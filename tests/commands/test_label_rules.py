"""Rules between labels from a file to a trained model, its figures, and labels beside photos."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from tests.commands_by_name import main_of
from tests.hub.random_rules import obeys

from cnn_rnn import CnnRnnForImageClassification, MultiLabelImageClassificationPipeline
from cnn_rnn.metrics.stored_predictions import read_predictions
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.torch_labeller import TorchLabeller

RULES = {"implies": {"red": ["green"]}, "excludes": [["green", "blue"]]}


@pytest.fixture(scope="module")
def run(settings: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under rules that the photos often break, told what is known, with a memory of neighbours."""
    folder = tmp_path_factory.mktemp("ruled")
    (folder / "rules.json").write_text(json.dumps(RULES))
    more = {"model__known_labels": "state", "model__cooccurrence": "true", "model__neighbours": 50}
    arguments = settings(folder / "run", model__label_rules=folder / "rules.json", **more)
    assert main_of("train")(arguments) == 0
    return folder / "run"


def test_the_rules_are_saved_and_what_breaks_them_is_counted(run: Path) -> None:
    assert CnnRnnForImageClassification.from_pretrained(run).config.label_rules == RULES
    assert yaml.safe_load((run / "run_config.yaml").read_text())["model"]["label_rules"] == RULES
    # Of every eight photos two show red without green; red or green stands beside blue on three.
    assert json.loads((run / "metrics.json").read_text())["run"]["broken_rules"] == {
        "red without green": 6,
        "green beside blue": 9,
    }


def test_a_rule_about_no_label_ends_a_run_in_one_line(
    settings: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("implies: {red: gren}\n")
    assert main_of("train")(settings(tmp_path / "run", model__label_rules=rules)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "label_rules: implies names 'gren', but there is no such label; did you mean 'green'?" in error
    assert main_of("train")(settings(tmp_path / "run", model__label_rules=tmp_path / "none.yaml")) == 2
    assert "model.label_rules: there is no file" in capsys.readouterr().err
    rules.write_text("- red\n")
    assert main_of("train")(settings(tmp_path / "run", model__label_rules=rules)) == 2
    assert "must hold `implies` and `excludes`, got list" in capsys.readouterr().err
    rules.write_text("implies:\nexcludes:\n# - [red, green]\n")
    assert main_of("train")(settings(tmp_path / "run", model__label_rules=rules)) == 2
    assert f"{rules} holds no rule" in capsys.readouterr().err


def test_figures_are_of_sets_that_obey_against_rows_that_do(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = [str(run), "--output", str(tmp_path), "--num_workers", "0", "--samples", "20"]
    assert main_of("validate")(arguments) == 0
    assert "photos show red without green, which counts as shown" in caplog.text
    figures = json.loads((tmp_path / "metrics.json").read_text())
    stored = read_predictions(tmp_path / "predictions.parquet")
    again = tmp_path / "again"
    assert main_of("validate")([str(tmp_path / "predictions.parquet"), "--output", str(again), "--samples", "0"]) == 0
    assert json.loads((again / "metrics.json").read_text())["threshold"] == figures["threshold"]
    names = stored.label_names
    red, green, blue = (names.index(name) for name in ("red", "green", "blue"))
    assert (stored.scores[:, red] <= stored.scores[:, green] + 1e-6).all()
    assert (stored.scores[:, green] + stored.scores[:, blue] <= 1 + 1e-5).all()
    assert (stored.truth[stored.truth[:, red] == 1][:, green] == 1).all()
    sets = stored.path_sets
    assert sets is not None
    for row in sets:
        assert obeys(RULES, {name for name, there in zip(names, row, strict=True) if there})


def test_labels_in_bulk_obey(run: Path, photo_folder: Path, tmp_path: Path) -> None:
    arguments = [
        "--model",
        str(run),
        "--input",
        str(photo_folder / "test"),
        "--output",
        str(tmp_path),
        "--engine",
        "torch",
    ]
    assert main_of("predict")([*arguments, "--threshold", "0.2"]) == 0
    rows = [row for file in sorted(tmp_path.glob("labels*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert rows
    for row in rows:
        assert obeys(RULES, {entry["label"] for entry in row["labels"]})
    loaded = SavedModel.load(run)
    classify = MultiLabelImageClassificationPipeline(model=loaded.model, image_processor=loaded.processor, device="cpu")
    rules = TorchLabeller(classify).answers.rules
    assert rules is not None
    assert rules is loaded.model.rules
