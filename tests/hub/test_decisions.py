"""The set with the greatest expected F1, against the expectation over every set."""

import functools
import itertools

import numpy as np
import pytest
import torch

from cnn_rnn import expected_f1 as sizes_rule
from cnn_rnn.decisions import pick_by_expected_f1


def expected_f1(chosen: tuple[int, ...], probabilities: list[float]) -> float:
    """Over all true sets; of two empty sets the F1 is 1."""
    total = 0.0
    for truth in itertools.product([0, 1], repeat=len(probabilities)):
        chance = 1.0
        for present, probability in zip(truth, probabilities, strict=True):
            chance *= probability if present else 1 - probability
        hits = sum(truth[label] for label in chosen)
        size = len(chosen) + sum(truth)
        total += chance * (2 * hits / size if size else 1.0)
    return total


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("labels", [1, 2, 5, 7])
def test_no_set_at_all_has_a_greater_expected_f1(seed: int, labels: int) -> None:
    probabilities = torch.rand(1, labels, generator=torch.Generator().manual_seed(seed)) ** (1 + seed % 3)
    picked = tuple(pick_by_expected_f1(probabilities)[0].nonzero()[:, 0].tolist())
    every = itertools.chain.from_iterable(itertools.combinations(range(labels), n) for n in range(labels + 1))
    values = probabilities[0].tolist()
    assert expected_f1(picked, values) == pytest.approx(max(expected_f1(each, values) for each in every), abs=1e-6)


def count_distribution(probabilities: np.ndarray) -> np.ndarray:
    """Of how many labels are present, from none to all."""
    return functools.reduce(lambda counts, p: np.convolve(counts, [1 - p, p]), probabilities, np.ones(1))


def expected_by_size(probabilities: np.ndarray) -> np.ndarray:
    """Expected F1 of the k most probable labels for each k, by the distributions of hits and of what is missed."""
    ranked = np.sort(probabilities.astype(np.float64))[::-1]
    values = [float(count_distribution(ranked)[0])]
    for size in range(1, len(ranked) + 1):
        hits, missed = count_distribution(ranked[:size]), count_distribution(ranked[size:])
        of, other = np.arange(len(hits))[:, None], np.arange(len(missed))
        values.append(float((hits[:, None] * missed * 2 * of / (size + of + other)).sum()))
    return np.array(values)


@pytest.mark.parametrize(("labels", "power"), [(20, 1.0), (80, 4.0), (80, 0.2), (150, 0.05), (150, 1.0), (256, 0.5)])
def test_few_or_very_many_labels_may_be_present(labels: int, power: float) -> None:
    generator = np.random.default_rng(labels)
    probabilities = (generator.random((3, labels)) ** power).astype(np.float32)
    for row, picked in zip(probabilities, pick_by_expected_f1(torch.from_numpy(probabilities)), strict=True):
        by_size = expected_by_size(row)
        assert by_size[int(picked.sum())] == pytest.approx(by_size.max(), abs=1e-11)
        assert row[picked].min() >= row[~picked].max(initial=0)


def test_of_equally_good_sets_the_smaller_one_is_taken() -> None:
    assert not pick_by_expected_f1(torch.tensor([[0.5]])).any()  # none or the one label: 0.5 each


def test_sizes_that_single_precision_cannot_tell_apart_are_told_apart() -> None:
    probabilities = torch.tensor([[0.5 + 1e-8, 0.0], [0.5 - 1e-8, 0.0]], dtype=torch.float64)
    assert pick_by_expected_f1(probabilities).tolist() == [[True, False], [False, False]]


def test_what_is_certain_is_the_set() -> None:
    certain = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(pick_by_expected_f1(certain), certain.bool())


def test_an_image_does_not_depend_on_the_others() -> None:
    probabilities = torch.rand(40, 90, generator=torch.Generator().manual_seed(0)) ** 4
    together = pick_by_expected_f1(probabilities)
    for row in range(40):
        assert torch.equal(pick_by_expected_f1(probabilities[row : row + 1])[0], together[row])


def test_many_improbable_labels_hardly_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.cat([torch.rand(20, 10, generator=generator), torch.full((20, 300), 1e-7)], dim=1)
    whole = pick_by_expected_f1(probabilities)
    monkeypatch.setattr(sizes_rule, "MOST_CANDIDATES", 310)
    assert torch.equal(pick_by_expected_f1(probabilities), whole)
