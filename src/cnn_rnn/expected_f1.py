"""How many of the most probable labels make the set whose expected F1 is the greatest, by numpy alone."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CANDIDATES = 256  # labels of an image, the most probable first, of which the set is chosen and its F1 expected
IMAGES_AT_ONCE = 1024  # that are worked on together: few enough for a processor's cache
# By precision, expectations that differ by less may be equal but for rounding: 20 times what was seen of it.
ROUNDING = {np.float32: 5e-5, np.float64: 1e-12}

Numbers = NDArray[Any]


def chosen_by_expected_f1(probabilities: Numbers) -> NDArray[np.bool_]:
    """The labels (..., C) of the set with the greatest expected F1 of one image, or of each, (..., C).

    As `pick_by_expected_f1` has it.
    """
    rows = np.atleast_2d(probabilities)
    order = np.argsort(-rows, axis=1, kind="stable")
    ranked = np.take_along_axis(rows, order, axis=1)
    sizes = best_sizes(ranked[:, ::-1].astype(np.float64))
    chosen = np.zeros(rows.shape, bool)
    first = (np.arange(rows.shape[1]) < sizes[:, None]) & (ranked > 0)
    np.put_along_axis(chosen, order, first, axis=1)
    return chosen.reshape(np.shape(probabilities))


def best_sizes(ascending: Numbers) -> NDArray[np.int64]:
    """How many labels (N,) the set with the greatest expected F1 holds, from probabilities (N, C) in rising order.

    Of the first k labels the expected F1 is the sum over each of them of p E[2 / (k + 1 + S)], with S the number of the
    image's other labels. Since 1 / (k + 1 + S) is the integral of t^(k + S) over 0..1, and E[t^S] a product over the
    labels, it is one integral; Gauss-Legendre's rule gives it without the distribution of S.
    """
    labels = ascending[:, -MOST_CANDIDATES:]
    sizes = np.zeros(len(labels), np.int64)
    if not labels.size:
        return sizes
    number = labels.sum(axis=1, dtype=np.float64)
    largest = _largest_sizes(labels, number)
    exponents = np.ceil(number + largest).astype(np.int16)
    undecided = np.argsort(exponents, kind="stable")  # images that are as easy as each other are worked on together
    for precision, rounding in ROUNDING.items():  # the second for images whose sizes the first cannot tell apart
        close: list[NDArray[np.int64]] = []
        for start in range(0, len(undecided), IMAGES_AT_ONCE):
            images = undecided[start : start + IMAGES_AT_ONCE]
            some = labels[images].T.astype(precision, order="C")  # (M, N): images innermost
            nodes = _fewest_nodes(int(exponents[images[-1]]), len(some), rounding / 20)
            expected = _expected_f1(some, int(largest[images].max()), nodes)
            best = expected >= expected.max(axis=0) - rounding
            sizes[images] = best.argmax(axis=0)
            close.append(images[best.sum(axis=0) > 1])
        undecided = np.concatenate([*close, undecided[:0]])
    return sizes


def _largest_sizes(labels: Numbers, number: NDArray[np.float64]) -> NDArray[np.int64]:
    """A size (N,) of the set beyond which its expected F1 only falls, from rising probabilities and their sum (N,).

    With P the sum of the first k probabilities and p the next one, the expected F1 of k + j labels is at most twice the
    mean of 1 / (k + j + 1 + S), weighted by the probabilities, times P + j p. Where p (k + 1 + number) <= P, that falls
    with j from the start: the next label adds less than the growing set takes.
    """
    largest = np.ones(len(labels), np.int64)
    total = labels[:, -1].astype(np.float64)
    for size in range(1, labels.shape[1]):
        following = labels[:, -1 - size].astype(np.float64)
        gains = following * (size + 1 + number) > total
        if not gains.any():
            break
        largest += gains
        total += following
    return largest


def _expected_f1(labels: Numbers, largest: int, number: int) -> Numbers:
    """The expected F1 (K + 1, N) of the empty set and of up to K labels, from rising probabilities (M, N)."""
    nodes, weights = (values.astype(labels.dtype) for values in _gauss_legendre(number))
    # E[t^S] over all labels at each node (Q, N), two labels at a time: neither, one or both of them may be present.
    one, other = labels[len(labels) % 2 :: 2], labels[len(labels) % 2 + 1 :: 2]
    both = one * other
    single = one + other - 2 * both
    chances = np.stack([1 - single - both, single, both], axis=1)  # (M / 2, 3, N)
    generated = (nodes[:, None] ** np.arange(3, dtype=nodes.dtype) @ chances).prod(axis=0)
    if len(labels) % 2:
        generated *= 1 - (1 - nodes[:, None]) * labels[0]
    generated *= 2 * weights[:, None]
    expected = np.empty((largest + 1, labels.shape[1]), labels.dtype)
    expected[0] = (1 - labels).prod(axis=0)  # the probability that there is no label
    # A probability of 0 has an infinite ratio, by which nothing is added.
    with np.errstate(divide="ignore", over="ignore"):
        ratios = 1 / labels[::-1][:largest]
    hits = np.zeros_like(generated)
    present = np.empty_like(hits)
    for size, ratio in enumerate(ratios, start=1):
        # 1 / p - (1 - t) is E[t^X] / p of the label X: to divide by it leaves p times E[t^S] of the others.
        np.subtract(ratio, 1 - nodes[:, None], out=present)
        np.divide(generated, present, out=present)
        hits += present
        np.einsum("q,qn->n", nodes**size, hits, out=expected[size])
    return expected


@cache
def _fewest_nodes(exponent: int, labels: int, error: float) -> int:
    """Nodes that integrate t^(k + S) as good as exactly where k and the mean of S are together at most `exponent`.

    Of Q nodes the error is the 2Q-th derivative, here at most the exponent to the power of 2Q, times a factor; and a
    polynomial of a degree below 2Q has none.
    """
    for number in range(1, labels):
        factor = 4 * math.lgamma(number + 1) - 3 * math.lgamma(2 * number + 1) - math.log(2 * number + 1)
        if factor + (2 * number + 1) * math.log(exponent) < math.log(error):
            return number
    return labels


@cache
def _gauss_legendre(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights (Q,) of the rule on 0..1, exact for polynomials up to degree 2Q - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(number)
    return nodes / 2 + 0.5, weights / 2
