"""One figure of the benchmark."""

import operator
from dataclasses import dataclass

SIGNS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """What was measured, beside what it is measured against.

    Attributes:
        what: A sentence that needs no other.
        ours: Our figure.
        unit: Of both figures, and how the reference was had.
        reference: The figure of the plain way, in the same run.
        wanted: `<= 1.5` or `>= 0.9`, of the ratio where there is a reference, else of our figure; "" for no limit.
        key: Under which the ratio stands in the file of figures; "" for none of its own.
        median: The ratio of the median turns, where ours and the reference are those of the best.
    """

    what: str
    ours: float
    unit: str
    reference: float | None = None
    wanted: str = ""
    key: str = ""
    median: float | None = None

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
