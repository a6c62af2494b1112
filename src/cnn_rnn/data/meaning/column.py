"""A column of labels as it is written: its cells, and the lists that tools wrote into them as text."""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnn_rnn.data.files.raw_table import short
from cnn_rnn.data.photos.file_matching import Where
from cnn_rnn.data.reading import Reading

BESIDE_EACH_OTHER = re.compile(r"(['\"])\s+\1")  # ['cat' 'dog'], as numpy prints an array
DIGITS = re.compile(r"\s*\d+(\.0)?([\s,;|]+\d+(\.0)?)*\s*")


@dataclass(frozen=True)
class Column:
    """The cells of one column, and all that decides how they are read.

    Attributes:
        cells: Texts, lists, or a mixture.
        where: Names a row, for messages.
        reading: What a person decided.
        names: The classes in order, where they are known.
    """

    cells: Sequence[Any]
    where: Where
    reading: Reading
    names: Sequence[str] | None = None

    @cached_property
    def first(self) -> dict[str, int]:
        """The first row of each text."""
        rows: dict[str, int] = {}
        for row, cell in enumerate(self.cells):
            if isinstance(cell, str):
                rows.setdefault(cell, row)
        return rows

    @cached_property
    def parsed(self) -> dict[str, Any]:
        """What a tool wrote as each text, or the text itself; ValueError where one only begins as a list."""
        found: dict[str, Any] = {}
        for text, row in self.first.items():
            try:
                found[text] = _parsed(text)
            except ValueError as error:
                raise ValueError(f"{self.where(row)}: {short(text, 80)} {error}") from error
        plain = [text for text, value in found.items() if value is text and text.strip()]
        if self.names and self.reading.numbers:
            glued = self.reading.numbers == "multi_hot" and len(self.names) > 1  # 0110
            for text in filter(DIGITS.fullmatch, plain):  # others may stand for none
                numbers = re.findall(r"[\d.]+", text)
                found[text] = [float(one) for one in (text.strip() if glued and len(numbers) == 1 else numbers)]
        return found

    @cached_property
    def texts(self) -> dict[str, int]:
        """Each text that is no list, once, and the first row that has it; blank ones stay out."""
        return {text: self.first[text] for text, value in self.parsed.items() if value is text and text.strip()}

    @cached_property
    def lists(self) -> list[tuple[int, Any]]:
        """The cells that are no texts, or lists written as text, each with a row that has it."""
        written = [(self.first[text], value) for text, value in self.parsed.items() if value is not text]
        return [(row, cell) for row, cell in enumerate(self.cells) if not isinstance(cell, str)] + written


def _parsed(text: str) -> Any:
    """A list or object that a tool wrote as text, or the text itself; ValueError where it only begins as one."""
    bare = text.strip()
    if bare == "set()":
        return []
    if not bare.startswith(("[", "{", "(")):
        return text
    if not bare.endswith(("]", "}", ")")):
        if bare.startswith("("):
            return text
        raise ValueError("begins as a list and does not end as one")
    try:
        found = json.loads(bare)
    except RecursionError as error:
        raise ValueError("is nested too deep to be labels") from error
    except json.JSONDecodeError:
        if BESIDE_EACH_OTHER.search(bare):
            raise ValueError('is a list without commas, as numpy prints it; write ["cat", "dog"]') from None
        try:
            found = ast.literal_eval(bare)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            if bare.startswith("("):
                return text
            raise ValueError("is neither a list such as [\"cat\", \"dog\"] nor ['cat', 'dog']") from None
    return list(found) if isinstance(found, tuple | set) else found
