"""Every step of the persons who label a folder, a line each, at the end of a file that nobody ever writes anew.

What is known follows from the lines in their order, but for those that a later one takes back. A line is on the disk
before the step counts; one that a kill cut off counts for nothing. Two pages of one folder write into the same file,
and each reads what the other wrote.
"""

import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

from cnn_rnn.foundation.broken_files import reason
from cnn_rnn.foundation.folder_lock import LOCK, one_at_a_time
from cnn_rnn.foundation.json_lines import read_json
from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.foundation.opened_folder import check_place, place_of
from cnn_rnn.foundation.whole_files import named_on_failure

STEPS_FILE = "steps.jsonl"


@dataclass(frozen=True)
class Step:
    """What one person did at once.

    Attributes:
        said: By photo, labels that are there (True), not there (False), or open again (None).
        accepted: Photos whose labels the person has said to be all of them (True), or opened again (False).
        renamed: A label and what it is called from now on, which may be another label already.
        takes_back: The step that does not count any more.
        rows: By photo, its labels as the label file beside the photos said them when it was read or written last.
        actions: What it cost: a press or click is one.
        by: Who did it.
        at: When, in seconds since 1970; 0 where nobody knows.
        name: What another step calls it.
    """

    said: Mapping[str, Mapping[str, bool | None]] = field(default_factory=dict)
    accepted: Mapping[str, bool] = field(default_factory=dict)
    renamed: tuple[str, str] | None = None
    takes_back: str | None = None
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    actions: int = 1
    by: str = ""
    at: int = field(default_factory=lambda: int(time.time()))
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    def line(self) -> str:
        """The step as a line of the file."""
        return json.dumps({key: value for key, value in self.__dict__.items() if value not in ({}, None, "")}) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Self:
        """The step that a line tells.

        Raises:
            ValueError: It tells none.
        """
        try:
            told = read_json(line)
            if foreign := told.keys() - {entry.name for entry in fields(cls)}:
                raise ValueError(f"{min(foreign)!r} is new: a later version wrote it")  # noqa: TRY301
            renamed, takes_back = told.get("renamed"), told.get("takes_back")
            said = {photo: dict(labels.items()) for photo, labels in told.get("said", {}).items()}
            accepted = dict(told.get("accepted", {}).items())
            if renamed is not None:
                renamed = (str(renamed[0]), str(renamed[1]))
            rows = {photo: [str(label) for label in labels] for photo, labels in told.get("rows", {}).items()}
            values = [value for labels in said.values() for value in labels.values()]
            if not all(value in (True, False, None) for value in [*values, *accepted.values()]):
                raise ValueError("a label is true, false or null")  # noqa: TRY301
            return cls(
                said, accepted, renamed, None if takes_back is None else str(takes_back), rows,
                int(told.get("actions", 1)), str(told.get("by", "")), int(told.get("at", 0)), str(told["name"]),
            )  # fmt: skip
        except Exception as error:  # of whatever stands where an object of these should
            raise ValueError(f"expected a step such as {{'name': ..., 'said': ...}}: {reason(error)}") from error


class Journal:
    """The steps of a folder, in memory alone where it has none.

    Args:
        folder: Where the file lies; None to keep nothing.

    Raises:
        ValueError: A line of the file is no step; the message names it.
        OSError: The disk does not let it be read or written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = None if folder is None else folder / STEPS_FILE
        self.steps: list[Step] = []
        self._read, self._lines = 0, 0
        self._lock = threading.RLock()
        if folder is not None:
            folder.mkdir(exist_ok=True)
            self._opened = place_of(folder)
        self.read()

    def add(self, step: Step) -> None:
        """Write a step down; when this returns, nothing but the disk can lose it, and where it fails nothing counts.

        Raises:
            OSError: The disk did not take it, or it is not the file that was read.
            ValueError: Somebody else wrote what is no step.
        """
        with self._lock:
            if self.path is None:
                self.steps.append(step)
                return
            check_place(self.path.parent, self._opened)
            with named_on_failure(self.path), one_at_a_time(self.path.parent / LOCK):
                self.read()
                whole = self.path.stat().st_size if self.path.exists() else 0
                if whole < self._read:
                    raise OSError(f"{self.path} is shorter than it was: put it back, or start the page again")
                torn = b"\n" if self._read < whole else b""  # a line that a kill cut off ends here
                _append(self.path, torn + step.line().encode(), whole)
                self.read()

    @told_in_one_line()
    def read(self) -> bool:
        """Read what others wrote since; whether there was anything.

        Raises:
            ValueError: A line is no step; the message names it.
        """
        with self._lock:
            if self.path is None or not self._is_there() or self.path.stat().st_size <= self._read:
                return False
            with self.path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            found = []
            for number, line in enumerate(whole.split(b"\n")[:-1], start=self._lines + 1):
                there = line.rstrip(b"\0")  # which a power cut may leave
                try:
                    found.append(Step.of_line(there.decode()))
                except ValueError as error:
                    if not _is_torn(there):
                        raise ValueError(f"{self.path}, line {number}: {error}; mend or remove it") from error
            self.steps += found
            self._lines += whole.count(b"\n")
            self._read += len(whole)
            return bool(whole)

    def _is_there(self) -> bool:
        """Whether the file lies in the folder that was opened, whose disk may be away."""
        try:
            return self.path is not None and place_of(self.path.parent) == self._opened and self.path.exists()
        except OSError:
            return False

    def last_of(self, by: str) -> Step | None:
        """The last step of a person that counts and takes nothing back."""
        gone = {step.takes_back for step in self.steps}
        return next(
            (step for step in reversed(self.steps) if step.by == by and step.name not in gone and not step.takes_back),
            None,
        )


def _append(path: Path, line: bytes, whole: int) -> None:
    """Write a line at the end of a file of so many bytes; where the disk does not take it all, none of it stays."""
    with path.open("ab", buffering=0) as file:
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def _is_torn(line: bytes) -> bool:
    """Whether a line is empty, or the beginning of one, as a kill or a power cut leaves it."""
    line = line.strip()
    return not line or (line.startswith(b"{") and (not line.endswith(b"}") or line.count(b"{") > line.count(b"}")))
