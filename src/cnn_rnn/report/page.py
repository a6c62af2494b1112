"""One HTML file that shows how a model does: tables, pictures and images with their paths. It opens offline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnn_rnn.foundation.whole_files import write_text
from cnn_rnn.metrics.checked_arrays import Array
from cnn_rnn.metrics.label_sets import Figures, obey, pick_by_threshold
from cnn_rnn.metrics.stored_predictions import StoredPredictions
from cnn_rnn.metrics.tables import Table, class_table, figures_table

from .bars import BarTable, bar_table, percent_points
from .embedded_images import image_address, overlay, plot_address, thumbnail
from .plots import (
    INSTALL,
    MAX_NAMED_BARS,
    plot_class_bars,
    plot_co_occurrence,
    plot_precision_recall,
    plot_reliability,
)

TEMPLATE = Path(__file__).with_name("page.html.jinja")
TITLE = "Figures"
EXPLAINED = (
    "In percent. P is precision, R recall, F1 their harmonic mean; C- is the mean over classes, O- counts the labels "
    "of all images together; exact: images whose whole set is right; mAP: mean over classes of the average precision; "
    "MAP@k: the same of each image's first labels, mean over images. By path: the labels of the most probable walk. By "
    "threshold: those whose score reaches their threshold. By expected F1: as many of the most probable as promise the "
    "best F1. Top k: those with the highest scores."
)
FEWEST_COMPARED = 5  # images that show a class below which its average precision is not compared
LABELS_SHOWN = 12  # of one photo
SMALLEST_SHOWN = 1e-4  # probability of a path or a step


@dataclass(frozen=True)
class ShownStep:
    """One step of a path.

    Attributes:
        label: Its name, None for the end of the path.
        probability: Its probability, given the steps before.
        looked_at: Where the network looked (h, w), 0..1, of the image's proportions.
    """

    label: str | None
    probability: float
    looked_at: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ShownPhoto:
    """One image with what is true of it and what the model says.

    Attributes:
        name: What the image is called.
        image: The image as the network saw it.
        truth: The labels that are present.
        steps: The steps of the best path, its end included where it has one.
        left_out: Labels that count neither as right nor as wrong.
        loss: How wrong the model is, see `cnn_rnn.prediction.doubtful_labels.photo_losses`.
        walked: Whether the steps are a path; else they are labels with their probabilities.
    """

    name: str
    image: Image.Image
    truth: Sequence[str]
    steps: Sequence[ShownStep]
    left_out: Sequence[str] = ()
    loss: float | None = None
    walked: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the report, as the template takes it."""

    anchor: str
    title: str
    text: str
    pictures: Sequence[str] = ()
    tables: Sequence[dict[str, Any]] = ()
    neighbours: Sequence[tuple[str, list[tuple[str, float]]]] = ()
    cards: Sequence[dict[str, Any]] = ()
    suspects: Sequence[dict[str, Any]] = ()
    answers: Sequence[dict[str, Any]] = ()
    pairs: Sequence[dict[str, Any]] = ()
    twins: Sequence[dict[str, Any]] = ()
    bars: BarTable | None = None


def write_report(
    file: str | Path,
    predictions: StoredPredictions,
    figures: Figures,
    *,
    title: str,
    tables: Sequence[Table] = (),
    label_counts: Sequence[int] | None = None,
    embedding: Array | None = None,
    examples: Sequence[ShownPhoto] = (),
    how_looked: str = "",
    beside: Sequence[Section] = (),
    further: Sequence[Section] = (),
) -> None:
    """Write the report, whole or not at all.

    Args:
        file: Where to.
        predictions: What is shown.
        figures: Their figures, as `predictions.measure()` gives them.
        title: Its heading.
        tables: Tables to put first, such as a protocol's; the figures by path, threshold and top-k where empty.
        label_counts: (C,) images of each label in the training data; those of these images where None.
        embedding: (C, E) vectors of the labels, for their neighbours.
        examples: Images with their paths.
        how_looked: How what the network looked at was found, such as "Grad-CAM".
        beside: Parts about a second model, to stand after the tables.
        further: Parts that others made, to stand before the images.

    Raises:
        ImportError: matplotlib or jinja2 is not installed.
    """
    frequencies = (predictions.truth == 1).sum(axis=0).tolist() if label_counts is None else list(label_counts)
    counted = "of these images" if label_counts is None else "images in training"
    sections = [
        _table_section(tables or [figures_table({"this model": figures})], figures),
        *beside,
        _curve_section(predictions),
        _class_section(figures, predictions.label_names, frequencies, counted),
        _co_occurrence_section(predictions, figures),
        _reliability_section(predictions),
        None if embedding is None else _neighbour_section(np.asarray(embedding), predictions.label_names, frequencies),
        *further,
        _image_section(examples, how_looked) if examples else None,
    ]
    counts = figures["counts"]
    subtitle = (
        f"{counts['images']:,} images, {counts['labels']:,} labels, {counts['positives']:,} labels present in all"
    )
    render_page(file, title, subtitle, [section for section in sections if section is not None])


def render_page(file: str | Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Write a page of sections, whole or not at all.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError(f"a report needs jinja2: {INSTALL}") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(Path(file), template.render(title=title, subtitle=subtitle, sections=sections))


def nearest_labels(embedding: Array, names: Sequence[str], most: int = 5) -> dict[str, list[tuple[str, float]]]:
    """For every label the labels whose vectors point most nearly the same way, with the cosine, nearest first.

    Args:
        embedding: (C, E).
        names: C names.
        most: How many neighbours.
    """
    if len(embedding) != len(names):
        raise ValueError(f"{len(embedding)} vectors for {len(names)} labels: leave out those of START and END")
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(most, len(names) - 1)]
    return {
        name: [(names[other], float(cosines[index, other])) for other in nearest[index]]
        for index, name in enumerate(names)
    }


def _table_section(tables: Sequence[Table], figures: Figures) -> Section:
    """The tables, with that of the classes folded away."""
    block = "path" if figures["path"] is not None else "threshold"
    shown = [
        {"title": table.title, "cells": table.cells(), "notes": table.all_notes(), "folded": False} for table in tables
    ]
    per_class = figures["per_class"]
    by_frequency = sorted(per_class, key=lambda name: -per_class[name]["positives"])
    classes = class_table(figures, block, by_frequency)
    title = f"every class, sets by {block} ({len(per_class)}, the most frequent first)"
    shown.append({"title": title, "cells": classes.cells(), "notes": [], "folded": True})
    titles = [table.title for table in tables if table.title != TITLE]
    return Section("figures", TITLE, " ".join([*(f"{title}." for title in titles), EXPLAINED]), tables=shown)


def compared_precision(figures: Figures, name: str) -> float | None:
    """The average precision of a class, None where too few images show it."""
    one = figures["per_class"][name]
    return one["AP"] if one["positives"] >= FEWEST_COMPARED else None


def _curve_section(predictions: StoredPredictions) -> Section:
    """Precision against recall."""
    return Section(
        "curves",
        "Precision and recall",
        "Each line is a class; the three best and three worst are named. The black line ranks all labels of all "
        "images together, so it also tells whether scores of different classes can be compared.",
        [plot_address(plot_precision_recall(predictions.scores, predictions.truth, predictions.label_names))],
    )


def _class_section(figures: Figures, names: Sequence[str], frequencies: Sequence[int], counted: str) -> Section:
    """Average precision of each class beside its frequency; `counted` says of which images."""
    average_precisions = [figures["per_class"][name]["AP"] for name in names]
    plot = plot_class_bars(average_precisions, frequencies, names, counted)
    bars, which = None, ""
    if len(names) > MAX_NAMED_BARS:
        enough = [compared_precision(figures, name) for name in names]
        cells = [
            (name, f"{figures['per_class'][name]['positives']:,}", percent_points(compared_precision))
            for name, compared_precision in zip(names, average_precisions, strict=True)
        ]
        bars = bar_table(enough, ("label", "images", "AP"), cells)
        which = f" Below the highest and the lowest, of the classes on {FEWEST_COMPARED} of these images or more."
    return Section(
        "classes",
        "Average precision by class",
        "The most frequent class stands first; the orange line, on its own scale, says how frequent each is. Where "
        f"bars fall with the line, rare classes lack examples; a low bar under a high line is a hard class.{which}",
        [plot_address(plot)],
        bars=bars,
    )


def _co_occurrence_section(predictions: StoredPredictions, figures: Figures) -> Section | None:
    """The labels that come together, in truth and in predicted sets."""
    sets, way = predictions.path_sets, "on the predicted paths"
    if sets is None:
        picked = pick_by_threshold(predictions.scores, figures["threshold"]["thresholds"])
        sets, way = obey(picked, predictions.scores, predictions.rules), "at or above the threshold"
    picture = plot_co_occurrence(predictions.truth == 1, sets & (predictions.truth >= 0), predictions.label_names)
    if picture is None:
        return None
    return Section(
        "together",
        "Labels that come together",
        "For the most frequent labels, each on at least 5 images: of the images with the row's label, how many also "
        f"have the column's. Predicted are the labels {way}. Red on the right: put together too often; blue: too "
        "rarely.",
        [plot_address(picture)],
    )


def _reliability_section(predictions: StoredPredictions) -> Section | None:
    """Probabilities beside shares of present labels."""
    picture = plot_reliability(predictions.scores, predictions.truth)
    if picture is None:
        return None
    return Section(
        "reliability",
        "Can the probabilities be trusted?",
        "Bars on the dashed line would mean: of the labels given a probability of 70 %, 70 % are present. Bars "
        "below it mean that the model is too sure, bars above that it is too careful.",
        [plot_address(picture)],
    )


def _image_section(examples: Sequence[ShownPhoto], how_looked: str) -> Section:
    """Images with the steps of their paths, or with their labels."""
    losses = [example.loss for example in examples]
    worst_first = None not in losses and len(losses) > 1
    order = "Those with the largest losses, the worst first. " if worst_first else ""
    looked = f" Bright: where the network looked for that step ({how_looked})." if how_looked else ""
    walked = all(example.walked for example in examples)
    what = "on the path" if walked else "named"
    steps = (
        "The walk from label to label, with the probability of each step given the ones before."
        if walked
        else "The labels at or above their threshold, with their probabilities."
    )
    return Section(
        "images",
        "Images and their paths" if walked else "Images and their labels",
        f"{order}{steps} Green: present; red: not present; orange: present, but not {what}.{looked}",
        cards=[_photo_card(example) for example in examples],
    )


def _neighbour_section(embedding: Array, names: Sequence[str], frequencies: Sequence[int], most: int = 30) -> Section:
    """The neighbours of the most frequent labels."""
    near = nearest_labels(embedding, names)
    shown = [names[index] for index in np.argsort(-np.asarray(frequencies), kind="stable")[:most]]
    which = "" if len(shown) == len(names) else f" The {most} most frequent labels of {len(names)} are shown."
    return Section(
        "neighbours",
        "Neighbours in the label embedding",
        f"Labels whose learned vectors point the same way: they follow like walks and like image features.{which}",
        neighbours=[(name, near[name]) for name in shown],
    )


def _photo_card(example: ShownPhoto) -> dict[str, Any]:
    """An example as the template takes it."""
    truth, left_out = set(example.truth), set(example.left_out)
    verdicts = {True: "hit", False: "miss"}
    return {
        "name": example.name,
        "picture": image_address(thumbnail(example.image)),
        "truth": list(example.truth),
        "left_out": list(example.left_out),
        "loss": example.loss,
        "predicted": {step.label for step in example.steps},
        "walked": example.walked,
        "probability": _percent(math.prod(step.probability for step in example.steps)),
        "steps": [
            {
                "label": step.label,
                "probability": _percent(step.probability),
                "verdict": "" if step.label in left_out else verdicts[step.label in truth],
                "picture": None
                if step.looked_at is None
                else image_address(overlay(thumbnail(example.image), step.looked_at)),
            }
            for step in example.steps
        ],
    }


def _percent(probability: float) -> str:
    """A probability to read."""
    if probability < SMALLEST_SHOWN:
        return f"< {100 * SMALLEST_SHOWN:g} %"
    return f"{100 * probability:.0f} %" if probability >= 0.1 else f"{100 * probability:.2g} %"
