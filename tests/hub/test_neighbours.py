"""Labels carried over from the nearest images, against the same by loops."""

import math

import pytest
import torch

from cnn_rnn.neighbours import SHARED_LABEL, SMOOTHING, TEMPERATURE, UNKNOWN, NeighbourMemory

FEATURES = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
LABELS = (torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def filled() -> NeighbourMemory:
    memory = NeighbourMemory(12, 6, 4)
    memory.fill(FEATURES, LABELS)
    return memory


def test_the_log_odds_are_those_of_a_weighted_vote() -> None:
    memory = filled()
    query = torch.randn(1, 6, generator=torch.Generator().manual_seed(2))
    known = torch.tensor([[1, 0, -1, 0]])
    own = memory.project(query)[0]
    weights = [
        math.exp(float(own @ key) / TEMPERATURE + SHARED_LABEL * float(labels[0]))
        for key, labels in zip(memory.project(FEATURES), LABELS, strict=True)
    ]
    for label in range(4):
        vote = sum(weight * float(row[label]) for weight, row in zip(weights, LABELS, strict=True)) / sum(weights)
        frequency = (float(LABELS[:, label].sum()) + 0.5) / 13
        share = (vote + SMOOTHING * frequency) / (1 + SMOOTHING)
        expected = math.log(share / (1 - share))
        assert memory.log_odds(query, known)[0, label].item() == pytest.approx(expected, abs=1e-3)


def test_images_on_which_a_label_is_unknown_change_nothing_that_is_said_of_it() -> None:
    memory, joined = filled(), NeighbourMemory(24, 6, 4)
    joined.load_state_dict(memory.state_dict() | {"keys": torch.zeros(24, 6), "labels": torch.zeros(24, 4)})
    more = torch.randn(12, 6, generator=torch.Generator().manual_seed(3))
    joined.keys = torch.cat([memory.keys, memory.project(more)])
    beside = LABELS.flip(0).clone()
    beside[:, 2] = -100
    labels = torch.cat([LABELS, beside])
    joined.labels = torch.where(labels < 0, UNKNOWN, labels > 0).to(torch.uint8)
    query = torch.cat([FEATURES, more])  # those that are remembered beside lie nearest to themselves
    before, after = memory.log_odds(query), joined.log_odds(query)
    torch.testing.assert_close(after[:, 2], before[:, 2], atol=1e-4, rtol=1e-4)
    assert ((after - before).abs().amax(dim=0) > 0.1).tolist() == [True, True, False, True]


def test_a_label_that_nobody_looked_at_among_the_neighbours_is_as_frequent_as_nothing_known_of_it() -> None:
    memory = NeighbourMemory(12, 6, 4)
    labels = LABELS.clone()
    labels[:, 1] = -100
    memory.fill(FEATURES, labels)
    assert memory.labels[:, 1].eq(UNKNOWN).all()
    torch.testing.assert_close(memory.log_odds(FEATURES)[:, 1], torch.zeros(12), atol=1e-5, rtol=0)
    known = torch.tensor([[0, 1, 0, 0]])  # what nobody looked at makes no neighbour nearer than another
    torch.testing.assert_close(memory.log_odds(FEATURES, known), memory.log_odds(FEATURES))


def test_features_are_whitened_before_they_are_compared() -> None:
    memory = filled()
    components = (FEATURES - memory.mean) @ memory.projection
    covariance = components.T @ components
    torch.testing.assert_close(covariance, torch.eye(6) * covariance[0, 0], atol=1e-3, rtol=1e-3)
    stretched = NeighbourMemory(12, 6, 4)
    scale = torch.tensor([1.0, 10, 0.1, 3, 1, 1])
    stretched.fill(FEATURES * scale, LABELS)
    cosines = memory.keys @ memory.keys.T
    torch.testing.assert_close(stretched.keys @ stretched.keys.T, cosines, atol=1e-3, rtol=1e-3)


def test_an_image_that_is_remembered_gets_its_own_labels_back() -> None:
    odds = filled().log_odds(FEATURES)
    assert ((odds > 0) == (LABELS > 0)).all()


def test_a_memory_that_is_not_filled_or_fitted_says_nothing() -> None:
    logits = torch.randn(3, 4)
    for memory in (NeighbourMemory(5, 6, 4), filled()):
        torch.testing.assert_close(memory(FEATURES[:3], logits), logits)


def test_fewer_images_than_components_are_no_trouble() -> None:
    memory = NeighbourMemory(3, 6, 4)
    memory.fill(FEATURES[:3], LABELS[:3])
    assert memory.log_odds(FEATURES).isfinite().all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_in_half_precision_counts_are_exact_and_an_image_without_features_is_no_nan(kind: torch.dtype) -> None:
    whole, half = NeighbourMemory(5000, 6, 1), NeighbourMemory(5000, 6, 1).to(kind)
    features, labels = torch.zeros(5000, 6), torch.ones(5000, 1)
    labels[:3] = 0
    for memory in (whole, half):
        memory.labels = labels.to(torch.uint8)
    torch.testing.assert_close(half.log_odds(features[:2].to(kind)), whole.log_odds(features[:2]), rtol=1e-3, atol=1e-3)
    assert half(features[:2].to(kind), torch.zeros(2, 1, dtype=kind)).dtype == kind
    half.fill(torch.randn(5000, 6), labels)
    assert half.keys.dtype == kind
    assert half.keys.isfinite().all()
