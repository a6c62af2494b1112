"""Label files as spreadsheets of other countries write them: read, or asked about with the right reading shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from cnn_rnn.data import Reading, label_names, load_source


def written(folder: Path, content: bytes) -> Path:
    (folder / "a.csv").write_bytes(content)
    return folder / "a.csv"


def labels_of(path: Path, **reading: Any) -> list[list[str]]:
    rows = load_source("table", path, require_images=False, reading=Reading(**reading))["train"]
    names = label_names(rows)
    return [sorted(names[label] for label in labels) for labels in rows["labels"]]


@pytest.mark.parametrize("mark", ["\uff0c", "\u3001", "\uff1b", "\uff5c", "\u060c", "\u061b"])
def test_marks_of_other_scripts_part_labels(mark: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"file_name,labels\na.jpg,\u732b{mark}\u72ac\nb.jpg,\u72ac\n".encode())
    assert labels_of(path) == [["\u72ac", "\u732b"], ["\u72ac"]]
    assert labels_of(path, separator="none") == [[f"\u732b{mark}\u72ac"], ["\u72ac"]]


@pytest.mark.parametrize(
    ("encoding", "label"),
    [
        ("cp1252", "K\xe4tzchen"), ("latin2", "\u017eirafa"), ("cp1251", "\u043a\u043e\u0442"),
        ("mac_roman", "K\xe4tzchen"), ("cp932", "\u732b"), ("gb18030", "\u732b\u72d7"),
    ],
)  # fmt: skip
def test_an_old_encoding_is_shown_among_the_ways_to_read(encoding: str, label: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"file_name,labels\r\na.jpg,{label}\r\nb.jpg,dog\r\n".encode(encoding))
    with pytest.raises(ValueError, match=r"line 2: byte 0x\w\w is not utf-8") as refused:
        labels_of(path)
    assert f"data.encoding {encoding} reads 'a.jpg,{label}'" in str(refused.value)
    assert str(refused.value).isprintable()
    assert labels_of(path, encoding=encoding) == [[label], ["dog"]]


def test_an_encoding_in_which_the_file_means_nothing_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="byte 0x81 is not utf-8") as refused:
        labels_of(written(tmp_path, b"file_name,labels\na.jpg,\x81\xfe\xff\n"))
    assert "cp1252" not in str(refused.value)
    assert "latin2" not in str(refused.value)


COCO = {
    "images": [{"id": 1, "file_name": "\xfc.jpg"}],
    "categories": [{"id": 1, "name": "B\xe4r"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1}],
}


@pytest.mark.parametrize(
    ("encoding", "settings"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("utf-32", {}),
        ("utf-16-le", {"encoding": "utf-16-le"}),
        ("cp1252", {"encoding": "cp1252"}),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "rows.json", "coco.json"])
def test_every_label_file_is_read_in_the_encoding_that_it_has(
    name: str, encoding: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    row = {"file_name": "\xfc.jpg", "labels": ["B\xe4r"]}
    texts = {
        "a.csv": "file_name,labels\n\xfc.jpg,B\xe4r\n",
        "a.tsv": "file_name\tlabels\n\xfc.jpg\tB\xe4r\n",
        "a.jsonl": json.dumps(row, ensure_ascii=False),
        "rows.json": json.dumps([row], ensure_ascii=False),
        "coco.json": json.dumps(COCO, ensure_ascii=False),
    }
    (tmp_path / name).write_bytes(texts[name].encode(encoding))
    assert labels_of(tmp_path / name, **settings) == [["B\xe4r"]]


def test_the_way_to_read_a_row_parted_by_tabs_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("file_name\tlabels\na.jpg\tB\xe4r\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"line 2: byte 0xe4 is not utf-8; data\.encoding cp1252 reads"):
        labels_of(tmp_path / "a.tsv")
