"""`cnn-rnn review`: the ranked list, its page, figures by cross-validation, and what is found of planted mistakes."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands_by_name import main_of

from cnn_rnn.metrics.stored_predictions import read_predictions

main = main_of("review")


def test_a_run_is_reviewed(
    photo_folder: Path, settings: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("train")(settings(tmp_path / "run", train__epochs=1, data__keep_labels="[green, blue, red]")) == 0
    asked = ["--folds", "2", "--plant", "0.3", "--unlabelled", str(photo_folder / "test")]
    assert main([str(tmp_path / "run"), "--output", str(tmp_path / "review"), *asked]) == 0
    folder = tmp_path / "review"
    found = read_predictions(folder / "predictions.parquet")
    assert len(found.image_ids) == 24
    assert found.label_names == ["green", "blue", "red"]
    with (folder / "review.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert {row["image_id"] for row in listed} <= set(found.image_ids)
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert all(row["image_id"] in page for row in listed)
    planted = json.loads((folder / "planted.json").read_text(encoding="utf-8"))
    assert planted["planted"] == 5
    assert "recall_at_planted" in capsys.readouterr().out
    assert len((folder / "unlabelled.csv").read_text(encoding="utf-8").splitlines()) == 13
    assert main_of("validate")([str(folder / "predictions.parquet"), "--samples", "0", "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["counts"]["images"] == 24


def test_what_stands_in_the_way_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--output", str(tmp_path / "out")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
