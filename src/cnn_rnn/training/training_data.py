"""What a run trains on and what it holds out."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from datasets import Dataset, IterableDataset

from cnn_rnn.data import (
    drop_unreadable,
    label_counts,
    label_names,
    load_source,
    load_stream,
    stratified_split,
    stream_labels,
)
from cnn_rnn.data.data_config import DataConfig


@dataclass
class TrainingData:
    """Rows to train on, rows held out of training, and what was left out of either.

    Attributes:
        train: Rows that the weights see.
        validation: Rows that choose checkpoint, fusion and thresholds.
        train_images: How many rows `train` has.
        validation_images: How many rows `validation` has.
        label_names: Names of the labels, by id.
        label_counts: Rows of `train` that show each label (C).
        dropped: Reason by image id of what was left out as unreadable.
        train_labels: The labels of `train`, at hand also where its images are streamed.
        left_out: Rows of another fold: nothing is learnt or chosen on them, but their features are cached with the
            others', so that all folds of a data set share one cache.
    """

    train: Dataset | IterableDataset
    validation: Dataset | IterableDataset
    train_images: int
    validation_images: int
    label_names: list[str]
    label_counts: list[int]
    dropped: dict[str, str]
    train_labels: Dataset
    left_out: Dataset | None = None

    @classmethod
    def of_parts(
        cls,
        train: Dataset | IterableDataset,
        validation: Dataset | IterableDataset,
        train_labels: Dataset,
        validation_images: int,
        dropped: dict[str, str],
    ) -> Self:
        """The two parts with their counts; `train_labels` holds the labels of `train`.

        Raises:
            ValueError: One of them is empty.
        """
        if not len(train_labels) or not validation_images:
            raise ValueError(
                f"{len(train_labels)} images to train on and {validation_images} held out; both need at least one"
            )
        counts = [int(count) for count in label_counts(train_labels)]
        names = label_names(train_labels)
        return cls(train, validation, len(train_labels), validation_images, names, counts, dropped, train_labels)

    def counts(self) -> dict[str, Any]:
        """Everything used and dropped, for the run's records."""
        return {
            "train_images": self.train_images,
            "validation_images": self.validation_images,
            "labels": len(self.label_names),
            "labels_without_training_image": [
                name for name, count in zip(self.label_names, self.label_counts, strict=True) if not count
            ],
            "unreadable_images": self.dropped,
        }


def load_training_data(config: DataConfig, seed: int) -> TrainingData:
    """The training and held-out rows of a run.

    Raises:
        ValueError: Nothing is left to train on or to hold out, or the two splits name different labels.
    """
    if config.streaming:
        return stream_training_data(config)
    train = load_source(config.name, config.root, split=config.train_split)
    names = label_names(train)
    if config.validation_split is not None:
        validation = load_source(config.name, config.root, split=config.validation_split)
        check_same_labels(config, names, label_names(validation))
    else:
        parts = stratified_split(train, config.validation_fraction, seed)
        train, validation = parts["train"], parts["validation"]
    dropped: dict[str, str] = {}
    if config.skip_unreadable:
        train, dropped_of_train = drop_unreadable(train)
        validation, dropped_of_validation = drop_unreadable(validation)
        dropped = dropped_of_train | dropped_of_validation
    return TrainingData.of_parts(train, validation, train, len(validation), dropped)


def stream_training_data(config: DataConfig) -> TrainingData:
    """The training and held-out rows of a run as streams; their label columns alone are read for it.

    Raises:
        ValueError: A setting cannot be kept with a stream, or as `load_training_data`.
    """
    if config.validation_split is None:
        raise ValueError(
            "data.streaming needs data.validation_split, the name of a held-out split: rows that come one by one "
            "cannot be split evenly by label. 'cnn-rnn data convert ... --validation 0.1' writes one"
        )
    if config.skip_unreadable:
        raise ValueError(
            "data.skip_unreadable reads every image before training, which a stream is there to avoid; leave such "
            "images out when writing the shards: 'cnn-rnn data convert ... --skip_unreadable'"
        )
    train, validation = (
        load_stream(config.name, config.root, split) for split in (config.train_split, config.validation_split)
    )
    check_same_labels(config, label_names(train), label_names(validation))
    root = str(config.root)
    return TrainingData.of_parts(
        train, validation, stream_labels(root, train), len(stream_labels(root, validation)), {}
    )


def check_same_labels(config: DataConfig, names: list[str], held_out_names: list[str]) -> None:
    """Refuse two splits that name different labels."""
    if held_out_names != names:
        raise ValueError(f"{config.name}: {config.validation_split} and {config.train_split} name different labels")


def position_seed(seed: int, *position: int) -> int:
    """A seed for everything random at one position of a run, so that resuming needs no random state."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])
