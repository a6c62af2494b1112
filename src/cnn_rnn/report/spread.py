"""Which of many to show, and how many."""

import numpy as np
from numpy.typing import NDArray

LABELS_SHOWN = 12  # of one photo


def spread_evenly(count: int, most: int) -> NDArray[np.int_]:
    """Places of at most `most` of `count` things, spread evenly from the first to the last, each once and ascending."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
