"""Photos of a measured split that a model was trained on, or nearly so: the same file, picture or features.

On 1,200 photos of Corel5k (192 x 128) with EfficientNet-Lite2, copies of half the size or of JPEG quality 30 had
cosines of 0.7 to 0.95 with their photo, no more than other photos may have, and correlations of 0.998 and more; of all
other pairs 2 of 720,000 reached 0.95. So features find the one candidate, and a look at both photos decides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import Dataset, Image
from numpy.typing import NDArray
from PIL.Image import Resampling
from tqdm.auto import tqdm

from cnn_rnn.data import UnreadableImageError, decode_image
from cnn_rnn.data.photos.checks import identical_photos
from cnn_rnn.prediction.predictions import PlacedFeatures

from .embedded_images import image_address, thumbnail
from .page import Section

ALIKE = 0.95  # of the cosine, or of the correlation
CANDIDATES = 0.5  # the cosine from which on a pair of photos is looked at
GREY_SIDE = 32  # pixels of the small grey pictures that are correlated
COMPARED_AT_ONCE = 2048  # of either side: 16 MiB of cosines
SHOWN_PAIRS = 24  # pairs on the page


@dataclass(frozen=True)
class AlikePair:
    """Two photos that are alike, each by its row.

    Attributes:
        row: Of the split in question.
        other: Of the split beside it.
        cosine: Of the angle between their features, -1..1.
        correlation: Of their small grey pictures, -1..1; NaN where one cannot be read.
    """

    row: int
    other: int
    cosine: float
    correlation: float = math.nan


def find_near_duplicates(split: PlacedFeatures, beside: PlacedFeatures, threshold: float = ALIKE) -> list[AlikePair]:
    """The photos that are nearly one beside them, the most alike first, each with the one that is most like it.

    Args:
        split: The photos in question.
        beside: Those that they are compared with.
        threshold: The least cosine of their features or, from a cosine of `CANDIDATES` on, the least correlation of
            the two as small grey pictures.
    """
    candidates = nearest_pairs(split, beside, min(CANDIDATES, threshold))
    rows, others = (one.rows.cast_column("image", Image(decode=False)) for one in (split, beside))
    looked = [
        replace(pair, correlation=_correlation(rows[pair.row], others[pair.other]))
        for pair in tqdm(candidates, desc="comparing photos", unit="pair", delay=2, leave=False)
    ]
    alike = [pair for pair in looked if pair.cosine >= threshold or pair.correlation >= threshold]
    return sorted(alike, key=lambda pair: -max(pair.cosine, np.nan_to_num(pair.correlation)))


def _correlation(row: dict[str, Any], other: dict[str, Any]) -> float:
    """That of two photos as small grey pictures; NaN where one cannot be read."""
    try:
        small = [
            np.asarray(
                decode_image(one["image"], one["image_id"]).convert("L").resize((GREY_SIDE, GREY_SIDE), Resampling.BOX)
            )
            for one in (row, other)
        ]
    except UnreadableImageError:
        return math.nan
    first, second = (np.asarray(one, np.float64).ravel() - one.mean() for one in small)
    # a picture of one colour has no direction: it correlates with nothing, not with everything
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def nearest_pairs(split: PlacedFeatures, beside: PlacedFeatures, threshold: float) -> list[AlikePair]:
    """Each photo whose features point nearly where those of a photo beside them do, with the nearest.

    The mean of the features beside is taken away first: they are positive or nearly so, and without it all photos are
    alike. Memory holds a block of cosines at a time.
    """
    total = sum(block.sum(axis=0, dtype=np.float64) for _, block in _row_blocks(beside))
    mean = np.asarray(total / max(len(beside.places), 1), np.float32)
    best = np.full(len(split.places), -np.inf, np.float32)
    nearest = np.zeros(len(split.places), np.int64)
    for start, theirs in _row_blocks(beside):
        directions = _directions(theirs - mean).T
        for first, ours in _row_blocks(split):
            cosines = _directions(ours - mean) @ directions
            found, part = cosines.argmax(axis=1), slice(first, first + len(ours))
            values = cosines[np.arange(len(ours)), found]
            nearest[part] = np.where(values > best[part], start + found, nearest[part])
            best[part] = np.maximum(values, best[part])
    rows = np.flatnonzero(best >= threshold)
    return [AlikePair(int(row), int(nearest[row]), float(best[row])) for row in rows]


def _row_blocks(split: PlacedFeatures) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The first row of each block of rows, and the block's features (n, D), averaged over places of the image."""
    for start in range(0, len(split.places), COMPARED_AT_ONCE):
        block = split.take(slice(start, start + COMPARED_AT_ONCE))
        yield start, block.reshape(len(block), -1, block.shape[-1]).mean(axis=1)


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors (n, D) at length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def near_duplicate_section(split: PlacedFeatures, beside: PlacedFeatures, threshold: float = ALIKE) -> Section:
    """Pairs of photos side by side, the most alike first, and how many there are.

    Args:
        split: The photos in question.
        beside: Those that they are compared with.
        threshold: The least cosine of a pair.
    """
    pairs = find_near_duplicates(split, beside, threshold)
    rows, others = (one.rows.cast_column("image", Image(decode=False)) for one in (split, beside))
    same = identical_photos({split.name: rows, beside.name: others})
    share = f"{100 * len(pairs) / max(len(rows), 1):.1f} %"
    text = (
        f"{len(pairs):,} of {len(rows):,} photos of {split.name} ({share}) have a near-duplicate among the "
        f"{len(others):,} of {beside.name}: the cosine of the angle between the backbone's features of the two, less "
        f"their mean, is {threshold:g} or more, or it is {CANDIDATES:g} or more and the two photos, {GREY_SIDE} x "
        f"{GREY_SIDE} grey pixels each, correlate by {threshold:g} or more. {len(same):,} are the same file, byte for "
        "byte. On such photos figures tell what the model remembers, not what it has learnt."
        + (f" The {SHOWN_PAIRS} pairs that are most alike are shown." if len(pairs) > SHOWN_PAIRS else "")
    )
    shown = [
        {
            "cosine": f"{pair.cosine:.3f}",
            "correlation": "" if math.isnan(pair.correlation) else f"{pair.correlation:.3f}",
            "photos": [_photo(rows, pair.row, split.name), _photo(others, pair.other, beside.name)],
        }
        for pair in pairs[:SHOWN_PAIRS]
    ]
    return Section("near-duplicates", "Near-duplicates across splits", text, pairs=shown)


def _photo(rows: Dataset, index: int, split: str) -> dict[str, Any]:
    """A photo of a pair as the template takes it; without a picture where it cannot be read."""
    row = rows[index]
    try:
        picture = image_address(thumbnail(decode_image(row["image"], row["image_id"])))
    except UnreadableImageError:
        picture = None
    labels = rows.features["labels"].feature.int2str(row["labels"])
    return {"name": f"{split}: {row['image_id']}", "picture": picture, "labels": labels}
