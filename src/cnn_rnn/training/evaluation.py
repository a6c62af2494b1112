"""A model on a split: the rows, its features of them and its predictions, each made once, when first asked for."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from numpy.typing import NDArray

from cnn_rnn.data import stream_labels, targets
from cnn_rnn.data.batching.batches import eval_batches, example_loader, loading_errors
from cnn_rnn.data.data_config import DataConfig, load_validation_data, train_transform
from cnn_rnn.data.labels.choosing import joined_parts
from cnn_rnn.data.labels.ruled_rows import obey_rules, obey_rules_as_read
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.metrics.stored_predictions import StoredPredictions, read_predictions
from cnn_rnn.prediction import SavedModel, predict, predict_dataset, stored_predictions
from cnn_rnn.prediction.predictions import PlacedFeatures, Predictions, extract_features, launched_accelerator

from .feature_cache import CachedFeatures, FeatureCache
from .run_config import RunConfig, run_config_of
from .training_data import load_rows

logger = logging.getLogger(__name__)


class Split:
    """A split of a data set, whose rows are read once for all models that are measured on them.

    Args:
        data: Where the rows come from.
        name: Which of the splits.
        batch_size: Images that a model sees at once.
        num_workers: Processes that load images.
    """

    def __init__(self, data: DataConfig, name: str, *, batch_size: int = 32, num_workers: int = 0) -> None:
        self.data, self.name, self.batch_size, self.num_workers = data, name, batch_size, num_workers

    @cached_property
    def _read(self) -> tuple[Dataset | IterableDataset, dict[str, str]]:
        """The rows, and why the others were left out."""
        return load_validation_data(self.data, self.name)

    @property
    def rows(self) -> Any:
        """Rows of the one schema."""
        return self._read[0]

    def obey(self, rules: LabelRules) -> None:
        """Take the rows with all that rules between labels decide, for all models that are measured on them."""
        rows, unreadable = self._read
        closed, broken = obey_rules(
            rows if isinstance(rows, Dataset) else stream_labels(str(self.data.root), rows), rules
        )
        if broken.counts():
            logger.warning("of the photos of %s\n%s", self.name, broken.text())
        self.__dict__["_read"] = closed if isinstance(rows, Dataset) else obey_rules_as_read(rows, rules), unreadable
        self.__dict__.pop("truth", None)

    @property
    def unreadable(self) -> dict[str, str]:
        """The reason by image id of what was left out as unreadable."""
        return self._read[1]

    @cached_property
    def truth(self) -> NDArray[np.int8]:
        """(N, C) 1 present, 0 absent, -1 left out."""
        return targets(self.rows).clip(min=-1).astype(np.int8)


class Evaluation:
    """A model on a split.

    Args:
        source: A run's folder, a name on the Hub, or the predictions.parquet of an earlier evaluation.
        split: The rows; not read where everything lies in that file.
        stored: A predictions.parquet of this model on this split, to save the predicting.
        beside: Other evaluations on the split; features are theirs where both backbones see alike.
    """

    def __init__(
        self, source: str, split: Split, *, stored: Path | None = None, beside: "Sequence[Evaluation]" = ()
    ) -> None:
        self.source, self.split, self.beside = source, split, beside
        self.has_model = not source.endswith(".parquet")
        self.stored = stored if self.has_model else Path(source)

    @cached_property
    def saved(self) -> SavedModel:
        """The model.

        Raises:
            ValueError: Its labels are not those of the rows, or it cannot be used.
            OSError: There is none.
        """
        saved = SavedModel.load(self.source)
        saved.check_labels(self.split.rows)
        if saved.model.rules is not None:
            self.split.obey(saved.model.rules)
        return saved

    @cached_property
    def features(self) -> PlacedFeatures:
        """What the model's backbone gives of the images; predictions that are made after it need no image."""
        for other in self.beside:
            if _sees_alike(self.saved, other.saved):
                return other.features
        accelerator = launched_accelerator()
        split, model = self.split, self.saved.model.to(accelerator.device)
        loader = eval_batches(split.rows, self.saved.processor, split.batch_size, split.num_workers, accelerator)
        with loading_errors():
            found = torch.cat(list(extract_features(model, loader, accelerator, f"features by {self.saved.name}")))
        return PlacedFeatures(split.name, split.rows, found.numpy(), np.arange(len(found)))

    @cached_property
    def predictions(self) -> StoredPredictions:
        """What the model says of every row."""
        if self.stored is not None:
            return read_predictions(self.stored)
        config, split = self.saved.model.config, self.split
        info: dict[str, Any] = {"model": self.saved.name, "data": split.data.name, "split": split.name}
        info |= {
            "unreadable_images": split.unreadable,
            "thresholds": config.thresholds,
            "label_counts": config.label_counts,
            "label_rules": config.label_rules,
        }
        return stored_predictions(self._predict(), config.label_names, **info)

    def _predict(self) -> Predictions:
        """The predictions, from the features where these were asked for before."""
        split = self.split
        if "features" not in vars(self):
            return predict_dataset(self.saved, split.rows, split.batch_size, split.num_workers)
        accelerator = launched_accelerator()
        loader = example_loader(CachedFeatures(self.features), split.batch_size)
        model = self.saved.model.to(accelerator.device)
        return predict(model, accelerator.prepare(loader), accelerator, f"predicting with {self.saved.name}")

    @property
    def thresholds(self) -> Any:
        """The thresholds that were fitted on held-out training data with the model, 0.5 where there are none."""
        return self._fitted("thresholds") or 0.5

    def measure(self, **settings: Any) -> dict[str, Any]:
        """The figures; the settings are those of `MultiLabelMetrics`."""
        counts = self._fitted("label_counts")
        return self.predictions.measure(thresholds=self.thresholds, label_counts=counts, rules=self.rules, **settings)

    @property
    def rules(self) -> LabelRules | None:
        """The rules between labels that the model's sets obey; None for none."""
        rules: LabelRules | None = self.saved.model.rules if self.has_model else self.predictions.rules
        return rules

    def _fitted(self, name: str) -> Any:
        """What the model's config holds, or what was written down of it."""
        return getattr(self.saved.model.config, name) if self.has_model else self.predictions.info.get(name)

    @property
    def title(self) -> str:
        """What was measured on what."""
        told = {"model": "?", "split": "?", "data": "?"} | self.predictions.info
        return "{model} on {split} of {data}".format_map(told)

    def seen_parts(self) -> Iterator[str]:
        """What of the split the run learnt from, in words: figures on it are too good."""
        if not (Path(self.source) / "run_config.yaml").is_file():
            return
        own, data = run_config_of(self.source).data, self.split.data
        splits = [own.train_split, *([own.validation_split] if own.validation_split else [])]
        learnt = {part for each in splits for part in joined_parts(own.name, each)}
        seen = learnt & set(joined_parts(data.name, self.split.name)) if data.root == own.root else set()
        for name, part in sorted(seen):
            yield f"{self.source} learnt from {part} of {name}"


def compare_features(
    evaluation: Evaluation, config: RunConfig, beside: str | None = None
) -> tuple[PlacedFeatures, PlacedFeatures] | None:
    """The features of a split's rows, and of those that the model was trained on or of another split.

    What is computed is kept in the run's cache, so that the next look finds it, and is the evaluation's from now on.

    Args:
        evaluation: The model on the split in question.
        config: The run's settings.
        beside: The split beside it; by default the rows that the run was trained on, if its cache has their features.

    Returns:
        Both; None where no split is named and the run keeps no features, or was trained on the rows in question.

    Raises:
        ValueError: There is no such split, its labels are others, or it is the one in question.
    """
    model, split = evaluation.source, evaluation.split
    if (Path(model) / "run_config.yaml").is_file():  # wherever the run's folder lies now, its cache lies beside it
        config = replace(config, train=replace(config.train, output_dir=model))
    elif beside is None:
        return None
    saved, accelerator = evaluation.saved, Accelerator()
    made_by = (saved.model, train_transform(saved.processor, config.data), accelerator, config)
    cache = FeatureCache(*made_by)
    if beside is not None:
        if beside == split.name:
            raise ValueError(f"--compare_with {beside!r} is the split that is shown; name another one")
        others = config.data.load(beside)
        saved.check_labels(others)
        [compared] = cache.views_of(others)
    else:
        if split.name in config.data.train_split.split("+") or not config.train.cache_features:
            return None
        parts = load_rows(config.data, config.train.seed)
        of_training = FeatureCache(*made_by, precision=config.train.mixed_precision)
        if not of_training.holds(*parts):
            return None
        compared, _ = of_training.views_of(*parts)
    [evaluation.features] = cache.views_of(split.rows)
    named = "the run's training rows" if beside is None else beside
    return replace(evaluation.features, name=split.name), replace(compared, name=named)


def _sees_alike(one: SavedModel, other: SavedModel) -> bool:
    """Whether two models have the same preprocessing and the same backbone: then their features are computed once."""
    if one.processor.to_dict() != other.processor.to_dict() or one.model.config.pooling != other.model.config.pooling:
        return False
    own, theirs = one.model.backbone.state_dict(), other.model.backbone.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[name].cpu(), theirs[name].cpu()) for name in own)
