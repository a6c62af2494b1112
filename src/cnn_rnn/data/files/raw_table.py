"""Rows as they are written, column by column, and what every reader of files needs: text, names of photos, headers."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.reading import Reading, told_mark
from cnn_rnn.foundation.file_kinds import kind_of

BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
OLD_ENCODINGS = ("cp1252", "latin2", "cp1251", "mac_roman", "cp932", "gb18030")  # of spreadsheets
COMMENT = "; where it is a title or a comment, remove what stands above the names of the columns"


@dataclass
class RawTable:
    """Rows of one file as they are written.

    Attributes:
        path: The file.
        unit: What a row is counted in: line, row or entry.
        numbers: Of each row, counted from 1.
        columns: The cells of each column, in the order in which the columns come.
        notes: What was found out about the file, for people.
        class_names: The classes in order, where the format tells them.
        is_text: Whether cells are text that a person or a tool wrote, not typed values.
        others: Further columns, which can hold no labels.
    """

    path: Path
    unit: str
    numbers: Sequence[int]
    columns: dict[str, list[Any]]
    notes: list[str] = field(default_factory=list)
    class_names: list[str] | None = None
    is_text: bool = False
    others: list[str] = field(default_factory=list)

    def where(self, row: int) -> str:
        """File and line of a row, by its place in the columns, for messages."""
        return f"{self.path}, {self.unit} {self.numbers[row]}"

    def shown(self) -> str:
        """The columns with their first values, for messages."""
        told = [f"{name!r} ({short(cells[0])})" for name, cells in self.columns.items()] + [*map(repr, self.others)]
        return ", ".join(told[:12]) + (f" and {len(told) - 12} more" if len(told) > 12 else "")


def short(value: Any, most: int = 40) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def as_seen(name: str) -> str:
    """A name as it prints: accents in one writing, blanks and hyphens of one kind, no sign that does not show."""
    composed = unicodedata.normalize("NFC", name)
    shown = (one for one in composed if unicodedata.category(one) != "Cf" and not "\ufe00" <= one <= "\ufe0f")
    return " ".join("".join("-" if one in "\u2010\u2011" else one for one in shown).split())


def is_file(cell: Any) -> bool:
    """Whether a cell names an image file."""
    return isinstance(cell, str) and is_photo_name(cell.strip().replace("\\", "/"))


def decode(path: Path, reading: Reading) -> tuple[str, str]:
    """Text and encoding of a file; ValueError with line, byte and the ways to read it where it is no UTF-8."""
    content = path.read_bytes()
    other = kind_of(content)
    if other and content:
        raise ValueError(f"{path} holds no text: it {other}")
    encoding = reading.encoding or next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
    if not reading.encoding and encoding == "utf-8" and b"\0" in content[:4096]:
        raise ValueError(f"{path}, line 1 holds zero bytes, as UTF-16 without its mark does: data.encoding utf-16-le")
    try:
        return content.decode(encoding), encoding
    except LookupError as error:
        raise ValueError(f"data.encoding {encoding!r} is not known; expected utf-8, cp1252, utf-16, ...") from error
    except UnicodeDecodeError as error:
        mark = b"\n" if b"\n" in content else b"\r"
        line = content.count(mark, 0, error.start) + 1
        start = content.rfind(mark, 0, error.start) + 1
        end = content.find(mark, error.start) % (len(content) + 1)
        raw = content[start : end or len(content)].strip()[:80]
        ways = [
            f"data.encoding {name} reads {shown!r}"
            for name in OLD_ENCODINGS
            if (shown := raw.decode(name, "ignore")).replace("\t", " ").isprintable() and _is_text(content, name)
        ]
        raise ValueError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not {encoding}; "
            f"{', '.join(ways) or 'data.encoding names another one'}"
        ) from error


def _is_text(content: bytes, encoding: str) -> bool:
    """Whether all bytes mean something in an encoding."""
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def check_header(path: Path, line: int, names: Sequence[str], delimiter: str = ",") -> None:
    """Refuse a header that is a row of photos, or that names a column twice."""
    like_a_row = next((name for name in names if is_file(name)), None)
    if like_a_row is not None:
        many = sum(map(is_file, names)) > 1
        turn = "; where photos are columns, turn the table over, so that each is a row" if many else ""
        parted = "" if delimiter == "," else f" (parted by {told_mark(delimiter)}, as the rows are)"
        raise ValueError(
            f"{path}, line {line}: {like_a_row!r} is a photo, not the name of a column; put a first line above it, "
            f"such as {delimiter.join(['file_name', 'labels'])}{parted}, a name for each of the {len(names)} columns"
            f"{turn}"
        )
    if len(set(map(as_seen, names))) < len(names):
        ((twice, _),) = Counter(map(as_seen, names)).most_common(1)
        raise ValueError(f"{path}, line {line}: the column {twice!r} comes twice; rename or remove one of them")
