"""What the cells of a column of labels mean, found out from all of them together."""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import punctuation
from typing import Any

from cnn_rnn.data.files.raw_table import Cells, Where, short
from cnn_rnn.data.reading import WHOLE, Reading, mark_of, told_mark, words

from .ambiguities import (
    CONJUNCTIONS,
    DIGITS,
    decide_numbers,
    is_numbers,
    named_numbers,
    parted_numbers,
    refuse_vectors,
    tell_apart,
)

HARD_MARKS = "|;,\t\n"  # a label's own name hardly holds the first two
BESIDE_EACH_OTHER = re.compile(r"(['\"])\s+\1")  # ['cat' 'dog'], as numpy prints an array
NOTHING = frozenset({"nan", "none", "null", "n/a", "na", "-", "?", "nil"})


@dataclass(slots=True)
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
    multi_hot = decide_numbers(parsed, where, reading, class_names)
    nothing, odd = words(reading.no_label), _OddWords(reading)
    same: dict[str, str] = {}  # one copy of each name, however many rows have it
    empty = none = 0
    for number, cell in cells:
        if (isinstance(cell, str) and not cell.strip()) or (cell is None and reading.empty):
            empty += 1
            rows[number] = RowLabels(nobody_looked=reading.empty == "unknown")
            continue
        try:
            found = _as_list(parsed[number], split, class_names, multi_hot)
            labels = list(dict.fromkeys(same.setdefault(name, name) for name in found))
            is_odd = any(odd[name] for name in labels)
            rows[number] = _without_words(labels, cell, reading, class_names) if is_odd else RowLabels(labels)
        except ValueError as error:
            raise ValueError(f"{where(number)}: {error}") from error
        none += is_odd and labels[0].casefold() in nothing
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


class _OddWords(dict[str, bool]):
    """Whether a word may stand for no label or for unknown, found out once a word."""

    def __init__(self, reading: Reading) -> None:
        self.words = words(reading.no_label) | words(reading.unknown) | NOTHING

    def __missing__(self, word: str) -> bool:
        self[word] = word.casefold() in self.words
        return self[word]


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
        if all(cell):
            return cell
    if isinstance(cell, dict) and set(cell) == {"choices"}:  # Label Studio's
        cell = cell["choices"]
        cell = [cell] if isinstance(cell, str) else cell
    if class_names and is_numbers(cell):
        return named_numbers(cell, class_names, multi_hot)
    if not isinstance(cell, list) or not all(isinstance(name, str) and name.strip() for name in cell):
        raise ValueError(
            f"labels are {short(cell, 80)}, expected a list of class names ([] where there is none)"
            + ("; numbers need the classes in order: labels.json or data.class_names" if is_numbers(cell) else "")
        )
    return [name.strip() for name in cell]


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


def _splitter(
    texts: Cells, where: Where, reading: Reading, class_names: Sequence[str] | None
) -> tuple[Callable[[str], list[str]], str]:
    """What makes labels of a cell's text, and how to tell it."""
    plain = [(number, cell) for number, cell in texts if cell.strip() and not cell.lstrip().startswith(("[", "{"))]
    structured = any(cell.lstrip().startswith(("[", "{")) for _, cell in texts)
    numeric = bool(plain) and all(DIGITS.fullmatch(cell) for _, cell in plain)
    if numeric and class_names and reading.numbers:
        return parted_numbers(
            class_names, reading.numbers == "multi_hot"
        ), f"numbers are {reading.numbers} (data.numbers)"
    refuse_vectors(plain, where, class_names)
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


def parted_by(mark: str) -> Callable[[str], list[str]]:
    """What parts a cell at a mark; one before the first label or behind the last parts nothing.

    A mark that is a word, such as "and", parts where it stands as a word.
    """
    word = re.compile(rf"(?:^|\s){re.escape(mark.strip())}(?=\s|$)") if mark.strip().isalpha() else None

    def split(cell: str) -> list[str]:
        pieces = cell.split() if mark == " " else word.split(cell) if word else cell.split(mark)
        names = [name.strip() for name in pieces]
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
    joined = ((number, cell, word) for number, cell in spaced for word in cell.split()[1:-1] if _joins(word))
    number, cell, mark = next(joined, (*spaced[0], " "))
    ways = f"{len(cell.split())} labels {cell.split()} (data.separator space)"
    if mark != " ":
        between = f"the labels {parted_by(mark)(cell)} (data.separator {mark if mark.isalpha() else repr(mark)})"
        ways = f"{between}, {ways}" if mark.isalpha() else between
    raise ValueError(f"{where(number)}: {cell!r} could be {ways} or one label (data.separator none)")


def _joins(word: str) -> bool:
    """Whether a word between others may stand between labels: a mark, or "and"."""
    return set(word) <= set(punctuation) or word.casefold() in CONJUNCTIONS
