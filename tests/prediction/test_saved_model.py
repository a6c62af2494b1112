"""A saved model is whole, of finite numbers and of a size that can be built, or it is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from tests.commands_by_name import main_of
from tests.finished_runs import write_metrics, write_run

from cnn_rnn import backbone_weights
from cnn_rnn.foundation.hub_errors import HTTP_ERROR
from cnn_rnn.prediction import saved_model
from cnn_rnn.prediction.predictions import predict
from cnn_rnn.prediction.saved_model import SavedModel

Weights = dict[str, torch.Tensor]


def renamed(weights: Weights) -> Weights:
    return {f"model.{name}": weight for name, weight in weights.items()}


def without_one(weights: Weights) -> Weights:
    return {name: weight for name, weight in weights.items() if name != max(weights)}


def with_one_more(weights: Weights) -> Weights:
    return weights | {"stranger": torch.ones(1)}


def of_another_shape(weights: Weights) -> Weights:
    return weights | {max(weights): torch.ones(3, 3, 3)}


def with_nan(weights: Weights) -> Weights:
    weight = weights[max(weights)].clone()
    weight.view(-1)[0] = torch.nan
    return weights | {max(weights): weight}


BROKEN: dict[Callable[[Weights], Weights], str] = {
    renamed: "lacks weights of the model, which would be random",
    without_one: "lacks weights of the model, which would be random",
    with_one_more: "holds weights that the model does not know: stranger",
    of_another_shape: "shape|do not fit",
    with_nan: "weights are not finite numbers",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_weights_that_are_not_the_models_are_refused(change: Callable[[Weights], Weights], run: Path) -> None:
    SavedModel.load(run)
    path = run / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=BROKEN[change]):
        SavedModel.load(run)


@pytest.mark.parametrize("damage", ["cut off", "gone"])
def test_every_command_refuses_a_file_that_is_not_whole(
    damage: str, run: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "model.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1000])
    metrics = write_metrics(tmp_path / "metrics.json")
    commands: dict[str, list[str]] = {
        "predict": ["--model", str(run), "--input", str(photo_folder), "--output", str(tmp_path / "out")],
        "validate": [str(run), "--data.name", "digits", "--data.root", "none", "--output", str(tmp_path / "out")],
        "push_to_hub": [str(run), "--repo", "org/cnn-rnn-x", "--metrics", str(metrics), "--dry_run"],
    }
    for name, arguments in commands.items():
        assert main_of(name)(arguments) == 2, name
        said = capsys.readouterr().err
        assert "error: " in said, name
        assert "Traceback" not in said, name
    assert not (tmp_path / "out").exists()


def test_a_dry_run_refuses_what_is_not_finite(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "model.safetensors"
    save_file(with_nan(load_file(path)), path, metadata={"format": "pt"})
    metrics = write_metrics(tmp_path / "metrics.json")
    assert main_of("push_to_hub")([str(run), "--repo", "org/cnn-rnn-x", "--metrics", str(metrics), "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert "weights are not finite numbers" in said
    assert "do not fit" not in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet10t", "backbone_args": {"layers": [1, 1, 1, 1_000_000]}}, "backbone_args holds 1000000"),
        ({"backbone_args": {"layers": [400] * 900}}, "backbone_args holds 400"),
        ({"backbone_args": {"a": [[1] * 200] * 20}}, "more than 1000 values"),
        ({"backbone_args": {"width": float("nan")}}, "backbone_args holds nan"),
        ({"hidden_size": 10**9}, "hidden_size must lie in 1..65536"),
        ({"image_size": 10**6}, "image_size must lie in 1..65536"),
    ],
    ids=str,
)
def test_a_config_that_would_not_end_is_refused_before_anything_is_built(
    changes: dict[str, Any], message: str, run: Path
) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message):
        SavedModel.load(run)


def test_a_model_saved_to_give_tuples_gives_names(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"return_dict": False}))
    assert SavedModel.load(run).model(torch.zeros(1, 3, 64, 64)).logits.shape[0] == 1


def test_a_folder_without_a_model_is_told_from_a_run_that_was_stopped(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"has no config\.json$"):
        SavedModel.load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(OSError, match="its training was not ended, and goes on with --resume auto"):
        SavedModel.load(tmp_path)


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(url: str) -> None:
        asked.append(url)
        raise HTTP_ERROR("no way to resolve its name")

    monkeypatch.setattr(backbone_weights, "get_hf_file_metadata", fail)
    told = "there is no folder runs/photo, and the Hub gives no model of that name: no way to resolve its name"
    with pytest.raises(OSError, match=f"^{told}$"):
        saved_model.checked_config("runs/photo")
    assert len(asked) == 1


def test_a_config_nested_without_end_is_no_config(run: Path) -> None:
    (run / "config.json").write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(ValueError, match="nested too deep"):
        SavedModel.load(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": [float("nan")] * 4}, r"thresholds are probabilities in 0\.\.1, got nan"),
        ({"thresholds": [2] * 4}, r"thresholds are probabilities in 0\.\.1, got 2"),
        ({"id2label": ["a", "b"]}, r"config\.json: label2id is not the inverse of id2label"),
        ({"dtype": "float7"}, r"config\.json: .*module 'torch' has no attribute"),
    ],
    ids=str,
)
def test_a_config_of_wrong_values_or_types_is_refused_by_name(changes: dict[str, Any], message: str, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message):
        SavedModel.load(run)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["[1]", "7", "[" * 200_000], ids=["list", "number", "deep"])
def test_settings_that_are_no_object_are_refused_by_file(name: str, content: str, run: Path) -> None:
    (run / name).write_text(content)
    with pytest.raises((ValueError, OSError), match=name.replace(".", r"\.")):
        SavedModel.load(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": -5}}, r"size\.shortest_edge must lie in 1\.\.4096, got -5"),
        ({"size": {"shortest_edge": 10**9}}, r"size\.shortest_edge must lie"),
        ({"crop_size": {"height": 10**6, "width": 32}}, r"crop_size\.height must lie"),
        ({"image_mean": [float("nan")] * 3}, "image_mean must be three numbers"),
        ({"image_mean": [0.5]}, "image_mean must be three numbers"),
        ({"image_std": [0, 0, 0]}, "image_std must be three numbers above 0"),
        ({"resample": 99}, "resample is 99"),
        ({"rescale_factor": float("inf")}, "rescale_factor must be"),
    ],
    ids=str,
)
def test_preprocessing_that_makes_no_pixels_is_refused_by_name(
    changes: dict[str, Any], message: str, run: Path
) -> None:
    path = run / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=rf"preprocessor_config\.json: .*{message}"):
        SavedModel.load(run)


def test_features_too_large_for_finite_logits_are_refused_while_predicting(run: Path) -> None:
    saved = SavedModel.load(run)
    labels = saved.model.config.num_labels
    width = int(saved.model.encode_images(torch.zeros(1, 3, 64, 64)).shape[-1])
    batch = {
        "image_features": torch.full((2, width), 3e38),
        "labels": torch.zeros(2, labels),
        "image_id": ["0.jpg", "1.jpg"],
    }
    with pytest.raises(ValueError, match="the model's logits are no finite numbers"):
        predict(saved.model, [batch], Accelerator(cpu=True))  # type: ignore[arg-type]  # any batches will do
