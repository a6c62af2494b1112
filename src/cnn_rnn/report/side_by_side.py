"""Two models side by side: what each finds of every class, and the photos on which they differ most."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Image
from numpy.typing import NDArray
from tqdm.auto import tqdm

from cnn_rnn.data import decode_image
from cnn_rnn.metrics.checked_arrays import Array
from cnn_rnn.metrics.label_sets import Figures
from cnn_rnn.metrics.stored_predictions import StoredPredictions
from cnn_rnn.prediction.doubtful_labels import photo_losses

from .bars import bar_table, percent_points
from .embedded_images import image_address, thumbnail
from .page import FEWEST_COMPARED, LABELS_SHOWN, Section


def comparison_section(
    figures: Figures, baseline: Figures, label_names: Sequence[str], models: tuple[str, str]
) -> Section:
    """What two models find of each class, one beside the other.

    Args:
        figures: Of the model that the report is about.
        baseline: Of the second one, on the same images.
        label_names: C names.
        models: What the two are called.
    """
    pairs = [[figures["per_class"][name]["AP"], baseline["per_class"][name]["AP"]] for name in label_names]
    differences = [None if None in pair else pair[0] - pair[1] for pair in pairs]
    positives = [figures["per_class"][name]["positives"] for name in label_names]
    compared = [
        value if count >= FEWEST_COMPARED else None for value, count in zip(differences, positives, strict=True)
    ]
    known = [value for value in compared if value is not None]
    headings = ("label", "images", "this model", "baseline", "points")
    cells = [
        (name, f"{count:,}", *map(percent_points, (*pair, difference)))
        for name, count, pair, difference in zip(label_names, positives, pairs, differences, strict=True)
    ]
    by_frequency = np.argsort([-count for count in positives], kind="stable")
    every = {
        "title": f"every class, both models ({len(label_names)}, the most frequent first)",
        "cells": [headings, *(cells[index] for index in by_frequency)],
        "notes": [],
        "folded": True,
    }
    better, worse = (sum(sign * value > 0 for value in known) for sign in (1, -1))
    return Section(
        "comparison",
        "Beside the baseline",
        f"This model is {models[0]}, the baseline {models[1]}. Average precision of each class in percent, and by how "
        f"many points it is above the baseline's on the same images: higher for {better} of {len(known)} classes, "
        f"lower for {worse}. Classes on fewer than {FEWEST_COMPARED} images have no bar: their differences are mostly "
        "chance.",
        tables=[every],
        bars=bar_table(compared, headings, cells),
    )


def choose_photos(own: Array, other: Array, most: int) -> list[int]:
    """The photos whose losses (N,) differ most, the largest difference first.

    Half of them are those of one model's successes, half of the other's, where there are so many.
    """
    gain = np.asarray(other) - np.asarray(own)
    order = np.argsort(-np.abs(gain), kind="stable")
    better, worse = (order[sign * gain[order] > 0] for sign in (1, -1))
    # half of either kind; what one kind lacks the other may fill
    of_better = min(len(better), max(most - most // 2, most - len(worse)))
    taken = {*better[:of_better].tolist(), *worse[: most - of_better].tolist()}
    return [index for index in order.tolist() if index in taken]


def side_by_side_section(
    dataset: Dataset,
    models: Mapping[str, StoredPredictions],
    sets: Mapping[str, NDArray[np.bool_]],
    most: int,
) -> Section | None:
    """The photos with truth and the set of either model; None where they differ nowhere.

    Args:
        dataset: The rows that were predicted, in the same order.
        models: The predictions of two models by name, the one that the report is about first.
        sets: What each predicts (N, C).
        most: Photos at the most.

    Raises:
        UnreadableImageError: A photo cannot be decoded.
    """
    losses = {name: photo_losses(stored.scores, stored.truth) for name, stored in models.items()}
    own, other = losses.values()
    chosen = choose_photos(own, other, most)
    if not chosen:
        return None
    undecoded = dataset.select(chosen).cast_column("image", Image(decode=False))
    rows = tqdm(undecoded, desc="two models side by side", unit="image", leave=False)
    cards = [
        _compared_card(row, {name: (stored, sets[name], losses[name]) for name, stored in models.items()}, index)
        for index, row in zip(chosen, rows, strict=True)
    ]
    first, second = models
    text = (
        f"The photos on which the losses of both differ most, the largest difference first, as many where {first} is "
        f"nearer to the truth as where {second} is. Green: present; red: not present; orange: present, but not in the "
        "set, which is the one by threshold. The numbers are probabilities in percent; the nearer model is bold."
    )
    return Section("photos", "The same photos by both models", text, twins=cards)


def _compared_card(row: Mapping[str, Any], models: Mapping[str, tuple[Any, Any, Any]], index: int) -> dict[str, Any]:
    """A photo as the template takes it: the labels that a model names or misses, the most probable first."""
    told = []
    nearest = min(models, key=lambda name: models[name][2][index])
    for name, (stored, sets, losses) in models.items():
        truth, picked, scores = stored.truth[index], sets[index], stored.scores[index]
        shown = np.flatnonzero((picked & (truth >= 0)) | (truth == 1))
        order = shown[np.argsort(-scores[shown], kind="stable")]
        labels = [
            {
                "name": stored.label_names[label],
                "score": f"{100 * scores[label]:.0f}",
                "verdict": "miss" if truth[label] == 0 else "hit" if picked[label] else "open",
            }
            for label in order[:LABELS_SHOWN]
        ]
        more = len(order) - len(labels)
        told.append(
            {"name": name, "loss": float(losses[index]), "nearest": name == nearest, "labels": labels, "more": more}
        )
    photo = thumbnail(decode_image(row["image"], row["image_id"]))
    return {"name": str(row["image_id"]), "picture": image_address(photo), "models": told}
