"""Labels beside photos: `metadata.jsonl`, a line a photo, in the layout that training reads."""

import json
import os
import posixpath
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_rnn.data.own_photos.image_folder import METADATA_NAMES
from cnn_rnn.foundation.folder_lock import LOCK, one_at_a_time
from cnn_rnn.foundation.json_lines import read_json_lines
from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.foundation.opened_folder import Place, check_place
from cnn_rnn.foundation.whole_files import whole_file

METADATA = METADATA_NAMES[0]
WRITING = threading.Lock()  # persons who label the same folder on one page save one after the other
ABSENT_COLUMNS = ("not_labels", "not_label")  # columns of labels that are verified absent, as training reads them
UNDECIDED = ("unknown", "unknown_labels", "difficult")  # of labels that nobody looked at, or that are hard to see
ROW = '{"file_name": "a.jpg", "labels": ["cat"]}'
TWICE = f"several rows of {METADATA} are of this photo: make them one"


@dataclass(frozen=True)
class SavedLabels:
    """The rows of a `metadata.jsonl`.

    Attributes:
        folder: Where it lies.
        rows: Every row as it stands, in order.
    """

    folder: Path
    rows: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """What photo each row is of, by its one name below the folder."""
        return [photo_name(self.folder, row["file_name"]) for row in self.rows]

    @property
    def labels(self) -> dict[str, list[str]]:
        """The labels of every photo that has one row, by its name."""
        twice = self.twice
        return {name: list(row["labels"]) for name, row in zip(self.names, self.rows, strict=True) if name not in twice}

    @property
    def twice(self) -> set[str]:
        """The photos that have several rows."""
        return {name for name, rows in Counter(self.names).items() if rows > 1}


@dataclass(frozen=True)
class DecidedLabels:
    """What a person decided of a photo.

    Attributes:
        labels: All its labels.
        ruled_out: Labels that the person said are not there.
    """

    labels: Sequence[str]
    ruled_out: Sequence[str] = ()

    def replaces(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with what was decided, in place of whatever any of its columns said of the same labels."""
        decided = {*self.labels, *self.ruled_out}
        row = row | {"labels": list(self.labels)}
        for column in (*ABSENT_COLUMNS, *UNDECIDED):
            if column in row and not _is_flag(column, row[column]):
                row[column] = [label for label in _as_list(row[column]) if label not in decided]
        absent = next((column for column in ABSENT_COLUMNS if column in row), None)
        if absent is not None:
            row[absent] += [label for label in self.ruled_out if label not in row[absent]]
        return row


def photo_name(folder: Path, name: str) -> str:
    r"""The one name of a photo below a folder, for `./a.jpg`, its full path and, where no file is so called, `x\a`."""
    if "\\" in name and not os.path.lexists(folder / name):
        name = name.replace("\\", "/")
    name = posixpath.normpath(name)
    return os.path.relpath(name, folder.absolute()) if posixpath.isabs(name) else name


@told_in_one_line()
def read_saved(folder: Path) -> SavedLabels:
    """The rows of a folder's `metadata.jsonl`; none where there is no such file.

    Raises:
        ValueError: A line is no row of names and labels, or the folder has its labels in another file.
    """
    others = [name for name in METADATA_NAMES[1:] if (folder / name).is_file()]
    if others:
        raise ValueError(f"{folder} has its labels in {others[0]}; the page writes {METADATA}: move that file away")
    path = folder / METADATA
    if not path.is_file():
        return SavedLabels(folder, [])
    return SavedLabels(folder, [_row(path, number, row) for number, row in read_json_lines(path, ROW)])


def _row(path: Path, number: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row of a line; ValueError where it is none of names and labels."""
    labels = row.get("labels")
    named = isinstance(row.get("file_name"), str)
    if not named or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{path}, line {number}: expected an object such as {ROW}")
    for column in (*ABSENT_COLUMNS, *UNDECIDED):
        if (
            column in row
            and not _is_flag(column, row[column])
            and not all(isinstance(label, str) for label in _as_list(row[column]))
        ):
            raise ValueError(f"{path}, line {number}: expected a list of labels in {column}, not {row[column]!r}")
    return row


def _is_flag(column: str, cell: Any) -> bool:
    """Whether a cell says something of the whole photo, 0 or 1, and lists no labels."""
    return column in UNDECIDED and isinstance(cell, int | float)


def _as_list(cell: Any) -> list[Any]:
    """The labels of a cell that may hold none or a single one."""
    if cell is None or cell == "":
        return []
    return list(cell) if isinstance(cell, list) else [cell]


def write_saved(
    folder: Path, decided: Mapping[str, Sequence[str] | DecidedLabels], opened: Place | None = None
) -> dict[str, str]:
    """Write a folder's `metadata.jsonl`, whole or not at all; rows of other photos stay as they are.

    Args:
        folder: Where the photos lie; it is never made.
        decided: Of each photo its labels or all that was decided, by its path below the folder.
        opened: Which folder it must be, whatever lies under its name by now.

    Returns:
        Why photos were left out, by their names.

    Raises:
        FolderGoneError: It is another folder, or none.
        ValueError: The file that is there is of another kind.
    """
    check_place(folder, opened)
    with WRITING, one_at_a_time(folder / LOCK):  # of pages of other processes too
        saved = read_saved(folder)
        names = saved.names
        rows, left = list(saved.rows), {}
        places = {name: index for index, name in enumerate(names)}
        twice = saved.twice
        for name, own in decided.items():
            decision = own if isinstance(own, DecidedLabels) else DecidedLabels(own)
            if why := TWICE if name in twice else why_not_text(name):
                left[name] = why
            elif name in places:
                rows[places[name]] = decision.replaces(rows[places[name]])
            else:
                rows.append({"file_name": name, "labels": list(decision.labels)})
        with whole_file(folder / METADATA, make_folder=False) as temporary:
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8", newline="\n")
            check_place(folder, opened)
        check_place(folder, opened)
    return left


def why_not_text(name: str) -> str:
    """Why a file's name cannot stand in a text; empty where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it, for training cannot read it"
    return ""


def _line(row: dict[str, Any]) -> str:
    """A row as a line; where it held half of a sign already, as JSON can say it, in ASCII."""
    line = json.dumps(row, ensure_ascii=False)
    return (json.dumps(row) if why_not_text(line) else line) + "\n"
