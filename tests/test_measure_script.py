"""Stored predictions are measured again, compared and written, without a model."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn_rnn.metrics.predictions import StoredPredictions, collect_predictions, write_predictions

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure.py"


@pytest.fixture
def main() -> Callable[[list[str]], int]:
    """The main function of the script."""
    spec = importlib.util.spec_from_file_location("script_measure", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[list[str]], int] = module.main
    return found


def stored(file: Path, seed: int, **info: object) -> StoredPredictions:
    """Predictions with paths, written to the file."""
    targets = np.random.default_rng(0).integers(0, 2, (30, 4))
    scores = np.random.default_rng(seed).random((30, 4))
    paths = np.random.default_rng(seed).integers(0, 5, (30, 1))
    predictions = collect_predictions(
        [str(n) for n in range(30)], list("abcd"), scores, targets, paths=paths, info=info
    )
    write_predictions(file, predictions)
    return predictions


def test_figures_intervals_and_comparison_are_printed_and_written(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = stored(tmp_path / "ours.parquet", 1, thresholds=[0.3, 0.4, 0.5, 0.6])
    stored(tmp_path / "base.parquet", 2)
    arguments = ["--baseline", str(tmp_path / "base.parquet"), "--protocol", "corel5k", "--samples", "20"]
    assert main([str(tmp_path / "ours.parquet"), *arguments, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "RIA, rare first (Jin and Nakayama 2016), reported" in printed
    assert "ours against baseline" in printed
    written = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.{kind}" for name in ("table", "intervals", "comparison") for kind in ("json", "md", "csv")}
    assert written == tables | {"metrics.json"}
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures == ours.measure(top_k=5, thresholds=[0.3, 0.4, 0.5, 0.6])


def test_without_samples_and_protocol_only_the_figures_are_printed(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "ours.parquet", 1)
    assert main([str(tmp_path / "ours.parquet"), "--samples", "0"]) == 0
    printed = capsys.readouterr().out
    assert "ours, by path" in printed
    assert "intervals" not in printed


def test_mistakes_are_said(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "ours.parquet", 1, thresholds=["high", 0, 0, 0])
    for arguments, message in (
        ([str(tmp_path / "none.parquet")], "no such predictions file"),
        ([str(tmp_path / "ours.parquet"), "--protocol", "voc2008"], "did you mean 'voc2007'"),
        ([str(tmp_path / "ours.parquet")], "expected one number or one a label"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
