"""The card of a model that was trained on several data sets; `test_hub.py` reads the rest of it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from tests.finished_runs import NAME, write_metrics, write_run

from cnn_rnn.publishing.card_figures import CardError, CardFigures
from cnn_rnn.publishing.model_card import DATA_NOTES, base_model, data_sets, few_images
from cnn_rnn.publishing.push import model_files


@pytest.fixture
def joined_run(tmp_path: Path) -> Path:
    """A run on VOC 2007 trainval and VOC 2012 train."""
    folder = write_run(tmp_path / "run")
    settings = yaml.safe_load((folder / "run_config.yaml").read_text())
    settings["data"] |= {"name": "voc2007+voc2012", "train_split": "trainval+train"}
    (folder / "run_config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_each_data_set_is_named_and_its_bias_told_once(joined_run: Path, tmp_path: Path) -> None:
    figures = write_metrics(tmp_path / "metrics.json", data="voc2012", split="val")
    told = "train: 16,551 photos, 1.52 labels per photo"
    (joined_run / "metrics.json").write_text(json.dumps({"run": {"read": [told]}}))
    card = bytes(model_files(joined_run, NAME, figures)["README.md"]).decode()
    assert f"What was read: {told}." in " ".join(card.split())
    assert "the split `trainval` of `voc2007` and the split `train` of `voc2012`" in card
    assert "- voc2007\n- voc2012\n" in card
    assert DATA_NOTES["voc2007"] == DATA_NOTES["voc2012"]
    assert " ".join(card.split()).count(DATA_NOTES["voc2007"]) == 1


@pytest.mark.parametrize(
    ("data", "split"),
    [
        *(("voc2007", "trainval"), ("voc2007", "val"), ("voc2012", "train"), ("voc2012", "trainval")),
        ("voc2007+voc2012", "test+train"),
    ],
)
def test_figures_of_any_part_of_the_training_data_are_refused(
    data: str, split: str, joined_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(CardError, match="trained or chosen"):
        model_files(joined_run, NAME, write_metrics(tmp_path / "metrics.json", data=data, split=split))


def test_a_split_of_the_same_name_of_the_other_data_set_was_not_seen(joined_run: Path, tmp_path: Path) -> None:
    for data, split in (("voc2007", "test"), ("voc2012", "val")):
        assert model_files(joined_run, NAME, write_metrics(tmp_path / "metrics.json", data=data, split=split))


def test_labels_that_were_renamed_or_left_out_are_told(joined_run: Path, tmp_path: Path) -> None:
    figures = write_metrics(
        tmp_path / "metrics.json", data="voc2007+voc2007+voc2012", split="cross-validation", folds=5
    )
    card = " ".join(bytes(model_files(joined_run, NAME, figures)["README.md"]).decode().split())
    assert "of `voc2007+voc2012`: each" in card
    assert "labels otherwise" not in card
    assert "were left out" not in card
    settings = yaml.safe_load((joined_run / "run_config.yaml").read_text())
    settings["data"] |= {"rename_labels": {"couch": "sofa", "tv": "tvmonitor"}, "keep_labels": ["sofa", "tvmonitor"]}
    (joined_run / "run_config.yaml").write_text(yaml.safe_dump(settings))
    card = " ".join(bytes(model_files(joined_run, NAME, figures)["README.md"]).decode().split())
    assert "Where a data set names labels otherwise, couch is sofa, tv is tvmonitor here. Labels that are not" in card


def test_the_metadata_name_base_model_data_sets_and_a_photo_to_try(joined_run: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((joined_run / "run_config.yaml").read_text())
    settings["model"] |= {"backbone": "resnet18", "weights": "imagenet"}
    (joined_run / "run_config.yaml").write_text(yaml.safe_dump(settings))
    photo = Image.new("RGB", (2000, 1000), "red")
    exif = photo.getexif()
    exif[0x8825] = {1: "N", 2: (48.0, 12.0, 0.0)}
    photo.save(tmp_path / "camera.jpg", exif=exif)
    figures = write_metrics(tmp_path / "metrics.json", data="voc2012", split="val")
    files = model_files(joined_run, NAME, figures, photo=tmp_path / "camera.jpg")
    data = ModelCard(bytes(files["README.md"]).decode()).data.to_dict()
    assert data["base_model"].startswith("timm/resnet18.")
    assert data["datasets"] == ["voc2007", "voc2012"]
    assert data["widget"] == [{"src": f"https://huggingface.co/{NAME}/resolve/main/example.jpg"}]
    published = Image.open(io.BytesIO(bytes(files["example.jpg"])))
    assert published.size == (640, 320)
    assert not published.getexif()


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        ({"backbone": "resnet18", "weights": None}, {}, (None, ["voc2007", "voc2012"])),
        ({"backbone": "resnet18", "weights": "mine.safetensors"}, {}, (None, ["voc2007", "voc2012"])),
        ({"weights": "bundled", "label_rules": {}}, {}, (None, ["voc2007", "voc2012"])),
        ({"weights": "imagenet"}, {}, (None, ["voc2007", "voc2012"])),
        (
            {"backbone": "resnet18", "weights": "imagenet"},
            {"name": "hub", "root": "org/photos@v2", "train_split": "train"},
            ("timm/resnet18.a1_in1k", ["org/photos"]),
        ),
    ],
)
def test_what_is_not_known_is_not_named(
    model: dict[str, Any], data: dict[str, Any], expected: tuple[str | None, list[str]], joined_run: Path
) -> None:
    run = yaml.safe_load((joined_run / "run_config.yaml").read_text())
    run["model"], run["data"] = model, run["data"] | data
    assert (base_model(run), data_sets(run)) == expected


def test_figures_by_cross_validation_say_so_and_labels_with_few_images_are_named(
    joined_run: Path, tmp_path: Path
) -> None:
    figures = write_metrics(tmp_path / "metrics.json", data="voc2007+voc2012", split="cross-validation", folds=5)
    content = json.loads(figures.read_text())
    content["per_class"]["one"]["positives"] = 3
    figures.write_text(json.dumps(content))
    card = " ".join(bytes(model_files(joined_run, NAME, figures)["README.md"]).decode().split())
    assert "Measured by cross-validation on 40 images of `voc2007+voc2012`: each was judged by the one of 5" in card
    assert "Fewer than 20 images show one (3)" in card
    for name in content["per_class"]:
        content["per_class"][name]["positives"] = 3
    content["per_class"] |= {f"rare {number}": content["per_class"]["one"] for number in range(3)}
    figures.write_text(json.dumps(content))
    told = few_images(CardFigures(figures))
    assert told.endswith("(3) and 2 more of the labels: their figures say little. ")
    assert told.count("(3)") == 5


def test_a_plain_head_stands_beside_where_it_was_measured_on_the_same_images(joined_run: Path, tmp_path: Path) -> None:
    told = {"data": "voc2012", "split": "val"}
    figures = write_metrics(tmp_path / "metrics.json", **told)
    rival = json.loads(figures.read_text())
    rival["mAP"], rival["per_class"]["one"]["AP"] = 0.125, None
    (tmp_path / "rival.json").write_text(json.dumps(rival))
    card = bytes(model_files(joined_run, NAME, figures, rival=tmp_path / "rival.json")["README.md"]).decode()
    assert "against 12.5, OF1 by threshold" in " ".join(card.split())
    table = [line for line in card.splitlines() if line.startswith("|")]
    head, rule, *rows = table[: 2 + len(rival["per_class"])]
    assert head.endswith("| AP of a plain head |")
    assert "\n".join([head, rule, *rows]) in card
    assert {line.replace("\\|", "").count("|") for line in (head, rule, *rows)} == {7}
    assert next(row for row in rows if row.startswith("| one |")).endswith("|  |")
    rival["counts"]["images"] += 1
    (tmp_path / "rival.json").write_text(json.dumps(rival))
    with pytest.raises(CardError, match=r"rival\.json: counts\.images is 41"):
        model_files(joined_run, NAME, figures, rival=tmp_path / "rival.json")
    assert "plain head" not in bytes(model_files(joined_run, NAME, figures)["README.md"]).decode()


def test_photos_of_each_source_end_the_row_of_a_label(joined_run: Path, tmp_path: Path) -> None:
    figures = write_metrics(tmp_path / "metrics.json", data="voc2012", split="val")
    sources = {"one": {"VOC": 1200, "COCO": 3}}
    card = bytes(model_files(joined_run, NAME, figures, rival=figures, sources=sources)["README.md"]).decode()
    table = [line for line in card.splitlines() if line.startswith("|")][:6]
    assert table[0].endswith("| AP of a plain head | photos by source |")
    assert {line.replace("\\|", "").count("|") for line in table} == {8}
    assert next(row for row in table if row.startswith("| one |")).endswith("| VOC 1,200, COCO 3 |")
    assert next(row for row in table if row.startswith("| nought |")).endswith("|  |")
