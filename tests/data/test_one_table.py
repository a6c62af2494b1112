"""Parquet tables that carry their images, and those that name files in a column called `image`."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cnn_rnn.data import Reading, label_names, load_hub, load_source, load_table

CELLS = {"labels": [["cat"], ["dog"], ["cat"], ["dog", "cat"]]}
SPLITS = ["train", "train", "test", "valid"]


def encoded(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), grey).save(file, "png")
    return file.getvalue()


IMAGES: list[dict[str, Any]] = [{"bytes": encoded(40 * grey), "path": None} for grey in range(4)]


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns | CELLS), path)
    return path


@pytest.mark.parametrize(
    ("name", "cells"),
    [("image", IMAGES), ("image", [one["bytes"] for one in IMAGES]), ("img", IMAGES)],
    ids=["structs", "bytes", "structs of another name"],
)
@pytest.mark.parametrize("file", ["a.parquet", "A.PARQUET"])
def test_images_in_a_column_are_the_photos(tmp_path: Path, name: str, cells: list[Any], file: str) -> None:
    rows = load_table(written(tmp_path / file, **{name: cells}), split="train")
    assert [row["image"].getpixel((0, 0)) for row in rows] == [0, 40, 80, 120]
    assert rows["labels"][:] == [[0], [1], [0], [0, 1]]


def test_bytes_of_another_name_are_photos_where_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", jpg=[one["bytes"] for one in IMAGES])
    with pytest.raises(ValueError, match=r"no column 'file_name' or another that names photos") as told:
        load_table(path, split="train")
    assert len(str(told.value)) < 500
    assert len(load_table(path, split="train", reading=Reading(columns={"file": "jpg"}))) == 4
    two = written(tmp_path / "two.parquet", left=IMAGES, right=IMAGES)
    with pytest.raises(ValueError, match=r"'left' and 'right' both hold images: data\.columns '\{file: left\}' or"):
        load_table(two, split="train")


def test_a_column_called_image_may_name_files(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(4)]
    for index, name in enumerate(names):
        (tmp_path / name).write_bytes(IMAGES[index]["bytes"])
    path = written(tmp_path / "train.parquet", image=names)
    rows = load_table(path, split="train")
    assert rows["image_id"][:] == names
    assert rows[1]["image"].getpixel((0, 0)) == 40
    for name in names:
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=r"train: the column 'image' names files that are not there: 0\.png.*table"):
        load_hub(str(tmp_path), cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("column", "cells", "reading"),
    [
        ("split", SPLITS, {}),
        ("part", SPLITS, {"columns": {"split": "part"}}),
        ("part", SPLITS, {}),
        ("subset", pa.array(SPLITS).dictionary_encode(), {}),
    ],
    ids=["by its name", "as said", "by its cells", "of a dictionary"],
)
def test_a_column_tells_the_split_of_images_inside_too(
    tmp_path: Path, column: str, cells: Any, reading: dict[str, Any]
) -> None:
    path = written(tmp_path / "a.parquet", image=IMAGES, **{column: cells})
    parts = load_table(path, reading=Reading(**reading))
    assert {name: rows["labels"][:] for name, rows in parts.items()} == {
        "train": [[0], [1]],
        "validation": [[0, 1]],
        "test": [[0]],
    }
    assert parts["test"]["image_id"][:] == ["test-000000"]
    assert str(parts["test"].split) == "test"
    assert parts["test"][0]["image"].getpixel((0, 0)) == 80
    assert len(load_source("table", path, split="train+test", reading=Reading(**reading))) == 3
    whole = load_table(path, reading=Reading(columns={"split": "none"}))
    assert {name: len(rows) for name, rows in whole.items()} == {"train": 4}


def test_a_split_that_is_none_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", image=IMAGES, split=["train", "train", "left", "test"])
    with pytest.raises(ValueError, match=r"row 2: column 'split' holds 'left', expected a split such as train"):
        load_table(path)
    flag = written(tmp_path / "b.parquet", image=IMAGES, is_valid=[False, False, True, False])
    parts = load_table(flag)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 3, "validation": 1}
    assert label_names(parts["validation"]) == ["cat", "dog"]


def test_splits_that_a_column_of_a_data_set_tells_are_warned_of(tmp_path: Path) -> None:
    written(tmp_path / "train.parquet", image=IMAGES, split=SPLITS)
    rows = load_hub(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert "WARNING: 'split' seems to tell splits" in rows.info.description
