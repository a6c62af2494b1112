"""One figure of the benchmark, and the parts that a section is measured in."""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SIGNS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """One figure beside what it is measured against.

    Attributes:
        what: A sentence that needs no other.
        ours: Our figure.
        unit: Of both figures, and how the reference was had.
        reference: The figure of the plain way, in the same run.
        wanted: `<= 1.5` or `>= 0.9`, of the ratio where there is a reference, else of our figure; "" for no limit.
        key: Under which the ratio stands in the file of figures; "" for none of its own.
        median: The ratio of the median turns, where ours and the reference are those of the best.
        floor: What the ratio would be if nothing but arithmetic, bytes and what the reference itself takes cost time.
    """

    what: str
    ours: float
    unit: str
    reference: float | None = None
    wanted: str = ""
    key: str = ""
    median: float | None = None
    floor: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the reference."""
        return None if self.reference is None else self.ours / self.reference

    @property
    def good(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if not self.wanted:
            return None
        sign, limit = self.wanted.split()
        return bool(SIGNS[sign](self.ours if self.ratio is None else self.ratio, float(limit)))


class Part(NamedTuple):
    """A piece of a section that can be measured by itself.

    Attributes:
        measure: Takes an empty folder, gives the rows.
        keys: Of the rows that have one.
    """

    measure: Callable[[Path], Iterable[Row]]
    keys: tuple[str, ...] = ()
