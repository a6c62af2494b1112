"""The losses against their definitions."""

import pytest
import torch
from sklearn.metrics import log_loss

from cnn_rnn.label_paths import labels_to_paths
from cnn_rnn.losses import path_loss, relevance_loss


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


@pytest.mark.parametrize("kind", ["bce", "asl"])
def test_the_relevance_loss_ignores_left_out_labels(kind: str) -> None:
    logits = torch.randn(4, 4)
    elsewhere = torch.where(LABELS < 0, logits + 7, logits)
    assert relevance_loss(logits, LABELS, kind).item() == relevance_loss(elsewhere, LABELS, kind).item()
    right = torch.where(LABELS > 0, 9.0, -9.0)
    assert relevance_loss(right, LABELS, kind) < 0.01 < relevance_loss(-right, LABELS, kind)


@pytest.mark.parametrize("kind", ["bce", "asl"])
def test_the_loss_of_a_batch_is_the_mean_of_its_halves(kind: str) -> None:
    logits = torch.randn(4, 4)
    halves = [relevance_loss(logits[part], LABELS[part], kind) for part in (slice(2), slice(2, 4))]
    assert relevance_loss(logits, LABELS, kind).item() == pytest.approx(sum(half.item() for half in halves) / 2)


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
