"""Tables with a row for each label of a photo, with or without a confidence, as Open Images has them."""

from typing import Any

from cnn_rnn.data.files.raw_table import RawTable
from cnn_rnn.data.reading import WHOLE, Reading, mark_of, told_mark

from .label_cells import HARD_MARKS, parted_by
from .label_columns import Roles


def join_label_rows(table: RawTable, roles: Roles, reading: Reading) -> RawTable:
    """A row a photo, its labels as lists: present, verified absent (confidence 0) and unknown.

    Raises:
        ValueError: A confidence is neither 0 nor 1 and nothing says from where on it counts, or two rows disagree.
    """
    if roles.labels is None or roles.more_labels:
        raise ValueError(
            f"{table.path}: rows of one label each need one column of labels; the columns are {table.shown()}"
        )
    joined: dict[Any, dict[str, Any]] = {}
    first: dict[Any, int] = {}
    said: dict[tuple[Any, str], tuple[str, int]] = {}
    alone = {str(cell).strip() for _, cell in table.cells(roles.labels)}
    for number, row in table.rows:
        file, label = row.get(roles.file), row.get(roles.labels)
        kind = _kind(table, roles, reading, number, row)
        if file not in joined:
            first[file] = number
            own = {name: row.get(name) for name in (roles.image_id, roles.split) if name}
            joined[file] = {roles.file: file, **own, roles.labels: [], "not_labels": [], "unknown": []}
        if label is None or not str(label).strip():
            continue
        for name in _parted(str(label), table.where(number), alone, reading):
            before = said.setdefault((file, name), (kind, number))
            if before[0] != kind:
                raise ValueError(
                    f"{table.where(number)}: {name!r} of {file!r} is {_TOLD[kind]}, but {_TOLD[before[0]]} in "
                    f"{table.unit} {before[1]}; keep one of them"
                )
            listed = joined[file][roles.labels if kind == "labels" else kind]
            if name not in listed:
                listed.append(name)
    roles.not_labels, roles.unknown = "not_labels", "unknown"
    told = f"{len(table.rows):,} rows of one label each, of {len(joined):,} photos"
    if roles.confidence:
        least = "1" if reading.least_confidence is None else f"{reading.least_confidence:g} and more"
        told += f"; confidence {least}: present, 0: absent"
    rows = [(first[file], row) for file, row in joined.items()]
    roles.notes.append(told)
    return RawTable(table.path, table.unit, rows, list(rows[0][1]), table.notes, table.class_names)


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


_TOLD = {"labels": "present", "not_labels": "absent", "unknown": "unknown"}


def _kind(table: RawTable, roles: Roles, reading: Reading, number: int, row: dict[str, Any]) -> str:
    """What a row says of its label by its confidence: `labels`, `not_labels` or `unknown`."""
    if roles.confidence is None:
        return "labels"
    cell = row.get(roles.confidence)
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(
            f"{table.where(number)}: column {roles.confidence!r} holds {cell!r}, expected a number from 0 to 1; where "
            "it is no confidence, data.columns '{confidence: none}'"
        ) from None
    least = reading.least_confidence
    if least is None and value not in {0.0, 1.0}:
        raise ValueError(
            f"{table.where(number)}: confidence {cell} is neither 0 (absent) nor 1 (present): data.least_confidence "
            "says from where on a label counts as present; below it, but above 0, it is unknown"
        )
    if value >= (1.0 if least is None else least):
        return "labels"
    return "not_labels" if value == 0 else "unknown"
