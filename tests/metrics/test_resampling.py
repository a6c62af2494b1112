"""Intervals hold what they are for; standard errors, biases and paired tests agree with figures measured one by one."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnn_rnn.metrics import MultiLabelMetrics, average_precision
from cnn_rnn.metrics.influence import mean_recall
from cnn_rnn.metrics.intervals import find_interval
from cnn_rnn.metrics.resampling import (
    _draw_halves,
    _half_set_drift,
    bootstrap_intervals,
    compare_paired,
    estimate_runs,
)
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
        for name in ("CP", "CR", "CF1", "OP", "OR", "OF1", "example_F1", "exact_match")
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
def test_standard_errors_are_those_of_leaving_out_each_image_in_turn(settings: dict[str, Any]) -> None:
    scores, targets, paths = rows(120)
    result = bootstrap_intervals(scores, targets, paths, samples=2, **settings)
    values = measured(scores, targets, paths, **settings)
    assert list(result["figures"]) == list(values)
    without = [
        measured(*(np.delete(part, image, axis=0) for part in (scores, targets, paths)), **settings)
        for image in range(len(scores))
    ]
    for name, figure in result["figures"].items():
        assert figure["value"] == pytest.approx(values[name], abs=1e-9), name
        left = np.array([sample[name] for sample in without], float)
        jackknife = np.sqrt((len(left) - 1) * left.var())
        # the jackknife of the 11-point form is rough: leaving out an image moves the levels of recall
        close = 0.3 if name == "mAP" and settings else 0.08
        assert figure["standard_error"] == pytest.approx(jackknife, rel=close), name


@pytest.mark.parametrize("method", ["area", "11point"])
def test_what_map_owes_to_few_positives_is_seen_on_half_sets(method: Any) -> None:
    scores, targets, _ = rows(60)
    targets[:, 3] = 0
    targets[5, 3] = 1
    generator = np.random.default_rng(2)
    whole = average_precision(scores, targets, method=method)
    drifts = []
    for _ in range(10):
        half = generator.permutation(60)[:30]
        drifts += [
            np.nanmean(average_precision(scores[chosen], targets[chosen], method=method) - whole)
            for chosen in (half, np.setdiff1d(np.arange(60), half))
        ]
    halves = _draw_halves(60, 20, 2)
    assert _half_set_drift(scores, targets.astype(np.int8), whole, halves, method=method) == pytest.approx(
        np.mean(drifts)
    )


def test_classes_of_one_positive_stand_in_for_each_other() -> None:
    present = np.zeros((50, 10))
    present[np.arange(10), np.arange(10)] = 1
    hits = present * (np.arange(10) < 4)
    recall = mean_recall(hits, present, np.ones(10, bool))
    assert recall.value == pytest.approx(0.4)
    assert np.square(recall.influence).sum() == pytest.approx(np.var([1] * 4 + [0] * 6, ddof=1) / 10)


def test_an_interval_holds_its_value_and_is_wilsons_for_a_share_of_images() -> None:
    for images, seed in ((12, 0), (40, 1), (300, 2)):
        for figure in bootstrap_intervals(*rows(images, seed=seed), samples=20)["figures"].values():
            if figure["low"] is not None:
                assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
                assert figure["low"] < figure["high"]
            else:
                assert figure["reason"]
    never = bootstrap_intervals(np.full((20, 3), 0.9), np.eye(20, 3), samples=2)["figures"]["threshold.exact_match"]
    assert (never["value"], never["low"]) == (0, 0)
    assert never["high"] == pytest.approx(0.1611, abs=1e-4)  # 1.96^2 / (20 + 1.96^2)


def test_classes_that_are_too_rare_have_a_reason_in_place_of_an_interval() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random((100, 60)) < 0.02).astype(int)
    scores = 1 / (1 + np.exp(4 - 2 * truth - generator.normal(size=truth.shape)))
    figures = bootstrap_intervals(scores, truth, samples=20)["figures"]
    assert figures["mAP"]["low"] is figures["mAP"]["high"] is None
    too_high = r"about \d+\.\d points too high, because classes have too few.*; min_positives leaves them out"
    assert re.fullmatch(too_high, figures["mAP"]["reason"])
    assert "too low, because classes are rare and never predicted" in figures["threshold.CP"]["reason"]
    assert figures["mAP"]["standard_error"] > 0
    assert figures["top_k.OF1"]["low"] is not None
    one = bootstrap_intervals(scores[:1], truth[:1] | 1, samples=2)["figures"]["mAP"]
    assert one["reason"].startswith("a single image")


def test_intervals_hold_the_figures_of_the_population_and_equal_models_differ_by_chance() -> None:
    generator = np.random.default_rng(0)
    shares = np.geomspace(0.02, 0.4, 12)
    truth = (generator.random((20_000, 12)) < shares).astype(int)
    common = generator.normal(size=truth.shape)
    first, second = (
        1 / (1 + np.exp(-np.log(shares / (1 - shares)) - 2 * truth + 1 - common - generator.normal(size=truth.shape)))
        for _ in range(2)
    )
    known = measured(first, truth, first > 0.4)
    draws, held, chances, names = 150, dict.fromkeys(known, 0), dict.fromkeys(known, 0), [str(n) for n in range(400)]
    for _ in range(draws):
        chosen = generator.integers(0, len(truth), 400)
        found = bootstrap_intervals(first[chosen], truth[chosen], first[chosen] > 0.4, samples=10)["figures"]
        for name, figure in found.items():
            held[name] += figure["low"] is None or figure["low"] <= known[name] <= figure["high"]
        models = [
            collect_predictions(names, list("abcdefghijkl"), part[chosen], truth[chosen]) for part in (first, second)
        ]
        for name, figure in compare_paired(*models, samples=10)["figures"].items():
            chances[name] += figure["p_value"] < 0.05
    for name in known:
        # 142.5 and 7.5 of 150 draws, with a deviation of 2.7
        assert held[name] >= 130, name
        assert chances[name] <= 18, name
    assert sum(held.values()) < len(held) * draws * 0.98


def test_intervals_name_their_seed_and_come_again_with_it() -> None:
    first = bootstrap_intervals(*rows(), samples=30, seed=5)
    assert (first["seed"], first["samples"], first["level"]) == (5, 30, 0.95)
    assert json.dumps(first, allow_nan=False) == json.dumps(bootstrap_intervals(*rows(), samples=30, seed=5))
    assert first["figures"]["mAP"] != bootstrap_intervals(*rows(), samples=30, seed=6)["figures"]["mAP"]


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
    assert result["figures"]["mAP"] == {"value": None, "standard_error": None, "low": None, "high": None}
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
    assert result["p_value"] < 1e-6
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


def test_the_error_of_a_mean_of_runs_is_that_of_leaving_out_each_image_in_turn() -> None:
    runs = []
    for seed, threshold in ((1, 0.4), (2, 0.6)):
        scores, targets, paths = rows(100, seed=seed)
        walked = np.where(paths, np.arange(4), 4)
        walked.sort(axis=1)
        info = {"thresholds": threshold}
        runs.append(
            collect_predictions([*map(str, range(100))], list("abcd"), scores, targets, paths=walked, info=info)
        )
    found = estimate_runs([runs[0], runs[1].select(np.arange(100)[::-1])], samples=2)

    def mean(kept: NDArray) -> dict[str, float]:
        figures: list[dict[str, Any]] = [
            measured(run.scores[kept], run.truth[kept], run.path_sets[kept], thresholds=run.info["thresholds"])
            for run in runs
            if run.path_sets is not None
        ]
        return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}

    values, without = mean(np.arange(100)), [mean(np.delete(np.arange(100), image)) for image in range(100)]
    for name in ("mAP", "threshold.OF1", "expected_f1.example_F1", "path.exact_match"):
        left = np.array([sample[name] for sample in without])
        assert found[name].value == pytest.approx(values[name])
        assert found[name].standard_error == pytest.approx(np.sqrt(99 * left.var()), rel=0.08), name
    one = estimate_runs(runs[:1], samples=2)["path.exact_match"]
    of_shares = find_interval(replace(one, trials=100), 0.95)
    assert find_interval(one, 0.95) == {end: pytest.approx(value, abs=2e-3) for end, value in of_shares.items()}
    with pytest.raises(ValueError, match="different label names"):
        estimate_runs([runs[0], replace(runs[1], label_names=list("abce"))])
