"""A run knows its rows and classes again, and says what is other about others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.conftest import write_photo_folder

from cnn_rnn.data import load_source
from cnn_rnn.data.data_config import DataConfig
from cnn_rnn.data.photos.checks import identical_photos
from cnn_rnn.training import Trainer, finished_figures, load_run_config
from cnn_rnn.training.data_record import DataRecord, OtherDataError, check_rows
from cnn_rnn.training.training_data import load_training_data

Settings = Callable[..., list[str]]


def record(labels: dict[str, list[str]], held_out: list[str], folder: Path) -> DataRecord:
    """The record of photos with these labels."""
    for split in ("train", "validation"):
        own = {name: found for name, found in labels.items() if (name in held_out) == (split == "validation")}
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"file_name": name, "labels": found}) for name, found in own.items()]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    (folder / "labels.json").write_text(json.dumps(sorted({name for found in labels.values() for name in found})))
    parts = [
        load_source("image_folder", folder, split=split, require_images=False) for split in ("train", "validation")
    ]
    return DataRecord.of(json.loads((folder / "labels.json").read_text()), *parts)


BEFORE = {"1.jpg": ["cat", "zebra"], "2.jpg": ["cat"], "3.jpg": ["zebra"], "4.jpg": ["cat"]}


@pytest.mark.parametrize(
    ("labels", "held_out", "told"),
    [
        (BEFORE, ["4.jpg"], []),
        ({**BEFORE, "2.jpg": ["zebra"]}, ["4.jpg"], ["1 photos have other labels (2.jpg)"]),
        ({**BEFORE, "5.jpg": ["cat"]}, ["4.jpg"], ["1 photos are new (5.jpg)"]),
        ({name: BEFORE[name] for name in ("1.jpg", "3.jpg", "4.jpg")}, ["4.jpg"], ["1 photos are gone (2.jpg)"]),
        (BEFORE, ["4.jpg", "2.jpg"], ["1 photos are in another part (2.jpg: train, now held out)"]),
        (
            {name: ["ant" if one == "zebra" else one for one in found] for name, found in BEFORE.items()},
            ["4.jpg"],
            ["label gone: zebra", "label new: ant", "2 photos have other labels (1.jpg, 3.jpg)"],
        ),
    ],
)
def test_what_differs_is_told(
    tmp_path: Path, labels: dict[str, list[str]], held_out: list[str], told: list[str]
) -> None:
    record(BEFORE, ["4.jpg"], tmp_path / "before").write(tmp_path)
    before = DataRecord.read(tmp_path)
    assert before is not None
    assert before.differences(record(labels, held_out, tmp_path / "now")) == told


def test_a_run_refuses_other_data_finished_or_not(settings: Settings, tmp_path: Path) -> None:
    photos = write_photo_folder(tmp_path / "photos", 16)
    arguments = settings(tmp_path / "run", data__root=photos, train__epochs=1)
    config = load_run_config(None, arguments)
    figures = Trainer(config).train()
    assert finished_figures(config) is not None
    alike, *_ = figures["run"]["identical_photos"]  # photos 8 apart are, as their labels are
    train, held_out = (int(name.removesuffix(".png").split()[-1]) for name in alike)
    assert abs(train - held_out) == 8
    table = photos / "train" / "metadata.jsonl"
    whole = table.read_text()
    table.write_text(whole.replace('"red"', '"crimson"'))
    told = r"run was trained on other data: label gone: red; label new: crimson; .*--model\.weights"
    with pytest.raises(OtherDataError, match=told):
        finished_figures(config)
    with pytest.raises(OtherDataError, match=told):
        Trainer(config, "auto")
    checkpoint = next((tmp_path / "run" / "checkpoints").glob("step-*"))
    other = load_run_config(None, settings(tmp_path / "other", data__root=photos, train__epochs=1))
    with pytest.raises(OtherDataError, match=told):
        Trainer(other, str(checkpoint))
    shutil.rmtree(photos)
    assert finished_figures(config) is not None


def test_a_run_without_a_record_goes_on_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_rows(tmp_path / "run" / "checkpoints" / "step-1", tmp_path / "run", DataRecord(["a"]))
    assert "was not checked" in caplog.text


def test_photos_of_the_same_bytes_in_two_splits_are_found(tmp_path: Path) -> None:
    for split, colours in (("train", "red blue"), ("validation", "green red")):
        (tmp_path / split).mkdir()
        for colour in colours.split():
            Image.new("RGB", (8, 8), colour).save(tmp_path / split / f"{colour}-{split}.png")
        lines = [json.dumps({"file_name": f"{colour}-{split}.png", "labels": [colour]}) for colour in colours.split()]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "labels.json").write_text('["red", "green", "blue"]')
    splits = {name: load_source("image_folder", tmp_path, split=name) for name in ("train", "validation")}
    assert identical_photos(splits) == [("train red-train.png", "validation red-validation.png")]


@pytest.mark.parametrize(("labels", "told"), [([], "none of the 24 photos has a label"), (["own"], "")])
def test_photos_without_labels_are_refused_with_a_setting(
    settings: Settings, tmp_path: Path, labels: list[str], told: str
) -> None:
    photos = write_photo_folder(tmp_path / "photos")
    rows = [{"file_name": f"{i:03d}.png", "labels": [f"{name}{i}" for name in labels]} for i in range(24)]
    (photos / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = load_run_config(None, settings(tmp_path / "run", data__root=photos, train__epochs=1))
    if told:
        with pytest.raises(ValueError, match=told + r".*data\.columns"):
            Trainer(config)
    else:
        assert len(Trainer(config).train()["run"]["labels_without_training_image"]) == 6


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"validation_split": "train"}, "train of image_folder"),
        ({"train_split": "train+validation", "validation_split": "validation"}, "validation of image_folder"),
        (
            {"name": "voc2007+coco2014", "train_split": "trainval+train", "validation_split": "val+train"},
            "train of coco",
        ),
        ({"name": "hub", "streaming": True, "validation_split": "train"}, "train of hub"),
    ],
    ids=["one", "joined", "several sets", "a stream"],
)
def test_what_is_trained_on_is_not_held_out(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.validation_split .* holds out what is trained on \({part}.*leave"):
        load_training_data(DataConfig(root="anywhere", **settings), 0)
