"""Known labels, targets and scores that obey rules, against all sets of few labels that do."""

import pytest
import torch
from torch import Tensor

from cnn_rnn.label_rules import LEFT_OUT, LabelRules
from cnn_rnn.ruled_tensors import RuledTensors

from .random_rules import ANIMALS, NAMES, closed_sets, random_rules

CPU = torch.device("cpu")


def ruled(seed: int) -> tuple[RuledTensors, Tensor]:
    """Random rules between six labels, and all sets that obey them."""
    given, names = random_rules(seed), [str(label) for label in range(6)]
    rules = LabelRules.of(given, names)
    assert rules is not None
    return RuledTensors(rules, CPU), closed_sets(given, names)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_known_is_closed_by_what_all_sets_that_agree_with_it_share(seed: int) -> None:
    tensors, sets = ruled(seed)
    known = torch.randint(-1, 2, (60, 6), generator=torch.Generator().manual_seed(seed))
    known = known * (torch.rand(60, 6, generator=torch.Generator().manual_seed(seed + 99)) < 0.4)
    closed, wrong = tensors.close(known), tensors.contradicted(known)
    for told, found, contradicted in zip(known, closed, wrong, strict=True):
        agreeing = sets[((sets & (told < 0)) | (~sets & (told > 0))).sum(dim=1) == 0]
        assert contradicted.any() == (not len(agreeing))
        if len(agreeing):
            shared = agreeing.all(dim=0).long() - (~agreeing).all(dim=0).long()
            assert found.tolist() == shared.tolist()
        else:
            with pytest.raises(ValueError, match=r"known_labels .* contradict label_rules, by which"):
                tensors.check(told[None])


@pytest.mark.parametrize("seed", range(8))
def test_a_walk_may_take_a_label_exactly_where_the_set_then_obeys(seed: int) -> None:
    tensors, sets = ruled(seed)
    obeying = {tuple(row) for row in sets.tolist()}
    barred = tensors.barred(sets[:, None])[:, 0]
    for held, bars in zip(sets, barred, strict=True):
        for label in (~held).nonzero()[:, 0].tolist():
            more = held.clone()
            more[label] = True
            assert bars[label] == (tuple(more.tolist()) not in obeying)


@pytest.mark.parametrize("seed", range(8))
def test_scores_obey_stay_where_they_do_and_train(seed: int) -> None:
    tensors, _ = ruled(seed)
    logits = 4 * torch.randn(50, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    logits[0], logits[1] = 40.0, -40.0
    logits.requires_grad_()
    given = tensors.constrain(logits)
    scores = given.sigmoid()
    for label, implied in tensors.rules.implied.T.tolist():
        assert (scores[:, label] <= scores[:, implied] + 1e-9).all()
    for group in range(int(tensors.rules.members[0].max(initial=-1)) + 1):
        members = tensors.rules.members[1][tensors.rules.members[0] == group]
        assert (scores[:, members].sum(dim=1) <= 1 + 1e-9).all()
    torch.testing.assert_close(tensors.constrain(given), given)  # what obeys stays
    given.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_label_that_is_present_is_judged_by_those_below_it_that_are_present() -> None:
    rules = LabelRules.of(ANIMALS, NAMES)
    assert rules is not None
    tensors = RuledTensors(rules, CPU)
    logits = torch.tensor([[-2.0, -1, 3, -5, -5, -9]])  # poodle is likely, and wrong: this dog is none
    labels = torch.tensor([[1.0, 1, 0, 0, 0, 0]])
    assert tensors.constrain(logits)[0, :3].tolist() == [3, 3, 3]
    judged = tensors.constrain(logits, labels)[0, :3].tolist()
    assert judged == pytest.approx([-1, -1, 3])


def test_targets_hold_what_the_rules_decide() -> None:
    rules = LabelRules.of(ANIMALS, NAMES)
    assert rules is not None
    out = LEFT_OUT
    labels = torch.tensor(
        [
            [0.0, 0, 1, 0, 0, 0],  # a poodle is a dog and an animal
            [out, out, 1, out, out, out],  # also where nobody looked for these: and no cat
            [1, 0, out, 0, 0, 0],  # no dog, so no poodle
            [0, 0, 1, 1, 0, 0],  # a poodle and a cat: one is wrong
            [0, 0, 0, 0, 1, 1],
        ]
    )
    assert RuledTensors(rules, CPU).targets(labels).tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, out, 0],
        [1, 0, 0, 0, 0, 0],
        [1, out, out, out, 0, 0],
        [0, 0, 0, 0, out, out],
    ]
