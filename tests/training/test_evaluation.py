"""A model on a split: each thing is made once, and what is made of features is what is made of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands_by_name import main_of

from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix
from cnn_rnn.metrics.stored_predictions import write_predictions
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.training import Evaluation, Split, evaluation, run_config_of
from cnn_rnn.training.feature_cache import CachedFeatures


@pytest.fixture(scope="module")
def trained(settings: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    assert main_of("train")(settings(folder, train__epochs=1)) == 0
    return folder


def test_predictions_from_features_are_those_from_images(trained: Path) -> None:
    data = run_config_of(trained).data
    from_images, from_features = (Evaluation(str(trained), Split(data, "test", batch_size=5)) for _ in range(2))
    assert from_features.features.features.shape[0] == 12
    own, other = from_images.predictions, from_features.predictions
    assert own.image_ids == other.image_ids
    np.testing.assert_array_equal(own.truth, other.truth)
    np.testing.assert_allclose(own.scores, other.scores, atol=1e-5)
    assert from_images.measure()["mAP"] == pytest.approx(from_features.measure()["mAP"], abs=1e-6)


def test_rows_models_features_and_predictions_are_made_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each of whose calls is written down."""

        def call(*args: Any, **options: Any) -> Any:
            made.append(name)
            return function(*args, **options)

        return call

    for name in ("load_validation_data", "extract_features", "predict"):
        monkeypatch.setattr(evaluation, name, counted(name, getattr(evaluation, name)))
    monkeypatch.setattr(SavedModel, "load", counted("load", SavedModel.load))
    split = Split(run_config_of(trained).data, "test")
    own = Evaluation(str(trained), split)
    twin = Evaluation(str(trained), split, beside=[own])
    for one in (own, twin):
        for _ in range(2):
            assert one.features is own.features
            assert len(one.predictions.image_ids) == len(split.truth) == 12
    assert sorted(made) == ["extract_features", "load", "load", "load_validation_data", "predict", "predict"]
    write_predictions(tmp_path / "predictions.parquet", own.predictions)
    stored = Evaluation(str(tmp_path / "predictions.parquet"), split)
    assert (stored.has_model, stored.title, stored.thresholds) == (False, own.title, own.thresholds)
    assert stored.measure() == own.measure()


def test_what_nobody_looked_at_is_left_out_of_targets_beside_features() -> None:
    labels, unknown = (label_lists_from_matrix(np.array([row], dtype=bool)) for row in ([1, 0, 0], [0, 1, 0]))
    rows = build_dataset(image_paths(["x.jpg"]), ["x"], labels, ["a", "b", "c"], unknown=unknown)
    cached = CachedFeatures(PlacedFeatures("", rows, np.ones((1, 4), np.float32), np.arange(1)))
    assert cached[0]["labels"].tolist() == [1, -100, 0]
