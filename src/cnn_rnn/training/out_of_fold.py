"""What models say of photos that they were not trained on, for every photo of a training set: K folds, K models.

The backbone stays as its weights are, so its features are computed once; decoder and head are trained anew for each
fold, and the epoch, the fusion and the thresholds are chosen on a part of the other folds.
"""

import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from datasets import Dataset

from cnn_rnn.data import stratified_split
from cnn_rnn.data.batching.batches import example_loader
from cnn_rnn.data.batching.splits import stratified_folds
from cnn_rnn.metrics.stored_predictions import StoredPredictions
from cnn_rnn.prediction import Predictions, SavedModel, predict, stored_predictions
from cnn_rnn.publishing.model_card import CROSS_VALIDATION

from .feature_cache import FeatureCache
from .loop import Trainer
from .run_config import RunConfig
from .training_data import TrainingData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """One model's part.

    Attributes:
        number: From 1.
        data: What it is trained and chosen on, and the rows of its fold, left out.
        rows: Places of those rows in the data set.
    """

    number: int
    data: TrainingData
    rows: npt.NDArray[np.int64]


def predict_out_of_fold(config: RunConfig, dataset: Dataset, folds: int, folder: Path) -> StoredPredictions:
    """Predictions for every row by a model that saw it neither in training nor in choosing; goes on where it stopped.

    Args:
        config: Settings of each model; its backbone is frozen, and its features cached.
        dataset: The rows.
        folds: K, at least 2.
        folder: Keeps the K models.

    Raises:
        ValueError: There are fewer rows than folds need, or a setting does not go with folds.
        TrainingError: A model cannot be trained.
        UnreadableImageError: An image cannot be decoded.
    """
    if config.data.streaming:
        raise ValueError("folds need all rows at hand: set data.streaming to false")
    settings = deepcopy(config)
    train = replace(
        config.train,
        freeze_backbone=True,
        freeze_epochs=0,
        cache_features=True,
        mixup=0.0,
        cutmix=0.0,
        feature_cache=config.train.feature_cache or str(folder / "features"),
    )
    found: list[Predictions] = []
    places: list[npt.NDArray[np.int64]] = []
    thresholds: list[Any] = []
    for fold in split_folds(dataset, folds, config.data.validation_fraction, config.train.seed):
        settings.train = replace(train, output_dir=str(folder / f"fold-{fold.number}"))
        trainer = Trainer(settings, "auto", fold.data)
        trainer.accelerator.print(f"fold {fold.number} of {folds}")
        trainer.train()
        found.append(predict_left_out(trainer))
        thresholds.append(SavedModel.load(settings.train.output_dir).model.config.thresholds)
        places.append(fold.rows)
        trainer.accelerator.end_training()
    predicted = stored_predictions(
        join_folds(found),
        trainer.data.label_names,
        data=config.data.name,
        split=CROSS_VALIDATION,
        folds=folds,
        unreadable_images={},
        thresholds=None if None in thresholds else np.mean(thresholds, axis=0).tolist(),
    )
    return predicted.select(np.argsort(np.concatenate(places)))


def split_folds(dataset: Dataset, folds: int, validation_fraction: float, seed: int) -> Iterator[Fold]:
    """The folds, each with its share of every label.

    Raises:
        ValueError: There are fewer than 2 folds or too few rows.
    """
    everything = np.arange(len(dataset))
    for number, own in enumerate(stratified_folds(dataset, folds, seed), start=1):
        others = np.setdiff1d(everything, own)
        parts = stratified_split(dataset.select(others), validation_fraction, seed)
        train, validation = parts["train"], parts["validation"]
        yield Fold(number, TrainingData(train, validation, train, validation, left_out=dataset.select(own)), own)


def predict_left_out(trainer: Trainer) -> Predictions:
    """What the trained model of a fold says of the fold."""
    config, data = trainer.config.train, trainer.data
    assert isinstance(data.train, Dataset)
    assert isinstance(data.validation, Dataset)
    assert data.left_out is not None
    model = SavedModel.load(config.output_dir).model.to(trainer.accelerator.device)
    cache = FeatureCache(model, trainer.transform, trainer.accelerator, trainer.config)
    *_, examples = cache.load(data.train, data.validation, data.left_out)
    loader = trainer.accelerator.prepare(example_loader(examples, config.batch_size))
    return predict(model, loader, trainer.accelerator, "predicting the fold")


def join_folds(found: list[Predictions]) -> Predictions:
    """The predictions of all folds one after the other; whole sets only where all folds have them."""
    without = sum(one.sets is None for one in found)
    if 0 < without < len(found):
        told = (
            "%d of %d folds were trained before whole sets were weighed: none are kept; remove their folders for them"
        )
        logger.warning(told, without, len(found))
        found = [replace(one, sets=None) for one in found]
    longest = max((0 if one.paths is None else one.paths.shape[1]) for one in found)
    return Predictions.concatenate([fields_of(one, longest) for one in found])


def fields_of(predictions: Predictions, steps: int) -> dict[str, Any]:
    """The fields that are there, with paths and their scores padded to so many steps."""
    fields = {name: value for name, value in vars(predictions).items() if value is not None}
    if predictions.paths is not None and predictions.step_scores is not None:
        missing = (0, steps - predictions.paths.shape[1])
        fields["paths"] = F.pad(predictions.paths, missing, value=predictions.logits.shape[1])  # END
        fields["step_scores"] = F.pad(predictions.step_scores, missing)
    return fields
