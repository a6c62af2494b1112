"""What a column of labels could mean besides: numbers that are ids or a 0 or 1 for each class, names that are alike."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from cnn_rnn.data.files.raw_table import as_seen, short
from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.reading import NO, YES

from .column import Column
from .marks import CONJUNCTIONS

FLAGS = re.compile(r"^[\s\[(]*[01](\.0)?([\s,;|]+[01](\.0)?)*[\s\])]*$|^[01]{2,}$")


def is_numbers(cell: Any) -> bool:
    """Whether a cell is a list of numbers, at least one."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(one, int | float) for one in cell)


def has_flags(column: Column) -> bool:
    """Whether the lists of numbers among the cells hold a 0 or 1 for each class, not class ids.

    As ids, a list as long as there are classes, of 0 and 1 alone, would name a class twice where there are more than
    two.

    Raises:
        ValueError: Both could be meant: there are two classes, or some lists fit and others do not.
    """
    lists = [(row, cell) for row, cell in column.lists if is_numbers(cell) or cell == []]
    count = len(column.names or ())
    if not count or not any(one for _, one in lists):
        return False
    if column.reading.numbers is not None:
        return column.reading.numbers == "multi_hot"
    fitting = [one for _, one in lists if len(one) == count and set(one) <= {0, 1}]
    repeats = [one for one in fitting if len(set(one)) < len(one)]
    as_ids, as_flags = not repeats, len(fitting) == len(lists)
    if as_ids != as_flags or any(isinstance(number, bool) for _, one in lists for number in one):
        return as_flags
    other = next((one for _, one in lists if len(one) != count or not set(one) <= {0, 1}), None)
    beside = "" if other is None else f", and {short(list(other))} stands beside it"
    raise ValueError(
        f"{column.where(lists[0][0])}: labels are {short(list((repeats or fitting)[0]), 80)}: a 0 or 1 for each of "
        f"{count} classes, or the ids of classes{beside}; data.numbers multi_hot or ids decides"
    )


def named_numbers(numbers: Sequence[Any], class_names: Sequence[str], multi_hot: bool) -> list[str]:
    """The labels that a list of numbers names, as class ids or as a 0 or 1 for each class."""
    count = len(class_names)
    if multi_hot:
        if len(numbers) != count or not set(numbers) <= {0, 1}:
            raise ValueError(
                f"labels are {short(list(numbers), 80)}, expected a 0 or 1 for each of the {count} classes"
            )
        return [name for name, value in zip(class_names, numbers, strict=True) if value]
    if not all(float(one).is_integer() and 0 <= one < count for one in numbers):
        raise ValueError(
            f"labels are {short(list(numbers), 80)}, expected class ids from 0 to {count - 1}, or a 0 or 1 for each of "
            f"the {count} classes"
        )
    return [class_names[int(one)] for one in numbers]


def refuse_flags(column: Column) -> None:
    """Refuse texts such as 0,1,0 or TRUE, which say nothing without the classes' names."""
    texts, names = column.texts, column.names
    text, row = next(iter(texts.items()), ("", 0))
    if texts and all(one.strip().casefold() in (YES | NO) - {"0", "1"} for one in texts):
        raise ValueError(
            f"{column.where(row)}: {text!r} could be a label, or say yes or no of one class called as the column is: "
            "data.columns '{classes: [COLUMN]}' (yes or no), or data.class_names with the labels"
        )
    if texts and all(FLAGS.match(one.strip()) for one in texts) and not set(names or ()) & {"0", "1"}:
        length = len(re.findall(r"[01](?:\.0)?", text))
        known = f"{len(names)} are known" if names else "give them in labels.json or data.class_names"
        raise ValueError(
            f"{column.where(row)}: {text!r} could be labels called '0' and '1', or a 0 or 1 for each of {length} "
            f"classes whose names are not in the file ({known}); data.class_names with data.numbers multi_hot, or "
            "ids, reads them; for labels of these names, name '0' and '1' in data.class_names"
        )


WITH_SCORE = re.compile(r".*\S\s*[:=(]\s*(0?\.\d+|[01](\.\d+)?)\)?")  # cat:0.9, cat (0.9)
SPREADSHEET_ERROR = re.compile(r"#N/?[AV]|#GETTING_DATA|#\u00a1?[A-Z0-9/_]+[!?]|Err:\d{3}")  # #REF!, #DIV/0!, #NAME?
DATE = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?|\d\d:\d\d:\d\d")  # as the cells of a workbook tell it
QUOTED = re.compile(r"(['\"]).+\1")
JOINING = "+/&:_-#"  # what may stand between labels, and within one
A_CLASS = "name it in labels.json or data.class_names for a class"


def choose_spelling(column: Column, rows: Sequence[Sequence[str] | None]) -> tuple[dict[str, str], str]:
    """The usual spelling of labels that differ in case alone, by each other one, and how to tell that.

    They are two readings of the whole column: a class each, or one. The names of the classes, where they are known,
    decide where one of the two alone fits them.

    Args:
        column: The column.
        rows: The labels of each row.

    Raises:
        ValueError: Both fit, and nobody decided.
    """
    known, counts = frozenset(column.names or ()), Counter(label for labels in rows for label in labels or ())
    spelt = defaultdict(list)
    for label in counts:
        spelt[as_seen(label).casefold()].append(label)
    alike = [group for group in spelt.values() if len(group) > 1 and not set(group) <= known]
    usual = {label: max(group, key=lambda one: (one in known, counts[one])) for group in alike for label in group}
    if not alike or column.reading.case == "keep":
        return {}, f"labels of the same letters are several: {abbreviate(alike[0])} (data.case)" if alike else ""
    others = abbreviate([f"{label!r} as {own!r}" for label, own in usual.items() if label != own])
    if column.reading.case == "ignore":
        return usual, f"labels of the same letters are one: {others} (data.case)"
    if known and known.issuperset(usual.get(label, label) for label in counts):
        return usual, f"labels of the same letters are one: {others}, by the names of the classes"
    one, other = alike[0][:2]
    place = column.where(_first_row(rows, one)).rpartition(", ")[2]
    raise ValueError(
        f"{column.where(_first_row(rows, other))}: {other!r} and {one!r} ({place}) differ in case or in signs that do "
        "not show or in the writing of accents alone: one class (data.case ignore) or two (data.case keep)? "
        f"{len(alike)} such"
    )


def _first_row(rows: Sequence[Sequence[str] | None], label: str) -> int:
    """The first row that has a label."""
    return next(row for row, labels in enumerate(rows) if label in (labels or ()))


def refuse_doubtful(column: Column, rows: Sequence[Sequence[str] | None]) -> None:
    """Refuse labels that may be another one under a mark, with a score, or several of them, unless they are classes.

    Raises:
        ValueError: There is one; both readings are told.
    """
    known = frozenset(column.names or ())
    labels = dict.fromkeys(label for own in rows for label in own or ())
    every = labels.keys() | known
    may_be_joined = column.texts and column.reading.separator is None  # else no mark within a label can part it
    for label in labels:
        doubt = None if label in known else _doubt(label, every) or (_joined(label, every) if may_be_joined else None)
        if doubt:
            raise ValueError(f"{column.where(_first_row(rows, label))}: {label!r} {doubt}")


def _doubt(label: str, labels: AbstractSet[str]) -> str | None:
    """What a label may be besides, among all labels, and the ways out."""
    if SPREADSHEET_ERROR.fullmatch(label):
        return (
            f"is what a spreadsheet shows where a formula failed, no label: mend the cell, or data.unknown {label!r} "
            f"(nobody looked), data.no_label {label!r} (no label); {A_CLASS}"
        )
    if DATE.fullmatch(label):
        return (
            "is a date or a time, as spreadsheets make it of words such as MAR1: make the column's cells text, and "
            f"write the label anew; {A_CLASS}"
        )
    if not as_seen(label):
        return "has no sign that shows; remove it, or write the label"
    bare = label.lstrip("-!~").rstrip("?").strip()
    if bare != label and bare in labels:
        return (
            f"may be a class of its own, or say something of {bare!r} (absent, or unsure): columns not_labels and "
            f"unknown hold such labels; {A_CLASS}"
        )
    ways = {
        QUOTED: "stands in quotes of its own: remove them",
        WITH_SCORE: "may be a label with its score: write a row a label with a column confidence",
    }
    return next((f"{way}; {A_CLASS}" for form, way in ways.items() if form.fullmatch(label)), None)


def _joined(label: str, labels: AbstractSet[str]) -> str | None:
    """That a label may be several joined by a mark, and the ways out."""
    between = [word for word in label.split()[1:-1] if word.casefold() in CONJUNCTIONS]
    for mark in (*JOINING, *between):
        parts = re.split(rf"\s{mark}\s", label) if mark.isalpha() else label.split(mark)
        pieces = [piece.strip() for piece in parts]
        if mark == "#" and label.startswith("#"):  # hash tags without a blank between them
            pieces = pieces[1:]
        there = [f"#{piece}" in labels if mark == "#" else piece in labels for piece in pieces]
        if len(pieces) > 1 and (all(there) if mark in "_-" else any(there)):
            return (
                f"could be the labels {pieces} (data.separator {mark!r}) or one label (data.separator none, or that "
                f"which does part the labels; or {A_CLASS})"
            )
    return None
