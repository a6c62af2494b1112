"""The model in the box: small, whole, honest about its figures, and at work without a name."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands_by_name import ROOT, main_of
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


@pytest.fixture(scope="module")
def elsewhere() -> Any:
    """The script that tells how the model does on photos of another kind."""
    spec = importlib.util.spec_from_file_location("elsewhere", ROOT / "scripts" / "bundled" / "elsewhere.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_named_without_being_there_is_told_apart_from_what_is_right(elsewhere: Any) -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.2], [0.1, 0.1], [0.7, 0.95], [0.85, 0.3]], np.float32)
    there = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [1, 1]], bool)
    assert elsewhere.what_was_named(probabilities, there, np.array([0.5, 0.5]), ["cat", "dog"]) == [
        "3 photos show none of the 2 labels:",
        "  a label is named on 67%, one with a probability of 0.8 or more on 33%",
        "  most often: cat 2",
        "2 photos show some, 3 labels in all:",
        "  of the labels named 67% are right, of those there 67% are named",
        "  of the labels with a probability of 0.8 or more 100% are right",
    ]
    with pytest.raises(ValueError, match="0 of 2 photos show none"):
        elsewhere.what_was_named(probabilities[3:], there[3:], np.array([0.5, 0.5]), ["cat", "dog"])


def test_it_is_asked_about_photos_under_the_names_of_another_data_set(
    elsewhere: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.open(cnn_rnn.bundled_model() / "example.jpg").save(tmp_path / "val2017" / "1.jpg")
    Image.new("RGB", (300, 300), "white").save(tmp_path / "val2017" / "2.jpg")
    names = [elsewhere.SAME.get(name, name) for name in VOC_CLASSES]
    document = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": names.index("cat") + 1, "iscrowd": 0}],
        "categories": [{"id": number, "name": name} for number, name in enumerate([*names, "kite"], start=1)],
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    elsewhere.main(["--data.root", str(tmp_path)])
    told = capsys.readouterr().out
    assert "1 photos show none of the 20 labels:" in told
    assert "1 photos show some, 1 labels in all:" in told
    assert "of the labels named 100% are right, of those there 100% are named" in told
