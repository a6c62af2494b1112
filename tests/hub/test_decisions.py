"""The set with the greatest expected F1, against the expectation over every set."""

import itertools

import pytest
import torch

from cnn_rnn import decisions
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
    monkeypatch.setattr(decisions, "MOST_CANDIDATES", 310)
    assert torch.equal(pick_by_expected_f1(probabilities), whole)
