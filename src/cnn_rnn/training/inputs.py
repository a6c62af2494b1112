"""What a run trains on and what it holds out, as batches."""

import logging
import signal
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cnn_rnn.data import (
    EvalTransform,
    TrainTransform,
    collate,
    drop_unreadable,
    label_counts,
    label_names,
    load_source,
    load_stream,
    prepare_examples,
    stratified_split,
    stream_labels,
)

from .interruption import SIGNALS
from .run_config import DataConfig

logger = logging.getLogger(__name__)


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
    """

    train: Dataset | IterableDataset
    validation: Dataset | IterableDataset
    train_images: int
    validation_images: int
    label_names: list[str]
    label_counts: list[int]
    dropped: dict[str, str]

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
    return described(train, validation, train, len(validation), dropped)


def stream_training_data(config: DataConfig) -> TrainingData:
    """The training and held-out rows of a run as streams; their label columns alone are read for it.

    Raises:
        ValueError: A setting cannot be kept with a stream, or as `load_training_data`.
    """
    if config.validation_split is None:
        raise ValueError(
            "data.streaming needs data.validation_split, the name of a held-out split: rows that come one by one "
            "cannot be split evenly by label. 'python scripts/data.py convert ... --validation 0.1' writes one"
        )
    if config.skip_unreadable:
        raise ValueError(
            "data.skip_unreadable reads every image before training, which a stream is there to avoid; leave such "
            "images out when writing the shards: 'python scripts/data.py convert ... --skip-unreadable'"
        )
    train, validation = (
        load_stream(config.name, config.root, split) for split in (config.train_split, config.validation_split)
    )
    check_same_labels(config, label_names(train), label_names(validation))
    root = str(config.root)
    return described(train, validation, stream_labels(root, train), len(stream_labels(root, validation)), {})


def check_same_labels(config: DataConfig, names: list[str], held_out_names: list[str]) -> None:
    """Refuse two splits that name different labels."""
    if held_out_names != names:
        raise ValueError(f"{config.name}: {config.validation_split} and {config.train_split} name different labels")


def described(
    train: Dataset | IterableDataset,
    validation: Dataset | IterableDataset,
    train_labels: Dataset,
    validation_images: int,
    dropped: dict[str, str],
) -> TrainingData:
    """The two parts with their counts, none of them empty; `train_labels` holds the labels of `train`."""
    if not len(train_labels) or not validation_images:
        raise ValueError(
            f"{len(train_labels)} images to train on and {validation_images} held out; both need at least one"
        )
    counts = [int(count) for count in label_counts(train_labels)]
    return TrainingData(
        train, validation, len(train_labels), validation_images, label_names(train_labels), counts, dropped
    )


def position_seed(seed: int, *position: int) -> int:
    """A seed for everything random at one position of a run, so that resuming needs no random state."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])


@dataclass
class AugmentationSeeds:
    """A seed for every image of every epoch, whichever worker makes it and wherever in the epoch it comes."""

    seed: int
    epoch: int = 0

    def __call__(self, image_id: str) -> int:
        """The seed of the image in this epoch."""
        position = f"{self.seed} {self.epoch} {image_id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(position, digest_size=8).digest())


class TrainExamples(TorchDataset):
    """Augmented examples of rows, read many at a time; their images are bytes for `TrainTransform.to_pixel_values`."""

    def __init__(self, dataset: Dataset, transform: TrainTransform, seed: int) -> None:
        self.seeds = AugmentationSeeds(seed)
        self.examples = prepare_examples(dataset, transform, self.seeds)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = self.examples.__getitems__(indices)
        return examples

    def set_epoch(self, epoch: int) -> None:
        """Vary the images as this epoch does."""
        self.seeds.epoch = epoch


def train_transform(processor: Any, config: DataConfig) -> TrainTransform:
    """The augmentation that the settings ask for, handing out bytes."""
    return TrainTransform(
        processor,
        scale=(config.crop_scale, 1.0),
        horizontal_flip=config.horizontal_flip,
        color_jitter=config.color_jitter,
        rand_augment=config.rand_augment,
        random_erasing=config.random_erasing,
        as_bytes=True,
    )


def eval_loader(dataset: Dataset, processor: Any, batch_size: int, num_workers: int) -> DataLoader:
    """Batches of the rows in order, preprocessed as the saved image processor does it."""
    examples = prepare_examples(dataset, EvalTransform(processor))
    return DataLoader(
        examples,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=leave_signals_alone,
    )


def leave_signals_alone(_: int) -> None:
    """Let a loading process live on when a signal goes to all processes; it ends with the one that it loads for."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
