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
from cnn_rnn.metrics.stored_predictions import collect_predictions, write_predictions
from cnn_rnn.publishing.bundle import LARGEST


def test_it_is_small_and_holds_no_code() -> None:
    folder = cnn_rnn.bundled_model()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST == 25_000_000
    assert {file.suffix for file in folder.iterdir()} == {".json", ".md", ".safetensors", ".yaml", ".jpg", ".onnx"}


def test_no_file_of_it_says_where_it_was_made() -> None:
    for path in cnn_rnn.bundled_model().iterdir():
        assert b'"_name_or_path": "/' not in path.read_bytes(), path.name


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
    names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"].values()
    for name in names:
        count = figures["per_class"][name]["positives"]
        figure = r"[\d.]+" if count else "[^|]+"  # without a photo there is no average precision
        assert re.search(rf"^\| {name} \| [\d,]+ \| [\d.]+% \| {figure} \| {count:,} \|", card, re.MULTILINE)
    few = [name for name in names if figures["per_class"][name]["positives"] < 20]
    assert f" and {len(few) - 5} more of the labels: their figures say little" in card


def test_photos_are_labelled_without_naming_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    Image.open(cnn_rnn.bundled_model() / "example.jpg").save(tmp_path / "cat.jpg")
    assert main_of("predict")(["--input", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "model in the box" in told.err
    assert "text.jpg" in told.err
    (line,) = told.out.strip().splitlines()
    assert re.fullmatch(r".*cat\.jpg: cat [01]\.\d\d(   [a-z-]+ 0\.[0-4]\d)*   \(path: cat [01]\.\d\d\)", line)
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
    none = [
        "  3 show none of the 2 labels: a label is named on 67%, with a",
        "  probability of 0.8 or more on 33%; most often cat 2",
    ]
    some = [
        "  2 show some, 3 labels in all: of those named 67% are right,",
        "  with 0.8 or more 100%; of those there 67% are named",
    ]
    thresholds, names = np.array([0.5, 0.5]), ["cat", "dog"]
    assert elsewhere.what_was_named(probabilities, there, thresholds, names) == none + some
    assert elsewhere.what_was_named(probabilities[3:], there[3:], thresholds, names) == some
    assert elsewhere.what_was_named(probabilities[:3], there[:3], thresholds, names) == none


def test_photos_of_each_data_set_are_told_by_themselves(
    elsewhere: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path / "coco", ["1", "2"])
    train = tmp_path / "corel5k" / "train"
    train.mkdir(parents=True)
    words = [["cat"], ["sky"], ["sea"], [], [], ["sky"]]  # of which every fifth without a word of VOC's is asked about
    for number, _ in enumerate(words):
        Image.open(cnn_rnn.bundled_model() / "example.jpg").save(train / f"{number}.jpg")
    rows = [{"file_name": f"{number}.jpg", "labels": own} for number, own in enumerate(words)]
    (train / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cat = VOC_CLASSES.index("cat")
    scores, truth = np.full((3, 20), 0.1, np.float32), np.zeros((3, 20), np.int8)
    scores[:, cat] = 0.9
    truth[[0, 2], cat] = 1
    predicted = collect_predictions(
        ["1", "2", "of-voc"], VOC_CLASSES, scores, truth, paths=[[cat], [cat], [cat]], info={"thresholds": [0.5] * 20}
    )
    write_predictions(tmp_path / "predictions.parquet", predicted)
    elsewhere.main([str(tmp_path / "predictions.parquet"), "--data.root", str(tmp_path)])
    of_voc, of_coco, of_corel5k = re.split(r"^(?=COCO|Corel5k)", capsys.readouterr().out, flags=re.MULTILINE)
    assert "VOC, 1 photos: O-F1 by threshold 100.0%" in of_voc
    assert "show none" not in of_voc
    assert "COCO, 2 photos: O-F1 by threshold 66.7%" in of_coco
    assert "1 show none of the 20 labels: a label is named on 100%" in of_coco
    assert "1 show some, 1 labels in all: of those named 100% are right" in of_coco
    assert "1 show none of the 20 labels: a label is named on 100%" in of_corel5k  # a cat that its words leave out
    assert "most often cat 1" in of_corel5k


def write_coco(root: Path, image_ids: list[str]) -> None:
    """Photos in COCO's layout."""
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for image_id in image_ids:
        Image.new("RGB", (8, 8)).save(root / "val2017" / f"{image_id}.jpg")
    document = {
        "images": [{"id": int(image_id), "file_name": f"{image_id}.jpg"} for image_id in image_ids],
        "annotations": [],
        "categories": [{"id": 1, "name": "kite"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))


def test_the_threshold_of_vocs_words_is_the_highest_that_is_as_good_as_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts" / "bundled")
    module = importlib.import_module("thresholds")
    rng = np.random.default_rng(0)
    scores = rng.random(400).astype(np.float32)
    there = rng.random(400) < scores
    f1 = {score: 2 * (there & (scores >= score)).sum() / (there.sum() + (scores >= score).sum()) for score in scores}
    as_good = [score for score in scores if f1[score] >= max(f1.values()) - 0.003]
    assert module.highest_as_good(scores, there) == max(as_good) > scores[np.argmax([f1[score] for score in scores])]
