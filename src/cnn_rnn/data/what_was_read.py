"""What a loader made of anybody's files, in a few lines that a person can check at a glance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset, Image, IterableDataset

from .schema import LEFT_OUT_COLUMNS, label_counts, label_lists, label_names

SHOWN = 8  # classes that are named
MOST_NOTES = 12  # a set of the Hub brings a description of its own
LONGEST = 40  # letters of a name


def what_was_read(splits: Mapping[str, Dataset | IterableDataset]) -> str:
    """Classes, photos a class, labels a photo, counts of the splits, how it was read, and three rows.

    Args:
        splits: Rows of the one schema by what the split is called; of a stream the classes alone are told.
    """
    rows = {name: split for name, split in splits.items() if isinstance(split, Dataset)}
    first = next(iter(rows.values()), None)
    names = label_names(first if first is not None else next(iter(splits.values())))
    lines = [f"classes: {len(names):,}: {_named(names)}"]
    if first is None:
        return lines[0]
    notes = dict.fromkeys(note for split in rows.values() for note in (split.info.description or "").splitlines())
    lines = [f"read: {note}" for note in list(notes)[:MOST_NOTES]] + lines
    lines += [_split_line(name, split) for name, split in rows.items()]
    counts = label_counts(first)
    order = np.argsort(-counts, kind="stable")
    listed = [f"{names[i][:LONGEST]} {counts[i]:,}" for i in order[:SHOWN]]
    if len(order) > SHOWN:
        listed += ["...", *(f"{names[i][:LONGEST]} {counts[i]:,}" for i in order[-2:])]
    lines.append(f"photos a class ({next(iter(rows))}): {', '.join(listed)}")
    return "\n".join([*lines, *_row_lines(first, names)])


def _named(names: list[str]) -> str:
    """The first names, long ones cut off, and how many more there are."""
    shown = ", ".join(name[:LONGEST] for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _split_line(name: str, split: Dataset) -> str:
    """A split in one line: photos, labels a photo, and labels left out."""
    sizes = np.bincount(label_sizes(split), minlength=1)
    mean = float((sizes * np.arange(len(sizes))).sum() / max(len(split), 1))
    line = f"{name}: {len(split):,} photos, {mean:.2f} labels a photo (0: {sizes[0]:,}, most: {len(sizes) - 1})"
    for column in LEFT_OUT_COLUMNS:
        if column in split.column_names:
            line += f", {int(label_sizes(split, column).sum()):,} {column} labels left out of loss and figures"
    return line


def label_sizes(split: Dataset, column: str = "labels") -> Any:
    """How many labels each row has, (N,)."""
    return np.diff(label_lists(split, column).offsets.to_numpy())


def _row_lines(split: Dataset, names: list[str]) -> list[str]:
    """The first rows of a split, a line each, with their labels."""
    some = split.select(range(min(3, len(split)))).cast_column("image", Image(decode=False))
    lines = []
    for row in some:
        told = ", ".join(names[label] for label in row["labels"][:SHOWN]) or "no label"
        more = f" and {len(row['labels']) - SHOWN} more" if len(row["labels"]) > SHOWN else ""
        if row.get("unknown"):
            more += f"; {len(row['unknown'])} unknown"
        lines.append(f"row: {row['image_id']}: {told}{more}")
    return lines
