"""Rows of objects as a table, what is nested in them as columns of their own."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .raw_table import RawTable

NumberedRows = Sequence[tuple[int, dict[str, Any]]]
DEEPEST = 8  # levels; what lies deeper stays an object


def table_of_rows(path: Path, unit: str, rows: Iterable[tuple[int, dict[str, Any]]]) -> RawTable:
    """The rows as a table; its columns in the order in which rows first name them, those of nested objects dotted."""
    kept = without_nesting(list(rows))
    names = dict.fromkeys(name for _, row in kept for name in row)
    columns = {name: [row.get(name) for _, row in kept] for name in names}
    return RawTable(path, unit, [number for number, _ in kept], columns)


def without_nesting(rows: NumberedRows, levels: int = DEEPEST) -> list[tuple[int, dict[str, Any]]]:
    """The rows with each object's values as columns `name.key`, those of a list of objects as lists.

    An object of truth values alone has a column a key, called as the key is, where no other column is. What is an
    object in some rows only stays as it is, and so does Label Studio's `{"choices": [...]}`.
    """
    cells: dict[str, list[Any]] = {}  # of each column, but empty ones
    for _, row in rows:
        for name, cell in row.items():
            cells.setdefault(name, []).extend([] if cell in (None, []) else [cell])
    names: dict[str, dict[str, str]] = {}
    for column, own in cells.items():
        keys = [_keys(cell) for cell in own]
        if all(keys) and any(keys) and {"choices"} not in map(set, keys):
            flags = all(isinstance(cell, dict) and all(isinstance(one, bool) for one in cell.values()) for cell in own)
            every = dict.fromkeys(key for one in keys for key in one)
            names[column] = {
                key: key if flags and cells.keys().isdisjoint(every) else f"{column}.{key}" for key in every
            }
    if not names or not levels:
        return list(rows)
    return without_nesting([(number, _flat(row, names)) for number, row in rows], levels - 1)


def _keys(cell: Any) -> list[str]:
    """The keys of an object or of a list of objects; none of anything else."""
    objects = cell if isinstance(cell, list) else [cell]
    return [key for one in objects for key in one] if all(isinstance(one, dict) for one in objects) else []


def _flat(row: dict[str, Any], names: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A row with the values of its objects under the names that they have by column and key."""
    cells: dict[str, Any] = {}
    for column, cell in row.items():
        if column not in names:
            cells[column] = cell
        elif isinstance(cell, list):
            cells |= {name: _joined([one[key] for one in cell if key in one]) for key, name in names[column].items()}
        else:
            cells |= {name: (cell or {}).get(key) for key, name in names[column].items()}
    return cells


def _joined(values: list[Any]) -> list[Any]:
    """What several objects hold under one key; where each holds a list of objects or texts, one list of all."""
    nested = all(isinstance(own, list) and all(isinstance(one, dict | str) for one in own) for own in values)
    return [one for own in values for one in own] if nested else values
