"""From probabilities to a set of labels without a threshold: the set whose expected F1 is the greatest."""

import math

import numpy as np
import torch
from torch import Tensor

MOST_CANDIDATES = 256  # labels of an image, the most probable first, of which the set is chosen and its F1 expected
FEWEST_NODES = 16  # at which the integrals of images with few labels are exact to rounding
STEPS_A_CHECK = 4  # of the loop over sizes, between looks whether a larger set can still be better
EQUAL = 1e-12  # expectations that differ by less are equal but for rounding


def pick_by_expected_f1(probabilities: Tensor) -> Tensor:
    """The labels (N, C), as bool, with the greatest expected F1 of each image; of equal sets the smaller one.

    Taken as independent given the image, the k most probable labels are the best k; how many, the expectation over all
    sets tells, exactly up to 256 labels. The empty set is right where no label is present. Calibrated probabilities are
    what it needs: no threshold is fitted to anything.

    Args:
        probabilities: (N, C), 0..1; a label that does not count has the probability 0.
    """
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    ranks = torch.arange(probabilities.shape[1], device=probabilities.device)
    first = (ranks < best_sizes(ranked)[:, None]) & (ranked > 0)
    return torch.zeros_like(first).scatter(1, order, first)


def best_sizes(ranked: Tensor) -> Tensor:
    """How many labels (N,) the set with the greatest expected F1 holds, from probabilities (N, C) in falling order.

    Of the first k labels the expected F1 is the sum over each of them of p E[2 / (k + 1 + S)], with S the number of the
    image's other labels. Since 1 / (k + 1 + S) is the integral of t^(k + S) over 0..1, and E[t^S] a product over the
    labels, it is one integral; Gauss-Legendre's rule gives it without the distribution of S.
    """
    labels = ranked[:, :MOST_CANDIDATES].double().T.contiguous()  # (M, N): images innermost
    number = labels.sum(dim=0)
    best = (1 - labels).prod(dim=0)  # of the empty set: the probability that there is no label
    size = torch.zeros_like(best, dtype=torch.long)
    if not labels.numel():
        return size
    nodes, weights = _gauss_legendre(min(len(labels), FEWEST_NODES + math.ceil(float(number.max()))), labels)
    absent = 1 - nodes
    generated = 2 * weights[:, None].expand(-1, labels.shape[1])  # (Q, N), of E[t^S] over all labels and of t^k
    for probability in labels:
        generated = generated * (1 - absent[:, None] * probability)
    # Of S without the most probable label, which is less than without any other: an upper bound.
    fewest = 1 / (1 - absent[:, None] * labels[0])
    hits = torch.zeros_like(fewest)
    for chosen, probability in enumerate(labels, start=1):
        hits = hits + probability / (1 - absent[:, None] * probability)
        generated = generated * nodes[:, None]
        expected = (generated * hits).sum(dim=0)
        better = expected > best + EQUAL
        best, size = torch.where(better, expected, best), torch.where(better, chosen, size)
        if chosen % STEPS_A_CHECK == 0:
            most = number * (generated * nodes[:, None] * fewest).sum(dim=0)  # of any larger set
            if bool((most <= best).all()):
                break
    return size


def _gauss_legendre(number: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights (Q,) of the rule on 0..1, exact for polynomials up to degree 2Q - 1."""
    nodes, weights = (torch.from_numpy(values).to(like) / 2 for values in np.polynomial.legendre.leggauss(number))
    return nodes + 0.5, weights
