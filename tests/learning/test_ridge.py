"""The closed forms against doing the same by hand."""

import numpy as np
import pytest

from cnn_rnn.learning.ridge import PENALTY, Ridge
from cnn_rnn.learning.votes import Votes


def by_hand(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights (D, C) of a ridge regression."""
    gram = features.T @ features + PENALTY * np.eye(features.shape[1])
    return np.asarray(np.linalg.solve(gram, features.T @ targets))


def test_what_is_said_unseen_is_what_a_regression_without_the_photo_says() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20, 7)).astype(np.float32)
    targets = draw.normal(size=(20, 3)).astype(np.float32)
    ridge = Ridge(features[:12])
    for place in range(12, 20):
        ridge.add(features[place], features[:place])
    weights, unseen = ridge.solve(features, targets)
    np.testing.assert_allclose(weights, by_hand(features, targets), atol=1e-4)
    for place in range(20):
        others = np.arange(20) != place
        np.testing.assert_allclose(
            unseen[place], features[place] @ by_hand(features[others], targets[others]), atol=1e-4
        )


@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_photo_that_is_let_go_leaves_no_trace(place: int) -> None:
    draw = np.random.default_rng(1)
    features = draw.normal(size=(10, 4)).astype(np.float32)
    targets = draw.normal(size=(10, 2)).astype(np.float32)
    ridge = Ridge(features)
    ridge.remove(place, features)
    left = np.arange(10) != place
    plain = Ridge(features[left])
    for one, other in zip(
        ridge.solve(features[left], targets[left]), plain.solve(features[left], targets[left]), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_votes_that_change_one_by_one_are_those_counted_at_once() -> None:
    draw = np.random.default_rng(2)
    features = draw.normal(size=(9, 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    answers = draw.integers(-1, 2, size=(9, 3)).astype(np.int8)
    votes = Votes(features[:4], answers[:4])
    for place in range(4, 9):
        votes.add(features[place], features[:place], answers[:place])
        votes.answer(place, features[: place + 1], np.full(3, -1, np.int8), answers[place])
    at_once = Votes(features, answers)
    np.testing.assert_allclose(votes.shown, at_once.shown, atol=1e-5)
    np.testing.assert_allclose(votes.asked, at_once.asked, atol=1e-5)
