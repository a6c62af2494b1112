"""Every step of the persons who label a folder, a line each, at the end of a file that nobody ever writes anew.

What is known follows from the lines in their order, but for those that a later one takes back. A line is on the disk
before the step counts; one that a kill cut off counts for nothing. Two pages of one folder write into the same file,
and each reads what the other wrote.
"""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cnn_rnn.foundation.folder_lock import one_at_a_time
from cnn_rnn.foundation.whole_files import named_on_failure

FILE, LOCK = "steps.jsonl", ".lock"


@dataclass(frozen=True)
class Step:
    """What one person did at once.

    Attributes:
        said: By photo, labels that are there (True), not there (False), or open again (None).
        accepted: Photos whose labels the person has said to be all of them (True), or opened again (False).
        renamed: A label and what it is called from now on, which may be another label already.
        takes_back: The step that does not count any more.
        actions: What it cost: a press or click is one.
        by: Who did it.
        name: What another step calls it.
    """

    said: Mapping[str, Mapping[str, bool | None]] = field(default_factory=dict)
    accepted: Mapping[str, bool] = field(default_factory=dict)
    renamed: tuple[str, str] | None = None
    takes_back: str | None = None
    actions: int = 1
    by: str = ""
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
            told: Any = json.loads(line)
            renamed = told.get("renamed")
            said = {str(photo): dict(labels) for photo, labels in told.get("said", {}).items()}
            accepted = dict(told.get("accepted", {}))
            if renamed is not None:
                renamed = (str(renamed[0]), str(renamed[1]))
            values = [value for labels in said.values() for value in labels.values()]
            if not all(value in (True, False, None) for value in [*values, *accepted.values()]):
                raise ValueError("a label is true, false or null")  # noqa: TRY301
            return cls(
                said, accepted, renamed, told.get("takes_back"), int(told.get("actions", 1)), str(told.get("by", "")),
                str(told["name"]),
            )  # fmt: skip
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
            raise ValueError(f"expected a step such as {{'name': ..., 'said': ...}}: {error}") from error


class Journal:
    """The steps of a folder, in memory alone where it has none.

    Args:
        folder: Where the file lies; None to keep nothing.

    Raises:
        ValueError: A line of the file is no step; the message names it.
        OSError: The disk does not let it be read or written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = None if folder is None else folder / FILE
        self.steps: list[Step] = []
        self._read, self._lines = 0, 0
        self._lock = threading.RLock()
        if folder is not None:
            folder.mkdir(exist_ok=True)
        self.read()

    def add(self, step: Step) -> None:
        """Write a step down; when this returns, nothing but the disk can lose it."""
        with self._lock:
            if self.path is None:
                self.steps.append(step)
                return
            with one_at_a_time(self.path.parent / LOCK), named_on_failure(self.path):
                self.read()
                with self.path.open("ab") as file:
                    whole = self.path.stat().st_size
                    torn = b"\n" if self._read < whole else b""  # a line that a kill cut off ends here
                    file.write(torn + step.line().encode())
                    file.flush()
                    os.fsync(file.fileno())
                self.read()

    def read(self) -> bool:
        """Read what others wrote since; whether there was anything."""
        with self._lock:
            if self.path is None or not self.path.exists() or self.path.stat().st_size == self._read:
                return False
            with self.path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            for line in whole.split(b"\n")[:-1]:
                self._lines += 1
                try:
                    self.steps.append(Step.of_line(line.decode()))
                except (ValueError, UnicodeDecodeError) as error:
                    if not _is_torn(line):
                        raise ValueError(f"{self.path}, line {self._lines}: {error}; mend or remove it") from error
            self._read += len(whole)
            return bool(whole)

    def last_of(self, by: str) -> Step | None:
        """The last step of a person that counts and takes nothing back."""
        gone = {step.takes_back for step in self.steps}
        return next(
            (step for step in reversed(self.steps) if step.by == by and step.name not in gone and not step.takes_back),
            None,
        )


def _is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of one, as a kill leaves it, or empty."""
    return not line.strip() or (line.startswith(b"{") and not line.endswith(b"}"))
