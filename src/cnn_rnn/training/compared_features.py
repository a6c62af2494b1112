"""Image features of a split beside those of the photos that a run was trained on, from its cache where it has one."""

from pathlib import Path

from accelerate import Accelerator
from datasets import Dataset

from cnn_rnn.data.data_config import train_transform
from cnn_rnn.prediction import SavedModel
from cnn_rnn.report.near_duplicates import PlacedFeatures

from .feature_cache import FeatureCache
from .run_config import RunConfig
from .training_data import load_rows


def compare_features(
    saved: SavedModel,
    model: str | Path,
    config: RunConfig,
    *,
    rows: Dataset,
    split: str,
    beside: str | None = None,
) -> tuple[PlacedFeatures, PlacedFeatures] | None:
    """The features of a split's rows, and of those that the model was trained on or of another split.

    What is computed is kept in the run's cache, so that the next look finds it.

    Args:
        saved: The model.
        model: The run's folder, or the model's name.
        config: The run's settings.
        rows: The split in question.
        split: Its name.
        beside: The split beside it; by default the rows that the run was trained on, if its cache has their features.

    Returns:
        Both; None where no split is named and the run keeps no features, or was trained on the rows in question.

    Raises:
        ValueError: There is no such split, its labels are others, or it is the one in question.
    """
    if (Path(model) / "run_config.yaml").is_file():
        config.train.output_dir = str(model)  # wherever the run's folder lies now, its cache lies beside it
    elif beside is None:
        return None
    cache = FeatureCache(saved.model, train_transform(saved.processor, config.data), Accelerator(), config)
    if beside is not None:
        if beside == split:
            raise ValueError(f"--compare_with {beside!r} is the split that is shown; name another one")
        others = config.data.load(beside)
        saved.check_labels(others)
        features, (places,) = cache.evaluation_view(others)
        compared = PlacedFeatures(beside, others, features, places)
    else:
        if split in config.data.train_split.split("+") or not config.train.cache_features:
            return None
        parts = load_rows(config.data, config.train.seed)
        own_precision, cache.precision = cache.precision, config.train.mixed_precision
        if not cache.holds(*parts):
            return None
        features, (places, _) = cache.evaluation_view(*parts)
        compared = PlacedFeatures("the run's training rows", parts[0], features, places)
        cache.precision = own_precision
    features, (places,) = cache.evaluation_view(rows)
    return PlacedFeatures(split, rows, features, places), compared
