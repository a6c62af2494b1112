"""Doubts are about labels that an unseeing model gives little or much; planted mistakes are found."""

import csv
from pathlib import Path

import numpy as np
import pytest

from cnn_rnn.metrics.stored_predictions import collect_predictions
from cnn_rnn.prediction.doubtful_labels import (
    expected_mistakes,
    found_mistakes,
    label_doubts,
    photo_doubts,
    plant_mistakes,
    rank_doubts,
    rank_unlabelled,
    write_doubts,
    write_unlabelled,
)

NAMES = ["a", "b", "c"]
SCORES = np.array([[0.9, 0.01, 0.2], [0.01, 0.95, 0.9], [0.9, 0.1, 0.2], [0.2, 0.9, 0.01]])
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [1, 0, -1], [0, 1, 0]], np.int8)


def test_only_what_speaks_for_a_mistake_counts() -> None:
    doubts = label_doubts(SCORES, TRUTH)
    assert doubts[1, 0] == pytest.approx(np.log(3.5 / 5 / 0.01))  # given, and far less probable than its share
    assert doubts[1, 2] == pytest.approx(np.log(0.9 / 0.5))  # probable, and not given
    assert doubts[2, 2] == 0  # left out
    assert (doubts[[0, 2, 3]] == 0).all()
    assert photo_doubts(SCORES, TRUTH).argmax() == 1


def test_the_list_names_photo_labels_and_probabilities(tmp_path: Path) -> None:
    stored = collect_predictions(["p", "q", "r|s", "t"], NAMES, SCORES, TRUTH)
    (only,) = rank_doubts(stored)
    assert (only.index, only.given) == (1, ["a", "b"])
    assert [(name, round(score, 2)) for name, score in only.wrong + only.missing] == [("a", 0.01), ("c", 0.9)]
    write_doubts(tmp_path / "new" / "review.csv", [only], stored.image_ids)
    with (tmp_path / "new" / "review.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["image_id"], row["probably_wrong"], row["probably_missing"]) == ("q", "a 0.010", "c 0.900")


def test_planted_mistakes_replace_one_label_in_a_share_of_the_photos() -> None:
    truth = np.random.default_rng(1).random((200, 12)) < 0.2
    changed, planted = plant_mistakes(truth, 0.1, seed=3)
    labelled = truth.any(axis=1)
    assert planted.sum() == round(0.1 * labelled.sum())
    assert ((changed != truth).sum(axis=1) == np.where(planted, 2, 0)).all()
    assert (changed.sum(axis=1) == truth.sum(axis=1)).all()
    again, _ = plant_mistakes(truth, 0.1, seed=3)
    other, _ = plant_mistakes(truth, 0.1, seed=4)
    assert (again == changed).all()
    assert (other != changed).any()


def test_a_model_that_knows_the_truth_finds_every_planted_mistake() -> None:
    truth = np.random.default_rng(0).random((400, 20)) < 0.15
    changed, planted = plant_mistakes(truth, 0.05, seed=0)
    doubts = photo_doubts(np.where(truth, 0.9, 0.005), changed.astype(np.int8))
    assert found_mistakes(doubts, planted, first=10) == {
        "planted": planted.sum(),
        "precision_at_10": 1.0,
        "recall_at_planted": 1.0,
        "chance": pytest.approx(planted.mean()),
    }


def test_the_least_certain_photo_is_most_worth_labelling(tmp_path: Path) -> None:
    scores = np.array([[0.99, 0.01], [0.5, 0.6], [0.5, 0.01]])
    assert rank_unlabelled(scores).tolist() == [1, 2, 0]
    assert expected_mistakes(scores) == pytest.approx([0.02, 0.9, 0.51])
    write_unlabelled(tmp_path / "u.csv", ["x", "y", "z"], scores, ["cat", "dog"])
    lines = (tmp_path / "u.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "1,y,0.900,cat 0.500|dog 0.600"
