"""Labels carried over from the nearest images, against the same by loops."""

import copy
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


def clusters(images: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features and classes of some images of five classes, and of 200 others."""
    generator = torch.Generator().manual_seed(images)
    centres = torch.randn(5, size, generator=generator)
    classes = torch.randint(5, (images + 200,), generator=generator)
    features = centres[classes] + 2 * torch.randn(images + 200, size, generator=generator)
    return features[:images], classes[:images], features[images:], classes[images:]


def accuracy(memory: NeighbourMemory, features: torch.Tensor, classes: torch.Tensor) -> float:
    return (memory.log_odds(features).argmax(dim=1) == classes).float().mean().item()


@pytest.mark.parametrize(("images", "size"), [(25, 400), (100, 512), (200, 2048), (300, 301)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_few_images_are_no_worse_than_by_plain_cosines(images: int, size: int, kind: torch.dtype) -> None:
    features, classes, others, right = clusters(images, size)
    memory = NeighbourMemory(images, size, 5).to(kind)
    memory.fill(features, torch.nn.functional.one_hot(classes, 5))
    assert all(table.isfinite().all() for table in memory.buffers())
    cosines = torch.nn.functional.normalize(others) @ torch.nn.functional.normalize(features).T
    votes = (cosines / TEMPERATURE).softmax(dim=-1) @ torch.nn.functional.one_hot(classes, 5).float()
    assert accuracy(memory, others.to(kind), right) >= (votes.argmax(dim=1) == right).float().mean().item() - 0.02


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("alike", [False, True])
def test_hardly_any_image_or_nothing_that_differs_is_no_trouble(images: int, alike: bool) -> None:
    memory = NeighbourMemory(images, 6, 4)
    memory.fill(FEATURES[:1].expand(images, -1) if alike else FEATURES[:images], LABELS[:images])
    assert memory.log_odds(FEATURES).isfinite().all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_memory_of_an_earlier_version_that_whitened_rounding_is_mended_as_if_filled_now(kind: torch.dtype) -> None:
    features, classes, others, right = clusters(100, 512)
    labels = torch.nn.functional.one_hot(classes, 5)
    memory, now = NeighbourMemory(100, 512, 5), NeighbourMemory(100, 512, 5)
    now.fill(features, labels)
    assert not now.mend()
    memory.mean, memory.labels = now.mean, now.labels
    _, scale, axes = torch.linalg.svd(features - now.mean, full_matrices=False)
    memory.projection = torch.zeros(512, 256)
    memory.projection[:, :100] = axes.T * scale[0] / scale.clamp_min(scale[0] * torch.finfo(scale.dtype).eps)
    memory.keys = memory.project(features)
    assert accuracy(memory, others, right) < 0.5
    memory = memory.to(kind)
    assert memory.mend()
    assert not memory.mend()
    odds = memory.log_odds(others.to(kind)).float()
    torch.testing.assert_close(odds, now.log_odds(others), atol=0.05, rtol=0.02)
    assert accuracy(memory, others.to(kind), right) == accuracy(now, others, right) > 0.9


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


def test_what_labels_say_is_worked_out_anew_when_they_change_and_is_no_part_of_a_copy() -> None:
    memory = filled()
    first = memory.log_odds(FEATURES)
    assert memory.votes() is memory.votes()
    assert copy.deepcopy(memory).kept is None
    memory.labels.copy_(memory.labels.flip(0))  # in place, as a checkpoint is loaded
    fresh = NeighbourMemory(12, 6, 4)
    fresh.load_state_dict(memory.state_dict())
    torch.testing.assert_close(memory.log_odds(FEATURES), fresh.log_odds(FEATURES), atol=0, rtol=0)
    assert (memory.log_odds(FEATURES) - first).abs().max() > 0.1
    memory.double()
    assert memory.log_odds(FEATURES.double()).dtype == torch.float64
    with torch.inference_mode():
        memory.fill(FEATURES, LABELS)
        memory.log_odds(FEATURES)
    torch.testing.assert_close(memory.log_odds(FEATURES).float(), first, atol=1e-4, rtol=1e-4)
    features = FEATURES.double().requires_grad_()
    memory.fill(FEATURES, LABELS)
    with torch.inference_mode():
        memory.log_odds(FEATURES)
    memory.log_odds(features).sum().backward()  # what was kept in that mode serves outside of it
    assert features.grad is not None
