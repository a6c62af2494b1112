"""Labels beside photos: `metadata.jsonl`, a line a photo, in the layout that training reads."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_rnn.data.image_folder import METADATA_NAMES
from cnn_rnn.foundation.folder_lock import LOCK, one_at_a_time
from cnn_rnn.foundation.whole_files import write_text

METADATA = METADATA_NAMES[0]
WRITING = threading.Lock()  # persons who label the same folder on one page save one after the other


@dataclass(frozen=True)
class SavedLabels:
    """The rows of a `metadata.jsonl`.

    Attributes:
        rows: Every row as it stands, by `file_name`.
    """

    rows: dict[str, dict[str, Any]]

    @property
    def labels(self) -> dict[str, list[str]]:
        """The labels of every photo, by `file_name`."""
        return {name: list(row["labels"]) for name, row in self.rows.items()}


def read_saved(folder: Path) -> SavedLabels:
    """The rows of a folder's `metadata.jsonl`; none where there is no such file.

    Raises:
        ValueError: A line is no row of names and labels, or the folder has its labels in another file.
    """
    others = [name for name in METADATA_NAMES[1:] if (folder / name).is_file()]
    if others:
        raise ValueError(f"{folder} has its labels in {others[0]}; the page writes {METADATA}: move that file away")
    path = folder / METADATA
    rows: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return SavedLabels(rows)
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        except RecursionError as error:
            raise ValueError(f"{path}, line {number} is nested too deep to be a row") from error
        labels = row.get("labels") if isinstance(row, dict) else None
        named = isinstance(row, dict) and isinstance(row.get("file_name"), str)
        if not named or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            expected = '{"file_name": "a.jpg", "labels": ["cat"]}'
            raise ValueError(f"{path}, line {number}: expected an object such as {expected}")
        rows[row["file_name"]] = row
    return SavedLabels(rows)


def write_saved(folder: Path, labels: Mapping[str, list[str]]) -> Path:
    """Write a folder's `metadata.jsonl`, whole or not at all; rows of other photos stay as they are.

    Args:
        folder: Where the photos lie.
        labels: Of each photo, by its path below the folder.

    Raises:
        ValueError: The file that is there is of another kind.
    """
    with WRITING, one_at_a_time(folder / LOCK):  # of pages of other processes too
        rows = read_saved(folder).rows
        for name, own in labels.items():
            rows[name] = rows.get(name, {"file_name": name}) | {"labels": own}
        path = folder / METADATA
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()))
    return path
