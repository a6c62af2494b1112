"""Rules between labels at work on tensors: what is known, targets, scores and walks that obey them.

Scores are coherent by construction, in training as in evaluation, so that the loss is of what is predicted (C-HMCNN,
Giunchiglia and Lukasiewicz, NeurIPS 2020). Nothing here has weights, so a model with rules has those of one without.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .label_rules import LEFT_OUT, LabelRules
from .ruled_answers import check_answers


class Links(NamedTuple):
    """Pairs of ids as two tensors (N,): from each of the first something is carried over to the second.

    Attributes:
        sources: Where it comes from.
        targets: Where it goes.
        size: How many ids there are to go to.
    """

    sources: Tensor
    targets: Tensor
    size: int

    def any(self, flags: Tensor) -> Tensor:
        """Whether a flag is set at any source of each target, (..., N) -> (..., size), as bool."""
        return self.sum(flags.to(torch.float32)) > 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the values at the sources of each target, (..., N) -> (..., size)."""
        found = values.index_select(-1, self.sources)
        return values.new_zeros(*values.shape[:-1], self.size).scatter_add(-1, self.targets.expand_as(found), found)

    def greatest(self, values: Tensor) -> Tensor:
        """The greatest of each value itself and the values at its sources, (..., size) -> (..., size)."""
        found = values.index_select(-1, self.sources)
        return values.scatter_reduce(-1, self.targets.expand_as(found), found, "amax")


class IdTable:
    """Some ids of one kind for each id of another: so many for each that they are read in one go, the gaps as zeros.

    Args:
        ids: What `LabelRules.tables` holds of them (M, size).
        device: Where.
    """

    def __init__(self, ids: np.ndarray, device: torch.device) -> None:
        self.shape = ids.shape
        self.rows = torch.from_numpy(ids.ravel()).to(device)

    def of(self, values: Tensor) -> Tensor:
        """The values (..., N) of the ids of each of the other kind, (..., M, size)."""
        padded = torch.cat([values, torch.zeros_like(values[..., :1])], dim=-1)
        return padded.index_select(-1, self.rows).unflatten(-1, self.shape)


class RuledTensors:
    """Rules at work on one device."""

    def __init__(self, rules: LabelRules, device: torch.device) -> None:
        self.rules = rules

        def ids(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        labels, places = rules.num_labels, rules.members.shape[1]
        (group, member), (place, below) = map(ids, rules.members), map(ids, rules.below)
        groups = int(rules.members[0].max(initial=-1)) + 1
        start, follows = map(ids, rules.closure)
        self.group, self.member = group, member
        self.parents, self.groups, self.mates, self.places = (
            None if table is None else IdTable(table, device) for table in rules.tables
        )
        self.upward, self.downward = Links(start, follows, labels), Links(follows, start, labels)
        self.to_groups = Links(torch.arange(places, device=device), group, groups)
        self.to_below = Links(place, below, labels)

    def barred(self, held: Tensor) -> Tensor:
        """Which labels (..., C) may not come next where these (..., C) are held: paths walk downward.

        A label may come when all that it implies is there, and nothing that excludes it. As what is above a label comes
        first, what excludes that has barred it before. Labels that are held may be barred or not.
        """
        barred = torch.zeros_like(held)
        if self.parents is not None:
            barred = self.parents.of(~held).any(dim=-2)
        if self.groups is not None:
            assert self.mates is not None
            barred = barred | self.groups.of(self.mates.of(held).any(dim=-2)).any(dim=-2)
        return barred

    def excluded(self, held: Tensor) -> Tensor:
        """The members (..., C) of groups of which another member is among those held (..., C)."""
        if not len(self.member):
            return torch.zeros_like(held)
        places = held.index_select(-1, self.member).float()
        others = self.to_groups.sum(places).index_select(-1, self.group) - places
        return Links(torch.arange(len(self.member), device=held.device), self.member, held.shape[-1]).any(others > 0)

    def close(self, known: Tensor) -> Tensor:
        """What is known (B, C), with all that follows from it: 1 confirmed, -1 ruled out, 0 open.

        What is implied is confirmed; what excludes something confirmed, or implies something ruled out, is ruled out.
        """
        confirmed = (known > 0) | self.upward.any(known > 0)
        out = (known < 0) | self.excluded(confirmed)
        out = out | self.downward.any(out)
        return confirmed.to(known) - out.to(known)  # both, a contradiction, cancel out: see `contradicted`

    def contradicted(self, known: Tensor) -> Tensor:
        """The labels (B, C) that what is known (B, C) both confirms and rules out."""
        confirmed = (known > 0) | self.upward.any(known > 0)
        out = (known < 0) | self.excluded(confirmed)
        return confirmed & (out | self.downward.any(out))

    def check(self, known: Tensor) -> None:
        """Refuse answers (B, C) that cannot all be right.

        Raises:
            ValueError: By the rules, something follows from them that they, or others that follow, say is not so.
        """
        wrong = self.contradicted(known).any(dim=-1)
        if wrong.any():
            said = zip(self.rules.names, known[wrong][0].tolist(), strict=True)
            check_answers(self.rules, {name: answer > 0 for name, answer in said if answer})

    def targets(self, labels: Tensor) -> Tensor:
        """Multi-hot labels (B, C), negative where unknown, with all that the rules decide.

        What is implied is present and what is excluded absent, also where nobody looked; so is absent what implies
        something absent. Labels of one image that exclude each other are left out: one of them is wrong.
        """
        present = (labels > 0) | self.upward.any(labels > 0)
        excluded = self.excluded(present)
        excluded = excluded | self.downward.any(excluded)
        absent = ~present & (labels == 0)
        absent = absent | self.downward.any(absent)
        told = torch.where(present & (labels <= 0), 1.0, labels.to(torch.float32))
        told = torch.where((absent | excluded) & ~present, 0.0, told)
        return torch.where(present & excluded, LEFT_OUT, told)

    def constrain(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """Label logits (B, C) that obey: none above what it implies, a group's probabilities summing to one at most.

        A label is as probable as the most probable of those that imply it; a group that exceeds one is scaled down to
        it, with all that is below its members. Logits that obey stay as they are.

        Args:
            logits: Of any kind (B, C).
            labels: Multi-hot targets (B, C) in training: a label that is present is judged by those below it that are
                present too, else the loss would teach a wrong one below it (C-HMCNN, equation 4).
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        closed = logits
        if len(self.upward.sources):
            closed = self.upward.greatest(logits)
            if labels is not None:
                shown = logits.masked_fill(labels <= 0, torch.finfo(logits.dtype).min)
                closed = torch.where(labels > 0, self.upward.greatest(shown), closed)
        if not len(self.member):
            return closed
        sums = self.to_groups.sum(closed.sigmoid().index_select(-1, self.member))
        excess = self.to_below.sum(sums.clamp(min=1).log().index_select(-1, self.group))
        scaled = torch.where(excess > 0, F.logsigmoid(closed) - excess, -1.0)  # -1 is finite, and not taken
        return torch.where(excess > 0, scaled - torch.log(-torch.expm1(scaled)), closed)

    def mass_of_excluding(self, probabilities: Tensor) -> Tensor:
        """The sum (..., C) of the probabilities (..., C) with which a walk takes up what excludes each label.

        A walk takes up a label that a member of a group stands above after the member, which bars the other members:
        so the members alone count.
        """
        if self.mates is None:
            return torch.zeros_like(probabilities)
        assert self.places is not None
        sums = self.mates.of(probabilities).sum(dim=-2)
        own = probabilities.index_select(-1, self.member)
        others = (sums.index_select(-1, self.group) - own).clamp(min=0)
        return self.places.of(others).sum(dim=-2)


def on_device(rules: LabelRules | None, device: torch.device) -> RuledTensors | None:
    """The rules at work on a device; None without rules."""
    return None if rules is None else RuledTensors(rules, device)
