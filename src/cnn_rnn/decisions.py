"""From probabilities to a set of labels without a threshold: the set whose expected F1 is the greatest."""

import torch
from torch import Tensor

MOST_CANDIDATES = 256  # labels of an image, the most probable first, of which the set is chosen and its F1 expected
MOST_PRESENT = 64  # labels that the rest of an image is taken to hold at the most


def pick_by_expected_f1(probabilities: Tensor) -> Tensor:
    """The labels (N, C), as bool, with the greatest expected F1 of each image; of equal sets the smaller one.

    Taken as independent given the image, the k most probable labels are the best k; how many, the expectation over all
    sets tells, exactly up to 256 labels (Waegeman et al., JMLR 2014). The empty set is right where no label is present.
    Calibrated probabilities are what it needs: no threshold is fitted to anything.

    Args:
        probabilities: (N, C), 0..1; a label that does not count has the probability 0.
    """
    count = probabilities.shape[1]
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    ranked = probabilities.gather(1, order).double()[:, :MOST_CANDIDATES]
    candidates = ranked.shape[1]
    longest = min(candidates, MOST_PRESENT)
    rest = _counts_behind(ranked, longest)  # rest[k] (N, longest + 1): how many of the labels behind the first k
    best = rest[0][:, 0]
    size = torch.zeros(len(ranked), dtype=torch.long, device=ranked.device)
    found = torch.zeros_like(rest[0])  # (N, longest + 1): how many of the first k labels are present
    found[:, 0] = 1
    hits = torch.arange(longest + 1, device=ranked.device, dtype=ranked.dtype)
    for chosen in range(1, candidates + 1):
        found = _one_more(found, ranked[:, chosen - 1])
        f1 = 2 * hits[:, None] / (chosen + hits[:, None] + hits)  # (hits, others present)
        expected = torch.einsum("nh,ht,nt->n", found, f1, rest[chosen])
        better = expected > best
        best, size = torch.where(better, expected, best), torch.where(better, chosen, size)
        if chosen > longest and not bool(better.any()):
            break
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(count, device=order.device).expand_as(order))
    picked: Tensor = (ranks < size[:, None]) & (probabilities > 0)
    return picked


def _counts_behind(ranked: Tensor, longest: int) -> list[Tensor]:
    """For each k = 0..M the distribution (N, longest + 1) of how many labels behind the first k are present."""
    none = torch.zeros(len(ranked), longest + 1, dtype=ranked.dtype, device=ranked.device)
    none[:, 0] = 1
    counts = [none]
    for rank in range(ranked.shape[1] - 1, -1, -1):
        counts.append(_one_more(counts[-1], ranked[:, rank]))
    return counts[::-1]


def _one_more(counts: Tensor, probability: Tensor) -> Tensor:
    """The distribution (N, L + 1) of a count once one more label may be present; what is beyond L stays at L."""
    present = counts * probability[:, None]
    more = counts - present
    more[:, 1:] += present[:, :-1]
    more[:, -1] += present[:, -1]
    return more
