"""The order in which labels are walked, by numpy: rules need no torch, and exported graphs hold no stable sort."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def positions_of(label_order: str, label_counts: Sequence[int] | None, num_labels: int) -> NDArray[np.int64]:
    """What `rank_labels` gives, as an array."""
    if label_order not in ("frequent_first", "rare_first") or label_counts is None:
        return np.arange(num_labels)
    counts = np.array(label_counts)
    walked = np.argsort(-counts if label_order == "frequent_first" else counts, kind="stable")
    return walked.argsort()
