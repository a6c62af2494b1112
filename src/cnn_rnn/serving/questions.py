"""What to ask a person next about a photo: the label whose answer is expected to tell most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SURE = 0.01  # what is as good as known is not asked


def next_question(
    probabilities: npt.NDArray[np.float32], known: npt.NDArray[np.int64], label_names: Sequence[str]
) -> dict[str, Any] | None:
    """The open label whose yes or no has the greatest entropy, with its probability; None where all is sure.

    For labels that are independent given the photo that is the expected fall of the entropy of the whole set.

    Args:
        probabilities: Of the labels (C,), given what is known.
        known: 1 confirmed, -1 ruled out, 0 open (C,).
        label_names: Of the labels, by id.
    """
    doubt = np.where(known == 0, np.minimum(probabilities, 1 - probabilities), 0.0)
    most = int(doubt.argmax())
    if doubt[most] < SURE:
        return None
    return {"label": label_names[most], "score": float(probabilities[most])}
