"""Label files as people have them: each is read right, or refused with file, line, what is there and the way out."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from cnn_rnn.data import Reading, label_names, load_source, prepare_examples
from cnn_rnn.data.look import look_at, summary

PHOTOS = [f"{index}.jpg" for index in range(6)]
Labels = dict[str, list[str]]


def write(root: Path, name: str, content: str | bytes, photos: list[str] | None = None) -> Path:
    """A label file beside its photos."""
    for photo in PHOTOS if photos is None else photos:
        (root / photo).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / photo, format="JPEG")
    path = root / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, source: str = "table", **settings: Any) -> Labels:
    """The labels of each photo of the split train."""
    rows = load_source(source, path, split="train", reading=Reading(**settings))
    names = label_names(rows)
    return {row["image_id"]: [names[label] for label in row["labels"]] for row in rows}


def table(*rows: str, header: str = "file_name,labels") -> str:
    """A text table of as many rows as there are photos, the cells given in turn."""
    lines = [f"{photo},{rows[index % len(rows)]}" for index, photo in enumerate(PHOTOS)]
    return "\n".join([header, *lines]) + "\n"


def test_blanks_between_labels_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", table("clear primary road", "haze primary"))
    with pytest.raises(
        ValueError, match=r"train\.csv, line 2: 'clear primary road' could be 3 labels .*separator space"
    ):
        read(path)
    assert read(path, separator="space")["0.jpg"] == ["clear", "primary", "road"]
    assert read(path, separator="none")["1.jpg"] == ["haze primary"]


def test_label_studios_choices_are_lists(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table('"{""choices"":[""cat"",""dog""]}"', "fat cat"))
    assert read(path) == {name: ["cat", "dog"] if int(name[0]) % 2 == 0 else ["fat cat"] for name in PHOTOS}


@pytest.mark.parametrize("cells", [('"0,1,0"', '"1,0,0"'), ("0 1 0", "1 0 0"), ("0", "1"), ("010", "100")])
def test_zeros_and_ones_without_names_are_asked_about(tmp_path: Path, cells: tuple[str, ...]) -> None:
    path = write(tmp_path, "a.csv", table(*cells))
    with pytest.raises(
        ValueError, match=r"a\.csv, line 2: .* could be labels called '0' and '1', or a 0 or 1 for each"
    ):
        read(path)


@pytest.mark.parametrize("cells", [('"[0,1,0]"', '"[1,0,1]"'), ('"[1]"', '"[0,2]"')])
def test_lists_of_numbers_are_read_by_the_names_of_the_classes(tmp_path: Path, cells: tuple[str, ...]) -> None:
    path = write(tmp_path, "a.csv", table(*cells))
    with pytest.raises(ValueError, match=r"line 2: labels are .*numbers need the classes in order: labels\.json or"):
        read(path)
    found = read(path, class_names=["a", "b", "c"])
    assert found["0.jpg"] == ["b"]
    assert found["1.jpg"] == ["a", "c"]


def test_two_classes_leave_lists_of_numbers_open(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table('"[0,1]"', '"[1,0]"'))
    with pytest.raises(ValueError, match=r"line 2: .*data\.numbers multi_hot or ids decides"):
        read(path, class_names=["a", "b"])
    assert read(path, class_names=["a", "b"], numbers="multi_hot")["0.jpg"] == ["b"]
    assert read(path, class_names=["a", "b"], numbers="ids")["0.jpg"] == ["a", "b"]


@pytest.mark.parametrize(
    "rows", [('"chair, wooden"', '"cat,dog"', "cat"), ('"chair, wooden"', '"lamp, brass"', "cat"), ('"a, b"', "a|c")]
)
def test_a_comma_that_may_belong_to_a_name_is_asked_about(tmp_path: Path, rows: tuple[str, ...]) -> None:
    path = write(tmp_path, "a.csv", table(*rows))
    with pytest.raises(ValueError, match=r"a\.csv, line \d: .*data\.separator comma"):
        read(path)
    assert len(read(path, separator="none")["0.jpg"]) == 1
    assert len(read(path, separator="comma")["0.jpg"]) == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (('"cat, dog"', '"dog, fox"', "cat"), ["cat", "dog"]),
        (("cat|polar bear", "dog"), ["cat", "polar bear"]),
        (("\"['cat', 'dog']\"", "[]"), ["cat", "dog"]),
        (("cat;dog", ""), ["cat", "dog"]),
        (("cat", "dog"), ["cat"]),
    ],
)
def test_one_meaning_is_read(tmp_path: Path, rows: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(read(write(tmp_path, "a.csv", table(*rows)))["0.jpg"]) == expected


@pytest.mark.parametrize("cell", ["['cat' 'dog']", "[cat|dog]", "['cat"])
def test_lists_that_are_none_are_named(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=r"a\.csv, line 2: "):
        read(write(tmp_path, "a.csv", table(cell)))


@pytest.mark.parametrize("header", ["image_name,tags", "Image Index,Finding Labels", " file_name , labels "])
def test_columns_are_found_by_what_they_hold(tmp_path: Path, header: str) -> None:
    assert read(write(tmp_path, "a.csv", table("cat|dog", "cat", header=header)))["0.jpg"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n0.jpg,cat\n", r"a\.csv, line 2: column 'b' holds 'cat', expected 0 or 1; name the class columns"),
        ("x,y\n1,2\n", r"no column 'file_name' or another that names photos; the columns are 'x' \('1'\), 'y' \('2'\)"),
        ("file_name,thumb,labels\n0.jpg,1.jpg,a\n", ""),
        ("image,mask,labels\n0.jpg,1.jpg,a\n", r"line 2: the photo may be 'image' .* or 'mask' .*'\{file: image\}'"),
        ("image,tags,cat\n0.jpg,a,1\n", r"line 2: labels may be in 'tags' \('a'\), 'cat' \('1'\): data\.columns"),
        ("0.jpg,cat\n1.jpg,dog\n", r"line 1: '0\.jpg' is a photo, not the name of a column"),
        ("file_name,labels,labels\n0.jpg,a,b\n", "line 1: the column 'labels' comes twice"),
        ("file_name labels\n0.jpg cat\n", "line 1: 'file_name labels' is one column"),
    ],
)
def test_columns_that_could_be_others_are_asked_about(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, "a.csv", text)
    if not told:
        assert read(path) == {"0.jpg": ["a"]}
        return
    with pytest.raises(ValueError, match=told):
        read(path)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    path = write(
        tmp_path,
        "a.csv",
        table('"cat,dog"', "cat").replace(".jpg,", f".jpg{delimiter}").replace("file_name,", f"file_name{delimiter}"),
    )
    assert read(path)["0.jpg"] == ["cat", "dog"]


def test_encodings_are_read_or_asked_about(tmp_path: Path) -> None:
    text = table("café", "dog")
    assert read(write(tmp_path, "bom.csv", b"\xef\xbb\xbf" + text.encode()))["0.jpg"] == ["café"]
    assert read(write(tmp_path, "wide.csv", text.encode("utf-16")))["0.jpg"] == ["café"]
    old = write(tmp_path, "old.csv", text.encode("cp1252"))
    with pytest.raises(
        ValueError, match=r"old\.csv, line 2: byte 0xe9 is not utf-8; data\.encoding cp1252 reads '0\.jpg,café'"
    ):
        read(old)
    assert read(old, encoding="cp1252")["0.jpg"] == ["café"]


@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("yes", "no"), ("1.0", "0.0")])
def test_words_of_yes_and_no_are_read(tmp_path: Path, yes: str, no: str) -> None:
    path = write(tmp_path, "a.csv", table(f"{yes},{no}", f"{no},{yes}", header="file_name,cat,dog"))
    assert read(path)["0.jpg"] == ["cat"]


@pytest.mark.parametrize(
    ("cell", "settings", "told"),
    [
        ("-1", {"unknown": -1}, r"data\.no .*data\.unknown '-1'"),
        ("", {"empty": "unknown"}, r"data\.empty absent.*data\.empty unknown"),
        ("?", {"unknown": "?"}, r"data\.yes, data\.no or data\.unknown"),
    ],
)
def test_what_may_be_unknown_is_asked_about(tmp_path: Path, cell: str, settings: dict[str, Any], told: str) -> None:
    path = write(tmp_path, "a.csv", table(f"1,{cell}", "0,1", header="file_name,cat,dog"))
    with pytest.raises(ValueError, match=rf"a\.csv, line 2: column 'dog' holds '.*', {told}|a\.csv, line 2: .*{told}"):
        read(path)
    rows = load_source("table", path, split="train", reading=Reading(**settings))
    assert rows[0]["labels"] == [0]
    assert rows[0]["unknown"] == [1]
    assert rows[1]["unknown"] == []
    absent = load_source("table", path, split="train", reading=Reading(no=["0", cell or "0"], empty="absent"))
    assert "unknown" not in absent.column_names


def test_a_word_for_nothing_is_asked_about(tmp_path: Path) -> None:
    nih = write(tmp_path, "a.csv", table("Mass|Edema", "No Finding", header="Image Index,Finding Labels"))
    assert read(nih)["1.jpg"] == ["No Finding"]
    assert read(nih, no_label="No Finding")["1.jpg"] == []
    nan = write(tmp_path, "b.csv", table("Mass", "nan"))
    with pytest.raises(
        ValueError, match=r"b\.csv, line 3: 'nan' may be a label or stand for none: data\.no_label 'nan'"
    ):
        read(nan)
    beside = write(tmp_path, "c.csv", table("Mass|No Finding"))
    with pytest.raises(ValueError, match=r"c\.csv, line 2: .*beside 'No Finding'"):
        read(beside, no_label=["No Finding"])


def test_a_row_a_label_with_confidence(tmp_path: Path) -> None:
    rows = "0.jpg,human,cat,1\n0.jpg,human,dog,0\n1.jpg,human,dog,1\n"
    path = write(tmp_path, "a.csv", f"ImageID,Source,LabelName,Confidence\n{rows}")
    with pytest.raises(
        ValueError, match=r"a\.csv, line 2: 'dog' is said to be absent.*data\.unlisted absent or unknown"
    ):
        read(path)
    known = load_source("table", path, split="train", reading=Reading(unlisted="unknown"))
    assert (known["labels"][:], known["unknown"][:]) == ([[0], [1]], [[], [0]])
    assert "unknown" not in load_source("table", path, split="train", reading=Reading(unlisted="absent")).column_names
    unsure = write(tmp_path, "b.csv", "ImageID,LabelName,Confidence\n0.jpg,cat,0.7\n")
    with pytest.raises(ValueError, match=r"b\.csv, line 2: confidence 0\.7 is neither 0 .*data\.least_confidence"):
        read(unsure)
    assert read(unsure, least_confidence=0.5) == {"0.jpg": ["cat"]}


def test_a_row_a_label_without_confidence_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "image,label\n0.jpg,cat\n0.jpg,dog\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 3: '0\.jpg' was already named in line 2; .*data\.rows label"):
        read(path)
    assert read(path, rows="label") == {"0.jpg": ["cat", "dog"]}


def test_absent_and_unknown_labels_have_columns_of_their_own(tmp_path: Path) -> None:
    lines = [
        {"file_name": "0.jpg", "labels": ["cat"], "not_labels": ["dog"]},
        {"file_name": "1.jpg", "labels": ["fox"]},
    ]
    path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))
    rows = load_source("table", path, split="train", reading=Reading(unlisted="unknown"))
    assert label_names(rows) == ["cat", "dog", "fox"]
    assert rows["unknown"][:] == [[2], [0, 1]]
    lines[0]["not_labels"] = ["cat"]
    with pytest.raises(ValueError, match=r"line 1: 'cat' is in 'labels' and in 'not_labels'"):
        read(write(tmp_path, "b.jsonl", "\n".join(map(json.dumps, lines))))


def test_an_empty_cell_is_no_label_unless_nobody_looked(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("cat", ""))
    rows = load_source("table", path, split="train")
    assert rows["labels"][:2] == [[0], []]
    assert "3 empty cells read as no label (data.empty unknown: nobody looked)" in summary(look_at({"train": rows}))
    assert load_source("table", path, split="train", reading=Reading(empty="unknown"))["unknown"][:2] == [[], [0]]


@pytest.mark.parametrize(
    ("named", "lies"),
    [
        ("a", "a.jpg"), ("a.jpg", "a.JPG"), ("sub\\a.jpg", "sub/a.jpg"), ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("train/images/a.jpg", "a.jpg"), ("/data/upload/7/0a1b2c3d-a.jpg", "a.jpg"), ("my%20a.jpg", "my a.jpg"),
    ],
)  # fmt: skip
def test_names_that_can_mean_one_file_alone_find_it(tmp_path: Path, named: str, lies: str) -> None:
    header = "image,annotation_id,choice" if named.startswith("/") else "image,id,labels"
    path = write(tmp_path, "a.csv", f"{header}\n{named},1,cat\n", [lies])
    rows = load_source("table", path, split="train")
    assert Path(rows.cast_column("image", rows.features["image"])[0]["image"].filename) == tmp_path / lies
    assert "1 of 1 file names" in summary(look_at({"train": rows}))


def test_names_that_mean_two_files_or_none_are_told(tmp_path: Path) -> None:
    two = write(tmp_path / "two", "a.csv", "image,labels\na,cat\n", ["a.jpg", "a.png"])
    with pytest.raises(
        ValueError, match=r"a\.csv, line 2: 'a' is no file of .* could mean a\.jpg, a\.png|a\.png, a\.jpg"
    ):
        read(two)
    below = write(tmp_path / "below", "a.csv", table("cat"), [f"images/{name}" for name in PHOTOS])
    with pytest.raises(
        FileNotFoundError, match=r"6 of 6 images are missing .*line 2: 0\.jpg.*lie in .*images: data\.image_root images"
    ):
        read(below)
    assert read(below, image_root="images")["0.jpg"] == ["cat"]


def test_names_that_count_from_the_present_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "aside.csv", "")
    (tmp_path / "labels").mkdir()
    path = write(tmp_path / "labels", "labels.csv", table("cat", "dog"), photos=[])  # as `predict --write csv` does
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"they are all there: data.image_root {re.escape(str(tmp_path))}"):
        read(path)
    assert read(path, image_root=str(tmp_path))["0.jpg"] == ["cat"]
    other = write(tmp_path / "other", "a.csv", "image,labels\na.jpg,cat\n", ["a.heic"])
    with pytest.raises(FileNotFoundError, match=r"under another suffix there is a\.heic for a\.jpg"):
        read(other)


@pytest.mark.parametrize(
    ("header", "cells"),
    [("file_name,labels,split", ("cat,train", "dog,val", "cat,test")),
     ("file_name,labels,is_valid", ("cat,False", "cat,True"))],
)  # fmt: skip
def test_a_table_has_its_splits_and_no_other(tmp_path: Path, header: str, cells: tuple[str, ...]) -> None:
    path = write(tmp_path, "a.csv", table(*(cell.replace("dog", "cat") for cell in cells), header=header))
    held_out = load_source("table", path, split="validation")["image_id"][:]
    assert "1.jpg" in held_out
    assert not set(held_out) & set(load_source("table", path, split="train")["image_id"])
    with pytest.raises(ValueError, match=r"a\.csv has no split 'banana'; it has train, validation"):
        load_source("table", path, split="banana")
    with pytest.raises(ValueError, match=r"b\.csv has no split 'validation'; it has train"):
        load_source("table", write(tmp_path, "b.csv", table("cat")), split="validation")


def test_a_boolean_that_tells_the_split_is_no_class(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("cat|dog,False", "cat,True", header="file_name,tags,is_test"))
    assert set(read(path)) == {"0.jpg", "2.jpg", "4.jpg"}
    assert load_source("table", path, split="test")["image_id"][:] == ["1.jpg", "3.jpg", "5.jpg"]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_label_studios_regions_in_its_small_exports_are_labels(tmp_path: Path, kind: str) -> None:
    def region(name: str, *labels: str) -> dict[str, Any]:
        return {"x": 1.5, "y": 2, "width": 3, "height": 4, "rotation": 0, name: list(labels)}

    marked = [[region("rectanglelabels", "cat"), region("polygonlabels", "dog", "cat")], [region("brushlabels", "dog")]]
    rows = [
        {"image": f"/data/upload/1/{n}.jpg", "id": n, "label": cell, "annotation_id": n}
        for n, cell in enumerate(marked)
    ]
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    path = tmp_path / f"a.{kind}"
    if kind == "json":
        path.write_text(json.dumps(rows))
    else:
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(row | {"label": json.dumps(row["label"])} for row in rows)
    loaded = load_source("table", path, split="train")
    names = label_names(loaded)
    assert [sorted(names[label] for label in row) for row in loaded["labels"]] == [["cat", "dog"], ["dog"]]


def test_label_studios_json(tmp_path: Path) -> None:
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/1/aabbccdd-0.jpg"}, "annotations": [
            {"result": [{"type": "choices", "value": {"choices": ["cat", "dog"]}}]}]},
        {"id": 2, "data": {"image": "/data/local-files/?d=1.jpg"}, "annotations": []},
    ]  # fmt: skip
    path = write(tmp_path, "a.json", json.dumps(tasks))
    with pytest.raises(ValueError, match=r"a\.json, entry 2: 1 of 2 tasks have no annotation.*data\.empty unknown"):
        read(path)
    assert read(path, empty="absent") == {"aabbccdd-0.jpg": ["cat", "dog"], "1.jpg": []}
    minimal = [{"image": "/data/upload/1/aabbccdd-0.jpg", "annotation_id": 1, "choice": {"choices": ["cat", "dog"]}},
               {"image": "/data/upload/1/aabbccdd-1.jpg", "annotation_id": 2, "choice": "cat"}]  # fmt: skip
    found = read(write(tmp_path, "min.json", json.dumps(minimal)))
    assert list(found.values()) == [["cat", "dog"], ["cat"]]


def test_coco_of_any_tool_and_roboflows_parent(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "0.jpg"}, {"id": 2, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 2, "id": 1}, {"image_id": 1, "category_id": 1, "id": 2}],
        "categories": [
            {"id": 0, "name": "animals", "supercategory": "none"}, {"id": 1, "name": "dog", "supercategory": "animals"},
            {"id": 2, "name": "cat", "supercategory": "animals"},
        ],
    }  # fmt: skip
    path = write(tmp_path / "train", "_annotations.coco.json", json.dumps(coco))
    rows = load_source("image_folder", tmp_path, split="train")
    assert label_names(rows) == ["dog", "cat"]
    assert rows["labels"][:] == [[0, 1], []]
    assert "category 0 'animals' is the parent" in summary(look_at({"train": rows}))
    assert read(path) == {"0.jpg": ["dog", "cat"], "1.jpg": []}


def test_roboflows_classes_and_its_folder_valid(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split, "_classes.csv", table(" 1, 0", " 0, 1", header="filename, cat, dog"))
    assert load_source("image_folder", tmp_path, split="validation")["labels"][:2] == [[0], [1]]


def test_a_folder_per_class(tmp_path: Path) -> None:
    write(tmp_path / "jeans", "note.txt", "", ["1.jpg", "2.jpg"]).unlink()
    write(tmp_path / "dress", "note.txt", "", ["1.jpg"]).unlink()
    assert read(tmp_path, "class_folders") == {
        "dress/1.jpg": ["dress"],
        "jeans/1.jpg": ["jeans"],
        "jeans/2.jpg": ["jeans"],
    }
    assert set(map(tuple, read(tmp_path, "hub").values())) == {("dress",), ("jeans",)}
    Image.new("RGB", (4, 4)).save(tmp_path / "stray.jpg")
    with pytest.raises(ValueError, match=r"stray\.jpg lie beside the folders"):
        read(tmp_path, "class_folders")


def test_voc_xml_with_classes_of_ones_own(tmp_path: Path) -> None:
    objects = "".join(f"<object><name>{name}</name><difficult>{hard}</difficult></object>" for name, hard in
                      (("lamp", 0), ("lamp", 1), ("sofa", 1)))  # fmt: skip
    write(tmp_path, "0.xml", f"<annotation><filename>0.jpg</filename>{objects}</annotation>")
    rows = load_source("voc_xml", tmp_path, split="train")
    assert (label_names(rows), rows["labels"][:], rows["difficult"][:]) == (["lamp", "sofa"], [[0]], [[1]])
    write(tmp_path, "1.xml", "<annotation><object>")
    with pytest.raises(ValueError, match=r"1\.xml is not whole XML"):
        load_source("voc_xml", tmp_path, split="train")


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["file_name", "cat", "dog"], ["0.jpg", True, 0], ["1.jpg", 0, 1]):
        book.active.append(row)
    write(tmp_path, "x", "")
    book.save(tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx") == {"0.jpg": ["cat"], "1.jpg": ["dog"]}
    (tmp_path / "broken.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"broken\.xlsx is no readable Excel file"):
        read(tmp_path / "broken.xlsx")


def test_excel_cells_without_a_column_are_asked_about(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Our photos"], [], ["Photo", "labels"], ["0.jpg", "cat"]):
        book.active.append(row)
    write(tmp_path, "x", "")
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match=r"a\.xlsx, row 3: 'labels' stands in a column without a name: .*remove what"):
        read(tmp_path / "a.xlsx")
    book.active.delete_rows(1, 2)
    book.save(tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx") == {"0.jpg": ["cat"]}


def test_lists_of_photos_by_label_are_turned(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{"dog": ["1.jpg"], "cat": ["0.jpg", "1.jpg"], "elk": []}')
    assert read(path) == {"0.jpg": ["cat"], "1.jpg": ["dog", "cat"]}
    assert label_names(load_source("table", path, split="train")) == ["dog", "cat", "elk"]


def test_several_columns_of_labels_are_joined(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("dog,,", "cat,a|b,NA", header="file,label1,label2,label3"))
    with pytest.raises(ValueError, match=r"'\{labels: \[A, B\]\}' where some of label1, label2, label3 hold labels"):
        read(path)
    columns = {"labels": ["label1", "label2", "label3"]}
    found = read(path, columns=columns, no_label="NA")
    assert found["0.jpg"] == ["dog"]
    assert set(found["1.jpg"]) == {"a", "b", "cat"}
    differ = write(tmp_path, "b.csv", table("dog,", "cat,Dog", header="file,label1,label2"))
    with pytest.raises(ValueError, match=r"data.case"):
        read(differ, columns={"labels": ["label1", "label2"]})
    with pytest.raises(ValueError, match=r"file is .*expected one column"):
        read(path, columns={"file": ["file", "label1"]})


@pytest.mark.parametrize(
    ("settings", "told", "expected"),
    [
        ({"case": "ignore"}, r"are one: 'Cat' as 'cat' \(data\.case\)", ["cat", "dog"]),
        ({"case": "keep"}, r"are several: cat, Cat \(data\.case\)", ["Cat", "cat", "dog"]),
        ({"class_names": ["dog", "cat"]}, "are one: 'Cat' as 'cat', by the names of the classes", ["cat", "dog"]),
        ({"class_names": ["Cat", "dog", "cat"]}, "labels parted by", ["Cat", "cat", "dog"]),
    ],
    ids=str,
)
def test_spellings_are_readings_of_which_one_is_taken_and_told(
    tmp_path: Path, settings: dict[str, Any], told: str, expected: list[str]
) -> None:
    path = write(tmp_path, "a.csv", table("cat|dog", "Cat", "cat"))
    rows = load_source("table", path, split="train", reading=Reading(**settings))
    assert re.search(told, rows.info.description)
    assert sorted({label for labels in read(path, **settings).values() for label in labels}) == expected


@pytest.mark.parametrize("settings", [{}, {"class_names": ["cat"]}], ids=str)
def test_spellings_that_nothing_decides_are_asked_about(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write(tmp_path, "a.csv", table("dog", "cat", "Cat"))
    with pytest.raises(ValueError, match=r"line 4: 'Cat' and 'cat' \(line 3\) .*data\.case ignore.*data\.case keep"):
        read(path, **settings)


def test_a_photo_is_unknown_where_none_of_its_columns_says_anything(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("dog,", ",", header="file,label1,label2"))
    rows = load_source(
        "table", path, split="train", reading=Reading(columns={"labels": ["label1", "label2"]}, empty="unknown")
    )
    assert [row["unknown"] for row in rows][:2] == [[], [0]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# by a tool\nfile,labels\n0.jpg,cat\n", "line 1: .*a title or a comment, remove what stands above"),
        (
            "# by a tool, of Ann\nfile,labels,more\n",
            "line 2: expected 2 cells.*a title or a comment, remove what stands",
        ),
        ("0.jpg 3\n1.jpg 3 17\n", "line 1: '0.jpg 3' begins with a photo.*put file_name,labels above it, and a comma"),
        ("0.jpg\tcat\n1.jpg\tdog\n", r"line 1: '0.jpg' is a photo.*file_name\\tlabels .parted by tab"),
        ("file,labels\n0.jpg,a|b\nfile,labels\n1.jpg,a\n", "line 3: the names of the columns come again"),
        ("file, labels\n0.jpg, a\nfile, labels\n1.jpg, a\n", "line 3: the names of the columns come again"),
        ("'file','labels'\n'0.jpg','cat,sofa'\n", "line 2: .*into double quotes"),
        ("file,cat,dog\n0.jpg,0,1\n1.jpg,1,1\nsum,1,2\n", "line 4: column 'dog' holds '2'.*leave out the row"),
        ("file,cat,dog\n0.jpg,0.8,0.1\n", "line 2: column 'cat' holds '0.8'.*write 0 or 1 in place of scores"),
        ("id_code,age,sex,finding\n0,30,m,cat\n", "where some of age, sex, finding hold labels"),
        ("file;labels\nC:\\Ann\\img\\0.jpg;cat\n", r"line 2: .*leaves the folder; .*take 'C:\\\\Ann\\\\img' away"),
        ("file;labels\n/home/ann/0.jpg;cat\n", r"line 2: .*leaves the folder; .*take '/home/ann' away"),
        ("file;labels\n../0.jpg;cat\n", r"line 2: .*leaves the folder; .*without '\.\.'"),
    ],
)
def test_what_is_no_table_yet_is_told_with_the_way_out(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(write(tmp_path, "a.csv", text))


def test_marks_at_the_end_of_lines_and_cells_part_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "file;labels;\n0.jpg;cat,;\n1.jpg;,cat,dog,;\n")
    assert read(path) == {"0.jpg": ["cat"], "1.jpg": ["cat", "dog"]}
    with pytest.raises(ValueError, match="line 2: labels are"):
        read(write(tmp_path, "b.csv", "file;labels\n0.jpg;cat,,dog\n"))


def test_lines_of_a_cell_are_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table('"brown dog\ncat"', "brown dog"))
    assert read(path)["0.jpg"] == ["brown dog", "cat"]
    assert read(path)["1.jpg"] == ["brown dog"]
    with pytest.raises(ValueError, match=r"data.separator comma .*data.separator newline"):
        read(write(tmp_path, "b.csv", table('"a\nb"', '"a,b"')))


@pytest.mark.parametrize(
    ("cell", "mark"), [("#cat#dog", "#"), ("cat / dog", "/"), ("cat > dog", ">"), ("cat & dog", "&")]
)
def test_other_marks_between_labels_are_asked_about(tmp_path: Path, cell: str, mark: str) -> None:
    path = write(tmp_path, "a.csv", table(cell, cell.partition(mark)[0] or "#cat"))
    with pytest.raises(ValueError, match=rf"'{cell}' could be the labels \['cat', 'dog'\] \(data.separator '{mark}'"):
        read(path)
    assert read(path, separator=mark)["0.jpg"] == ["cat", "dog"]
    assert read(path, separator="none")["0.jpg"] == [cell]


def test_columns_may_be_parted_by_several_blanks(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "file cat dog\n0.jpg  -1   1\n1.jpg   1  -1\n")
    assert read(path, delimiter="space", no=-1) == {"0.jpg": ["dog"], "1.jpg": ["cat"]}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            ("0.jpg,cat;sofa", "0.jpg,cat"),
            "line 2: 'cat;sofa' could be .*data.separator semicolon.*data.separator none",
        ),
        (('0.jpg,"cat,sofa"', "0.jpg,cat"), "line 2: 'cat,sofa' could be .*data.separator comma.*data.separator none"),
        (('0.jpg,"{""class"": ""cat""}"', "0.jpg,cat"), "line 2: .*is a list or an object, expected one label"),
    ],
)
def test_a_row_of_one_label_that_may_be_several_is_asked_about(
    tmp_path: Path, rows: tuple[str, ...], told: str
) -> None:
    path = write(tmp_path, "a.csv", "\n".join(["file,labels", *rows]))
    with pytest.raises(ValueError, match=told):
        read(path, rows="label")
    assert len(read(path, rows="label", separator="none")["0.jpg"]) == 2
    if "sofa" in rows[0]:
        mark = "semicolon" if ";" in rows[0] else "comma"
        assert set(read(path, rows="label", separator=mark)["0.jpg"]) == {"cat", "sofa"}


def test_json_of_other_shapes(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.json", '{"0.jpg": ["cat"], "1.jpg": []}')) == {"0.jpg": ["cat"], "1.jpg": []}
    assert read(write(tmp_path, "b.json", '[{"file_name": "0.jpg", "labels": ["cat"]}]')) == {"0.jpg": ["cat"]}
    with pytest.raises(ValueError, match=r"c\.json is not JSON: .*called c\.jsonl"):
        read(write(tmp_path, "c.json", '{"file_name": "0.jpg", "labels": []}\n{"file_name": "1.jpg", "labels": []}\n'))


def test_a_setting_is_refused_where_it_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.separator: data source 'voc2007' has a format of its own"):
        load_source("voc2007", tmp_path, split="train", reading=Reading(separator="comma"))
    with pytest.raises(ValueError, match=r"data\.columns names the role 'fiel'"):
        Reading(columns={"fiel": "a"})
    path = write(tmp_path, "a.csv", table("cat"))
    with pytest.raises(ValueError, match=r"data\.columns: labels is 'nope', but the columns are 'file_name'"):
        read(path, columns={"labels": "nope"})


def test_what_was_read_tells_classes_counts_and_rows(tmp_path: Path) -> None:
    rows = load_source("table", write(tmp_path, "a.csv", table("cat|dog", "cat")), split="train")
    text = summary(look_at({"train": rows}))
    for told in (
        "classes: 2: cat, dog", "train: 6 photos, 1.50 labels per photo", "photos per class (train): cat 6, dog 3",
        "row: 0.jpg: cat, dog", "labels parted by pipe (first in line 2: 'cat|dog')", "photos by column 'file_name'",
    ):  # fmt: skip
        assert told in text


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (("cat", "Cat"), r"a\.csv, line 3: 'Cat' and 'cat' \(line 2\) differ in case .*data\.case ignore"),
        (("caf\u00e9", "cafe\u0301"), r"a\.csv, line 3: .*writing of accents alone.*data\.case keep"),
        (("cat", "\u200bcat"), r"a\.csv, line 3: '\\u200bcat' and 'cat' .* signs that do not show"),
        (("cat", "cat\u00ad"), r"'cat\\xad' and 'cat'"),
        (("cat|tv monitor", "cat|tv\u00a0monitor"), r"'tv\\xa0monitor' and 'tv monitor'"),
        (("t-shirt", "t\u2011shirt"), r"'t\u2011shirt' and 't-shirt'"),
        (("cat", "\u2060"), r"a\.csv, line 3: '\\u2060' has no sign that shows"),
        (("cat|-dog", "dog"), r"a\.csv, line 2: '-dog' may be a class of its own, or say something of 'dog'"),
        (("cat|dog?", "dog"), r"a\.csv, line 2: 'dog\?' may be"),
        (("cat:0.9|dog:0.1", "dog"), r"a\.csv, line 2: 'cat:0\.9' may be a label with its score"),
        (
            ("cat+dog", "cat"),
            r"a\.csv, line 2: 'cat\+dog' could be the labels \['cat', 'dog'\] \(data\.separator '\+'\)",
        ),
        (("cat/dog|fox", "cat"), r"a\.csv, line 2: 'cat/dog' could be"),
        (("cat_dog", "cat", "dog"), r"a\.csv, line 2: 'cat_dog' could be"),
        (("TRUE", "FALSE"), r"a\.csv, line 2: 'TRUE' could be a label, or say yes or no of one class"),
    ],
)
def test_labels_that_may_be_others_are_asked_about(tmp_path: Path, rows: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(write(tmp_path, "a.csv", table(*rows)))


def test_case_is_ignored_or_kept_where_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("cat", "Cat", "cat"))
    assert set(map(tuple, read(path, case="ignore").values())) == {("cat",)}
    assert set(map(tuple, read(path, case="keep").values())) == {("cat",), ("Cat",)}


def test_one_number_a_photo_is_a_class_id(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"image": f"{index}.jpg", "label": index}) for index in range(2))
    path = write(tmp_path, "a.jsonl", lines)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: labels are \[0\], .*numbers need the classes"):
        read(path)
    assert read(path, class_names=["cat", "dog"]) == {"0.jpg": ["cat"], "1.jpg": ["dog"]}


def test_marks_within_names_stay_where_the_separator_is_given(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.csv", table("cat+dog", "cat")), separator="+")["0.jpg"] == ["cat", "dog"]
    assert read(write(tmp_path, "b.csv", table("cat_dog", "cat", "dog")), separator="none")["0.jpg"] == ["cat_dog"]
    assert read(write(tmp_path, "c.csv", table("frog_eye_leaf_spot", "leaf_spot")))["0.jpg"] == ["frog_eye_leaf_spot"]


def test_a_multi_hot_text_is_read_where_that_is_said(tmp_path: Path) -> None:
    for cells in (('"0,1,1"', '"1,0,0"'), ("011", "100"), ("0 1 1", "1 0 0")):
        found = read(write(tmp_path, "a.csv", table(*cells)), class_names=["a", "b", "c"], numbers="multi_hot")
        assert (found["0.jpg"], found["1.jpg"]) == (["b", "c"], ["a"])


def test_unknown_labels_are_left_out_of_loss_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("1,", "0,1", header="file_name,cat,dog"))
    rows = load_source("table", path, split="train", reading=Reading(empty="unknown"))
    examples = prepare_examples(rows, pil_to_tensor)
    assert examples[0]["labels"].tolist() == [1, -100]
    assert examples[1]["labels"].tolist() == [0, 1]
    assert "3 unknown labels left out of loss and figures" in summary(look_at({"train": rows}))


def test_all_splits_have_the_column_that_one_of_them_needs(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", table("1,,train", "0,1,test", "1,1,train", header="file_name,cat,dog,split"))
    splits = load_source("table", path, reading=Reading(empty="unknown"))
    assert splits["train"].features == splits["test"].features
    assert splits["test"]["unknown"][:] == [[], []]
