"""Columns of yes and no, one a class: what a row's cells say, or what to do about one that says neither."""

import re
from collections.abc import Sequence
from typing import Any

from cnn_rnn.data.files.raw_table import RawTable
from cnn_rnn.data.reading import Reading

from .label_cells import RowLabels


def read_class_cells(
    raw: RawTable, number: int, row: dict[str, Any], columns: Sequence[str], reading: Reading
) -> RowLabels:
    """What a row says in columns of yes and no; ValueError naming the line, the column and the way out otherwise."""
    found = RowLabels()
    for name in columns:
        cell = row.get(name)
        meaning = reading.word_meaning(cell)
        if meaning is None:
            texts = [one for one in columns if not any(reading.word_meaning(c) for _, c in raw.cells(one))]
            raise ValueError(f"{raw.where(number)}: column {name!r} holds {cell!r}, {_way_out(name, cell, texts)}")
        {"yes": found.present, "no": found.absent, "unknown": found.unknown}[meaning].append(name)
    return found


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
    return (
        "expected 0 or 1; name the class columns in labels.json or data.columns '{classes: [...]}' where other columns "
        f"stand beside them; {way}; or "
        + (
            "write 0 or 1 in place of scores"
            if score
            else f"say what {word!r} means: data.yes, data.no or data.unknown"
        )
    )


def told_words(raw: RawTable, columns: Sequence[str], reading: Reading) -> str:
    """The words that were read as yes, no and unknown, for people."""
    used: dict[str, set[str]] = {"yes": set(), "no": set(), "unknown": set()}
    for _, row in raw.rows:
        for name in columns:
            cell = row.get(name)
            used[reading.word_meaning(cell) or "unknown"].add("empty" if cell in {None, ""} else str(cell).strip())
    return "; ".join(f"{meaning}: {', '.join(sorted(found))}" for meaning, found in used.items() if found)
