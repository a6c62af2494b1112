"""The order in which labels are walked, by numpy: rules need no torch, and exported graphs hold no stable sort."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def positions_of(label_order: str, label_counts: Sequence[int] | None, num_labels: int) -> NDArray[np.int64]:
    """Position (C,) of every label in a fixed order, 0 for the label that is walked first.

    Args:
        label_order: "frequent_first" (section 3.2 of the paper), "rare_first" (Jin and Nakayama, ICPR 2016) or anything
            else for the order of the ids.
        label_counts: Training images of each label (C). Equal counts keep the order of the ids, and without counts all
            labels pass as equally frequent.
        num_labels: C.
    """
    if label_order not in ("frequent_first", "rare_first") or label_counts is None:
        return np.arange(num_labels)
    counts = np.array(label_counts)
    walked = np.argsort(-counts if label_order == "frequent_first" else counts, kind="stable")
    return walked.argsort()
