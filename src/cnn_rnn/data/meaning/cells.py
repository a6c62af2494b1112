"""What the cells of a column mean, found out from all of them together: lists of labels, or yes and no of one class."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from cnn_rnn.data.files.raw_table import RawTable, short
from cnn_rnn.data.reading import NO, YES, Reading, word_of, words

from .ambiguities import choose_spelling, has_flags, is_numbers, named_numbers, refuse_doubtful, refuse_flags
from .column import Column
from .marks import SplitText, find_mark

NOTHINGS = frozenset({"nan", "none", "null", "n/a", "na", "-", "?", "nil"})

Labels = list[str] | None  # of a row; None where nobody looked


def read_label_cells(column: Column) -> tuple[list[Labels], list[str]]:
    """The labels of each row, without repetition, and what was found out about the column, for people.

    Raises:
        ValueError: A cell is no list of labels, or could mean two things.
    """
    reading, cells = column.reading, column.cells
    multi_hot, numbers = has_flags(column), any(is_numbers(cell) for _, cell in column.lists)
    if not numbers:
        reading.refuse(
            {"numbers"}, f"{column.where(0)}: the column holds no numbers of classes that are known in order"
        )
    refuse_flags(column)
    split, told = find_mark(column)
    none: list[str] = []  # of the rows with a word for no label, which are counted
    special = dict.fromkeys(words(reading.no_label), none) | dict.fromkeys(words(reading.unknown))
    of_text = cache(lambda text: _labels(column.parsed[text], column, split, multi_hot, special))
    rows: list[Labels] = []
    for row, cell in enumerate(cells):
        try:
            rows.append(of_text(cell) if isinstance(cell, str) else _labels(cell, column, split, multi_hot, special))
        except ValueError as error:
            raise ValueError(f"{column.where(row)}: {error}") from error
    notes = [f"numbers are {reading.numbers} (data.numbers)" if numbers and reading.numbers else told]
    empty = sum(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells)
    if empty:
        meant = "nobody looked" if reading.empty == "unknown" else "no label"
        otherwise = "" if reading.empty else " (data.empty unknown: nobody looked)"
        notes.append(f"{empty:,} empty cells read as {meant}{otherwise}")
    counted = sum(labels is none for labels in rows)
    if counted:
        notes.append(f"{counted:,} photos with {' or '.join(sorted(words(reading.no_label)))} read as no label")
    refuse_doubtful(column, rows)
    usual, told = choose_spelling(column, rows)
    if usual:
        rows = [labels and list(dict.fromkeys(usual.get(label, label) for label in labels)) for labels in rows]
    return rows, [note for note in (*notes, told) if note]


def _labels(cell: Any, column: Column, split: SplitText, multi_hot: bool, special: Mapping[str, Labels]) -> Labels:
    """The labels of a cell; ValueError where they are no names of classes, or may stand for none."""
    if (isinstance(cell, str) and not cell.strip()) or (cell is None and column.reading.empty):
        return None if column.reading.empty == "unknown" else []
    labels = split(cell) if isinstance(cell, str) else cell
    if not isinstance(cell, str) or not all(labels):
        labels = _listed_names(labels, column.names, multi_hot)
    labels = list(dict.fromkeys(labels))
    word = next((one for one in labels if word_of(one) in special), None)
    if word is not None and len(labels) > 1:
        raise ValueError(
            f"{cell!r} names labels beside {word!r}, which stands for none or unknown (data.no_label, data.unknown)"
        )
    if word is not None:
        return special[word_of(word)]
    odd = next((one for one in labels if one.casefold() in NOTHINGS and one not in (column.names or ())), None)
    if odd is not None:
        raise ValueError(
            f"{odd!r} may be a label or stand for none: data.no_label {odd!r} (no label), data.unknown {odd!r} "
            "(nobody looked), or name it in labels.json or data.class_names (a label)"
        )
    return labels


def _listed_names(cell: Any, names: Sequence[str] | None, multi_hot: bool) -> list[str]:
    """The labels of a cell that is no text; ValueError where they are no names of classes."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        cell = [cell]
    if isinstance(cell, dict) and set(cell) == {"choices"}:  # Label Studio's
        cell = cell["choices"]
        cell = [cell] if isinstance(cell, str) else cell
    if names and is_numbers(cell):
        return named_numbers(cell, names, multi_hot)
    if not isinstance(cell, list) or not all(isinstance(name, str) and name.strip() for name in cell):
        raise ValueError(
            f"labels are {short(cell, 80)}, expected a list of class names ([] where there is none)"
            + ("; numbers need the classes in order: labels.json or data.class_names" if is_numbers(cell) else "")
            + ("; data.empty absent (no label) or unknown (nobody looked) reads it" if cell is None else "")
        )
    return [name.strip() for name in cell]


class Meanings(dict[str, str | None]):
    """What a text in a column of one class says: yes, no or unknown; None where it could be anything."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        given = {name: words(getattr(reading, name)) for name in ("yes", "no", "unknown")}
        blank = {"absent": "no", "unknown": "unknown", None: None}[reading.empty]
        self.meant = dict.fromkeys(YES, "yes") | dict.fromkeys(NO, "no") | dict.fromkeys(("", "nan"), blank)
        for meaning in ("unknown", "no", "yes"):
            self.meant |= dict.fromkeys(given[meaning], meaning)

    def __missing__(self, text: str) -> str | None:
        """What it says."""
        self[text] = self.meant.get(word_of(text))
        return self[text]

    def told(self) -> str:
        """The words that were read, for people."""
        used = {meaning: {text.strip() or "empty" for text, own in self.items() if own == meaning}
                for meaning in ("yes", "no", "unknown")}  # fmt: skip
        return "; ".join(f"{meaning}: {', '.join(sorted(found))}" for meaning, found in used.items() if found)


def read_class_cells(
    table: RawTable, columns: Sequence[str], reading: Reading
) -> tuple[list[list[str]], list[list[str]], str]:
    """The classes that are present, and those that are unknown, on each row; and the words that were read, for people.

    Args:
        table: The rows.
        columns: Those of yes and no, one a class.
        reading: What a person decided.

    Raises:
        ValueError: A cell says neither; line, column and the way out are told.
    """
    meanings = Meanings(reading)
    said = {
        name: [meanings["" if cell is None else cell if isinstance(cell, str) else str(cell)] for cell in cells]
        for name, cells in ((name, table.columns[name]) for name in columns)
    }
    wrong = [(own.index(None), name) for name, own in said.items() if None in own]
    if wrong:
        row, name = min(wrong, key=lambda one: one[0])
        cell = table.columns[name][row]
        texts = [one for one, own in said.items() if not any(own)]
        raise ValueError(f"{table.where(row)}: column {name!r} holds {cell!r}, {_way_out(name, cell, texts)}")
    present: list[list[str]] = [[] for _ in table.numbers]
    unknown: list[list[str]] = [[] for _ in table.numbers]
    for name, own in said.items():
        for kind, rows in (("yes", present), ("unknown", unknown)):
            if kind in own:
                for row, meaning in enumerate(own):
                    if meaning == kind:
                        rows[row].append(name)
    return present, unknown, meanings.told()


def _way_out(name: str, cell: Any, texts: Sequence[str]) -> str:
    """What to do about a cell that is no yes or no; `texts` are the columns that hold no such word at all."""
    if isinstance(cell, list):
        return f"expected 0 or 1; data.columns '{{labels: {name}}}' reads the list as labels"
    word = str(cell).strip() if cell is not None else ""
    if not word or word.casefold() == "nan":
        return "expected 0 or 1: it may mean absent (data.empty absent) or that nobody looked (data.empty unknown)"
    if word in {"-1", "-1.0"}:
        return (
            f"expected 0 or 1: it may mean absent (data.no '[0, {word}]', or {word} where there is no 0) or unsure "
            f"(data.unknown '{word}')"
        )
    way = "leave out the row where it is no photo's, such as a total"
    if name in texts:
        way = f"data.columns '{{labels: {name}}}' where it holds labels"
        if len(texts) > 1:
            shown = f"{', '.join(texts[:8])}{', ...' if len(texts) > 8 else ''}"
            way = f"data.columns '{{labels: A}}' or '{{labels: [A, B]}}' where some of {shown} hold labels"
    score = re.fullmatch(r"[01]?\.\d+", word)
    decides = (
        "write 0 or 1 in place of scores" if score else f"say what {word!r} means: data.yes, data.no or data.unknown"
    )
    return (
        "expected 0 or 1; name the class columns in labels.json or data.columns '{classes: [...]}' where other columns "
        f"stand beside them; {way}; or {decides}"
    )
