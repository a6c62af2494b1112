"""Sets that obey rules, against the best of all that do."""

import numpy as np
import pytest
import torch

from cnn_rnn.closed_sets import pick_closed, pick_closed_by_expected_f1
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_tensors import RuledTensors

from .random_rules import closed_sets, random_rules

NAMES = [str(label) for label in range(6)]
EVERY = np.array([[bool(number >> label & 1) for label in range(6)] for number in range(64)])


def scores_and_sets(seed: int, *, obeying: bool) -> tuple[LabelRules, np.ndarray, np.ndarray]:
    """Random rules, scores of 40 images, and all sets that obey."""
    given = random_rules(seed)
    rules = LabelRules.of(given, NAMES)
    assert rules is not None
    logits = 2 * torch.randn(40, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    if obeying:
        logits = RuledTensors(rules, torch.device("cpu")).constrain(logits)
    return rules, logits.sigmoid().numpy(), closed_sets(given, NAMES).numpy()


def expected_f1(chosen: np.ndarray, probabilities: np.ndarray) -> float:
    """The expected F1 of a set where labels are independent, summed over all that can be true."""
    chances = np.where(EVERY, probabilities, 1 - probabilities).prod(axis=1)
    hits, sizes = (EVERY & chosen).sum(axis=1), EVERY.sum(axis=1) + chosen.sum()
    return float(chances @ np.where(sizes > 0, 2 * hits / np.maximum(sizes, 1), 1.0))


@pytest.mark.parametrize("obeying", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_no_closed_set_has_a_greater_expected_f1(seed: int, obeying: bool) -> None:
    rules, scores, sets = scores_and_sets(seed, obeying=obeying)
    closed = rules.close_upward(scores)
    for row, chosen in zip(closed, pick_closed_by_expected_f1(rules, scores), strict=True):
        assert chosen.tolist() in sets.tolist()
        best = max(expected_f1(one, row) for one in sets)
        assert expected_f1(chosen, row) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("most", [None, 1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_a_set_by_ranking_is_the_first_closed_one(seed: int, most: int | None) -> None:
    rules, scores, sets = scores_and_sets(seed, obeying=True)
    wanted = scores >= np.random.default_rng(seed).random(6) if most is None else np.ones_like(scores, dtype=bool)
    places = np.argsort(rules.downward(np.arange(6)))
    for row, asked, chosen in zip(scores, wanted, pick_closed(rules, scores, wanted, most), strict=True):
        ranking = sorted(places.tolist(), key=lambda label: -row[label])
        within = rules.close_upward(asked[None])[0]
        there = [one for one in sets if not (one & ~within).any() and (most is None or one.sum() <= most)]
        first = max(there, key=lambda one: one[ranking].tolist())
        assert chosen.tolist() == first.tolist()
