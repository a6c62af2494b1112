"""Whole sets of labels weighed: which of some candidates an image shows, by the walk and by each label alone together.

The path knows which labels go together, the fused logits know each label best. A candidate's score is the sum of

    a log p(walks that end in the set) + b log p(set | labels independent) + c (number of its labels),

with three numbers fitted on held-out images. With (0, 1, 0) the best set is that of the labels likelier than not, with
(1, 0, 0) that of the best path.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .beam_search import BeamSearchResult
from .decisions import pick_by_expected_f1
from .known_labels import Known
from .label_paths import paths_to_labels
from .walking import Walker

MOST_CHANGED = 6  # labels of an image, those most in doubt, by one of which a set's neighbours differ from it


class WeighedSets(NamedTuple):
    """Candidates for the set of labels of each image.

    Attributes:
        sets: Multi-hot labels (B, M, C) as bool; of those that are confirmed all, of those that are ruled out none.
        terms: What a score is the weighted sum of (B, M, 3); the first is -inf where a set may not be, or stood before.
    """

    sets: Tensor
    terms: Tensor

    def best(self, weights: Sequence[float]) -> Tensor:
        """The labels (B, C), as bool, of each image's best set by these three weights."""
        possible = self.terms[..., 0] > -torch.inf
        scores = self.terms.masked_fill(~possible[..., None], 0.0) @ self.terms.new_tensor(weights)
        best = scores.masked_fill(~possible, -torch.inf).argmax(dim=1)
        return self.sets[torch.arange(len(best), device=best.device), best]


def weigh_sets(
    walker: Walker,
    features: Tensor,
    relevance: Tensor | None,
    known: Known,
    *,
    result: BeamSearchResult,
    logits: Tensor,
    thresholds: Sequence[float] | None,
) -> WeighedSets:
    """Candidates and what is to be said of each, where a search has been.

    Args:
        walker: What walks.
        features: Image features (B, ...).
        relevance: Logits (B, C) of each label by itself, or None.
        known: What is known of the images.
        result: What the walker's search gave.
        logits: Fused label logits (B, C), given what is known.
        thresholds: Least probability of each label (C); 0.5 where None.
    """
    confirmed, ruled_out = _told(known, logits)
    sets = (_candidates(result, logits.sigmoid(), known, thresholds) | confirmed) & ~ruled_out
    paths, walks = walker.weigh(sets, features, relevance, known, result.paths.shape[-1])
    beam = result.paths.shape[1]
    walks = torch.cat([_ends(result, sets[:, :beam], paths[:, :beam], walks[:, :beam]), walks[:, beam:]], dim=1)
    same = (paths[:, :, None] == paths[:, None]).all(dim=-1) & (walks > -torch.inf)[:, None]
    walks = walks.masked_fill(same.tril(-1).any(dim=-1), -torch.inf)
    inside = sets.to(logits.dtype)
    alone = torch.einsum("bmc,bc->bm", inside, logits) + F.logsigmoid(-logits).sum(dim=-1, keepdim=True)
    return WeighedSets(sets, torch.stack([walks, alone, inside.sum(dim=-1)], dim=-1))


def _told(known: Known, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels (B, 1, C) are confirmed, and which are ruled out."""
    told = torch.zeros_like(logits) if known.labels is None else known.labels
    return (told > 0)[:, None], (told < 0)[:, None]


def _candidates(
    result: BeamSearchResult, probabilities: Tensor, known: Known, thresholds: Sequence[float] | None
) -> Tensor:
    """The beam's sets, those of the labels alone, and all that differ from one of them by one label (B, M, C)."""
    least = 0.5 if thresholds is None else probabilities.new_tensor(thresholds)
    alone = [probabilities >= 0.5, probabilities >= least, pick_by_expected_f1(probabilities)]
    seeds = torch.cat([paths_to_labels(result.paths, probabilities.shape[1]), torch.stack(alone, dim=1)], dim=1)
    doubt = torch.minimum(probabilities, 1 - probabilities)
    if known.labels is not None:
        doubt = doubt.masked_fill(known.labels != 0, -1.0)
    changed = doubt.topk(min(MOST_CHANGED, doubt.shape[1]), dim=-1).indices
    changes = F.one_hot(changed, doubt.shape[1]).bool()  # (B, R, C)
    neighbours = (seeds[:, :, None] ^ changes[:, None]).flatten(1, 2)
    return torch.cat([seeds, neighbours], dim=1)


def _ends(result: BeamSearchResult, sets: Tensor, paths: Tensor, walks: Tensor) -> Tensor:
    """Log probability (B, K) that a walk ends in each set of the beam: of all its walks that do, and the ordered one.

    Args:
        result: What the search gave.
        sets: The beam's (B, K, C).
        paths: The ordered walk (B, K, T) to each.
        walks: Its log probability (B, K).
    """
    same = (sets[:, :, None] == sets[:, None]).all(dim=-1)
    found = torch.where(same, result.path_scores[:, None], -torch.inf).logsumexp(dim=-1)
    among = ((paths[:, :, None] == result.paths[:, None]).all(dim=-1) & (result.path_scores > -torch.inf)[:, None]).any(
        dim=-1
    )
    return torch.where(among, found, torch.logaddexp(found, walks))
