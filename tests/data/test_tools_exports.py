"""What tools write beside labels or around them: numbers of rows, keys, lists in lists, decimal commas, class ids."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_rnn.data import Reading, label_names, load_source
from cnn_rnn.data.own_photos.kinds import recognise

SETS = [["cat"], ["cat", "dog"], [], ["dog"]]
FILES = [f"{number}.jpg" for number in range(len(SETS))]
NAMES = ["cat", "dog", "emu"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four photos."""
    for name in FILES:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def read(folder: Path, content: str, name: str = "data.csv", **settings: Any) -> dict[str, list[str]]:
    """The labels of each photo of a label file."""
    (folder / name).write_text(content)
    rows = load_source("table", folder / name, split="train", reading=Reading(**settings))
    names = label_names(rows)
    return {
        image_id: [names[label] for label in labels]
        for image_id, labels in zip(rows["image_id"], rows["labels"], strict=True)
    }


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "__index_level_0__"])
def test_numbers_of_rows_are_no_class(folder: Path, index: str) -> None:
    rows = [f"{number},{file},{int('cat' in own)},{int('dog' in own)}" for number, (file, own) in
            enumerate(zip(FILES, SETS, strict=True))]  # fmt: skip
    for shown in (2, 4):  # of two rows the numbers are 0 and 1
        content = "\n".join([f"{index},file,cat,dog", *rows[:shown]])
        assert read(folder, content) == dict(zip(FILES[:shown], SETS, strict=False))
    with pytest.raises(ValueError, match=r"neither a column 'labels' nor"):
        read(folder, "file,\n0.jpg,cat\n")


@pytest.mark.parametrize(
    "turned",
    [
        dict,
        lambda rows: {file: {"labels": own, "size": 3} for file, own in rows.items()},
        lambda rows: {f"{file}3": {"filename": file, "labels": own} for file, own in rows.items()},
        lambda rows: {"file": dict(enumerate(rows)), "labels": dict(enumerate(rows.values()))},
    ],
    ids=["labels by file", "objects by file", "objects by key", "columns"],
)
def test_an_object_of_objects_is_a_table(folder: Path, turned: Any) -> None:
    rows = dict(zip(FILES, SETS, strict=True))
    assert read(folder, json.dumps(turned(rows)), "data.json") == rows


def test_lists_of_labels_in_lists_of_objects_are_one_list(folder: Path) -> None:
    lines = [
        {"file": file, "answers": [{"of": "Anna", "ticked": [{"name": label} for label in own]}, {"ticked": []}]}
        for file, own in zip(FILES, SETS, strict=True)
    ]
    found = read(folder, "\n".join(map(json.dumps, lines)), "data.ndjson", columns={"labels": "answers.ticked.name"})
    assert found == dict(zip(FILES, SETS, strict=True))


def test_confidences_are_numbers_from_0_to_1_a_decimal_comma_too(folder: Path) -> None:
    table = "file;label;confidence\n0.jpg;cat;0,9\n0.jpg;dog;{}\n"
    assert read(folder, table.format("0,7"), least_confidence=0.8) == {"0.jpg": ["cat"]}
    for odd in ("90", "-1", "nan", "high"):
        with pytest.raises(
            ValueError, match=rf"line 3: column 'confidence' holds '{odd}', expected a number from 0 to 1"
        ):
            read(folder, table.format(odd), least_confidence=0.8)


def test_numbers_of_classes_in_text_are_asked_about_and_others_beside_them_keep_their_meaning(folder: Path) -> None:
    table = "file,labels\n0.jpg,2.0\n1.jpg,{}\n2.jpg,0\n"
    with pytest.raises(ValueError, match=r"line 2: label '2\.0' is none of the 3 classes.* data\.numbers ids"):
        read(folder, table.format("1"), class_names=NAMES)
    for odd in ("nan", "-1"):
        expected = {"0.jpg": ["emu"], "1.jpg": [], "2.jpg": ["cat"]}
        assert read(folder, table.format(odd), class_names=NAMES, numbers="ids", no_label=odd) == expected
    with pytest.raises(ValueError, match=r"line 3: 'nan' may be a label or stand for none"):
        read(folder, table.format("nan"), class_names=NAMES, numbers="ids")
    with pytest.raises(ValueError, match=r"line 3: label '-1' is none of the 3 classes"):
        read(folder, table.format("-1"), class_names=NAMES, numbers="ids")


def test_labels_in_quotes_of_their_own_are_refused(folder: Path) -> None:
    for cell in ("'cat'", '"""cat"""'):
        with pytest.raises(ValueError, match=r"line 3: .*cat.* stands in quotes of its own"):
            read(folder, f"file,labels\n0.jpg,cat\n1.jpg,{cell}\n")
    assert read(folder, "file,labels\n0.jpg,'cat'\n", class_names=["'cat'"]) == {"0.jpg": ["'cat'"]}


def test_the_classes_that_stand_beside_a_table_are_its_own(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps(NAMES[::-1]))
    assert read(folder, "file,labels\n0.jpg,2\n1.jpg,0|1\n", numbers="ids") == {
        "0.jpg": ["cat"],
        "1.jpg": ["emu", "dog"],
    }
    assert recognise(folder).root == str(folder / "data.csv")
    with pytest.raises(ValueError, match=r"labels\.json tells the classes"):
        read(folder, "file,labels\n0.jpg,cat\n", class_names=NAMES)


def test_names_of_classes_with_blanks_around_them_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.class_names holds 'cat '; take the blanks"):
        Reading(class_names=["cat ", "dog"])
