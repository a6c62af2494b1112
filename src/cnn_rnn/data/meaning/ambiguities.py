"""What a column of labels could mean besides: numbers that are ids or a 0 or 1 for each class, names that are alike."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_rnn.data.files.raw_table import as_seen, short
from cnn_rnn.data.photos.file_matching import Where
from cnn_rnn.data.reading import NO, YES, Reading

from .marks import CONJUNCTIONS, SplitText, Texts

FLAGS = re.compile(r"^[\s\[(]*[01](\.0)?([\s,;|]+[01](\.0)?)*[\s\])]*$|^[01]{2,}$")
DIGITS = re.compile(r"\s*\d+(\.0)?([\s,;|]+\d+(\.0)?)*\s*")


def is_numbers(cell: Any) -> bool:
    """Whether a cell is a list of numbers, at least one."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(one, int | float) for one in cell)


def has_flags(
    cells: Sequence[tuple[int, Any]], where: Where, reading: Reading, class_names: Sequence[str] | None
) -> bool:
    """Whether the lists of numbers among the cells, each with its row, hold a 0 or 1 for each class, not class ids.

    As ids, a list as long as there are classes, of 0 and 1 alone, would name a class twice where there are more than
    two.

    Raises:
        ValueError: Both could be meant: there are two classes, or some lists fit and others do not.
    """
    lists = [(row, cell) for row, cell in cells if is_numbers(cell) or cell == []]
    count = len(class_names or ())
    if not count or not any(one for _, one in lists):
        return False
    if reading.numbers is not None:
        return reading.numbers == "multi_hot"
    fitting = [one for _, one in lists if len(one) == count and set(one) <= {0, 1}]
    repeats = [one for one in fitting if len(set(one)) < len(one)]
    as_ids, as_flags = not repeats, len(fitting) == len(lists)
    if as_ids != as_flags:
        return as_flags
    other = next((one for _, one in lists if len(one) != count or not set(one) <= {0, 1}), None)
    beside = "" if other is None else f", and {short(list(other))} stands beside it"
    raise ValueError(
        f"{where(lists[0][0])}: labels are {short(list((repeats or fitting)[0]), 80)}: a 0 or 1 for each of {count} "
        f"classes, or the ids of classes{beside}; data.numbers multi_hot or ids decides"
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


def numbers_of_text(texts: Texts, reading: Reading, class_names: Sequence[str] | None) -> SplitText | None:
    """What makes labels of texts of numbers, where `data.numbers` says what they are; None where that is not told."""
    if not texts or not class_names or not reading.numbers or not all(map(DIGITS.fullmatch, texts)):
        return None
    multi_hot = reading.numbers == "multi_hot"

    def split(text: str) -> list[str]:
        found = re.findall(r"[\d.]+", text)
        digits = list(text.strip()) if multi_hot and len(found) == 1 and len(class_names) > 1 else found
        return named_numbers([float(one) for one in digits], class_names, multi_hot)

    return split


def refuse_flags(texts: Texts, where: Where, class_names: Sequence[str] | None) -> None:
    """Refuse texts such as 0,1,0 or TRUE, which say nothing without the classes' names."""
    text, row = next(iter(texts.items()), ("", 0))
    if texts and all(one.strip().casefold() in (YES | NO) - {"0", "1"} for one in texts):
        raise ValueError(
            f"{where(row)}: {text!r} could be a label, or say yes or no of one class called as the column is: "
            "data.columns '{classes: [COLUMN]}' (yes or no), or data.class_names with the labels"
        )
    if texts and all(FLAGS.match(one.strip()) for one in texts) and not set(class_names or ()) & {"0", "1"}:
        length = len(re.findall(r"[01](?:\.0)?", text))
        known = f"{len(class_names)} are known" if class_names else "give them in labels.json or data.class_names"
        raise ValueError(
            f"{where(row)}: {text!r} could be labels called '0' and '1', or a 0 or 1 for each of {length} classes "
            f"whose names are not in the file ({known}); data.class_names with data.numbers multi_hot reads "
            "them, or, for labels of these names, name '0' and '1' in data.class_names"
        )


WITH_SCORE = re.compile(r".*\S\s*[:=(]\s*(0?\.\d+|[01](\.\d+)?)\)?")  # cat:0.9, cat (0.9)
SPREADSHEET_ERROR = re.compile(r"#N/?[AV]|#GETTING_DATA|#\u00a1?[A-Z0-9/_]+[!?]|Err:\d{3}")  # #REF!, #DIV/0!, #NAME?
DATE = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?|\d\d:\d\d:\d\d")  # as the cells of a workbook tell it
JOINING = "+/&:_-#"  # what may stand between labels, and within one
A_CLASS = "name it in labels.json or data.class_names for a class"


def tell_apart(
    rows: Sequence[Sequence[str] | None],
    where: Where,
    reading: Reading,
    class_names: Sequence[str] | None,
    *,
    parted: bool,
) -> dict[str, str]:
    """The usual spelling of labels that differ in case alone, by each other one, where they are to be joined.

    Args:
        rows: The labels of each row.
        where: Names a row, for messages.
        reading: What a person decided.
        class_names: The classes in order, where they are known.
        parted: Whether the labels came as lists, so that no mark within one can part it.

    Raises:
        ValueError: A label may be another one under a mark, with a score, or in other letters; both readings are told.
    """
    first: dict[str, int] = {}
    for row, labels in enumerate(rows):
        for label in labels or ():
            first.setdefault(label, row)
    known = frozenset(class_names or ())
    _refuse_marked(first, where, known)
    if not parted and reading.separator is None:
        _refuse_joined(first, where, known)
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in first:
        spelt[as_seen(label).casefold()].append(label)
    alike = [group for group in spelt.values() if len(group) > 1 and not set(group) <= known]
    if not alike or reading.case == "keep":
        return {}
    if reading.case is None:
        one, other = sorted(alike[0], key=first.__getitem__)[:2]
        lines = f"{where(first[other])}: {other!r} and {one!r} ({where(first[one]).rpartition(', ')[2]})"
        raise ValueError(
            f"{lines} differ in case or in signs that do not show or in the writing of accents alone: one class "
            f"(data.case ignore) or two (data.case keep)? {len(alike)} such"
        )
    counts = Counter(label for labels in rows for label in labels or ())
    return {label: max(group, key=lambda one: (one in known, counts[one])) for group in alike for label in group}


def _refuse_joined(first: Mapping[str, int], where: Where, known: frozenset[str]) -> None:
    """Refuse labels that could be several joined by a mark, unless they are known classes."""
    for label, number in first.items():
        if label in known:
            continue
        between = [word for word in label.split()[1:-1] if word.casefold() in CONJUNCTIONS]
        for mark in (*JOINING, *between):
            parts = re.split(rf"\s{mark}\s", label) if mark.isalpha() else label.split(mark)
            pieces = [piece.strip() for piece in parts]
            if mark == "#" and label.startswith("#"):  # hash tags without a blank between them
                pieces = pieces[1:]
            labels = [f"#{piece}" in first if mark == "#" else piece in first or piece in known for piece in pieces]
            if len(pieces) > 1 and (all(labels) if mark in "_-" else any(labels)):
                raise ValueError(
                    f"{where(number)}: {label!r} could be the labels {pieces} (data.separator {mark!r}) or one label "
                    f"(data.separator none, or that which does part the labels; or {A_CLASS})"
                )


def _refuse_marked(first: Mapping[str, int], where: Where, known: frozenset[str]) -> None:
    """Refuse labels that could be another one under a mark, or hold a score, unless they are known classes."""
    for label, number in first.items():
        if label in known:
            continue
        if SPREADSHEET_ERROR.fullmatch(label):
            raise ValueError(
                f"{where(number)}: {label!r} is what a spreadsheet shows where a formula failed, no label: mend the "
                f"cell, or data.unknown {label!r} (nobody looked), data.no_label {label!r} (no label); {A_CLASS}"
            )
        if DATE.fullmatch(label):
            raise ValueError(
                f"{where(number)}: {label!r} is a date or a time, as spreadsheets make it of words such as MAR1: make "
                f"the column's cells text, and write the label anew; {A_CLASS}"
            )
        if not as_seen(label):
            raise ValueError(f"{where(number)}: {label!r} has no sign that shows; remove it, or write the label")
        bare = label.lstrip("-!~").rstrip("?").strip()
        if bare != label and (bare in first or bare in known):
            raise ValueError(
                f"{where(number)}: {label!r} may be a class of its own, or say something of {bare!r} (absent, or "
                f"unsure): columns not_labels and unknown hold such labels; {A_CLASS}"
            )
        if WITH_SCORE.fullmatch(label):
            raise ValueError(
                f"{where(number)}: {label!r} may be a label with its score: write a row a label with a column "
                f"confidence; {A_CLASS}"
            )
