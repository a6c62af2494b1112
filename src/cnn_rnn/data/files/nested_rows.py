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
    nested = {name for _, row in rows for name, cell in row.items() if _keys(cell)}
    other = {name for _, row in rows for name, cell in row.items() if cell not in (None, []) and not _keys(cell)}
    nested -= other | {name for _, row in rows for name, cell in row.items() if _keys(cell) == {"choices"}}
    if not nested or not levels:
        return list(rows)
    taken = {name for _, row in rows for name in row}
    names: dict[str, dict[str, str]] = {}
    for column in nested:
        cells = [row[column] for _, row in rows if row.get(column)]
        keys = list(
            dict.fromkeys(key for cell in cells for one in (cell if isinstance(cell, list) else [cell]) for key in one)
        )
        flags = all(isinstance(cell, dict) and all(isinstance(one, bool) for one in cell.values()) for cell in cells)
        bare = flags and not taken & set(keys)
        names[column] = {key: key if bare else f"{column}.{key}" for key in keys}
    flat = [(number, _flat(row, names)) for number, row in rows]
    return without_nesting(flat, levels - 1)


def _keys(cell: Any) -> set[str]:
    """The keys of an object or of a list of objects; none of anything else."""
    if isinstance(cell, dict):
        return set(cell)
    if isinstance(cell, list) and cell and all(isinstance(one, dict) for one in cell):
        return {key for one in cell for key in one}
    return set()


def _flat(row: dict[str, Any], names: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A row with the values of its objects under the names that they have by column and key."""
    cells: dict[str, Any] = {}
    for column, cell in row.items():
        if column not in names:
            cells[column] = cell
        elif isinstance(cell, list):
            cells |= {name: [one[key] for one in cell if key in one] for key, name in names[column].items()}
        else:
            cells |= {name: (cell or {}).get(key) for key, name in names[column].items()}
    return cells
