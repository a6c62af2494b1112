"""Values of labels as bars in a table, where names and numbers stay text: to read on a phone, and to search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bar:
    """One label.

    Attributes:
        cells: Its name, and what stands beside it.
        left: Where the bar begins, in percent of the room that bars have.
        width: How wide it is, in the same.
        negative: Whether it goes to the left of zero.
    """

    cells: Sequence[str]
    left: float
    width: float
    negative: bool


@dataclass(frozen=True)
class BarTable:
    """The highest and the lowest values, each with its bar.

    Attributes:
        headings: Of the cells.
        highest: The highest first; all where they are few.
        lowest: The lowest last.
        between: How many are not shown.
    """

    headings: Sequence[str]
    highest: Sequence[Bar]
    lowest: Sequence[Bar]
    between: int


def bar_table(
    values: Sequence[float | None], headings: Sequence[str], cells: Sequence[Sequence[str]], most: int = 20
) -> BarTable:
    """The values as bars on one scale that begins at zero; those that are None are left out.

    Args:
        values: (C,).
        headings: Of the cells.
        cells: What stands beside each value, its name first.
        most: How many of the highest and of the lowest are shown where there are more than both.
    """
    known = {index: value for index, value in enumerate(values) if value is not None}
    ranked = sorted(known, key=lambda index: -known[index])
    few = len(ranked) <= 2 * most
    low, high = min(0.0, *known.values(), 0.0), max(0.0, *known.values(), 0.0)
    room = (high - low) or 1.0
    bars = {
        index: Bar(
            cells[index],
            left=round(100 * (min(value, 0) - low) / room, 1),
            width=round(100 * abs(value) / room, 1),
            negative=value < 0,
        )
        for index, value in known.items()
    }
    highest, lowest = (ranked, []) if few else (ranked[:most], ranked[-most:])
    between = len(ranked) - len(highest) - len(lowest)
    return BarTable(headings, [bars[index] for index in highest], [bars[index] for index in lowest], between)


def percent_points(value: float | None) -> str:
    """A fraction in percent with one digit, a dash where there is none, and never "-0.0"."""
    return "-" if value is None or np.isnan(value) else f"{round(100 * value, 1) + 0.0:.1f}"
