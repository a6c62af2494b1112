"""Average precision equals scikit-learn's and the VOC development kit's definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from cnn_rnn.metrics import MultiLabelMetrics, average_precision, checked_arrays


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores with many ties or none, and targets with -1 for what is left out, of every density."""
    images, labels = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    scores = generator.integers(0, levels, (images, labels)) / levels
    targets = (generator.random((images, labels)) < draw(st.sampled_from([0, 0.05, 0.5, 1]))).astype(int)
    targets[generator.random((images, labels)) < draw(st.sampled_from([0, 0.2, 1]))] = -1
    return scores, targets


def reference_area(scores: NDArray[np.float64], targets: NDArray[np.int64]) -> list[float]:
    """scikit-learn's figure for each class, NaN without positives."""
    result = []
    for score, target in zip(scores.T, targets.T, strict=True):
        counted = target >= 0
        defined = (target == 1).any()
        result.append(average_precision_score(target[counted], score[counted]) if defined else float("nan"))
    return result


def reference_11point(score: NDArray[np.float64], target: NDArray[np.int64]) -> float:
    """The development kit's loop over recalls, with equal scores entering together."""
    points = []
    for threshold in np.unique(score[target >= 0]):
        hits = int(((score >= threshold) & (target == 1)).sum())
        points.append((hits, hits / int(((score >= threshold) & (target >= 0)).sum())))
    positives = int((target == 1).sum())
    return (
        sum(max(precision for hits, precision in points if 10 * hits >= level * positives) for level in range(11)) / 11
    )


@given(cases())
def test_area_equals_scikit_learn_with_left_out_entries_removed(case: tuple[NDArray, NDArray]) -> None:
    scores, targets = case
    np.testing.assert_allclose(average_precision(scores, targets), reference_area(scores, targets), rtol=0, atol=1e-9)


@given(cases())
def test_11point_equals_the_development_kit_loop(case: tuple[NDArray, NDArray]) -> None:
    scores, targets = case
    expected = [
        reference_11point(score, target) if (target == 1).any() else float("nan")
        for score, target in zip(scores.T, targets.T, strict=True)
    ]
    np.testing.assert_allclose(average_precision(scores, targets, method="11point"), expected, rtol=0, atol=1e-9)


@given(cases(), st.sampled_from(["area", "11point"]))
def test_only_the_order_of_the_scores_matters_not_that_of_the_rows(case: tuple[NDArray, NDArray], method: str) -> None:
    scores, targets = case
    order = np.random.default_rng(0).permutation(len(scores))
    expected = average_precision(scores, targets, method=method)  # type: ignore[call-overload]
    again = average_precision(np.exp(scores[order]), targets[order], method=method)  # type: ignore[call-overload]
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        ("1", 1),  # one image
        ("01", 1 / 2),  # precision 1/2 at every recall
        ("10100", (6 * 1 + 5 * 2 / 3) / 11),  # recall 0 to 0.5 at precision 1, 0.6 to 1 at 2/3
        ("0110", 2 / 3),  # the best precision beyond, not the one at the recall
        ("1000010000", (6 * 1 + 5 * 2 / 6) / 11),
        ("1101", (7 * 1 + 4 * 3 / 4) / 11),  # 2 of 3 reaches 0.6, not 0.7
        ("1110111111100", (4 * 1 + 7 * 10 / 11) / 11),  # 3 of 10 reaches 0.3
    ],
)
def test_11point_of_worked_rankings(ranking: str, expected: float) -> None:
    targets = np.array([[int(sign)] for sign in ranking])
    scores = -np.arange(len(ranking), dtype=float)[:, None]
    assert average_precision(scores, targets, method="11point")[0] == pytest.approx(expected, abs=1e-12)


def test_difficult_images_change_nothing_wherever_they_rank() -> None:
    targets = np.array([[1, 0, 1, 0, 0]]).T
    scores = np.array([[0.9, 0.7, 0.5, 0.3, 0.1]]).T
    expected = average_precision(scores, targets, method="11point")
    for score in (1.0, 0.6, 0.0, np.nan):
        more_scores, more_targets = np.vstack([scores, [[score]]]), np.vstack([targets, [[-100]]])
        assert average_precision(more_scores, more_targets, method="11point") == expected


def test_mask_and_negative_targets_leave_out_alike() -> None:
    generator = np.random.default_rng(1)
    scores, targets = generator.random((40, 3)), generator.integers(0, 2, (40, 3))
    mask = generator.random((40, 3)) < 0.7
    by_mask = average_precision(scores, targets, mask)
    by_target = average_precision(scores, np.where(mask, targets, -100))
    np.testing.assert_array_equal(by_mask, by_target)
    assert (by_mask != average_precision(scores, targets)).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_come_back_as_tensors_of_the_same_figures(dtype: torch.dtype) -> None:
    scores = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    targets = (torch.rand(30, 4, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    result = average_precision(scores, targets, targets >= 0)
    assert isinstance(result, torch.Tensor)
    expected = average_precision(scores.detach().double().numpy(), targets.numpy())
    np.testing.assert_array_equal(result.numpy(), expected)


def test_inputs_are_left_as_they_were() -> None:
    scores, targets = np.random.default_rng(0).random((20, 3)), np.eye(20, 3)
    mask = np.random.default_rng(1).random((20, 3)) < 0.5
    before = scores.copy(), targets.copy(), mask.copy()
    average_precision(scores, targets, mask)
    for now, then in zip((scores, targets, mask), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_no_rows_and_no_positives_give_nan() -> None:
    assert np.isnan(average_precision(np.zeros((0, 3)), np.zeros((0, 3)))).all()
    assert average_precision(np.zeros((0, 3)), np.zeros((0, 3))).shape == (3,)
    assert average_precision(np.zeros((3, 0)), np.zeros((3, 0))).shape == (0,)
    assert np.isnan(average_precision(np.zeros((4, 1)), np.zeros((4, 1)))).all()


@pytest.mark.parametrize(
    ("scores", "targets", "mask", "message"),
    [
        (np.zeros(3), np.zeros(3), None, r"expected numbers of shape \(N, C\)"),
        (np.zeros((3, 2)), np.zeros((2, 3)), None, r"targets have shape \(2, 3\)"),
        (np.zeros((3, 2)), np.full((3, 2), 0.5), None, "target of row 0, label 0 is 0.5"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), None, "target of row 0, label 0 is nan"),
        (np.array([[0.0, np.nan]]), np.zeros((1, 2)), None, "score of row 0, label 1 is nan"),
        (np.array([[0.0, -np.inf]]), np.zeros((1, 2)), None, "score of row 0, label 1 is -inf"),
        (np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2)), "expected bool"),
        (np.zeros((3, 2)), np.zeros((3, 2)), np.ones(3, bool), "the mask has shape"),
        (np.array([["a"]]), np.zeros((1, 1)), None, "expected numbers"),
    ],
)
def test_bad_input_is_named(scores: NDArray, targets: NDArray, mask: NDArray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        average_precision(scores, targets, mask)


def test_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="'trapezoid' is unknown: expected one of area, 11point"):
        average_precision(np.zeros((1, 1)), np.zeros((1, 1)), method="trapezoid")  # type: ignore[call-overload]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scores, targets = random.random((700, 19)), random.random((700, 19)) < 0.1
    expected = average_precision(scores, targets)
    metrics = MultiLabelMetrics()
    metrics.update(scores, targets, paths=scores > 0.5)
    figures = metrics.compute()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(checked_arrays, "BLOCK_ENTRIES", 1000)
    assert np.array_equal(average_precision(scores, targets), expected)
    assert metrics.compute() == figures
