"""The commands as people run them: train, validate, predict, and what they say when something is wrong."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.commands_by_name import ROOT, main_of
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from cnn_rnn.commands import predict
from cnn_rnn.metrics.stored_predictions import read_predictions
from cnn_rnn.prediction.job_folder import JobFolder

Train = Callable[..., int]


@pytest.fixture(scope="module")
def train(settings: Callable[..., list[str]]) -> Train:
    """What a small, quick run returns; `block__key=value` changes a setting, other arguments come behind them."""
    return lambda output_dir, *arguments, **changes: main_of("train")([*settings(output_dir, **changes), *arguments])


@pytest.fixture(scope="module")
def run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learnt the coloured photos."""
    output_dir = tmp_path_factory.mktemp("run")
    assert train(output_dir, train__epochs=30, train__trackers="auto") == 0
    return output_dir


def test_a_run_leaves_what_the_readme_names(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {"model.safetensors", "config.json", "preprocessor_config.json", "modeling_cnn_rnn.py"}
    assert names >= {"history.jsonl", "metrics.json", "run_config.yaml", "checkpoints"}
    assert not [name for name in names if name.endswith(".tmp") or name.startswith(".saving")]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["epoch"] for record in history] == list(range(1, 31))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert figures["run"]["train_images"] == 18
    assert figures["run"]["validation_images"] == 6
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert sorted(config["id2label"].values()) == ["blue", "green", "red"]
    assert len(config["thresholds"]) == 3


def test_the_folder_of_a_run_is_an_ordinary_transformers_model(run: Path, photo_folder: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(run)
    processor = AutoImageProcessor.from_pretrained(run)
    image = Image.open(photo_folder / "test" / "003.png")
    logits = model(**processor(image, return_tensors="pt")).logits
    scores = {entry["label"]: entry["score"] for entry in pipeline("image-classification", model=str(run))(image)}
    for index, name in model.config.id2label.items():
        assert scores[name] == pytest.approx(torch.sigmoid(logits[0, index]).item(), abs=1e-6)


def test_validation_writes_figures_and_predictions_that_agree(run: Path, tmp_path: Path) -> None:
    assert main_of("validate")([str(run), "--baseline", str(run), "--output", str(tmp_path), "--num_workers", "0"]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert {"mAP", "path", "threshold", "top_k", "per_class", "counts"} <= set(figures)
    assert {"CP", "CR", "CF1", "OP", "OR", "OF1"} <= set(figures["path"])
    assert figures["counts"]["images"] == 12
    assert figures["path"]["OF1"] > 0.8
    stored = read_predictions(tmp_path / "predictions.parquet")
    again = stored.measure(thresholds=stored.info["thresholds"])
    assert again["mAP"] == pytest.approx(figures["mAP"])
    assert again["path"] == pytest.approx(figures["path"])
    assert json.loads((tmp_path / "metrics_baseline.json").read_text(encoding="utf-8"))["mAP"] == figures["mAP"]


def test_stored_predictions_are_measured_again_with_intervals(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("validate")([str(run), "--output", str(tmp_path), "--samples", "0", "--num_workers", "0"]) == 0
    assert "intervals" not in capsys.readouterr().out
    stored = tmp_path / "predictions.parquet"
    assert main_of("validate")([str(stored), "--output", str(tmp_path / "again"), "--samples", "20"]) == 0
    shown = capsys.readouterr().out
    first, again = (json.loads((tmp_path / name).read_text()) for name in ("metrics.json", "again/metrics.json"))
    intervals = again.pop("intervals")["figures"]
    assert again == first
    exact = intervals["path.exact_match"]
    assert exact["low"] <= exact["value"] <= exact["high"]
    assert intervals["mAP"]["value"] == pytest.approx(first["mAP"])
    row = next(line for line in shown.splitlines() if line.startswith("path.exact_match "))
    keys = ("value", "low", "high", "standard_error")
    assert row.split()[1:] == [f"{100 * exact[key]:.1f}" for key in keys]


def test_figures_that_others_put_there_are_kept(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "table.csv").write_text("by hand")
    arguments = [str(run), "--output", str(tmp_path), "--samples", "0", "--num_workers", "0"]
    for _ in range(2):  # of its own it keeps none
        assert main_of("validate")(arguments) == 0
    assert [path.read_text() for path in tmp_path.glob("*.before*")] == ["by hand"]
    assert [one.message for one in caplog.records if "table.csv was there already" in one.message]
    stored = str((tmp_path / "predictions.parquet").rename(tmp_path / "stored.parquet"))
    assert main_of("validate")([stored, "--samples", "0", "--output", str(tmp_path)]) == 0  # of the same model
    assert len(list(tmp_path.glob("*.before*"))) == 1


def test_a_process_that_does_not_finish_the_job_says_what_it_leaves_unwritten(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = predict.build_parser().parse_args(["--input", "x", "--output", "out", "--write", "csv", "xmp"])
    assert predict.told(known, cast("JobFolder", SimpleNamespace(folder="out")), "unfinished") == 0
    assert "--write csv xmp is not done yet: the same command does it" in capsys.readouterr().out


def test_predicting_a_folder_counts_and_names_what_cannot_be_read(
    run: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("001.png", "002.png"):
        (folder / name).write_bytes((photo_folder / "test" / name).read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    arguments = ["--model", str(run), "--input", str(folder), "--output", str(tmp_path / "out"), "--engine", "torch"]
    assert main_of("predict")(arguments) == 0
    printed = capsys.readouterr()
    assert "2 images labelled, 1 unreadable" in printed.out
    assert "broken.jpg" in printed.err
    rows = {Path(row["image_id"]).name: row for row in pq.read_table(tmp_path / "out/labels.parquet").to_pylist()}
    assert set(rows) == {"001.png", "002.png", "broken.jpg"}
    assert [step["label"] for step in rows["001.png"]["path"]] == ["red"]
    assert rows["broken.jpg"]["labels"] is None
    assert Image.open(tmp_path / "out" / "paths.png").width > 0


def test_predicting_a_list_and_a_data_set(run: Path, photo_folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "photos.txt"
    listed.write_text(f"{photo_folder / 'test' / '001.png'}\n{photo_folder / 'test' / '002.png'}\n", encoding="utf-8")
    by_torch = ["--model", str(run), "--engine", "torch"]
    assert main_of("predict")([*by_torch, "--input", str(listed), "--output", str(tmp_path / "a")]) == 0
    assert pq.read_table(tmp_path / "a" / "labels.parquet").num_rows == 2
    chosen = ["--input", "image_folder:test", "--data.root", str(photo_folder), "--limit", "5"]
    assert main_of("predict")([*by_torch, *chosen, "--output", str(tmp_path / "b")]) == 0
    assert pq.read_table(tmp_path / "b" / "labels.parquet").num_rows == 5


@pytest.mark.parametrize(
    "block",
    [
        {"model__path_loss": "none", "model__fusion": "relevance"},
        {"model__relevance_loss": "none", "model__fusion": "path"},
    ],
)
def test_each_part_trains_alone(train: Train, tmp_path: Path, block: dict[str, str]) -> None:
    assert train(tmp_path / "run", train__epochs=1, **block) == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_cached_features_train_as_the_images_would(train: Train, tmp_path: Path) -> None:
    weights = []
    frozen = {"train__freeze_backbone": "true", "data__crop_scale": 1.0, "data__horizontal_flip": 0}
    for cached in ("false", "true"):
        assert train(tmp_path / cached, train__cache_features=cached, **frozen) == 0
        weights.append(AutoModelForImageClassification.from_pretrained(tmp_path / cached).state_dict())
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-4), name


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(train: Train, tmp_path: Path) -> None:
    assert train(tmp_path / "whole") == 0
    changes = {"train__save_steps": "1", "train__keep_checkpoints": "99"}
    assert train(tmp_path / "stopped", **changes) == 0
    checkpoints = sorted((tmp_path / "stopped" / "checkpoints").glob("step-*"))
    for later in checkpoints[2:]:  # as if the run had ended in the middle of the first epoch
        for file in sorted(later.rglob("*"), reverse=True):
            file.unlink()
        later.rmdir()
    assert train(tmp_path / "stopped", "--resume", "auto", **changes) == 0
    whole, resumed = (
        AutoModelForImageClassification.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "stopped")
    )
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert (tmp_path / "whole/history.jsonl").read_text() == (tmp_path / "stopped/history.jsonl").read_text()


def test_the_test_split_plays_no_part_in_training_and_fitting(train: Train, photo_folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "photos"
    (alone / "train").mkdir(parents=True)
    for file in (photo_folder / "train").iterdir():
        (alone / "train" / file.name).write_bytes(file.read_bytes())
    assert train(tmp_path / "with") == 0
    assert train(tmp_path / "without", data__root=alone) == 0
    for name in ("config.json", "model.safetensors", "history.jsonl"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes(), name


def test_a_finished_run_is_neither_overwritten_nor_trained_again(
    run: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "model.safetensors").stat().st_mtime_ns
    assert train(run) == 2
    assert "--resume auto" in capsys.readouterr().err
    assert train(run, "--resume", "auto", data__root="/no/photos/needed", train__epochs=30) == 2
    assert "data.root" in capsys.readouterr().err
    (run / "checkpoints").rename(run / "unneeded")
    assert train(run, "--resume", "auto", train__epochs=30) == 0
    (run / "unneeded").rename(run / "checkpoints")
    assert f"saved to {run}" in capsys.readouterr().out
    assert (run / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__root": "/nowhere"}, "/nowhere"),
        ({"data__root": "null"}, "data.root"),
        ({"data__name": "voc2013"}, "voc2013"),
        ({"model__backbone": "resnet5O"}, "resnet50"),
        ({"model__weights": "missing.safetensors"}, "missing.safetensors"),
        ({"train__cache_features": "true"}, "freeze_backbone"),
        ({"train__epoch": "3"}, "train.epochs"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], message: str
) -> None:
    assert train(tmp_path / "run", **changes) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert printed[-1].startswith("error: ")
    assert message in printed[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_truncated_photo_stops_training_or_is_left_out_by_name(
    num_workers: int, train: Train, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    broken = root / "train" / "005.png"
    broken.write_bytes(broken.read_bytes()[:60])
    capsys.readouterr()
    assert train(tmp_path / "strict", data__root=root, train__epochs=1, train__num_workers=num_workers) == 2
    told = capsys.readouterr().err
    assert re.search(r"error: \S*005\.png: .*--data\.skip_unreadable true leaves such images out", told)
    assert "Traceback" not in told
    assert not multiprocessing.active_children()
    assert train(tmp_path / "lenient", data__root=root, train__epochs=1, data__skip_unreadable="true") == 0
    counted = json.loads((tmp_path / "lenient" / "metrics.json").read_text(encoding="utf-8"))["run"]
    assert counted["train_images"] + counted["validation_images"] == 23
    assert [Path(name).name for name in counted["unreadable_images"]] == ["005.png"]


@pytest.mark.parametrize(("split", "told"), [("train", True), ("test", False)])
def test_figures_on_photos_that_a_run_learnt_from_are_said_to_be_too_good(
    split: str, told: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data.split", split, "--output", str(tmp_path), "--samples", "0", "--num_workers", "0"]
    assert main_of("validate")([str(run), *arguments]) == 0
    assert (f"{run} learnt from train of image_folder: its figures" in capsys.readouterr().err) == told


def test_other_classes_than_the_models_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(run), "--data.name", "digits", "--data.root", "null", "--output", str(tmp_path)]
    assert main_of("validate")(arguments) == 2
    assert "only the model knows ['blue', 'green', 'red']" in capsys.readouterr().err


@pytest.mark.slow
def test_accelerate_launches_the_training_script(settings: Callable[..., list[str]], tmp_path: Path) -> None:
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--mixed_precision", "no"),
            *(str(ROOT / "scripts" / "train.py"), "--config", str(ROOT / "hub_configs" / "image_folder.yaml")),
            *settings(tmp_path / "run", train__epochs=1),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert launched.returncode == 0, launched.stderr
    assert "held-out part, by path" in launched.stdout
    assert (tmp_path / "run" / "model.safetensors").exists()
