"""Label files of other shapes: nested objects, splits told by cells, packed files, a file a photo; read or refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cnn_rnn.data import Reading, label_names, load_source
from cnn_rnn.data.own_photos.kinds import recognise

SETS = [["cat", "dog"], ["dog"], [], ["cat"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four photos."""
    for number in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.jpg")
    return tmp_path


def labels_of(path: Path, split: str = "train", **settings: Any) -> dict[str, list[str]]:
    """The labels of each photo of a label file, sorted."""
    rows = load_source("table", path, split=split, reading=Reading(**settings))
    names = label_names(rows)
    return {
        image_id: [names[label] for label in labels]
        for image_id, labels in zip(rows["image_id"], rows["labels"], strict=True)
    }


EXPECTED = {f"{number}.jpg": labels for number, labels in enumerate(SETS)}


@pytest.mark.parametrize(
    "nest",
    [
        lambda labels: {"objects": {"category": labels, "bbox": [[0, 0, 1, 1]] * len(labels)}},
        lambda labels: {"annotations": [{"label": label, "bbox": [0, 0, 1, 1]} for label in labels]},
        lambda labels: {"meta": {"tags": labels, "by": {"name": "Anna"}}},
        lambda labels: {"labels": {name: name in labels for name in ("cat", "dog")}},
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".parquet"])
def test_objects_in_rows_are_columns(folder: Path, nest: Any, suffix: str) -> None:
    rows = [{"file_name": f"{number}.jpg"} | nest(labels) for number, labels in enumerate(SETS)]
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    assert labels_of(path) == EXPECTED


def test_objects_with_several_lists_are_asked_about_and_named_by_their_dotted_column(folder: Path) -> None:
    path = folder / "data.jsonl"
    rows = [
        {"file_name": f"{number}.jpg", "labels": [{"name": name, "score": 1.0} for name in labels]}
        for number, labels in enumerate(SETS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"data\.jsonl, line 1: column 'labels\.name' .*\{labels: labels\.name\}"):
        labels_of(path)
    assert labels_of(path, columns={"labels": "labels.name"}) == EXPECTED


def test_a_column_whose_every_cell_is_a_split_tells_the_split(folder: Path) -> None:
    path = folder / "labels.csv"
    lines = ["file,labels,part of", "0.jpg,cat,TRAIN", "1.jpg,dog,train", "2.jpg,cat,Validation", "3.jpg,dog,test"]
    path.write_text("\n".join(lines))
    assert labels_of(path, "test") == {"3.jpg": ["dog"]}
    assert set(labels_of(path)) == {"0.jpg", "1.jpg"}
    assert len(labels_of(path, columns={"split": "none"})) == 4
    path.write_text("\n".join(lines).replace("3.jpg,dog,test", "3.jpg,dog,Anna"))
    assert len(labels_of(path)) == 4
    path.write_text("file,labels\n0.jpg,train\n1.jpg,test\n")  # a toy train
    assert labels_of(path) == {"0.jpg": ["train"], "1.jpg": ["test"]}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("labels.csv", gzip.compress(b"file,labels\n", mtime=0), "packed by gzip; unpack it"),
        ("labels.csv", b"PK\x03\x04rest", "a zip archive, or Excel's"),
        ("labels.txt", b"SQLite format 3\0rest", "a database; export"),
        ("labels.csv", b"\xd0\xcf\x11\xe0rest", "an old Excel file"),
        ("labels.json", b"PAR1rest", "is Parquet; call it .parquet"),
        ("labels.csv", b"file,labels\n0.jpg\0,cat\n", "data.encoding utf-16-le"),
    ],
)
def test_files_of_another_kind_are_told_by_their_first_bytes(
    folder: Path, name: str, content: bytes, told: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        labels_of(folder / name)


def test_a_first_line_that_is_a_photo_is_told_before_cells_are_counted(folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_text("TRAIN,gs://bucket/0.jpg,cat,dog\nTEST,gs://bucket/1.jpg,dog\n")
    with pytest.raises(ValueError, match=r"line 1: 'gs://bucket/0\.jpg' is a photo, not the name of a column"):
        labels_of(path)
    path.write_text("label,0.jpg,1.jpg\ncat,1,0\n")
    with pytest.raises(ValueError, match=r"where photos are columns, turn the table over"):
        labels_of(path)


def test_merged_cells_are_refused(folder: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("file", "labels"), ("0.jpg", "cat"), ("1.jpg", None)]:
        book.active.append(row)
    book.active.merge_cells("B2:B3")
    book.save(folder / "labels.xlsx")
    with pytest.raises(ValueError, match=r"labels\.xlsx: the cells B2:B3 are merged.*unmerge"):
        labels_of(folder / "labels.xlsx")


def test_a_file_a_photo_is_no_label_file(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has a file for each photo, 0\.json"):
        recognise(folder)


def test_one_class_for_all_photos_and_annotations_beside_them_are_told(tmp_path: Path) -> None:
    (tmp_path / "images" / "train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "train" / "0.jpg")
    with pytest.raises(ValueError, match="every photo the one class 'images'; expected two folders"):
        load_source("class_folders", tmp_path)
    (tmp_path / "data.yaml").write_text("names: [cat]")
    for read in (recognise, lambda path: load_source("class_folders", path)):
        with pytest.raises(ValueError, match=r"data\.yaml"):
            read(tmp_path)
    (tmp_path / "others").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "others" / "1.jpg")
    rows = load_source("class_folders", tmp_path, split="train")
    assert "not read: 1 other files, data.yaml" in rows.info.description


def test_a_word_between_labels_is_offered_and_parts_whole_words_alone(folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_text("file,labels\n0.jpg,sand\n1.jpg,cat and sand\n")
    with pytest.raises(ValueError, match=r"labels.csv, line 3: 'cat and sand' could be the labels \['cat', 'sand'\] "
                       r"\(data\.separator and\), 3 labels .*\(data\.separator space\) or one label"):  # fmt: skip
        labels_of(path)
    assert labels_of(path, separator="and") == {"0.jpg": ["sand"], "1.jpg": ["cat", "sand"]}
    path.write_text("file,labels\n0.jpg,cat;dog\n1.jpg,cat and dog;cat\n")
    with pytest.raises(ValueError, match="'cat and dog' could be the labels"):
        labels_of(path)
    assert labels_of(path, separator="semicolon")["1.jpg"] == ["cat", "cat and dog"]


def photos_in(folder: Path, *places: str) -> Path:
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / place / f"{number}.png")
    return folder


def test_class_folders_of_the_same_letters_are_asked_about(tmp_path: Path) -> None:
    folder = photos_in(tmp_path, "Cat", "cat", "dog ")
    with pytest.raises(ValueError, match=r"'cat' and 'Cat' .*differ in case .*data\.case ignore\) or two"):
        load_source("class_folders", folder)
    one = load_source("class_folders", folder, split="train", reading=Reading(case="ignore"))
    assert (label_names(one), one["labels"][:]) == (["Cat", "dog"], [[0], [0], [1]])
    assert label_names(load_source("class_folders", folder, split="train", reading=Reading(case="keep")))[:2] == [
        "Cat",
        "cat",
    ]


def test_objects_of_the_same_letters_are_asked_about(tmp_path: Path) -> None:
    for number, label in enumerate(("Cat", "cat", "dog")):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
        told = f"<annotation><filename>{number}.png</filename><object><name>{label}</name></object></annotation>"
        (tmp_path / f"{number}.xml").write_text(told)
    with pytest.raises(ValueError, match=r"1\.xml: 'cat' and 'Cat' .*0\.xml\) differ in case"):
        load_source("voc_xml", tmp_path)
    one = load_source("voc_xml", tmp_path, split="train", reading=Reading(case="ignore"))
    assert (label_names(one), one["labels"][:]) == (["Cat", "dog"], [[0], [0], [1]])


def test_folders_that_no_label_or_split_comes_from_are_told(tmp_path: Path) -> None:
    folder = photos_in(tmp_path, "Train/cat", "Train/dog", "Train/cat/siamese", "TEST/dog", "spare/dog")
    data = load_source("class_folders", folder)
    assert {name: len(rows) for name, rows in data.items()} == {"train": 3, "test": 1}
    assert data["train"].features["labels"].feature.names == ["cat", "dog"]
    told = data["train"].info.description
    assert "folders within those of classes name no label: cat/siamese" in told
    assert "not read, beside the folders of splits: spare" in told
