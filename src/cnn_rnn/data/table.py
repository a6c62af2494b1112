"""Tables that name images and their labels: JSON lines, CSV or Parquet, checked row by row."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset

from .adapt import to_schema
from .disk_layout import leaves_folder, present_paths
from .schema import build_dataset, image_paths, label_lists_from_matrix

SEPARATORS = "|;,"
OWN_COLUMNS = ("file_name", "image_id", "labels")
TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "False": False, "True": True}


@dataclass(frozen=True)
class Metadata:
    """The checked rows of one table.

    Attributes:
        path: The table's file.
        lines: The line (Parquet: row) of each image, counted from 1.
        file_names: Each image's path below the table's folder, with `/`.
        image_ids: The column `image_id` where there is one, else the file names.
        labels: Each image's label names, without repetition.
        columns: The class names where every class has a 0/1 column of its own, else None.
    """

    path: Path
    lines: Sequence[int]
    file_names: Sequence[str]
    image_ids: Sequence[str]
    labels: Sequence[Sequence[str]]
    columns: Sequence[str] | None

    def where(self, index: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}, {'row' if self.path.suffix == '.parquet' else 'line'} {self.lines[index]}"

    def class_names(self) -> list[str]:
        """The classes that this table alone tells: its 0/1 columns, else all labels, sorted."""
        return list(self.columns) if self.columns else sorted({name for names in self.labels for name in names})

    def presence(self, class_names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """The rows' labels as a 0/1 matrix (N, C); ValueError naming the line of a label outside `class_names`."""
        ids = {name: index for index, name in enumerate(class_names)}
        present = np.zeros((len(self.labels), len(ids)), dtype=bool)
        for row, names in enumerate(self.labels):
            for name in names:
                if name not in ids:
                    near = get_close_matches(name, class_names, n=1)
                    raise ValueError(
                        f"{self.where(row)}: label {name!r} is none of the {len(ids)} classes"
                        + (f"; is {near[0]!r} meant?" if near else "")
                        + " The classes are those of labels.json, or else those that occur in train."
                    )
                present[row, ids[name]] = True
        return present


def read_metadata(path: Path, class_names: Sequence[str] | None = None, separator: str | None = None) -> Metadata:
    """The rows of a `.jsonl`, `.csv` or `.parquet` table.

    Args:
        path: The table. It has a column `file_name` and a column `labels` or one 0/1 column a class.
        class_names: Which columns are classes where other columns stand beside them.
        separator: What parts the labels of a CSV cell; by default the first of `| ; ,` that occurs in the column.

    Raises:
        ValueError: A row that breaks a rule; file and line are named.
    """
    rows = list(_READERS[path.suffix](path))
    if not rows:
        raise ValueError(f"{path} has no rows")
    columns = None if "labels" in rows[0][1] else _class_columns(path, rows[0][1], class_names)
    if separator is None:
        cells = [row["labels"] for _, row in rows if isinstance(row.get("labels"), str)]
        separator = next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), SEPARATORS[0])
    lines, file_names, image_ids, labels = [], [], [], []
    seen: dict[str, int] = {}
    unit = "row" if path.suffix == ".parquet" else "line"
    for line, row in rows:
        try:
            file_name = _file_name(row)
            image_id = str(row.get("image_id") or file_name)
            for key in {file_name, image_id}:
                if key in seen:
                    raise ValueError(f"{key!r} was already named in {unit} {seen[key]}; an image may occur once")  # noqa: TRY301
                seen[key] = line
            labels.append(_true_columns(row, columns) if columns else _label_names(row, separator))
        except ValueError as error:
            raise ValueError(f"{path}, {unit} {line}: {error}") from error
        lines.append(line)
        file_names.append(file_name)
        image_ids.append(image_id)
    return Metadata(path, lines, file_names, image_ids, labels, columns)


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
            except RecursionError as error:
                raise ValueError(f"{path}, line {number} is nested too deep to be a row") from error
            if not isinstance(row, dict):
                expected = '{"file_name": "a.jpg", "labels": ["cat"]}'
                raise ValueError(f"{path}, line {number}: expected an object such as {expected}")  # noqa: TRY004
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            names = list(reader.fieldnames or ())
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{path}, line 1 names the column {twice[0]!r} twice; give each a name of its own")
            for row in reader:
                if None in row or None in row.values():
                    columns = len(reader.fieldnames or ())
                    raise ValueError(f"{path}, line {reader.line_num}: expected {columns} cells, as the first line has")
                yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(pq.read_table(path).to_pylist(), start=1)


_READERS = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}


def _class_columns(path: Path, row: dict[str, Any], class_names: Sequence[str] | None) -> list[str]:
    columns = list(class_names or (name for name in row if name not in OWN_COLUMNS))
    missing = [name for name in columns if name not in row]
    if not columns or missing:
        wanted = f"columns {missing[:3]}" if missing else "one 0/1 column a class"
        raise ValueError(f"{path} has neither a column 'labels' nor {wanted}; its columns are {', '.join(row)}")
    return columns


def _file_name(row: dict[str, Any]) -> str:
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"file_name is {name!r}, expected an image's path below this folder")
    if leaves_folder(name):
        raise ValueError(f"file_name {name!r} leaves the folder; expected a path below it, without '..'")
    return str(PurePosixPath(name))


def _true_columns(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    wrong = next((name for name in columns if str(row.get(name)) not in TRUTH), None)
    if wrong is not None:
        raise ValueError(
            f"column {wrong!r} holds {row.get(wrong)!r}, expected 0 or 1; name the class columns in labels.json "
            "where other columns stand beside them"
        )
    return [name for name in columns if TRUTH[str(row[name])]]


def _label_names(row: dict[str, Any], separator: str) -> list[str]:
    labels = row.get("labels")
    if isinstance(labels, str):
        if labels.lstrip().startswith("["):  # a list that somebody's tool wrote as text
            try:
                labels = json.loads(labels)
            except RecursionError as error:
                raise ValueError(f"labels are nested too deep: {labels[:40]!r} ...") from error
        else:
            labels = [name.strip() for name in labels.split(separator)] if labels.strip() else []
    if not isinstance(labels, list) or not all(isinstance(name, str) and name.strip() for name in labels):
        raise ValueError(f"labels are {labels!r}, expected a list of class names ([] where there is none)")
    return list(dict.fromkeys(labels))


def load_table(
    path: str | Path,
    image_root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    require_images: bool = True,
    split: str = "train",
) -> Dataset:
    """One CSV, JSON-lines or Parquet table as one split.

    A Parquet table with a column `image` holds the images itself; any other table has a column `file_name`, and
    `labels` or one 0/1 column a class, as in an image folder.

    Args:
        path: The table.
        image_root: What `file_name` is relative to; by default the table's folder.
        class_names: The classes in order; by default those that the table tells.
        require_images: False accepts missing images; their rows hold None as image.
        split: What the split is called.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}")
    if path.suffix == ".parquet" and "image" in pq.read_schema(path).names:
        rows = load_dataset("parquet", data_files={split: str(path)}, split=split)
        return to_schema(rows, class_names=class_names)
    table = read_metadata(path, class_names)
    names = list(class_names or table.class_names())
    paths = present_paths(
        Path(image_root or path.parent), table.file_names, str(path), require_images=require_images, where=table.where
    )
    labels = label_lists_from_matrix(table.presence(names))
    return build_dataset(image_paths(paths), list(table.image_ids), labels, names, split=split)
