"""The model in the box: small, whole, honest about its figures, and at work without a name."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.commands_by_name import main_of
from transformers import pipeline

import cnn_rnn
from cnn_rnn.data import VOC_CLASSES
from cnn_rnn.publishing.bundle import LARGEST


def test_it_is_small_and_holds_no_code() -> None:
    folder = cnn_rnn.bundled_model()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST == 16_000_000
    assert {file.suffix for file in folder.iterdir()} == {".json", ".md", ".safetensors", ".yaml", ".jpg"}


def test_the_pipeline_takes_it_and_labels_a_photo_with_a_path() -> None:
    classify = pipeline("multi-label-image-classification", model=cnn_rnn.bundled_model())
    found = classify(str(cnn_rnn.bundled_model() / "example.jpg"), return_path=True)
    assert classify.model.dtype == torch.float32
    assert [entry["label"] for entry in found["labels"]] == ["cat"]
    assert [step["label"] for step in found["path"]] == ["cat"]


def test_its_card_tells_every_class_with_its_photos_and_that_no_photo_was_judged_by_a_model_that_saw_it() -> None:
    folder = cnn_rnn.bundled_model()
    card = (folder / "README.md").read_text(encoding="utf-8")
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert figures["split"] == "cross-validation"
    for name in VOC_CLASSES:
        count = figures["per_class"][name]["positives"]
        assert re.search(rf"^\| {name} \| [\d,]+ \| [\d.]+% \| [\d.]+ \| {count:,} \|", card, re.MULTILINE)
    few = [name for name in VOC_CLASSES if figures["per_class"][name]["positives"] < 20]
    assert all(f"{name} ({figures['per_class'][name]['positives']})" in card for name in few)


def test_photos_are_labelled_without_naming_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    Image.open(cnn_rnn.bundled_model() / "example.jpg").save(tmp_path / "cat.jpg")
    assert main_of("predict")(["--input", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "model in the box" in told.err
    assert "text.jpg" in told.err
    (line,) = told.out.strip().splitlines()
    assert re.fullmatch(r".*cat\.jpg: cat [01]\.\d\d   \(path: cat [01]\.\d\d\)", line)
    assert main_of("predict")(["--input", str(tmp_path / "text.jpg")]) == 2
