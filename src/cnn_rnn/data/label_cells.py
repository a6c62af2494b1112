"""What the cells of a column of labels mean, found out from all of them together."""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import punctuation
from typing import Any

from .confusable_labels import tell_apart
from .raw_table import short
from .reading import NO, WHOLE, YES, Reading, mark_of, told_mark, words

HARD_MARKS = "|;,\t\n"  # a label's own name hardly holds the first two
BESIDE_EACH_OTHER = re.compile(r"(['\"])\s+\1")  # ['cat' 'dog'], as numpy prints an array
NUMBERS = re.compile(r"^[\s\[(]*[01](\.0)?([\s,;|]+[01](\.0)?)*[\s\])]*$|^[01]{2,}$")
DIGITS = re.compile(r"\s*\d+(\.0)?([\s,;|]+\d+(\.0)?)*\s*")
NOTHING = frozenset({"nan", "none", "null", "n/a", "na", "-", "?", "nil"})

Cells = Sequence[tuple[int, Any]]
Where = Callable[[int], str]


@dataclass
class RowLabels:
    """What one photo's row says.

    Attributes:
        present: Labels that are there, without repetition.
        absent: Labels that it says are not there.
        unknown: Labels that it says nobody knows.
        nobody_looked: Whether it says nothing of any label.
    """

    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    nobody_looked: bool = False


def read_label_cells(
    cells: Cells, where: Where, reading: Reading, class_names: Sequence[str] | None
) -> tuple[dict[int, RowLabels], list[str]]:
    """What each row says by its number, and what was found out about the column, for people.

    Args:
        cells: Number and cell of each row.
        where: Names a row, for messages.
        reading: What a person decided.
        class_names: The classes in order, where they are known.

    Raises:
        ValueError: A cell is no list of labels, or could mean two things.
    """
    texts = [(number, cell) for number, cell in cells if isinstance(cell, str)]
    split, told = _splitter(texts, where, reading, class_names)
    rows: dict[int, RowLabels] = {}
    parsed = _parse_all(cells, where)
    multi_hot = _decide_numbers(parsed, where, reading, class_names)
    nothing = words(reading.no_label)
    empty = none = 0
    for number, cell in cells:
        if (isinstance(cell, str) and not cell.strip()) or (cell is None and reading.empty):
            empty += 1
            rows[number] = RowLabels(nobody_looked=reading.empty == "unknown")
            continue
        try:
            labels = list(dict.fromkeys(_as_list(parsed[number], split, class_names, multi_hot)))
            rows[number] = _without_words(labels, cell, reading, class_names)
        except ValueError as error:
            raise ValueError(f"{where(number)}: {error}") from error
        none += bool(labels) and labels[0].casefold() in nothing
    notes = [told] if told else []
    if empty:
        notes.append(
            f"{empty:,} empty cells read as {'nobody looked' if reading.empty == 'unknown' else 'no label'}"
            + ("" if reading.empty else " (data.empty unknown: nobody looked)")
        )
    if none:
        notes.append(f"{none:,} photos with {' or '.join(sorted(nothing))} read as no label")
    plain = any(isinstance(value, str) and value.strip() for value in parsed.values())
    present = {number: row.present for number, row in rows.items()}
    for number, labels in tell_apart(present, where, reading, class_names, parted=not plain).items():
        rows[number].present = labels
    return rows, notes


def _parse_all(cells: Cells, where: Where) -> dict[int, Any]:
    """Each cell, a list that was written as text as a list."""
    parsed = {}
    for number, cell in cells:
        try:
            value = _parsed(cell) if isinstance(cell, str) else cell
            parsed[number] = [value] if isinstance(value, int) and not isinstance(value, bool) else value
        except ValueError as error:
            raise ValueError(f"{where(number)}: {error}") from error
    return parsed


def _without_words(labels: list[str], cell: Any, reading: Reading, class_names: Sequence[str] | None) -> RowLabels:
    """The labels of a row without the words that stand for none or for unknown."""
    nothing, unknown = words(reading.no_label), words(reading.unknown)
    special = [label for label in labels if label.casefold() in nothing | unknown]
    if special and len(labels) > 1:
        raise ValueError(
            f"{cell!r} names labels beside {special[0]!r}, which stands for none or unknown "
            "(data.no_label, data.unknown)"
        )
    if special:
        return RowLabels(nobody_looked=special[0].casefold() in unknown)
    odd = next((label for label in labels if label.casefold() in NOTHING and label not in (class_names or ())), None)
    if odd is not None:
        raise ValueError(
            f"{odd!r} may be a label or stand for none: data.no_label {odd!r} (no label), data.unknown {odd!r} (nobody "
            "looked), or name it in labels.json or data.class_names (a label)"
        )
    return RowLabels(labels)


def _as_list(
    cell: Any, split: Callable[[str], list[str]], class_names: Sequence[str] | None, multi_hot: bool
) -> list[str]:
    """The labels of one cell, a text split or a list as it is; ValueError where they are no names of classes."""
    if isinstance(cell, str):
        cell = split(cell)
    if isinstance(cell, dict) and set(cell) == {"choices"}:  # Label Studio's
        cell = cell["choices"]
        cell = [cell] if isinstance(cell, str) else cell
    if class_names and _is_numbers(cell):
        return _named_numbers(cell, class_names, multi_hot)
    if not isinstance(cell, list) or not all(isinstance(name, str) and name.strip() for name in cell):
        raise ValueError(
            f"labels are {short(cell, 80)}, expected a list of class names ([] where there is none)"
            + ("; numbers need the classes in order: labels.json or data.class_names" if _is_numbers(cell) else "")
        )
    return [name.strip() for name in cell]


def _is_numbers(cell: Any) -> bool:
    """Whether a cell is a list of numbers, at least one."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(one, int | float) for one in cell)


def _decide_numbers(parsed: dict[int, Any], where: Where, reading: Reading, class_names: Sequence[str] | None) -> bool:
    """Whether the lists of numbers in a column hold a 0 or 1 for each class."""
    lists = [(number, cell) for number, cell in parsed.items() if _is_numbers(cell) or cell == []]
    if not class_names or not any(cell for _, cell in lists):
        return False
    try:
        return is_multi_hot([cell for _, cell in lists], len(class_names), reading.numbers)
    except ValueError as error:
        raise ValueError(f"{where(lists[0][0])}: {error}") from error


def _parsed(cell: str) -> Any:
    """A list or object that a tool wrote as text, or the text."""
    text = cell.strip()
    if text == "set()":
        return []
    if not text.startswith(("[", "{", "(")) or not text.endswith(("]", "}", ")")):
        if text.startswith(("[", "{")):
            raise ValueError(f"{short(cell, 80)} begins as a list and does not end as one")
        return cell
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{short(cell, 80)} is nested too deep to be labels") from error
    except json.JSONDecodeError:
        if BESIDE_EACH_OTHER.search(text):
            raise ValueError(
                f'{short(cell, 80)} is a list without commas, as numpy prints it; write ["cat", "dog"]'
            ) from None
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            if text.startswith("("):
                return cell
            raise ValueError(
                f"{short(cell, 80)} is neither a list such as [\"cat\", \"dog\"] nor ['cat', 'dog']"
            ) from None
    return list(found) if isinstance(found, tuple | set) else found


def _named_numbers(numbers: Sequence[Any], class_names: Sequence[str], multi_hot: bool) -> list[str]:
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


def is_multi_hot(lists: Sequence[Sequence[Any]], num_labels: int, decided: str | None = None) -> bool:
    """Whether lists of numbers hold a 0 or 1 for each class, not class ids.

    As ids, a list as long as there are classes, of 0 and 1 alone, would name a class twice where there are more than
    two.

    Raises:
        ValueError: Both could be meant: there are two classes, or some lists fit and others do not.
    """
    if decided is not None:
        return decided == "multi_hot"
    fitting = [one for one in lists if len(one) == num_labels and set(one) <= {0, 1}]
    repeats = [one for one in fitting if len(set(one)) < len(one)]
    if not fitting or (not repeats and len(fitting) < len(lists)):
        return False
    if len(fitting) == len(lists) and repeats:
        return True
    other = next((one for one in lists if len(one) != num_labels or not set(one) <= {0, 1}), None)
    beside = "" if other is None else f", and {short(list(other))} stands beside it"
    raise ValueError(
        f"labels are {short(list((repeats or fitting)[0]), 80)}: a 0 or 1 for each of {num_labels} classes, or the ids "
        f"of classes{beside}; data.numbers multi_hot or ids decides"
    )


def _splitter(
    texts: Cells, where: Where, reading: Reading, class_names: Sequence[str] | None
) -> tuple[Callable[[str], list[str]], str]:
    """What makes labels of a cell's text, and how to tell it."""
    plain = [(number, cell) for number, cell in texts if cell.strip() and not cell.lstrip().startswith(("[", "{"))]
    structured = any(cell.lstrip().startswith(("[", "{")) for _, cell in texts)
    numeric = bool(plain) and all(DIGITS.fullmatch(cell) for _, cell in plain)
    if numeric and class_names and reading.numbers:
        return _of_numbers(class_names, reading.numbers == "multi_hot"), f"numbers are {reading.numbers} (data.numbers)"
    _refuse_vectors(plain, where, class_names)
    if reading.separator is not None:
        mark = mark_of(reading.separator)
        assert mark is not None
        if mark == WHOLE:
            return (lambda cell: [cell.strip()]), "a cell is one label (data.separator)"
        return parted_by(mark), f"labels parted by {told_mark(mark)} (data.separator)"
    used = {mark: next(((n, c) for n, c in plain if mark in c.strip()), None) for mark in HARD_MARKS}
    found = {mark: at for mark, at in used.items() if at is not None}
    if structured:
        if found:
            (mark, (number, cell)) = next(iter(found.items()))
            raise ValueError(
                f"{where(number)}: {cell!r} stands beside cells that are lists: one label or several? "
                f"data.separator {told_mark(mark)} (several) or none (one label)"
            )
        return (lambda cell: [cell.strip()]), "labels are lists written as text; a plain cell is one label"
    if len(found) > 1:
        (first, (number, cell)), (second, (other, example)) = list(found.items())[:2]
        ways = "; ".join(
            f"data.separator {told_mark(mark)} reads line {n} as {parted_by(mark)(c)}" for mark, (n, c) in found.items()
        )
        raise ValueError(
            f"{where(number)}: {cell!r} holds {told_mark(first)}, and line {other} {example!r} {told_mark(second)}: "
            f"{ways}"
        )
    if found:
        mark, (number, cell) = next(iter(found.items()))
        if mark == ",":
            _check_commas(plain, where)
        return parted_by(mark), f"labels parted by {told_mark(mark)} (first in line {number}: {cell!r})"
    return _of_words(plain, where, class_names)


def _refuse_vectors(plain: Cells, where: Where, class_names: Sequence[str] | None) -> None:
    """Refuse cells such as 0,1,0 or TRUE, which say nothing without the classes' names."""
    if plain and all(cell.strip().casefold() in (YES | NO) - {"0", "1"} for _, cell in plain):
        number, cell = plain[0]
        raise ValueError(
            f"{where(number)}: {cell!r} could be a label, or say yes or no of one class called as the column is: "
            "data.columns '{classes: [COLUMN]}' (yes or no), or data.class_names with the labels"
        )
    if plain and all(NUMBERS.match(cell.strip()) for _, cell in plain) and not set(class_names or ()) & {"0", "1"}:
        number, cell = plain[0]
        length = len(re.findall(r"[01](?:\.0)?", cell))
        known = f"{len(class_names)} are known" if class_names else "give them in labels.json or data.class_names"
        raise ValueError(
            f"{where(number)}: {cell!r} could be labels called '0' and '1', or a 0 or 1 for each of {length} classes "
            f"whose names are not in the file ({known}); data.class_names with data.numbers multi_hot reads "
            "them, or, for labels of these names, name '0' and '1' in data.class_names"
        )


def _of_numbers(class_names: Sequence[str], multi_hot: bool) -> Callable[[str], list[str]]:
    """What makes labels of a cell that is a text of numbers."""

    def split(cell: str) -> list[str]:
        found = re.findall(r"[\d.]+", cell)
        digits = list(cell.strip()) if multi_hot and len(found) == 1 and len(class_names) > 1 else found
        return _named_numbers([float(one) for one in digits], class_names, multi_hot)

    return split


def parted_by(mark: str) -> Callable[[str], list[str]]:
    """What parts a cell at a mark; one before the first label or behind the last parts nothing."""

    def split(cell: str) -> list[str]:
        names = [name.strip() for name in (cell.split() if mark == " " else cell.split(mark))]
        return names[not names[0] : len(names) - (not names[-1])] if any(names) else names

    return split


def _check_commas(plain: Cells, where: Where) -> None:
    """Refuse commas that may belong to a label's name: followed by a blank, of words that never stand apart."""
    cells = {cell for _, cell in plain}
    places = Counter(piece for cell in cells for piece in {part.strip() for part in cell.split(",")})
    loose = [(number, cell) for number, cell in plain if ", " in cell]
    tight = any(re.search(r",\S", cell) for cell in cells)
    alone = [(number, cell) for number, cell in loose if not any(places[part.strip()] > 1 for part in cell.split(","))]
    if alone and (tight or len(alone) == len(loose)):
        number, cell = alone[0]
        beside = "; elsewhere the comma has no blank behind it" if tight else ""
        raise ValueError(
            f"{where(number)}: {cell!r} could be the labels {[part.strip() for part in cell.split(',')]} "
            f"(data.separator comma) or one label (data.separator none, or another mark between labels){beside}"
        )


def _of_words(plain: Cells, where: Where, class_names: Sequence[str] | None) -> tuple[Callable[[str], list[str]], str]:
    """Cells without any mark but blanks: whole, unless their words could be labels."""
    spaced = [(number, cell.strip()) for number, cell in plain if re.search(r"\s", cell.strip())]
    if not spaced:
        return (lambda cell: [cell.strip()]), "a cell is one label" if plain else ""
    if class_names:
        names = set(class_names)
        whole = all(cell.strip() in names for _, cell in plain)
        parted = all(set(cell.split()) <= names for _, cell in plain)
        if whole != parted:
            told = "a cell is one label, as the given classes are" if whole else "labels parted by space"
            return ((lambda cell: [cell.strip()]) if whole else parted_by(" ")), f"{told}, by the names of the classes"
    number, cell = spaced[0]
    mark = next((word for word in cell.split()[1:-1] if set(word) <= set(punctuation)), None)
    if mark is not None:
        raise ValueError(
            f"{where(number)}: {cell!r} could be the labels {parted_by(mark)(cell)} (data.separator {mark!r}) or one "
            "label (data.separator none)"
        )
    raise ValueError(
        f"{where(number)}: {cell!r} could be {len(cell.split())} labels {cell.split()} (data.separator space) or one "
        "label (data.separator none)"
    )
