"""The tables of several seeds, from what validations wrote."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_rnn.metrics.stored_predictions import collect_predictions, read_predictions, write_predictions

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"


def write_folder(folder: Path, seed: int) -> dict[str, float]:
    """What a validation would have written; returns the share of exact sets of the model and of the baseline."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    truth = (generator.random((60, 5)) < 0.4).astype(int)
    own = np.random.default_rng(seed)
    exact = {}
    for name, noise in (("", 0.5), ("_baseline", 0.8)):
        scores = (0.25 + 0.5 * truth + noise * (own.random(truth.shape) - 0.5)).clip(0, 1)
        picked = scores >= 0.45
        walked = np.where(picked, np.arange(5), 5)
        walked.sort(axis=1)
        info: dict[str, Any] = {"thresholds": [0.45] * 5}
        parts = {} if name else {"paths": walked, "sets": picked}
        stored = collect_predictions([*map(str, range(60))], list("abcde"), scores, truth, info=info, **parts)
        write_predictions(folder / f"predictions{name}.parquet", stored)
        exact[name] = float((picked == truth).all(axis=1).mean())
    asked = {"model": {"telling": {"mean": seed, "median": 2.0, "right_at_once": 0.5}}}
    (folder / "metrics.json").write_text(json.dumps({"ask": asked}))
    return exact


def test_means_and_intervals_are_those_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("mean_of_seeds")
    exact = [write_folder(tmp_path / str(seed), seed) for seed in (1, 2)]
    file = tmp_path / "figures.json"
    monkeypatch.setattr("sys.argv", ["mean_of_seeds.py", str(tmp_path / "1"), str(tmp_path / "2"), "--json", str(file)])
    script.main()
    printed, written = capsys.readouterr().out, json.loads(file.read_text())
    for model, key, name in (("model", "path.exact_match", ""), ("baseline", "threshold.exact_match", "_baseline")):
        found = written["figures"][model][key]
        assert found["values"] == pytest.approx([one[name] for one in exact], abs=1e-4)
        assert found["mean"] == pytest.approx(np.mean(found["values"]), abs=1e-4)
        assert found["low"] < found["mean"] < found["high"]
        least, greatest = sorted(100 * value for value in found["values"])
        ends = f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"
        assert f"({least:.1f} to {greatest:.1f}); {ends}" in printed
    of_top = [read_predictions(tmp_path / seed / "predictions.parquet").measure(top_k=3)["top_k"] for seed in "12"]
    recalled = np.mean([one["N_plus"] for one in of_top])
    assert f"model, top 3: C-F1 {100 * np.mean([one['CF1'] for one in of_top]):.1f}, {recalled:.0f} labels" in printed
    difference = np.mean([one[""] - one["_baseline"] for one in exact])
    assert f"| exact match as a whole set (against by threshold) | {100 * difference:+.1f} |" in printed
    assert "| exact match as a whole set less by path, both of the model | +0.0 | 0.0 to 0.0 |" in printed
    assert written["known, each seed"]["ask"]["model"]["telling"]["mean"] == [1, 2]
    assert "| model, telling first | 1.50 | 2 |" in printed


def test_two_baselines_as_one_are_the_mean_of_their_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("mean_of_seeds")
    for seed in (1, 2, 3):
        write_folder(tmp_path / str(seed), seed)
    runs = script.read_runs([tmp_path / str(seed) for seed in (1, 2, 3)])
    first, second, third = (np.clip(one.scores, 1e-6, 1 - 1e-6) for one in runs["baseline"])
    found = [one.scores for one in runs["two baselines"]]
    for scores, pair in zip(found, ((first, second), (second, third), (third, first)), strict=True):
        odds = np.sqrt(np.prod([one / (1 - one) for one in pair], axis=0))
        np.testing.assert_allclose(scores, odds / (1 + odds), atol=1e-5)
    assert runs["two baselines"][0].info["thresholds"] == pytest.approx([0.45] * 5)
    with pytest.raises(ValueError, match="other images"):
        script.average(runs["baseline"][0], runs["baseline"][1].select(np.arange(60)[::-1]))
