"""One's own photos: three kinds of metadata, one result; every broken row is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from cnn_rnn.data import label_names, load_image_folder
from cnn_rnn.data.own_photos.table import read_metadata, with_class_names
from cnn_rnn.data.reading import Reading

ROWS = [("a.jpg", ["dog", "grass"]), ("sub/b.png", []), ("c.jpg", ["cat"])]


def write_images(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)


def write_jsonl(root: Path, rows: list[Any] = ROWS, split: str = "train") -> Path:
    """A split with its images; rows are (file_name, labels) or ready objects or raw text."""
    path = root / split / "metadata.jsonl"
    write_images(root / split, ["a.jpg", "sub/b.png", "c.jpg"])
    objects = [{"file_name": row[0], "labels": row[1]} if isinstance(row, tuple) else row for row in rows]
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in objects))
    return path


def write_table(root: Path, kind: str) -> None:
    """The same rows as a joined CSV column, 0/1 CSV columns, a Parquet list or Parquet 0/1 columns."""
    write_images(root / "train", [name for name, _ in ROWS])
    joined = pd.DataFrame({"file_name": [n for n, _ in ROWS], "labels": ["|".join(names) for _, names in ROWS]})
    lists = pd.DataFrame({"file_name": [n for n, _ in ROWS], "labels": [names for _, names in ROWS]})
    columns = pd.DataFrame(
        {"file_name": [n for n, _ in ROWS]}
        | {name: [int(name in names) for _, names in ROWS] for name in ("cat", "dog", "grass")}
    )
    {
        "joined.csv": lambda path: joined.to_csv(path.with_suffix(".csv"), index=False),
        "semicolon.csv": lambda path: joined.replace(r"\|", ";", regex=True).to_csv(
            path.with_suffix(".csv"), index=False
        ),
        "columns.csv": lambda path: columns.to_csv(path.with_suffix(".csv"), index=False),
        "list.parquet": lambda path: lists.to_parquet(path.with_suffix(".parquet")),
        "columns.parquet": lambda path: columns.to_parquet(path.with_suffix(".parquet")),
    }[kind](root / "train" / "metadata")


@pytest.mark.parametrize("kind", ["joined.csv", "semicolon.csv", "columns.csv", "list.parquet", "columns.parquet"])
def test_every_kind_of_table_gives_the_rows_of_the_json_lines(tmp_path: Path, kind: str) -> None:
    write_jsonl(tmp_path / "lines")
    write_table(tmp_path / "table", kind)
    expected = load_image_folder(tmp_path / "lines", split="train")
    rows = load_image_folder(tmp_path / "table", split="train")
    assert label_names(rows) == label_names(expected) == ["cat", "dog", "grass"]
    assert rows["labels"][:] == expected["labels"][:] == [[1, 2], [], [0]]
    assert rows["image_id"][:] == ["a.jpg", "sub/b.png", "c.jpg"]
    assert rows[1]["image"].size == (4, 4)


def test_splits_share_the_classes_of_train(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    write_jsonl(tmp_path, [("a.jpg", ["grass"])], "test")
    data = load_image_folder(tmp_path)
    assert list(data) == ["train", "test"]
    assert label_names(data["test"]) == label_names(data["train"])
    assert load_image_folder(tmp_path, split="test")["labels"][:] == [[2]]


def test_labels_json_fixes_the_order_and_needs_no_train(tmp_path: Path) -> None:
    write_jsonl(tmp_path, [("a.jpg", ["grass"])], "test")
    with pytest.raises(FileNotFoundError, match=r"neither train/ nor labels\.json"):
        load_image_folder(tmp_path)
    (tmp_path / "labels.json").write_text('["zebra", "grass"]')
    rows = load_image_folder(tmp_path, split="test")
    assert label_names(rows) == ["zebra", "grass"]
    assert rows["labels"][:] == [[1]]


def test_labels_json_chooses_the_class_columns(tmp_path: Path) -> None:
    write_images(tmp_path / "train", ["a.jpg"])
    (tmp_path / "train" / "metadata.csv").write_text("file_name,photographer,cat,dog\na.jpg,Ann,0,1\n")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 2: column 'photographer' holds 'Ann', expected 0 or 1"):
        load_image_folder(tmp_path)
    (tmp_path / "labels.json").write_text('["cat", "dog"]')
    assert load_image_folder(tmp_path, split="train")["labels"][:] == [[1]]


def test_a_label_that_train_lacks_is_named_with_its_line_and_the_nearest_class(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    write_jsonl(tmp_path, [("a.jpg", ["cat"]), ("c.jpg", ["gras"])], "validation")
    with pytest.raises(
        ValueError, match=r"validation.metadata\.jsonl, line 2: label 'gras' is none of .*did you mean 'grass'"
    ):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("a.jpg", ["dog"]), "line 4: 'a.jpg' was already named in line 1"),
        (("./a.jpg", ["dog"]), "line 4: 'a.jpg' was already named in line 1"),
        (("../train/c.jpg", []), r"line 4: file_name '../train/c.jpg' leaves the folder"),
        (("/etc/passwd", []), "line 4: file_name '/etc/passwd' leaves the folder"),
        (("..\\secret.jpg", []), "line 4: file_name .* leaves the folder"),
        (("C:\\secret.jpg", []), "line 4: file_name .* leaves the folder"),
        (("", []), "line 4: file_name is ''"),
        (("d.jpg", "[not, json"), "line 4: "),
        (("d.jpg", None), "line 4: labels are None"),
        (("d.jpg", [3]), r"line 4: labels are \[3\]"),
        (("d.jpg", {"dog": 1}), "line 4: labels are"),
        ({"file_name": "d.jpg"}, "line 4: labels are None"),
        ('{"file_name": "d.jpg", "lab', "line 4 is not JSON"),
        ("[1, 2]", "line 4: expected an object"),
    ],
)
def test_a_broken_row_is_named_with_file_and_line(tmp_path: Path, row: Any, told: str) -> None:
    write_jsonl(tmp_path, [*ROWS, row])
    with pytest.raises(ValueError, match=told) as error:
        load_image_folder(tmp_path)
    assert "metadata.jsonl" in str(error.value)


def test_a_missing_image_is_named_with_its_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path, [*ROWS, ("gone.jpg", ["dog"])])
    with pytest.raises(FileNotFoundError, match=r"1 of 4 images are missing .*metadata\.jsonl, line 4: .*gone\.jpg"):
        load_image_folder(tmp_path)
    assert load_image_folder(tmp_path, split="train", require_images=False)[3]["image"] is None


def test_a_link_that_leads_to_itself_is_a_missing_image(tmp_path: Path) -> None:
    write_jsonl(tmp_path, [*ROWS, ("loop.jpg", [])])
    (tmp_path / "train" / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(FileNotFoundError, match=r"line 4: .*loop\.jpg"):
        load_image_folder(tmp_path)


def test_a_loop_of_folders_does_not_trap_the_search_for_unlisted_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_jsonl(tmp_path, ROWS[:2])
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train", target_is_directory=True)
    assert len(load_image_folder(tmp_path, split="train")) == 2
    assert "1 images are not in the metadata and stay out: " in caplog.text
    assert "c.jpg" in caplog.text


def test_csv_rows_with_another_number_of_cells_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "train", ["a.jpg"])
    (tmp_path / "train" / "metadata.csv").write_text("file_name,labels\na.jpg,dog\nb.jpg,dog,cat\n")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 3: expected 2 cells"):
        load_image_folder(tmp_path)


def test_a_folder_that_is_no_split_is_not_skipped_silently(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    write_jsonl(tmp_path, ROWS, "val")
    with pytest.raises(ValueError, match="val is none of the splits train, validation, test"):
        load_image_folder(tmp_path)


def test_the_folder_of_one_split_is_told_apart_from_the_root(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"no folder train/ .*; is {re.escape(str(tmp_path))} meant"):
        load_image_folder(tmp_path / "train")


def test_two_metadata_files_are_ambiguous_and_none_is_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    (tmp_path / "train" / "metadata.csv").write_text("file_name,labels\n")
    with pytest.raises(ValueError, match="keep one of them"):
        load_image_folder(tmp_path)
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / "train" / name).unlink()
    with pytest.raises(FileNotFoundError, match="no metadata"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"), [("[", "not JSON"), ('{"a": 1}', "list of class names"), ('["a","a"]', "names .a. twice")]
)
def test_a_broken_labels_json_is_named(tmp_path: Path, text: str, told: str) -> None:
    write_jsonl(tmp_path)
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ValueError, match=rf"labels\.json.*{told}"):
        load_image_folder(tmp_path)


def test_corel5k_loads_whole(real_data: Path) -> None:
    data = load_image_folder(real_data / "corel5k")
    assert {name: len(rows) for name, rows in data.items()} == {"train": 4500, "test": 499}
    vocabulary = json.loads((real_data / "corel5k" / "labels.json").read_text())
    assert label_names(data) == vocabulary
    first = json.loads((real_data / "corel5k" / "train" / "metadata.jsonl").read_text().splitlines()[0])
    assert {vocabulary[i] for i in data["train"][0]["labels"]} == set(first["labels"])


@pytest.mark.parametrize(
    "row",
    [
        '{"file_name": "a.png", "labels": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
    ids=["labels", "objects"],
)
def test_a_row_nested_without_end_is_refused_with_its_line(row: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "b.png", "labels": []}\n' + row + "\n")
    with pytest.raises(ValueError, match="line 2 is nested too deep"):
        read_metadata(path)


@pytest.mark.parametrize("name", ["labels.json", "metadata.json"])
def test_a_file_nested_without_end_is_refused(name: str, tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "labels.json": lambda path: with_class_names(Reading(), path.parent),
        "metadata.json": read_metadata,
    }
    read = readers[name]
    for content in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=rf"{name} is .*nested too deep"):
            read(tmp_path / name)


def test_labels_nested_without_end_in_a_cell_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text("file_name,labels\na.png," + "[" * 50_000 + "]" * 50_000 + "\n")
    with pytest.raises(ValueError, match=r"line 2.*nested too deep to be labels"):
        read_metadata(path)


@pytest.mark.parametrize("header", ["file_name,cat,cat", "file_name,labels,labels", "file_name,file_name,cat"])
def test_a_column_that_is_named_twice_is_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text(f"{header}\na.png,1,0\n")
    with pytest.raises(ValueError, match=r"line 1: the column '.*' comes twice"):
        read_metadata(path)
