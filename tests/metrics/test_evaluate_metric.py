"""The evaluate library loads the metric from its file, offline, and gives the same figures."""

import json
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest

from cnn_rnn.metrics import MultiLabelMetrics, evaluate_metric


@pytest.fixture
def metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The metric, loaded from its file with an empty cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return evaluate.load(evaluate_metric.__file__, cache_dir=str(tmp_path / "cache"))


def test_loaded_metric_gives_the_figures_of_the_accumulator(metric: Any) -> None:
    generator = np.random.default_rng(0)
    scores, targets = generator.random((21, 4)), generator.integers(-1, 2, (21, 4))
    paths = generator.integers(0, 2, (21, 4))
    for part in (slice(0, 8), slice(8, 16), slice(16, 21)):
        metric.add_batch(predictions=scores[part], references=targets[part])
    expected = MultiLabelMetrics(labels=list("abcd"), top_k=2)
    expected.update(scores, targets, paths=paths)
    assert json.dumps(metric.compute(paths=paths, labels=list("abcd"), top_k=2)) == json.dumps(expected.compute())


def test_loaded_metric_without_paths(metric: Any) -> None:
    figures = metric.compute(predictions=[[0.9, 0.2]], references=[[1, 0]])
    assert figures["mAP"] == 1
    assert figures["path"] is None
