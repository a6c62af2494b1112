"""Settings: blocks, overrides, and what is refused."""

from pathlib import Path

import pytest
import yaml

from cnn_rnn.data.data_config import DataConfig
from cnn_rnn.training import RunConfigError, load_run_config

HUB_CONFIGS = sorted((Path(__file__).parents[2] / "hub_configs").glob("*.yaml"))


def write(folder: Path, content: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def test_the_command_line_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {backbone: resnet18}\ntrain: {epochs: 7, lr: 1.0e-4}\n")
    config = load_run_config(path, ["--train.epochs", "3", "--model.cell=gru", "--data.root", "photos"])
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (3, 1e-4, 64)
    assert config.model == {"backbone": "resnet18", "cell": "gru"}
    assert config.data.root == "photos"


@pytest.mark.parametrize("value", ["1e-4", "0.0001", "1.0e-4"])
def test_numbers_may_be_written_in_any_common_way(value: str) -> None:
    assert load_run_config(None, ["--train.lr", value]).train.lr == 1e-4
    assert load_run_config(None, ["--model.projection_dropout", "0"]).model == {"projection_dropout": 0.0}


def test_a_bare_no_is_the_word(tmp_path: Path) -> None:
    assert load_run_config(None, ["--train.mixed_precision", "no"]).train.mixed_precision == "no"
    assert load_run_config(write(tmp_path, "train: {mixed_precision: no}")).train.mixed_precision == "no"


def test_the_resolved_settings_repeat_the_run(tmp_path: Path) -> None:
    config = load_run_config(None, ["--train.lr", "3e-3", "--model.hidden_size", "32", "--data.name", "digits"])
    config.save(tmp_path / "resolved.yaml")
    assert load_run_config(tmp_path / "resolved.yaml") == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.epoch", "3"], "train.epoch.*train.epochs"),
        (["--trian.epochs", "3"], "trian.*train"),
        (["--model.bakcbone", "resnet18"], "model.backbone"),
        (["--model.label_counts", "[1]"], "label_counts"),
        (["--train.epochs", "many"], "^train.epochs is 'many', expected a whole number$"),
        (["--train.lr", "fast"], "^train.lr is 'fast', expected a number$"),
        (["--data.least_confidence", "much"], "^data.least_confidence is 'much', expected a number$"),
        (["--data.streaming", "maybe"], "^data.streaming is 'maybe', expected true or false$"),
        (["--train.optimizer", "adam"], "^train.optimizer is 'adam', expected adamw or rmsprop or sgd$"),
        (["--data.rows", "pixel"], "^data.rows is 'pixel', expected photo or label$"),
        (
            ["--data.keep_labels", "cat,dog"],
            r"^data.keep_labels is 'cat,dog', expected a list, such as '\[cat, dog\]'$",
        ),
        (
            ["--data.rename_labels", "cat=dog"],
            "^data.rename_labels is 'cat=dog', expected pairs, such as '{kitten: cat}'$",
        ),
        (
            ["--data.rename_labels", "{cat:pet}"],
            r"cannot read the value '\{cat:pet\}': a blank belongs behind each colon",
        ),
        (["--train.warmup", "2"], "warmup must be from 0 to below 1"),
        (["--train.seed", "-1"], "train: seed must be at least 0"),
        (["--model.cell", "foo"], "^model.cell is 'foo', expected lstm or gru or relu_lstm$"),
        (["--model.hidden_size", "0"], r"^model: hidden_size must lie in 1\.\.65536, got 0$"),
        (["--model.image_mean", "[1]"], r"^model: image_mean must have 3 entries, got \[1\]$"),
        (["--data.crop_scale", "0"], "^data: crop_scale must be above 0 and at most 1, got 0"),
        (["--data.horizontal_flip", "7"], "^data: horizontal_flip must be from 0 to 1, got 7"),
        (["--data.rand_augment", "-3"], "^data: rand_augment must be from 0 to 30, got -3$"),
        (["--data.shuffle_buffer", "0"], "^data: shuffle_buffer must be from 1 to 1,000,000,000, got 0$"),
        (["--train.epochs"], "no value"),
        (["epochs=3"], "--block.key value"),
        (["--train.lr", "[1"], "cannot read the value"),
    ],
)
def test_what_is_not_known_is_named_with_the_way_out(arguments: list[str], message: str) -> None:
    with pytest.raises(RunConfigError, match=message):
        load_run_config(None, arguments)


@pytest.mark.parametrize("name", ["2012", "2012-05-01", "no", "Rome: May", "photos #2", "[old] photos", "1e3", "Köln"])
def test_a_name_or_path_on_the_command_line_is_what_it_says(name: str, tmp_path: Path) -> None:
    given = ["--data.root", name, f"--train.output_dir={name}", "--data.train_split", name, "--model.weights", name]
    config = load_run_config(None, given)
    assert config.data.root == config.train.output_dir == config.data.train_split == config.model["weights"] == name
    config.save(tmp_path / "run.yaml")
    assert load_run_config(tmp_path / "run.yaml") == config
    assert load_run_config(None, ["--data.root", yaml.safe_dump(name).split("\n", maxsplit=1)[0]]).data.root == name


def test_null_on_the_command_line_is_no_name() -> None:
    assert load_run_config(None, ["--data.validation_split", "null", "--data.root="]).data == DataConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {epochz: 1}", "run.yaml.*train.epochz.*train.epochs"),
        ("data: [a]", "run.yaml.*'data'.*key: value"),
        ("- a", "run.yaml must hold the blocks"),
        ("train: {epochs: 1", "run.yaml is no readable YAML"),
        ("train: !!python/object/apply:os.getcwd []", "run.yaml is no readable YAML"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(RunConfigError, match=message):
        load_run_config(write(tmp_path, content))


@pytest.mark.parametrize("path", HUB_CONFIGS, ids=lambda path: path.stem)
def test_every_published_file_is_valid_and_has_the_four_blocks(path: Path) -> None:
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == {"model", "data", "train", "hub"}
    load_run_config(path)
