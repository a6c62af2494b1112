"""Which photos a person should look at again: labels that are probably wrong or missing, from out-of-fold scores.

A label is doubted by how far a model that never saw the photo moved its probability from what it is without looking,
the label's share of the photos: rare labels have small probabilities even where they are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.foundation.spreadsheet_rows import write_rows
from cnn_rnn.foundation.whole_files import whole_file
from cnn_rnn.metrics.checked_arrays import Array
from cnn_rnn.metrics.stored_predictions import StoredPredictions

LIKELY = 0.5  # probability at which a label that is not given counts as missing
NAMED = 5  # labels of each kind that are named for a photo
SMALLEST = 1e-6  # probabilities are clipped to [this, 1 - this] before their logarithm


@dataclass(frozen=True)
class Doubt:
    """One photo to look at.

    Attributes:
        index: Its row in the predictions.
        doubt: How much more likely its labels are a mistake than by chance, as a natural logarithm.
        given: Its labels.
        wrong: Given labels that are less probable than without a look at the photo, with the probability, worst first.
        missing: Labels that are probable but not given, most probable first.
    """

    index: int
    doubt: float
    given: list[str]
    wrong: list[tuple[str, float]]
    missing: list[tuple[str, float]]


def photo_losses(scores: Array, truth: NDArray[np.int8]) -> Array:
    """The sum (N,) of the binary cross-entropies of each image's labels, in nats; labels left out count nothing.

    Args:
        scores: Probabilities (N, C).
        truth: (N, C) 1 present, 0 absent, negative left out.
    """
    clipped = np.clip(np.asarray(scores, np.float64), SMALLEST, 1 - SMALLEST)
    losses = np.where(truth == 1, -np.log(clipped), -np.log1p(-clipped))
    return np.asarray(np.where(truth >= 0, losses, 0).sum(axis=1))


def label_doubts(scores: Array, truth: NDArray[np.int8]) -> Array:
    """How much each given or missing label speaks for a mistake (N, C), 0 where it does not.

    Args:
        scores: Out-of-fold probabilities (N, C).
        truth: (N, C) 1 given, 0 not given, -1 left out.
    """
    clipped = np.clip(np.asarray(scores, np.float64), SMALLEST, 1 - SMALLEST)
    given, counted = truth == 1, truth >= 0
    shares = (given.sum(axis=0) + 0.5) / (counted.sum(axis=0) + 1)
    wrong = np.log(shares) - np.log(clipped)  # as probable as without a look: 0
    missing = np.log(clipped) - np.log(LIKELY)
    return np.where(given, np.maximum(wrong, 0), np.where(counted, np.maximum(missing, 0), 0))


def photo_doubts(scores: Array, truth: NDArray[np.int8]) -> Array:
    """How much the labels of each photo speak for a mistake (N,): the worst given one, and the most missed one."""
    doubts = label_doubts(scores, truth)
    given = np.where(truth == 1, doubts, 0).max(axis=1, initial=0)
    return np.asarray(given + np.where(truth == 0, doubts, 0).max(axis=1, initial=0))


def rank_doubts(predictions: StoredPredictions, most: int | None = None) -> list[Doubt]:
    """The photos whose labels are most probably wrong or missing, the most doubtful first; none without any doubt."""
    doubts = label_doubts(predictions.scores, predictions.truth)
    photos = photo_doubts(predictions.scores, predictions.truth)
    order = np.argsort(-photos, kind="stable")
    order = order[photos[order] > 0][:most]
    names = predictions.label_names

    def named(row: int, labels: NDArray[np.int64]) -> list[tuple[str, float]]:
        """The most doubtful of some labels of a photo."""
        ranked = sorted((label for label in labels if doubts[row, label] > 0), key=lambda label: -doubts[row, label])
        return [(names[label], float(predictions.scores[row, label])) for label in ranked[:NAMED]]

    found = []
    for row in order.tolist():
        given = np.flatnonzero(predictions.truth[row] == 1)
        absent = np.flatnonzero(predictions.truth[row] == 0)
        labels = [names[label] for label in given]
        found.append(Doubt(row, float(photos[row]), labels, named(row, given), named(row, absent)))
    return found


def rank_unlabelled(scores: Array) -> NDArray[np.int64]:
    """Photos (N,) from the most to the least worth labelling: by how many labels the model expects to get wrong.

    Args:
        scores: Calibrated probabilities (N, C).
    """
    return np.argsort(-expected_mistakes(scores), kind="stable")


def expected_mistakes(scores: Array) -> Array:
    """How many labels of each photo (N,) a model expects to get wrong, from its calibrated probabilities (N, C)."""
    return np.asarray(np.minimum(scores, 1 - np.asarray(scores)).sum(axis=1))


def plant_mistakes(truth: NDArray[Any], share: float, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels with mistakes planted in a share of the photos, and which photos (N,) those are.

    In each of them one label, any of its own, is replaced by one that it lacks, drawn as often as labels are given.

    Args:
        truth: Labels (N, C): 1, 0, or negative for one that nobody looked for, which stays so.
        share: Of the photos that have a label.
        seed: Of the choice.
    """
    generator = np.random.default_rng(seed)
    given, absent = truth > 0, truth == 0
    labelled = np.flatnonzero(given.any(axis=1) & absent.any(axis=1))
    chosen = generator.choice(labelled, max(1, round(share * len(labelled))), replace=False)
    changed, planted = given.copy(), np.zeros(len(truth), bool)
    frequencies = given.sum(axis=0) + 1e-9
    for row in chosen:
        weights = np.where(absent[row], frequencies, 0)
        changed[row, generator.choice(np.flatnonzero(given[row]))] = False
        changed[row, generator.choice(len(weights), p=weights / weights.sum())] = True
        planted[row] = True
    return changed, planted


def found_mistakes(doubts: Array, planted: NDArray[np.bool_], first: int = 100) -> dict[str, float]:
    """How well doubts find planted mistakes: `precision` of the `first` photos, `recall` among as many as were planted.

    Args:
        doubts: Of each photo (N,).
        planted: Which photos have a planted mistake (N,).
        first: How many photos a person looks at.
    """
    order = np.argsort(-doubts, kind="stable")
    count = int(planted.sum())
    return {
        "planted": count,
        f"precision_at_{first}": float(planted[order[:first]].mean()),
        "recall_at_planted": float(planted[order[:count]].sum() / count),
        "chance": float(planted.mean()),
    }


def write_doubts(file: Path, doubts: Sequence[Doubt], image_ids: Sequence[str]) -> None:
    """Write the ranked photos as CSV in which nothing is a formula, one line per photo, whole or not at all."""
    rows: list[list[Any]] = [["rank", "image_id", "doubt", "labels", "probably_wrong", "probably_missing"]]
    for rank, one in enumerate(doubts, start=1):
        told = ["|".join(f"{name} {score:.3f}" for name, score in labels) for labels in (one.wrong, one.missing)]
        rows.append([rank, image_ids[one.index], f"{one.doubt:.3f}", "|".join(one.given), *told])
    with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        write_rows(lines, rows)


def write_unlabelled(file: Path, image_ids: Sequence[str], scores: Array, names: Sequence[str]) -> None:
    """Write unlabelled photos as such CSV, the one most worth labelling first, whole or not at all."""
    mistakes = expected_mistakes(scores)
    rows: list[list[Any]] = [["rank", "image_id", "expected_mistakes", "least_certain"]]
    for rank, row in enumerate(rank_unlabelled(scores).tolist(), start=1):
        unsure = np.argsort(np.abs(scores[row] - 0.5), kind="stable")[:NAMED]
        told = "|".join(f"{names[label]} {scores[row, label]:.3f}" for label in unsure)
        rows.append([rank, image_ids[row], f"{mistakes[row]:.3f}", told])
    with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        write_rows(lines, rows)
