"""What it is worth to know some labels of an image: figures over the others, and the suggestions a person looks at.

A model is a function here: from what is known of some images to scores of all their labels.
"""

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array
from .label_sets import Figures
from .multi_label import MultiLabelMetrics

ToldLabels = NDArray[np.int8]
"""What is known (M, C): 1 confirmed, -1 ruled out, 0 open."""

ScoreFunction = Callable[[ToldLabels, NDArray[np.int64]], Array]
"""Takes what is known (M, C) of images and their rows (M,); returns the probability (M, C) of every label."""

STATE_OF_TRUTH = np.array([-1, 1, 0], np.int8)  # what is known of a label that is told, by its truth: 0, 1 and -1


def reveal(image_ids: Sequence[str], label_names: Sequence[str], truth: NDArray[np.int8], count: int) -> ToldLabels:
    """True labels of each image (N, C), so many of each, chosen by a hash of image and label: the same for every model.

    Args:
        image_ids: N ids.
        label_names: C names.
        truth: (N, C) 1 present, 0 absent, -1 left out.
        count: Labels to confirm; all of an image that has fewer.
    """
    known = np.zeros(truth.shape, np.int8)
    for row, image_id in enumerate(image_ids):
        present = np.flatnonzero(truth[row] == 1)
        places = [_place(image_id, label_names[label]) for label in present.tolist()]
        known[row, present[np.argsort(places, kind="stable")[:count]]] = 1
    return known


def reveal_share(image_ids: Sequence[str], truth: NDArray[np.int8], share: float, seed: int = 0) -> ToldLabels:
    """What is told (N, C) of a share of the labels of each image, present and absent alike: the same for every model.

    `floor(share * C)` labels are drawn for each image, as C-Tran's protocol has it (Lanchantin et al., CVPR 2021,
    section 4). A larger share tells all that a smaller one tells; what is left out of the truth stays open.

    Args:
        image_ids: N ids.
        truth: (N, C) 1 present, 0 absent, -1 left out.
        share: Of the labels, 0 to below 1.
        seed: Of the draw, which depends on it, on the image and on C alone.
    """
    known = np.zeros(truth.shape, np.int8)
    count = math.floor(share * truth.shape[1] + 1e-9)  # 0.29 * 100 is a little less than 29
    for row, image_id in enumerate(image_ids):
        drawn = np.random.default_rng([seed, _place(image_id)]).permutation(truth.shape[1])[:count]
        known[row, drawn] = STATE_OF_TRUTH[truth[row, drawn]]
    return known


def _place(*parts: str) -> int:
    """A number that depends on these texts alone, as the place of a label among those to be revealed does."""
    digest = blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # fits a signed 64-bit number


def told_figures(
    score: ScoreFunction, truth: NDArray[np.int8], known: ToldLabels, rows: NDArray[np.int64], **settings: Any
) -> Figures:
    """`mAP`, and figures of sets, over the labels of some images that are not revealed, `untold` and `told`.

    A class without positives among what is left takes no part; `positives` and `classes` are what is left. `CF1`, `OF1`
    and `exact_match` are of the set by expected F1; `CF1` and `N_plus` of `top_k` and, with label counts, of
    `adjusted_top_k` stand under these names. Where nothing is revealed there is no `told`, without images neither.

    Args:
        score: The model.
        truth: (N, C) 1 present, 0 absent, -1 left out.
        known: What is revealed (N, C).
        rows: The images (M,).
        **settings: Of `MultiLabelMetrics`.
    """
    others, revealed = truth[rows].copy(), known[rows]
    others[revealed != 0] = -1  # to repeat what one was told is no merit
    states = {"untold": np.zeros_like(revealed)} | ({"told": revealed} if revealed.any() else {})
    figures: Figures = {"images": len(rows), "positives": int((others == 1).sum())}
    for name, state in states.items() if len(rows) else ():
        metrics = MultiLabelMetrics(**settings)
        metrics.update(score(state, rows), others)
        computed = metrics.compute()
        figures["classes"] = others.shape[1] - len(computed["counts"]["classes_left_out_of_means"])
        figures[name] = {"mAP": computed["mAP"]}
        figures[name] |= {key: computed["expected_f1"][key] for key in ("CF1", "OF1", "exact_match")}
        for block in ("top_k", "adjusted_top_k"):
            sets = computed[block]
            figures[name][block] = None if sets is None else {key: sets[key] for key in ("CF1", "N_plus")}
    return figures


def count_looks(
    score: ScoreFunction, truth: NDArray[np.int8], finished: Callable[[int], object] | None = None
) -> NDArray[np.int64]:
    """How many suggestions (N,) a person looks at, top down, until all true labels of an image are confirmed.

    The list is sorted anew after each answer; what was rejected is ruled out. An image without labels needs no look.

    Args:
        score: The model.
        truth: (N, C) 1 present, 0 absent, -1 left out: never suggested.
        finished: Called with how many images were finished, after each round of answers.
    """
    known = np.zeros(truth.shape, np.int8)
    looks = np.zeros(len(truth), np.int64)
    left = (truth == 1).sum(axis=1)
    rows = np.flatnonzero(left)
    while len(rows):
        # what has its answer, or none that anybody knows, is not suggested
        scores = np.where((known[rows] == 0) & (truth[rows] >= 0), score(known[rows], rows), -np.inf)
        suggested = scores.argmax(axis=1)
        right = truth[rows, suggested] == 1
        known[rows, suggested] = np.where(right, 1, -1)
        looks[rows] += 1
        left[rows] -= right
        still = rows[left[rows] > 0]
        if finished is not None:
            finished(len(rows) - len(still))
        rows = still
    return looks


def looks_figures(looks: NDArray[np.int64]) -> Figures:
    """Mean and median of the looks, over the images that have labels."""
    needed = looks[looks > 0]
    if not len(needed):
        return {"mean": None, "median": None, "images": 0}
    return {"mean": float(needed.mean()), "median": float(np.median(needed)), "images": len(needed)}
