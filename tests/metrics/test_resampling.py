"""Intervals and paired tests agree with figures measured on samples drawn one by one."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
from cnn_rnn.metrics.stored_predictions import StoredPredictions, collect_predictions


def rows(images: int = 40, noise: float = 1.0, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Scores with ties that tell something of the targets, targets with some left out, and predicted sets."""
    generator = np.random.default_rng(0)
    targets = (generator.random((images, 4)) < 0.3).astype(int)
    targets[generator.random((images, 4)) < 0.1] = -1
    own = np.random.default_rng(seed)
    scores = np.round(1 / (1 + np.exp(-(2.0 * (targets == 1) - 1 + noise * own.normal(size=targets.shape)))), 2)
    return scores, targets, scores > 0.6


def headline(figures: dict[str, Any]) -> dict[str, float | None]:
    """The figures that are resampled, by name."""
    found = {
        f"{block}.{name}": figures[block][name]
        for block in ("path", "threshold", "expected_f1", "top_k")
        for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")
    }
    return {"mAP": figures["mAP"], **found, "ranking.MAP_at_k": figures["ranking"]["MAP_at_k"]}


def measured(scores: NDArray, targets: NDArray, paths: NDArray, **settings: Any) -> dict[str, float | None]:
    """The headline figures as the accumulator has them."""
    metrics = MultiLabelMetrics(**settings)
    metrics.update(scores, targets, paths=paths)
    return headline(metrics.compute())


SETTINGS: list[dict[str, Any]] = [
    {},
    {"top_k": 1, "thresholds": [0.2, 0.5, 0.7, 0.9], "average_precision_method": "11point", "map_k": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["area", "11point"])
def test_intervals_are_those_of_samples_drawn_and_measured_one_by_one(settings: dict[str, Any]) -> None:
    scores, targets, paths = rows()
    result = bootstrap_intervals(scores, targets, paths, samples=120, seed=3, level=0.9, **settings)
    generator = np.random.default_rng(3)
    drawn = []
    for _ in range(120):
        chosen = generator.integers(0, len(scores), len(scores))
        drawn.append(measured(scores[chosen], targets[chosen], paths[chosen], **settings))
    values = measured(scores, targets, paths, **settings)
    assert list(result["figures"]) == list(values)
    for name, figure in result["figures"].items():
        low, high = np.quantile([sample[name] for sample in drawn], [0.05, 0.95])
        assert figure["value"] == pytest.approx(values[name], abs=1e-9), name
        assert (figure["low"], figure["high"]) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9)), name


def test_intervals_name_their_seed_and_come_again_with_it() -> None:
    first = bootstrap_intervals(*rows(), samples=30, seed=5)
    assert (first["seed"], first["samples"], first["level"]) == (5, 30, 0.95)
    assert json.dumps(first, allow_nan=False) == json.dumps(bootstrap_intervals(*rows(), samples=30, seed=5))
    assert first["figures"] != bootstrap_intervals(*rows(), samples=30, seed=6)["figures"]


def test_classes_with_few_positives_stay_out_of_the_means_of_every_sample() -> None:
    scores, targets, paths = rows()
    targets[:, 3] = 0
    targets[:2, 3] = 1
    result = bootstrap_intervals(scores, targets, paths, samples=20, min_positives=3)["figures"]
    fewer = bootstrap_intervals(scores[:, :3], targets[:, :3], paths[:, :3], samples=20)["figures"]
    for name in ("mAP", "path.CP", "threshold.CF1"):
        assert result[name] == pytest.approx(fewer[name])


def test_no_positives_give_none_and_no_images_are_refused() -> None:
    result = bootstrap_intervals(np.zeros((3, 2)), np.zeros((3, 2)), samples=5)
    assert result["figures"]["mAP"] == {"value": None, "low": None, "high": None}
    assert "path.CF1" not in result["figures"]
    json.dumps(result, allow_nan=False)
    with pytest.raises(ValueError, match="no images to draw from"):
        bootstrap_intervals(np.zeros((0, 2)), np.zeros((0, 2)))


def stored(images: int = 200, **options: Any) -> StoredPredictions:
    """Predictions without paths."""
    scores, targets, _ = rows(images, **options)
    return collect_predictions([str(n) for n in range(images)], list("abcd"), scores, targets)


def test_a_better_model_is_told_from_a_worse_and_equals_are_not() -> None:
    worse, better, alike = stored(noise=3.0), stored(noise=0.5, seed=1), stored(noise=3.0, seed=2)
    result = compare_paired(worse, better, samples=300)["figures"]["mAP"]
    assert result["difference"] == pytest.approx(result["second"] - result["first"])
    assert 0 < result["low"] <= result["difference"] <= result["high"]
    assert result["p_value"] == pytest.approx(2 / 301)
    assert compare_paired(worse, alike, samples=300)["figures"]["mAP"]["p_value"] > 0.05
    itself = compare_paired(worse, worse, samples=50)["figures"]["threshold.OF1"]
    assert (itself["difference"], itself["low"], itself["high"], itself["p_value"]) == (0, 0, 0, 1)


def test_each_model_is_cut_at_its_own_thresholds() -> None:
    first = stored(50)
    figures = compare_paired(first, first, thresholds=(0.5, [0.3, 0.4, 0.5, 0.6]), samples=20)["figures"]
    assert figures["threshold.OF1"]["first"] == first.measure()["threshold"]["OF1"]
    assert figures["threshold.OF1"]["second"] == first.measure(thresholds=[0.3, 0.4, 0.5, 0.6])["threshold"]["OF1"]
    assert figures["mAP"]["difference"] == 0


def test_paths_are_compared_with_the_thresholds_of_a_model_that_walks_none() -> None:
    scores, targets, sets = rows(50)
    paths = np.where(sets, np.arange(4), 4)
    paths.sort(axis=1)
    without = collect_predictions([str(n) for n in range(50)], list("abcd"), scores, targets)
    walking = replace(without, paths=paths[:, None].astype(np.int32))
    figures = compare_paired(without, walking, samples=20)["figures"]
    assert "path.OF1" not in figures
    assert figures["predicted_set.OF1"]["first"] == without.measure()["threshold"]["OF1"]
    assert figures["predicted_set.OF1"]["second"] == walking.measure()["path"]["OF1"]
    assert "predicted_set.OF1" not in compare_paired(without, without, samples=5)["figures"]


def test_the_order_of_the_images_in_the_second_file_does_not_matter() -> None:
    first, second = stored(50), stored(50, seed=4)
    order = np.random.default_rng(0).permutation(50)
    shuffled = replace(
        second,
        image_ids=[second.image_ids[row] for row in order],
        scores=second.scores[order],
        truth=second.truth[order],
    )
    assert compare_paired(first, shuffled, samples=20) == compare_paired(first, second, samples=20)


def test_predictions_for_other_images_labels_or_truth_are_not_compared() -> None:
    first = stored(5)
    with pytest.raises(ValueError, match="different label names"):
        compare_paired(first, replace(first, label_names=list("abce")))
    with pytest.raises(ValueError, match=r"1 only in the first \(\['4'\]\), 1 only in the second \(\['x'\]\)"):
        compare_paired(first, replace(first, image_ids=[*"0123", "x"]))
    with pytest.raises(ValueError, match="the truth differs for 5 images, such as '0'"):
        compare_paired(first, replace(first, truth=1 - abs(first.truth)))
