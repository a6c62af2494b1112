"""CSV that people open in a spreadsheet, in which no cell runs: what would be a formula begins with an apostrophe."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# With what a cell begins that a spreadsheet computes, or that its import strips off before such a sign (OWASP, "CSV
# Injection"); the wide forms count in East Asian ones.
ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]], line_end: str = "\r\n") -> int:
    """Write rows as CSV; returns how many there were.

    Args:
        file: Opened with `newline=""`.
        rows: The cells of each row.
        line_end: What ends a row.
    """
    writer = csv.writer(file, lineterminator=line_end)
    count = 0
    for row in rows:
        writer.writerow([inactive(cell) for cell in row])
        count += 1
    return count


def inactive(cell: Any) -> Any:
    """A cell that no spreadsheet computes: a text that it would, with an apostrophe before it; numbers as they are."""
    if not isinstance(cell, str) or not cell.startswith(ACTIVE) or _reads_as_number(cell):
        return cell
    return f"'{cell}"


def inactive_name(name: str) -> str:
    """A relative file name that no spreadsheet computes and that leads to the same file: with `./` before it."""
    return f"./{name}" if name.startswith(ACTIVE) else name


def _reads_as_number(text: str) -> bool:
    """Whether a text is a number, which a spreadsheet may well read as one."""
    try:
        float(text)
    except ValueError:
        return False
    return True
