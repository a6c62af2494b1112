"""What a run trains on and what it holds out, as batches."""

import logging
import signal
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
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
    prepare_examples,
    stratified_split,
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
        label_names: Names of the labels, by id.
        label_counts: Rows of `train` that show each label (C).
        dropped: Reason by image id of what was left out as unreadable.
    """

    train: Dataset
    validation: Dataset
    label_names: list[str]
    label_counts: list[int]
    dropped: dict[str, str]

    def counts(self) -> dict[str, Any]:
        """Everything used and dropped, for the run's records."""
        return {
            "train_images": len(self.train),
            "validation_images": len(self.validation),
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
    train = load_source(config.name, config.root, split=config.train_split)
    names = label_names(train)
    if config.validation_split is not None:
        validation = load_source(config.name, config.root, split=config.validation_split)
        if label_names(validation) != names:
            raise ValueError(f"{config.name}: {config.validation_split} and {config.train_split} name different labels")
    else:
        parts = stratified_split(train, config.validation_fraction, seed)
        train, validation = parts["train"], parts["validation"]
    dropped: dict[str, str] = {}
    if config.skip_unreadable:
        train, dropped_of_train = drop_unreadable(train)
        validation, dropped_of_validation = drop_unreadable(validation)
        dropped = dropped_of_train | dropped_of_validation
    if not len(train) or not len(validation):
        raise ValueError(
            f"{config.name}: {len(train)} images to train on and {len(validation)} held out; both need at least one"
        )
    return TrainingData(train, validation, names, [int(count) for count in label_counts(train)], dropped)


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
        return position_seed(self.seed, self.epoch, zlib.crc32(image_id.encode("utf-8", "surrogatepass")))


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
