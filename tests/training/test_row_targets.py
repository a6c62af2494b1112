"""Present, absent or not looked at: the same targets of a row from every source, by every way to the model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accelerate import Accelerator
from datasets import Dataset
from openpyxl import Workbook
from PIL import Image
from tests.commands_by_name import main_of
from transformers import ViTImageProcessor

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.data import (
    SOURCES,
    VOC_CLASSES,
    EvalTransform,
    collate,
    label_names,
    load_source,
    prepare_examples,
    targets,
    write_parquet,
)
from cnn_rnn.data.batching.batches import StreamLoader, eval_batches
from cnn_rnn.data.images_inside.hub_datasets import load_stream, stream_labels
from cnn_rnn.data.labels.choosing import LabelChoice
from cnn_rnn.data.reading import Reading
from cnn_rnn.data.schema import label_features
from cnn_rnn.metrics.stored_predictions import read_predictions
from cnn_rnn.prediction import SavedModel, predict_dataset
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.publishing.push import lines_read
from cnn_rnn.training.feature_cache import CachedFeatures
from cnn_rnn.training.out_of_fold import split_folds

X = -100.0
NAMES = ["cat", "dog", "fox"]
EXPECTED: dict[str, list[float]] = {"0.png": [1, X, 0], "1.png": [0, 1, X], "2.png": [X, X, X], "3.png": [0, 0, 0]}
PROCESSOR = ViTImageProcessor(size={"height": 8, "width": 8})


def photos(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (8, 8), (40 * index, 0, 0)).save(folder / f"{index}.png")
    return folder


def words(row: list[float], value: float) -> list[str]:
    return [name for name, own in zip(NAMES, row, strict=True) if own == value]


def of_table(folder: Path) -> Dataset:
    cells = {1.0: "yes", 0.0: "no", X: "?"}
    lines = [",".join([name, *(cells[own] for own in row)]) for name, row in EXPECTED.items()]
    (photos(folder) / "labels.csv").write_text("\n".join(["file,cat,dog,fox", *lines]) + "\n")
    return load_source("table", folder / "labels.csv", split="train", reading=Reading(unknown=["?"]))


def of_long_table(folder: Path) -> Dataset:
    lines = [
        f"{file},{name},{value}"
        for file, row in EXPECTED.items()
        for name, own in zip(NAMES, row, strict=True)
        for value in {1.0: "1", 0.0: "0"}.get(own, "0.5").split()
    ]
    (photos(folder) / "labels.csv").write_text("\n".join(["ImageID,LabelName,Confidence", *lines]) + "\n")
    return load_source(
        "table", folder / "labels.csv", split="train", reading=Reading(least_confidence=0.9, unlisted="unknown")
    )


def of_folder(folder: Path) -> Dataset:
    photos(folder / "train")
    rows = [{"file_name": name, "labels": words(row, 1), "unknown": words(row, X)} for name, row in EXPECTED.items()]
    (folder / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "labels.json").write_text(json.dumps(NAMES))
    return load_source("image_folder", folder, split="train")


def of_voc_xml(folder: Path) -> Dataset:
    photos(folder / "images")
    for name, row in EXPECTED.items():
        objects = "".join(
            f"<object><name>{label}</name><difficult>{int(own == X)}</difficult></object>"
            for label, own in zip(NAMES, row, strict=True)
            if own
        )
        (folder / "images" / name).with_suffix(".xml").write_text(
            f"<annotation><filename>{name}</filename>{objects}</annotation>"
        )
    return load_source("voc_xml", folder / "images", split="train")


def of_excel(folder: Path) -> Dataset:
    cells = {1.0: 1, 0.0: 0, X: None}
    book = Workbook()
    for line in (["file", *NAMES], *([name, *(cells[own] for own in row)] for name, row in EXPECTED.items())):
        book.active.append(line)
    book.save(photos(folder) / "labels.xlsx")
    return load_source("table", folder / "labels.xlsx", split="train", reading=Reading(empty="unknown"))


def of_json(folder: Path) -> Dataset:
    rows = [{"file": name, "tags": words(row, 1), "unknown": words(row, X)} for name, row in EXPECTED.items()]
    (photos(folder) / "labels.json").write_text(json.dumps(rows))
    return load_source("table", folder / "labels.json", split="train", reading=Reading(class_names=NAMES))


def of_coco(folder: Path) -> Dataset:
    """What is on photos alone is told; nobody looked for the rest."""
    labels = [(n, NAMES.index(name)) for n, row in enumerate(EXPECTED.values()) for name in words(row, 1)]
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(EXPECTED)],
        "annotations": [{"image_id": image, "category_id": label} for image, label in labels],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES)],
    }
    (photos(folder) / "labels.json").write_text(json.dumps(content))
    return load_source("table", folder / "labels.json", split="train", reading=Reading(unlisted="unknown"))


def of_label_studio(folder: Path) -> Dataset:
    tasks = [
        {"data": {"image": name}, "annotations": [{"result": [{"value": {"choices": words(row, 1)}}]}]}
        for name, row in EXPECTED.items()
    ]
    (photos(folder) / "labels.json").write_text(json.dumps(tasks))
    reading = Reading(unlisted="unknown", class_names=NAMES)
    return load_source("table", folder / "labels.json", split="train", reading=reading)


def of_cvat(folder: Path) -> Dataset:
    declared = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    images = "".join(
        f'<image name="{name}">{"".join(f"<tag label={label!r}/>" for label in words(row, 1))}</image>'
        for name, row in EXPECTED.items()
    )
    text = f"<annotations><meta><task><labels>{declared}</labels></task></meta>{images}</annotations>"
    (photos(folder) / "labels.xml").write_text(text)
    return load_source("table", folder / "labels.xml", split="train", reading=Reading(unlisted="unknown"))


def of_class_folders(folder: Path) -> Dataset:
    photos(folder / "all")
    for file, label in zip(EXPECTED, ("cat", "dog", "fox", "fox"), strict=True):
        (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
        (folder / "all" / file).rename(folder / "classes" / label / file)
    return load_source("class_folders", folder / "classes", split="train")


def of_lines(folder: Path) -> Dataset:
    rows = [{"file_name": name, "labels": words(row, 1), "unknown": words(row, X)} for name, row in EXPECTED.items()]
    (photos(folder) / "labels.ndjson").write_text("\n".join(map(json.dumps, rows)))
    return load_source("table", folder / "labels.ndjson", split="train")


def of_parquet(folder: Path) -> Dataset:
    columns = {"file_name": list(EXPECTED), "labels": [words(row, 1) for row in EXPECTED.values()]}
    columns["unknown"] = [words(row, X) for row in EXPECTED.values()]
    pq.write_table(pa.table(columns), photos(folder) / "labels.parquet")
    return load_source("table", folder / "labels.parquet", split="train")


def of_voc(folder: Path) -> Dataset:
    """The official lists, of which `cow` is called fox; objects that are hard to see are left out."""
    lists, places = folder / "VOCdevkit/VOC2007/ImageSets/Main", folder / "VOCdevkit/VOC2007/JPEGImages"
    lists.mkdir(parents=True)
    for file in photos(places).iterdir():
        file.rename(file.with_suffix(".jpg"))
    ids = [Path(name).stem for name in EXPECTED]
    (lists / "train.txt").write_text("\n".join(ids))
    for name in VOC_CLASSES:
        label = {"cow": "fox"}.get(name, name)
        own = [row[NAMES.index(label)] if label in NAMES else 0 for row in EXPECTED.values()]
        states = zip(ids, ({1.0: 1, 0.0: -1, X: 0}[one] for one in own), strict=True)
        (lists / f"{name}_train.txt").write_text("\n".join(f"{image_id} {state}" for image_id, state in states))
    return load_source("voc2007", folder, split="train", choice=LabelChoice({"cow": "fox"}, NAMES))


def of_official_coco(folder: Path) -> Dataset:
    of_coco(folder / "images" / "train2017")
    (folder / "annotations").mkdir()
    (folder / "images/train2017/labels.json").rename(folder / "annotations/instances_train2017.json")
    return load_source("coco2017", folder, split="train")


def of_nus_wide(folder: Path) -> Dataset:
    for part in ("Groundtruth/TrainTestLabels", "ImageList", "Flickr"):
        (folder / part).mkdir(parents=True)
    for file in photos(folder / "Flickr" / "all").iterdir():
        file.rename(file.with_suffix(".jpg"))
    listed = "".join(f"all\\{Path(name).stem}.jpg\n" for name in EXPECTED)
    (folder / "ImageList" / "TrainImagelist.txt").write_text(listed)
    for index, name in enumerate(NAMES):
        told = "".join(f"{int(row[index] == 1)}\n" for row in EXPECTED.values())
        (folder / "Groundtruth/TrainTestLabels" / f"Labels_{name}_Train.txt").write_text(told)
    return load_source("nus-wide-81", folder, split="train")


NOTHING_UNKNOWN = {name: [float(own == 1) for own in row] for name, row in EXPECTED.items()}
PRESENT_ALONE = {name: [1 if own == 1 else X for own in row] for name, row in EXPECTED.items()}
ONE_EACH = dict(zip(EXPECTED, ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 1.0]), strict=True))
SAID: dict[Any, dict[str, Any]] = {
    of_coco: PRESENT_ALONE,
    of_label_studio: PRESENT_ALONE,
    of_cvat: PRESENT_ALONE,
    of_class_folders: ONE_EACH,
    of_official_coco: NOTHING_UNKNOWN,
    of_nus_wide: NOTHING_UNKNOWN,
}


def of_hub(folder: Path) -> Dataset:
    write_parquet(of_folder(folder / "own"), folder / "shards")
    return load_source("hub", str(folder / "shards"), split="train")


def of_joined(folder: Path) -> Dataset:
    """Sets that have other words: `fox` is unknown on the photos of the first, what else is not known on any."""
    photos(folder)

    def part(names: list[str], rows: dict[str, list[str]], unknown: dict[str, list[str]]) -> Dataset:
        columns = {
            "image": [str(folder / file) for file in rows],
            "image_id": list(rows),
            "labels": [[names.index(name) for name in own] for own in rows.values()],
            "unknown": [[names.index(name) for name in unknown.get(file, [])] for file in rows],
        }
        return Dataset.from_dict(columns, features=label_features(names, ["unknown"]))

    first = part(["dog", "kitten", "cat"], {"1.png": ["dog"], "2.png": []}, {"2.png": ["dog", "cat"]})
    second = part(["fox", "cat", "dog"], {"0.png": ["cat"], "3.png": []}, {"0.png": ["dog"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "ours", lambda *_, **__: first)
        patch.setitem(SOURCES, "theirs", lambda *_, **__: second)
        choice = LabelChoice({"kitten": "cat"}, NAMES, labels_of_others="unknown")
        return load_source("ours+theirs", "R", split="train", choice=choice)


def looked_up(rows: Dataset, _: Path) -> dict[str, list[float]]:
    return of_batches(eval_batches(rows, PROCESSOR, 3, 0, Accelerator()))


def streamed(rows: Dataset, folder: Path) -> dict[str, list[float]]:
    write_parquet(rows, folder / "stream")
    stream = load_stream("hub", str(folder / "stream"), "train")
    labels = stream_labels(str(folder / "stream"), stream)
    np.testing.assert_array_equal(targets(labels), targets(rows))  # what the prior is counted on
    return of_batches(StreamLoader(stream, EvalTransform(PROCESSOR), 3, 0, Accelerator()))


def cached(rows: Dataset, _: Path) -> dict[str, list[float]]:
    features = np.zeros((len(rows), 2), np.float32)
    part = CachedFeatures(PlacedFeatures("", rows, features, np.arange(len(rows))))
    assert [part[index]["labels"].tolist() for index in range(len(part))] == targets(rows).tolist()
    return of_batches([collate(part.__getitems__(list(range(len(part)))))])


def stock_trainer(rows: Dataset, _: Path) -> dict[str, list[float]]:
    examples = prepare_examples(rows, EvalTransform(PROCESSOR))
    kept = examples.remove_columns([name for name in examples.column_names if name not in ("pixel_values", "labels")])
    return {example["image_id"]: example["labels"].tolist() for example in kept}


def validated(rows: Dataset, _: Path) -> dict[str, list[float]]:
    """What `cnn-rnn validate` measures against."""
    small: dict[str, Any] = {
        "image_size": 32,
        "path_loss": "none",
        "fusion": "relevance",
        "id2label": label_names(rows),
    }
    model = CnnRnnForImageClassification.from_backbone("test_resnet", **small).eval()
    saved = SavedModel("small", model, CnnRnnImageProcessor.from_config(model.config))
    found = predict_dataset(saved, rows, 3, 0)
    return dict(zip(found.image_ids, found.targets.tolist(), strict=True))


def folds(rows: Dataset, _: Path) -> dict[str, list[float]]:
    """What `cnn-rnn review` trains on and asks about."""
    found: dict[str, list[float]] = {}
    for fold in split_folds(rows, 2, 0.5, 0):
        assert fold.data.left_out is not None
        found |= cached(fold.data.left_out, Path())
    return found


def of_batches(batches: Any) -> dict[str, list[float]]:
    return {
        image_id: labels
        for batch in batches
        for image_id, labels in zip(batch["image_id"], batch["labels"].tolist(), strict=True)
    }


@pytest.mark.parametrize("way", [looked_up, streamed, cached, stock_trainer, folds, validated])
@pytest.mark.parametrize(
    "source",
    [
        of_table,
        of_long_table,
        of_excel,
        of_parquet,
        of_json,
        of_lines,
        of_folder,
        of_voc,
        of_voc_xml,
        of_hub,
        of_joined,
        *SAID,
    ],
)
def test_a_row_has_the_same_targets_everywhere(
    source: Callable[[Path], Dataset], way: Callable[[Dataset, Path], dict[str, list[float]]], tmp_path: Path
) -> None:
    rows = source(tmp_path / "source")
    order = [label_names(rows).index(name) for name in NAMES]
    found = {Path(image_id).name: [own[index] for index in order] for image_id, own in way(rows, tmp_path).items()}
    assert {Path(name).stem: own for name, own in found.items()} == {
        Path(name).stem: own for name, own in SAID.get(source, EXPECTED).items()
    }


def test_what_a_row_shows_is_present_and_broken_rows_are_named() -> None:
    columns = {"image_id": ["a", "b"], "labels": [[0], []], "difficult": [[0, 1], []], "unknown": [[1], [2]]}
    assert targets(columns, 3).tolist() == [[1, X, 0], [0, 0, X]]
    for column, lists, said in (
        ("labels", [[0], None], "b: its labels are missing"),
        ("unknown", [[0], None], "b: its unknown are missing"),
        ("labels", [[0], [-1]], r"b: its labels are \[-1\], expected ids of 0 to 2"),
        ("difficult", [[3], []], r"a: its difficult are \[3\], expected ids"),
    ):
        with pytest.raises(ValueError, match=said):
            targets(columns | {column: lists}, 3)


@pytest.fixture(scope="module")
def half_known(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos whose `red` is known only where it is there."""
    folder = tmp_path_factory.mktemp("half_known")
    for split in ("train", "test"):
        lines = []
        for line in (photo_folder / split / "metadata.jsonl").read_text().splitlines():
            row = json.loads(line)
            lines.append(json.dumps(row | {"unknown": [] if "red" in row["labels"] else ["red"]}))
            (folder / split).mkdir(exist_ok=True)
            (folder / split / row["file_name"]).write_bytes((photo_folder / split / row["file_name"]).read_bytes())
        (folder / split / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_label_known_only_as_present_comes_out_present(
    half_known: Path, settings: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, reviewed and validated with cached features; figures count what is known alone."""
    run = tmp_path / "run"
    cached_run = {"train__freeze_backbone": "true", "train__cache_features": "true", "train__epochs": 20}
    assert main_of("train")(settings(run, data__root=half_known, **cached_run)) == 0
    printed = capsys.readouterr().out
    assert "unknown labels left out of loss and figures" in printed
    config = json.loads((run / "config.json").read_text())
    label = config["label2id"]["red"]
    assert config["counted_images"][label] == config["label_counts"][label]  # it is known nowhere else
    images = json.loads((run / "metrics.json").read_text())["run"]["train_images"]
    assert {count for index, count in enumerate(config["counted_images"]) if index != label} == {images}
    told = lines_read(run)  # what the card says
    assert [line.split(":")[0] for line in told] == ["train", "held out"]
    assert all(line in printed for line in told)
    asked = [str(run), "--data.split", "test", "--output", str(tmp_path / "v"), "--samples", "0"]
    assert main_of("validate")(asked) == 0
    counts = json.loads((tmp_path / "v" / "metrics.json").read_text())["counts"]
    stored = read_predictions(tmp_path / "v" / "predictions.parquet")
    red = stored.label_names.index("red")
    truth = np.asarray(stored.truth)
    assert set(truth[:, red]) == {1, -1}
    assert set(np.delete(truth, red, axis=1).ravel()) == {0, 1}
    assert counts["images"] == 12
    assert (np.asarray(stored.scores)[:, red] > 0.5).all()  # nothing ever spoke against it
    asked = [str(run), "--output", str(tmp_path / "review"), "--folds", "2", "--train.epochs", "1"]
    assert main_of("review")(asked) == 0
    reviewed = read_predictions(tmp_path / "review" / "predictions.parquet")
    assert set(np.asarray(reviewed.truth)[:, reviewed.label_names.index("red")]) == {1, -1}
