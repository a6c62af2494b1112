"""What one answer changes: the labels of photos before and after a person confirms or rules out a single one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from cnn_rnn.data import EvalTransform, prepare_examples
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.metrics.checked_arrays import Array
from cnn_rnn.metrics.label_sets import Figures, join_picks, pick_by_expectation
from cnn_rnn.metrics.ranked_rows import RankedRows, each_ranked
from cnn_rnn.metrics.tables import known_table

from .embedded_images import image_address, thumbnail
from .page import LABELS_SHOWN, Section
from .plots import spread_evenly
from .saliency import show_pixels


@dataclass(frozen=True)
class Question:
    """A label that a person is asked about: whether it is present."""

    row: int
    label: int
    present: bool


@dataclass(frozen=True)
class Answered:
    """One photo, before and after an answer.

    Attributes:
        name: What the photo is called.
        image: The photo as the network saw it.
        label: Name of the label that was asked about.
        present: What the answer was.
        names: C names.
        truth: (C,) 1 present, 0 absent, negative left out.
        scores: Probabilities (2, C), before and after.
        rules: Rules between labels that the sets obey; None for none.
    """

    name: str
    image: Image.Image
    label: str
    present: bool
    names: Sequence[str]
    truth: NDArray[np.int8]
    scores: Array
    rules: LabelRules | None = None

    @property
    def sets(self) -> NDArray[np.bool_]:
        """The sets (2, C) by expected F1, before and after."""
        picked = pick_by_expectation(RankedRows.of(self.scores, np.stack([self.truth] * 2)), self.rules)
        assert picked is not None  # they are probabilities
        return picked

    @property
    def quality(self) -> tuple[float, float]:
        """F1 of the sets before and after, of the labels that were not asked about."""
        others = (self.truth >= 0) & (np.array(self.names) != self.label)
        wanted, sets = (self.truth == 1) & others, self.sets & others
        sizes = sets.sum(axis=1) + wanted.sum()
        before, after = 2 * (sets & wanted).sum(axis=1) / np.maximum(sizes, 1) + (sizes == 0)
        return float(before), float(after)


def choose_questions(
    scores: Array, truth: NDArray[np.int8], most: int, rules: LabelRules | None = None
) -> list[Question]:
    """What is told of photos, spread evenly over all that have something to tell, none chosen for what comes of it.

    Of a photo whose set (by expected F1) lacks a true label, the most probable one that it lacks is confirmed; of one
    whose set holds a wrong label besides, the most probable of these is ruled out.

    Args:
        scores: Probabilities (N, C).
        truth: (N, C) 1 present, 0 absent, negative left out.
        most: Photos at the most.
        rules: Rules between labels that the sets obey; None for none.
    """
    sets = join_picks(each_ranked(partial(pick_by_expectation, rules=rules), scores, truth))
    if sets is None:
        return []
    found = []
    for row, picked in enumerate(sets):
        missing, wrong = np.flatnonzero((truth[row] == 1) & ~picked), np.flatnonzero((truth[row] == 0) & picked)
        asked = missing if len(missing) else wrong
        if len(asked):
            found.append(Question(row, int(asked[scores[row, asked].argmax()]), bool(len(missing))))
    return [found[place] for place in spread_evenly(len(found), most)]


@torch.inference_mode()
def answer_questions(saved: Any, dataset: Dataset, questions: Sequence[Question]) -> list[Answered]:
    """The photos before and after each answer.

    Args:
        saved: The `SavedModel` that is told.
        dataset: The rows that the questions name.
        questions: What it is told.
    """
    model, processor = saved.model, saved.processor
    names, found = list(model.config.label_names), []
    rows = prepare_examples(dataset.select([question.row for question in questions]), EvalTransform(processor))
    shown = tqdm(rows, desc="answering", unit="image", leave=False)
    for question, row in zip(questions, shown, strict=True):
        features = model.encode_images(row["pixel_values"][None].to(model.device))
        known = torch.zeros(1, len(names), device=model.device)
        known[0, question.label] = 1 if question.present else -1
        logits = [model(image_features=features, known_labels=given).logits for given in (None, known)]
        found.append(
            Answered(
                str(row["image_id"]),
                show_pixels(row["pixel_values"], processor.image_mean, processor.image_std),
                names[question.label],
                question.present,
                names,
                row["labels"].sign().numpy().astype(np.int8),
                torch.cat(logits).sigmoid().float().cpu().numpy(),
                model.rules,
            )
        )
    return found


def hears(model: Any) -> bool:
    """Whether an answer about one label changes anything else that the model says."""
    return any(part is not None for part in (model.path_decoder, model.cooccurrence, model.neighbours))


def answer_section(answered: Sequence[Answered], *, trained: bool, known: Figures | None = None) -> Section:
    """The photos, and how often the other labels gained.

    Args:
        answered: The photos before and after.
        trained: Whether the model was trained to be told.
        known: What `measure_known` gave for the whole split, for its table.
    """
    changes = [after - before for before, after in (one.quality for one in answered)]
    better, worse = (sum(sign * change > 1e-9 for change in changes) for sign in (1, -1))
    untrained = "" if trained else " This model was not trained to be told: its walks begin with what is confirmed."
    text = (
        "A person answers one question about each photo: whether the most probable label that the set lacks is there, "
        "or, where it lacks none, whether a wrong one is. Bold: in the set by expected F1; green: present; red: not. "
        f"The photos are spread evenly over those that have something to answer. The set of the other labels is then "
        f"nearer to the truth on {better} of {len(answered)}, farther on {worse}, by its F1.{untrained}"
    )
    tables = []
    if known is not None:
        table = known_table(known)
        tables.append({"title": table.title, "cells": table.cells(), "notes": table.all_notes(), "folded": False})
    return Section(
        "answer", "What one answer changes", text, tables=tables, answers=[_answer_card(one) for one in answered]
    )


def _answer_card(one: Answered) -> dict[str, Any]:
    """A photo as the template takes it: labels of either set, and the true ones, the most probable in the end first."""
    sets = one.sets
    shown = np.flatnonzero(sets.any(axis=0) | (one.truth == 1))
    order = shown[np.argsort(-one.scores[1, shown], kind="stable")][:LABELS_SHOWN]
    verdicts = {1: "hit", 0: "miss"}
    return {
        "name": one.name,
        "picture": image_address(thumbnail(one.image)),
        "label": one.label,
        "present": one.present,
        "rows": [
            {
                "label": one.names[label],
                "verdict": verdicts.get(int(one.truth[label]), ""),
                "scores": [(float(one.scores[state, label]), bool(sets[state, label])) for state in (0, 1)],
            }
            for label in order
        ],
    }
