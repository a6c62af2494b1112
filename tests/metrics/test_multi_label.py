"""Every figure equals scikit-learn's or a count by hand, however the rows come."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from cnn_rnn.metrics import MultiLabelMetrics, average_precision

Rows = tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]


@st.composite
def rows(draw: st.DrawFn, left_out: bool = True) -> Rows:
    """Scores (N, C) with ties or none, targets with -1 for what is left out, and predicted sets."""
    images, labels = draw(st.integers(1, 25)), draw(st.integers(2, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 5, 2**20]))
    scores = generator.integers(0, levels + 1, (images, labels)) / levels
    targets = (generator.random((images, labels)) < draw(st.sampled_from([0, 0.1, 0.5, 1]))).astype(int)
    if left_out:
        targets[generator.random((images, labels)) < draw(st.sampled_from([0, 0.2, 1]))] = -1
    paths = (generator.random((images, labels)) < draw(st.sampled_from([0, 0.3, 1]))).astype(int)
    return scores.astype(draw(st.sampled_from([np.float32, np.float64]))), targets, paths


def measure(scores: NDArray[Any], targets: NDArray[Any], paths: NDArray[Any] | None = None, **settings: Any) -> Any:
    """The figures of rows that come in one batch."""
    metrics = MultiLabelMetrics(**settings)
    metrics.update(scores, targets, paths=paths)
    return metrics.compute()


def by_hand(picked: NDArray[np.bool_], targets: NDArray[np.int64]) -> dict[str, float | None]:
    """The figures of predicted sets, one entry at a time."""
    images, labels = targets.shape
    found = [sum(bool(picked[n, c]) and targets[n, c] == 1 for n in range(images)) for c in range(labels)]
    chosen = [sum(bool(picked[n, c]) and targets[n, c] >= 0 for n in range(images)) for c in range(labels)]
    true = [sum(targets[n, c] == 1 for n in range(images)) for c in range(labels)]
    if not any(true):
        return dict.fromkeys(["CP", "CR", "CF1", "mean_class_F1", "OP", "OR", "OF1"])
    kept = [c for c in range(labels) if true[c]]
    precision = [found[c] / chosen[c] if chosen[c] else 0 for c in kept]
    recall = [found[c] / true[c] for c in kept]
    mean_precision, mean_recall = sum(precision) / len(kept), sum(recall) / len(kept)
    both = mean_precision + mean_recall
    overall_precision, overall_recall = sum(found) / sum(chosen) if sum(chosen) else 0, sum(found) / sum(true)
    all_both = overall_precision + overall_recall
    return {
        "CP": mean_precision,
        "CR": mean_recall,
        "CF1": 2 * mean_precision * mean_recall / both if both else 0,
        "mean_class_F1": sum(2 * found[c] / (chosen[c] + true[c]) for c in kept) / len(kept),
        "OP": overall_precision,
        "OR": overall_recall,
        "OF1": 2 * overall_precision * overall_recall / all_both if all_both else 0,
    }


def top_k(scores: NDArray[Any], targets: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """The first k labels that are not left out, by falling score, then by rising id."""
    picked = np.zeros(scores.shape, bool)
    for n, score in enumerate(scores):
        ranked = sorted((c for c in range(len(score)) if targets[n, c] >= 0), key=lambda c: (-score[c], c))
        picked[n, ranked[:k]] = True
    return picked


def assert_close(figures: dict[str, Any], expected: dict[str, float | None]) -> None:
    for name, value in expected.items():
        assert figures[name] == (None if value is None else pytest.approx(value, rel=0, abs=1e-9)), name


@given(rows(), st.integers(1, 9), st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0]))
def test_sets_by_path_threshold_and_top_k_equal_a_count_by_hand(case: Rows, k: int, threshold: float) -> None:
    scores, targets, paths = case
    figures = measure(scores, targets, paths, top_k=k, thresholds=threshold)
    assert_close(figures["path"], by_hand(paths == 1, targets))
    assert_close(figures["threshold"], by_hand(scores.astype(float) >= threshold, targets))
    assert_close(figures["top_k"], by_hand(top_k(scores, targets, k), targets))


@given(rows(left_out=False))
def test_sets_equal_scikit_learn(case: Rows) -> None:
    scores, targets, paths = case
    figures = measure(scores, targets, paths)["path"]
    kept = targets.any(axis=0)
    assert figures["exact_match"] == pytest.approx(reference.accuracy_score(targets, paths), rel=0, abs=1e-9)
    assert figures["hamming_loss"] == pytest.approx(reference.hamming_loss(targets, paths), rel=0, abs=1e-9)
    expected = reference.f1_score(targets, paths, average="samples", zero_division=0)
    assert figures["example_F1"] == pytest.approx(expected, rel=0, abs=1e-9)
    if kept.any():
        options: dict[str, Any] = {"zero_division": 0}
        expected = reference.precision_recall_fscore_support(targets, paths, average="micro", **options)
        assert [figures[name] for name in ("OP", "OR", "OF1")] == pytest.approx(expected[:3], rel=0, abs=1e-9)
        expected = reference.precision_recall_fscore_support(targets, paths, **options)
        mean = [values[kept].mean() for values in expected[:3]]
        assert [figures[name] for name in ("CP", "CR", "mean_class_F1")] == pytest.approx(mean, rel=0, abs=1e-9)
        assert figures["N_plus"] == (expected[1][kept] > 0).sum()


@given(rows(left_out=False))
def test_rankings_equal_scikit_learn(case: Rows) -> None:
    scores, targets, _ = case
    figures = measure(scores, targets)["ranking"]
    assert figures["ranking_loss"] == pytest.approx(reference.label_ranking_loss(targets, scores), rel=0, abs=1e-9)
    assert figures["coverage_error"] == pytest.approx(reference.coverage_error(targets, scores), rel=0, abs=1e-9)


@given(rows(), st.integers(1, 9))
def test_rankings_equal_a_walk_down_each_image(case: Rows, k: int) -> None:
    scores, targets, _ = case
    figures = measure(scores, targets, map_k=k)["ranking"]
    averages, losses, coverages = [], [], []
    for score, target in zip(scores, targets, strict=True):
        ids = [c for c in range(len(score)) if target[c] >= 0]
        true, false = [c for c in ids if target[c] == 1], [c for c in ids if target[c] == 0]
        if not ids:
            continue
        wrong = sum(score[f] >= score[t] for t in true for f in false)
        losses.append(wrong / (len(true) * len(false)) if true and false else 0)
        coverages.append(max((sum(score[c] >= score[t] for c in ids) for t in true), default=0))
        if true:
            ranked = sorted(ids, key=lambda c: (-score[c], c))[:k]
            hits = [target[c] == 1 for c in ranked]
            precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
            averages.append(sum(precisions) / min(k, len(true)))
    for name, values in (("MAP_at_k", averages), ("ranking_loss", losses), ("coverage_error", coverages)):
        expected = pytest.approx(sum(values) / len(values), rel=0, abs=1e-9) if values else None
        assert figures[name] == expected, name


@given(rows())
def test_mean_average_precision_is_over_the_classes_with_positives(case: Rows) -> None:
    scores, targets, _ = case
    figures = measure(scores, targets, labels=[f"label {c}" for c in range(scores.shape[1])])
    by_class = average_precision(scores, targets)
    absent = [f"label {c}" for c in range(scores.shape[1]) if not (targets[:, c] == 1).any()]
    assert figures["counts"]["classes_without_positives"] == absent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmean(by_class)
    assert figures["mAP"] == (None if np.isnan(expected) else pytest.approx(expected, rel=0, abs=1e-12))
    for c, (name, block) in enumerate(figures["per_class"].items()):
        assert name == f"label {c}"
        assert block["AP"] == (None if name in absent else pytest.approx(by_class[c], rel=0, abs=1e-12))
        assert block["positives"] == (targets[:, c] == 1).sum()
        assert block["counted"] == (targets[:, c] >= 0).sum()


@given(rows(), st.integers(1, 20))
def test_calibration_error_equals_a_count_in_bins(case: Rows, bins: int) -> None:
    scores, targets, _ = case
    counted = targets >= 0
    score, target = scores[counted].astype(float), targets[counted]
    edges = (np.arange(1, bins) / bins).astype(scores.dtype).astype(float)
    which = (score[:, None] >= edges).sum(axis=1)
    errors = [abs((score - target)[which == b].sum()) for b in range(bins)]
    expected = pytest.approx(sum(errors) / len(score), rel=0, abs=1e-9) if len(score) else None
    assert measure(scores, targets, calibration_bins=bins)["calibration"] == {"ECE": expected, "bins": bins}


@given(rows(), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_order_batches_and_merging_change_no_bit(case: Rows, batch: int, seed: int) -> None:
    scores, targets, paths = case
    expected = json.dumps(measure(scores, targets, paths))
    order = np.random.default_rng(seed).permutation(len(scores))
    parts = [MultiLabelMetrics() for _ in range(3)]
    for step, start in enumerate(range(0, len(order), batch)):
        chosen = order[start : start + batch]
        parts[step % 3].update(scores[chosen], targets[chosen], paths=paths[chosen])
    for part in parts[1:]:
        parts[0].merge(part)
    assert json.dumps(parts[0].compute()) == expected


@given(rows())
def test_left_out_entries_change_nothing(case: Rows) -> None:
    scores, targets, paths = case
    other_scores = np.where(targets < 0, np.nan, scores)
    mask = targets >= 0
    metrics = MultiLabelMetrics()
    metrics.update(other_scores, np.where(mask, targets, 1), mask, np.where(mask, paths, 1 - paths))
    assert json.dumps(metrics.compute()) == json.dumps(measure(scores, targets, paths))


def test_both_readings_of_class_f1() -> None:
    # class 0: precision 1, recall 1/2; class 1: precision 1/5, recall 1
    targets = np.array([[1, 1], [1, 0], [0, 0], [0, 0], [0, 0]])
    paths = np.array([[1, 1], [0, 1], [0, 1], [0, 1], [0, 1]])
    figures = measure(np.zeros((5, 2)), targets, paths)["path"]
    assert figures["CF1"] == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    assert figures["mean_class_F1"] == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_classes_with_few_positives_take_no_part_in_class_means_and_are_named() -> None:
    generator = np.random.default_rng(3)
    scores, targets = generator.random((60, 4)), np.zeros((60, 4), int)
    targets[:20, 0], targets[5:24, 1], targets[:30, 2] = 1, 1, 1
    figures = measure(scores, targets, min_positives=20, labels=list("abcd"))
    kept = measure(scores[:, [0, 2]], targets[:, [0, 2]])
    assert figures["mAP"] == kept["mAP"]
    assert [figures["threshold"][name] for name in ("CP", "CR", "CF1")] == (
        [kept["threshold"][name] for name in ("CP", "CR", "CF1")]
    )
    assert figures["threshold"]["OF1"] == measure(scores, targets)["threshold"]["OF1"]
    assert figures["counts"]["classes_left_out_of_means"] == ["b", "d"]
    assert figures["counts"]["classes_without_positives"] == ["d"]
    assert figures["per_class"]["b"]["AP"] is not None


def test_top_k_takes_the_lower_label_of_equal_scores() -> None:
    scores = np.zeros((1, 5))
    figures = measure(scores, np.array([[1, 0, 1, 0, 1]]), top_k=3, labels=list("abcde"))
    assert [figures["per_class"][name]["top_k"]["predicted"] for name in "abcde"] == [1, 1, 1, 0, 0]
    assert figures["top_k"]["k"] == 3


def test_a_label_at_its_threshold_is_predicted_and_each_label_may_have_its_own() -> None:
    scores = np.array([[0.3, 0.3, 0.3]], np.float32)
    exact = float(np.float32(0.3))  # slightly above 0.3
    thresholds = [0.3, exact, np.nextafter(exact, 1)]
    figures = measure(scores, np.ones((1, 3)), thresholds=thresholds)
    assert [block["threshold"]["recall"] for block in figures["per_class"].values()] == [1, 1, 0]
    assert figures["threshold"]["thresholds"] == thresholds


def test_scores_that_are_no_probabilities_have_no_calibration_error() -> None:
    assert measure(np.array([[-1.0, 3.0]]), np.array([[0, 1]]))["calibration"]["ECE"] is None


def test_figures_without_any_positive_or_any_counted_entry_are_none_and_json() -> None:
    nothing = measure(np.zeros((2, 3)), np.full((2, 3), -1), np.ones((2, 3)))
    assert nothing["mAP"] is None
    assert nothing["path"]["exact_match"] is None
    assert nothing["counts"] == {
        "images": 2,
        "labels": 3,
        "positives": 0,
        "left_out": 6,
        "images_without_labels": 0,
        "images_left_out": 2,
        "classes_without_positives": ["0", "1", "2"],
        "min_positives": 1,
        "classes_left_out_of_means": ["0", "1", "2"],
    }
    absent = measure(np.zeros((2, 3)), np.zeros((2, 3)))
    assert absent["threshold"]["CF1"] is None
    assert absent["threshold"]["exact_match"] == 1
    assert absent["counts"]["images_without_labels"] == 2
    for figures in (nothing, absent):
        json.dumps(figures, allow_nan=False)


def test_tensors_and_arrays_give_the_same_figures() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20, 4, generator=generator)
    targets = (torch.rand(20, 4, generator=generator) < 0.4).float()
    paths = torch.rand(20, 4, generator=generator) < 0.4
    metrics = MultiLabelMetrics()
    metrics.update(scores, targets, targets >= 0, paths)
    assert metrics.compute() == measure(scores.numpy(), targets.numpy(), paths.numpy())


def test_a_batch_may_be_overwritten_after_it_was_taken_in() -> None:
    scores, targets, paths = np.array([[0.9, 0.1]]), np.array([[1, 0]]), np.array([[True, False]])
    metrics = MultiLabelMetrics()
    metrics.update(scores, targets, paths=paths)
    expected = json.dumps(metrics.compute())
    scores[:], targets[:], paths[:] = 0.5, 0, True
    assert json.dumps(metrics.compute()) == expected


def test_misuse_is_named() -> None:
    one = np.zeros((1, 2))
    with pytest.raises(ValueError, match="no rows to measure"):
        MultiLabelMetrics().compute()
    with pytest.raises(ValueError, match="scores have 2 columns, but there are 3 label names"):
        MultiLabelMetrics(labels=list("abc")).update(one, one)
    with pytest.raises(ValueError, match="scores have 2 columns, but there are 3 thresholds"):
        MultiLabelMetrics(thresholds=[0.1, 0.2, 0.3]).update(one, one)
    for thresholds in ({"a": 1}, [[0.5]], [float("nan")], "high"):
        with pytest.raises(ValueError, match="expected one number or one per label"):
            MultiLabelMetrics(thresholds=thresholds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two labels have the same name"):
        MultiLabelMetrics(labels=["a", "a"])
    with pytest.raises(ValueError, match="top_k is 0"):
        MultiLabelMetrics(top_k=0)
    with pytest.raises(ValueError, match="multi-hot"):
        MultiLabelMetrics().update(one, one, paths=np.array([[2, 1]]))
    with pytest.raises(ValueError, match="paths have shape"):
        MultiLabelMetrics().update(one, one, paths=np.array([[1]]))
    metrics = MultiLabelMetrics()
    metrics.update(one, one)
    with pytest.raises(ValueError, match="some batches came with paths"):
        metrics.update(one, one, paths=one)
    with pytest.raises(ValueError, match="3 columns, but there are 2 columns in the batches before"):
        metrics.update(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="different top_k cannot be merged: 3 and 5"):
        metrics.merge(MultiLabelMetrics(top_k=5))


def test_the_adjusted_top_k_holds_the_root_of_its_frequency_against_a_label() -> None:
    generator = np.random.default_rng(3)
    scores, targets = generator.random((40, 6)) ** 3, generator.integers(-1, 2, (40, 6))
    counts = np.array([900, 300, 60, 10, 1, 0])
    picked = np.zeros((40, 6), bool)
    for row in range(40):
        odds = {
            c: scores[row, c] / (1 - scores[row, c]) / (counts[c] + 0.5) ** 0.5
            for c in np.flatnonzero(targets[row] >= 0)
        }
        picked[row, sorted(odds, key=lambda c: -odds[c])[:2]] = True
    figures = measure(scores, targets, top_k=2, label_counts=counts)
    expected = by_hand(picked, targets)
    assert {key: figures["adjusted_top_k"][key] for key in expected} == pytest.approx(expected)
    assert figures["adjusted_top_k"]["CF1"] != figures["top_k"]["CF1"]
    alike = measure(scores, targets, top_k=2, label_counts=[7] * 6)
    assert {**alike["adjusted_top_k"], "k": 2} == alike["top_k"]
    assert figures["top_k"] == alike["top_k"]


def test_without_counts_or_probabilities_nothing_is_adjusted() -> None:
    scores = np.random.default_rng(0).random((4, 3))
    assert measure(scores, np.eye(4, 3))["adjusted_top_k"] is None
    assert measure(scores * 9, np.eye(4, 3), label_counts=[1, 2, 3])["adjusted_top_k"] is None
    for wrong, said in (([1, -2, 3], "0 or more"), ([[1, 2, 3]], "0 or more"), ([1, 2], "there are 2 label counts")):
        with pytest.raises(ValueError, match=said):
            measure(scores, np.eye(4, 3), label_counts=wrong)
