"""The losses against their definitions."""

import math

import pytest
import torch
from sklearn.metrics import log_loss

from cnn_rnn.label_paths import labels_to_paths
from cnn_rnn.losses import Balance, path_loss, relevance_loss


def step_by_step(logits: torch.Tensor, path: list[int], labels: list[float], kind: str) -> float:
    """Negative log likelihood of one path from its definition; logits (T, C + 1)."""
    end = len(labels)
    total = 0.0
    for step in range(path.index(end) + 1):
        before = path[:step]
        possible = [c for c in range(end) if c not in before and labels[c] >= 0] + [end]
        right = [path[step]]
        if kind == "remaining_labels" and path[step] != end:
            right = [c for c in possible if c != end and labels[c] == 1]
        probability = logits[step, right].double().exp().sum() / logits[step, possible].double().exp().sum()
        total -= float(probability.log())
    return total


COUNTS, IMAGES = [400, 60, 5, 0], 1000
BALANCE = Balance("none", COUNTS, IMAGES)
LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, -100, 1, 1], [-100, 1, 0, -100]])


@pytest.mark.parametrize("kind", ["cross_entropy", "remaining_labels"])
def test_the_path_loss_is_the_mean_negative_log_likelihood(kind: str) -> None:
    paths = labels_to_paths(LABELS, torch.tensor([3, 1, 0, 2]))
    logits = torch.randn(4, paths.shape[1], 5)
    each = [step_by_step(logits[row], paths[row].tolist(), LABELS[row].tolist(), kind) for row in range(len(LABELS))]
    assert path_loss(logits, paths, LABELS, kind).item() == pytest.approx(sum(each) / 4, rel=1e-5)


@pytest.mark.parametrize("kind", ["cross_entropy", "remaining_labels"])
def test_padding_and_left_out_labels_get_no_gradient(kind: str) -> None:
    paths = labels_to_paths(LABELS, torch.arange(4))
    padded = torch.nn.functional.pad(paths, (0, 3), value=4)
    logits = torch.randn(4, padded.shape[1], 5, requires_grad=True)
    loss = path_loss(logits, padded, LABELS, kind)
    assert loss.item() == pytest.approx(path_loss(logits[:, : paths.shape[1]], paths, LABELS, kind).item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[:, paths.shape[1] :].eq(0).all()
    assert logits.grad.mT[..., :4, :][LABELS < 0].eq(0).all()
    assert logits.grad[0, :3].ne(0).any()


def test_bce_is_scikit_learns_log_loss_of_the_labels_that_count() -> None:
    logits = torch.randn(4, 4)
    expected = [
        log_loss(row[row >= 0], score[row >= 0].sigmoid(), labels=[0, 1], normalize=False)
        for row, score in zip(LABELS, logits, strict=True)
    ]
    assert relevance_loss(logits, LABELS, "bce").item() == pytest.approx(sum(expected) / 4, rel=1e-4)


@pytest.mark.parametrize("kind", ["bce", "asl", "db"])
def test_the_relevance_loss_ignores_left_out_labels(kind: str) -> None:
    logits = torch.randn(4, 4)
    elsewhere = torch.where(LABELS < 0, logits + 7, logits)
    assert relevance_loss(logits, LABELS, kind, BALANCE) == relevance_loss(elsewhere, LABELS, kind, BALANCE)
    right = torch.where(LABELS > 0, 9.0, -9.0)
    assert relevance_loss(right, LABELS, kind, BALANCE) < 0.01 < relevance_loss(-right, LABELS, kind, BALANCE)


@pytest.mark.parametrize("kind", ["bce", "asl", "db"])
def test_the_loss_of_a_batch_is_the_mean_of_its_halves(kind: str) -> None:
    logits = torch.randn(4, 4)
    halves = [relevance_loss(logits[part], LABELS[part], kind, BALANCE).item() for part in (slice(2), slice(2, 4))]
    assert relevance_loss(logits, LABELS, kind, BALANCE).item() == pytest.approx(sum(halves) / 2)


def test_unknown_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="'focal'"):
        relevance_loss(torch.zeros(1, 4), LABELS[:1], "focal")
    with pytest.raises(ValueError, match="'focal'"):
        path_loss(torch.zeros(1, 1, 5), torch.full((1, 1), 4), LABELS[1:2], "focal")


def test_a_loss_for_partial_labels_learns_absence_where_none_is_ever_told() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    labels = torch.tensor([[1.0, 0.0, -100.0]])
    relevance_loss(logits, labels, "partial_asl").backward()
    gradient = logits.grad
    assert gradient is not None
    present, absent, unknown = gradient[0].tolist()
    assert present < 0 < unknown < absent  # unknown ones are taken for absent, but less


def test_a_likely_unknown_label_is_left_alone() -> None:
    logits = torch.tensor([[3.0, -3.0]], requires_grad=True)
    relevance_loss(logits, torch.full((1, 2), -100.0), "partial_asl").backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] == 0 < logits.grad[0, 1]


def test_without_unknown_labels_the_partial_loss_is_bce() -> None:
    logits, labels = torch.randn(4, 5), (torch.rand(4, 5) < 0.4).float()
    torch.testing.assert_close(relevance_loss(logits, labels, "partial_asl"), relevance_loss(logits, labels, "bce"))


def test_asl_is_its_definition() -> None:
    """Ridnik et al., equations 4 to 6, with timm's focus: 4 for absent labels, 1 for present ones."""
    logits = torch.randn(4, 4)
    probability = logits.double().sigmoid()
    shifted = (probability - 0.05).clamp(min=0)
    present, absent = -(1 - probability) * probability.log(), -(shifted**4) * (1 - shifted).log()
    expected = torch.where(LABELS > 0, present, absent).masked_fill(LABELS < 0, 0.0)
    assert relevance_loss(logits, LABELS, "asl").item() == pytest.approx(expected.sum().item() / 4, rel=1e-4)


def distribution_balanced(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The loss of one image from its definition (Wu et al., section 3): re-balanced weights, then tolerance."""
    frequencies = [max(count, 1) for count in COUNTS]
    present = [c for c in range(4) if labels[c] == 1]
    total = 0.0
    for c in range(4):
        if labels[c] < 0:
            continue
        sampling = sum(1 / frequencies[other] for other in present)
        ratio = (1 / frequencies[c]) / sampling if sampling else math.inf
        weight = 0.1 + 1 / (1 + math.exp(-min(10 * (ratio - 0.2), 700)))
        shifted = float(logits[c]) - 0.05 / 2 * math.log(IMAGES / frequencies[c] - 1)
        right = 1 / (1 + math.exp(-shifted if labels[c] == 1 else 2 * shifted))
        total += 2 * weight * (1 - right) ** 2 * -math.log(right) / (1 if labels[c] == 1 else 2)
    return total


def test_the_distribution_balanced_loss_is_its_definition() -> None:
    logits = torch.randn(4, 4)
    expected = sum(map(distribution_balanced, logits, LABELS)) / 4
    assert relevance_loss(logits, LABELS, "db", BALANCE).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["bce", "asl", "db", "partial_asl"])
@pytest.mark.parametrize("weighting", ["inv_freq", "effective_num"])
def test_class_weights_are_inverse_to_images_or_to_their_effective_number(kind: str, weighting: str) -> None:
    frequencies = [max(count, 1) for count in COUNTS]
    effective: dict[str, list[float]] = {
        "inv_freq": [*frequencies],
        "effective_num": [(1 - 0.999**n) / (1 - 0.999) for n in frequencies],
    }
    inverse = [1 / number for number in effective[weighting]]
    weights = [4 * each / sum(inverse) for each in inverse]
    logits = torch.randn(4, 4)
    expected = 0.0
    for c in range(4):  # the loss of this label alone: all others are taken for certain
        others = torch.arange(4) != c
        certain = torch.where(others & (LABELS >= 0), 40 * (2 * LABELS.clamp(min=0) - 1), logits)
        certain = torch.where(others & (LABELS < 0), -40.0, certain)
        expected += weights[c] * relevance_loss(certain, LABELS, kind, BALANCE).item()
    found = relevance_loss(logits, LABELS, kind, Balance(weighting, COUNTS, IMAGES)).item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("kind", "weighting"), [("db", "none"), ("bce", "inv_freq"), ("asl", "effective_num")])
def test_a_label_is_weighed_by_its_share_of_the_images_on_which_it_was_looked_for(kind: str, weighting: str) -> None:
    logits = torch.randn(4, 4)
    of_half = Balance(weighting, [COUNTS[0] // 2, *COUNTS[1:]], [IMAGES // 2, IMAGES, IMAGES, IMAGES])
    expected = relevance_loss(logits, LABELS, kind, Balance(weighting, COUNTS, IMAGES)).item()
    assert relevance_loss(logits, LABELS, kind, of_half).item() == pytest.approx(expected, rel=1e-5)
    never = Balance(weighting, [0, *COUNTS[1:]], [0, IMAGES, IMAGES, IMAGES])
    assert relevance_loss(logits, LABELS, kind, never).isfinite()


def test_counts_that_a_balanced_loss_needs_are_asked_for() -> None:
    for kind, weighting, wanted in (("db", "none", "relevance_loss='db'"), ("bce", "inv_freq", "class_weights='inv")):
        with pytest.raises(ValueError, match=f"{wanted}.* needs how many training images show each label"):
            relevance_loss(torch.zeros(1, 4), LABELS[:1], kind, Balance(weighting, COUNTS))
