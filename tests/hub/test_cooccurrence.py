"""What labels say of each other, against counts by hand."""

import math

import pytest
import torch

from cnn_rnn import cooccurrence
from cnn_rnn.cooccurrence import IMAGES_DRAWN, CooccurrencePrior, log_ratios

SETS = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]).float()


def prior_of(sets: torch.Tensor) -> CooccurrencePrior:
    prior = CooccurrencePrior(sets.shape[1])
    prior.fit(sets.T @ sets, len(sets))
    return prior


def test_the_table_is_the_smoothed_log_ratio_of_counts() -> None:
    table = log_ratios(SETS.T @ SETS, len(SETS))
    for first in range(4):
        for second in range(4):
            count = sum(row[first].item() for row in SETS)
            both = sum(row[first].item() * row[second].item() for row in SETS)
            alone = (sum(row[second].item() for row in SETS) + 0.5) / (len(SETS) + 1)
            expected = math.log((both + IMAGES_DRAWN * alone) / (count + IMAGES_DRAWN) / alone)
            assert table[first, second].item() == pytest.approx(0 if first == second else expected, abs=1e-6)
    assert torch.equal(log_ratios((SETS.T @ SETS).numpy(), len(SETS)), table)  # as the data count them
    assert table[0, 1] > 0 > table[1, 2]  # together, and apart
    assert table[3].abs().max() < 1e-6  # of a label that was never seen nothing is known


def test_images_on_which_one_of_two_labels_is_unknown_change_nothing_between_them() -> None:
    generator = torch.Generator().manual_seed(0)
    sets, more = (torch.rand(count, 4, generator=generator) < 0.5 for count in (30, 200))
    unknown = torch.tensor([False, False, True, False])
    alone, joined = (CooccurrencePrior(4) for _ in range(2))
    alone.fit(sets.float().T @ sets.float(), len(sets))
    present = torch.cat([sets, more & ~unknown]).float()
    seen = torch.cat([torch.ones_like(sets), (~unknown).expand_as(more)]).float()
    joined.fit(present.T @ present, seen.T @ seen, present.T @ seen)
    assert torch.equal(joined.left[2], alone.left[2])
    assert torch.equal(joined.left[:, 2], alone.left[:, 2])
    rest = torch.cat([sets, more]).float()[:, ~unknown]
    torch.testing.assert_close(joined.left[~unknown][:, ~unknown], prior_of(rest).left, atol=1e-6, rtol=1e-6)


def test_known_labels_add_up_and_what_is_ruled_out_says_nothing() -> None:
    prior = prior_of(SETS)
    together = prior(torch.tensor([[1.0, 0, 1, 0]]))
    torch.testing.assert_close(together, prior(torch.tensor([0, 2]), ids=True).sum(dim=0, keepdim=True))
    assert torch.equal(prior(torch.tensor([[1, -1, 1, -1]])), together)
    assert torch.equal(prior(torch.zeros(1, 4)), torch.zeros(1, 4))
    assert torch.equal(prior(torch.tensor([4, 5]), ids=True), torch.zeros(2, 4))  # END and START


def test_beyond_some_labels_two_narrow_tables_stand_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prior_of(SETS)
    monkeypatch.setattr(cooccurrence, "LARGEST_TABLE", 3)
    monkeypatch.setattr(cooccurrence, "RANK", 4)
    narrow = prior_of(SETS)
    assert narrow.right is not None
    torch.testing.assert_close(narrow.left @ narrow.right, whole.left, atol=1e-5, rtol=1e-4)
    known = torch.tensor([[1, 0, -1, 0], [0, 1, 1, 0]])
    torch.testing.assert_close(narrow(known), whole(known), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        narrow(torch.tensor([1, 5]), ids=True), whole(torch.tensor([1, 5]), ids=True), atol=1e-5, rtol=1e-4
    )
