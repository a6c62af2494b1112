"""Tables with a row for each label of a photo, with or without a confidence, as Open Images has them."""

import math
from typing import Any

from cnn_rnn.data.files.raw_table import RawTable
from cnn_rnn.data.reading import WHOLE, Reading, mark_of, told_mark

from .columns import Roles
from .marks import HARD_MARKS, Candidate, parted_by

COLUMN_OF = {
    "present": "labels",
    "absent": "not_labels",
    "unknown": "unknown",
}  # by what a row says of its label


def join_label_rows(table: RawTable, roles: Roles, reading: Reading) -> RawTable:
    """A row a photo, its labels as lists: present, verified absent (confidence 0) and unknown.

    Raises:
        ValueError: A confidence is neither 0 nor 1 and nothing says from where on it counts, or two rows disagree.
    """
    if len(roles.labels) != 1:
        raise ValueError(
            f"{table.path}: rows of one label each need one column of labels; the columns are {table.shown()}"
        )
    files, cells = table.columns[roles.file], table.columns[roles.labels[0]]
    kept = [name for name in (roles.image_id, roles.split) if name]
    joined: dict[Any, dict[str, Any]] = {}
    numbers: list[int] = []
    said: dict[tuple[Any, str], tuple[str, int]] = {}
    alone = {str(cell).strip() for cell in cells}
    for row, (file, cell) in enumerate(zip(files, cells, strict=True)):
        kind = _said_of_label(table, roles, reading, row)
        if file not in joined:
            numbers.append(table.numbers[row])
            own = {name: table.columns[name][row] for name in kept}
            joined[file] = {roles.file: file, **own} | {name: [] for name in COLUMN_OF.values()}
        if cell is None or not str(cell).strip():
            continue
        for name in _parted(str(cell), table.where(row), alone, reading):
            before, first = said.setdefault((file, name), (kind, row))
            if before != kind:
                raise ValueError(
                    f"{table.where(row)}: {name!r} of {file!r} is {kind}, but {before} in {table.unit} "
                    f"{table.numbers[first]}; keep one of them"
                )
            if first == row:
                joined[file][COLUMN_OF[kind]].append(name)
    told = f"{len(files):,} rows of one label each, of {len(joined):,} photos"
    if roles.confidence:
        least = "1" if reading.least_confidence is None else f"{reading.least_confidence:g} and more"
        told += f"; confidence {least}: present, 0: absent"
    if reading.separator is not None:
        told += f"; {Candidate(mark_of(reading.separator) or WHOLE).told} (data.separator)"
    roles.notes.append(told)
    *roles.labels, roles.not_labels, roles.unknown = COLUMN_OF.values()
    roles.difficult = None
    columns = {name: [row[name] for row in joined.values()] for name in next(iter(joined.values()))}
    return RawTable(table.path, table.unit, numbers, columns, table.notes, table.class_names)


def _parted(cell: str, where: str, alone: set[str], reading: Reading) -> list[str]:
    """The label of a row, or several where `data.separator` says so; ValueError where it looks like several."""
    mark, label = mark_of(reading.separator), cell.strip()
    if mark is not None:
        return [label] if mark == WHOLE else parted_by(mark)(label)
    if label.startswith(("{", "[")):
        raise ValueError(
            f"{where}: {label!r} is a list or an object, expected one label of the photo; write its name alone, or "
            "data.separator none for a label of that name"
        )
    for mark in HARD_MARKS:
        names = parted_by(mark)(label)
        if names != [label] and (mark != "," or alone.intersection(names)):
            raise ValueError(
                f"{where}: {label!r} could be the labels {names} (data.separator {told_mark(mark)}) or one label "
                "(data.separator none)"
            )
    return [label]


def _said_of_label(table: RawTable, roles: Roles, reading: Reading, row: int) -> str:
    """What a row says of its label by its confidence: present, absent or unknown."""
    if roles.confidence is None:
        return "present"
    cell = table.columns[roles.confidence][row]
    try:
        value = float(cell.replace(",", ".") if isinstance(cell, str) else cell)  # 0,9 of a spreadsheet
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(
            f"{table.where(row)}: column {roles.confidence!r} holds {cell!r}, expected a number from 0 to 1; where "
            "it is no confidence, data.columns '{confidence: none}'"
        )
    least = reading.least_confidence
    if least is None and value not in {0.0, 1.0}:
        raise ValueError(
            f"{table.where(row)}: confidence {cell} is neither 0 (absent) nor 1 (present): data.least_confidence "
            "says from where on a label counts as present; below it, but above 0, it is unknown"
        )
    if value >= (1.0 if least is None else least):
        return "present"
    return "absent" if value == 0 else "unknown"
