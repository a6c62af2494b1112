"""What a run trains on and what it holds out."""

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from datasets import Dataset, IterableDataset

from cnn_rnn.data import (
    drop_unreadable,
    label_counts,
    label_names,
    stratified_split,
    stream_labels,
)
from cnn_rnn.data.data_config import DataConfig
from cnn_rnn.data.labels.choosing import joined_parts
from cnn_rnn.data.labels.ruled_rows import obey_rules, obey_rules_as_read
from cnn_rnn.data.look import look_at, summary
from cnn_rnn.data.photos.checks import identical_photos
from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.schema import looked_at_counts
from cnn_rnn.foundation.provenance import digest_texts
from cnn_rnn.label_rules import LabelRules

from .data_record import DataRecord

logger = logging.getLogger(__name__)


@dataclass
class TrainingData:
    """Rows to train on, rows held out of training, and what was left out of either.

    Attributes:
        train: Rows that the weights see.
        validation: Rows that choose checkpoint, fusion and thresholds.
        train_labels: The labels of `train`, at hand also where its images are streamed.
        validation_labels: The same of `validation`.
        dropped: Reason by image id of what was left out as unreadable.
        record: Rows and classes, by which the run knows its data again; with the rows that were left out.
        identical: Pairs of photos with the same bytes, one trained on and one held out.
        broken_rules: Photos that break a rule between labels, by the rule in words.
        left_out: Rows of another fold: nothing is learnt or chosen on them, but their features are cached with the
            others', so that all folds of a data set share one cache.

    Raises:
        ValueError: One of the two parts is empty.
    """

    train: Dataset | IterableDataset
    validation: Dataset | IterableDataset
    train_labels: Dataset
    validation_labels: Dataset
    dropped: dict[str, str] = field(default_factory=dict)
    record: DataRecord = field(default_factory=lambda: DataRecord([]))
    identical: list[tuple[str, str]] = field(default_factory=list)
    broken_rules: dict[str, int] = field(default_factory=dict)
    left_out: Dataset | None = None

    def __post_init__(self) -> None:
        """Refuse a part without rows."""
        images, held_out = self.train_images, self.validation_images
        if not images or not held_out:
            raise ValueError(
                f"{images} images to train on and {held_out} held out; both need at least one: data.train_split and "
                "data.validation_split name them, else data.validation_fraction of train is held out"
            )

    @property
    def train_images(self) -> int:
        """How many rows `train` has."""
        return len(self.train_labels)

    @property
    def validation_images(self) -> int:
        """How many rows `validation` has."""
        return len(self.validation_labels)

    @property
    def label_names(self) -> list[str]:
        """Names of the labels, by id."""
        return label_names(self.train_labels)

    @cached_property
    def label_counts(self) -> list[int]:
        """Rows of `train` that show each label (C)."""
        return [int(count) for count in label_counts(self.train_labels)]

    @property
    def counted_images(self) -> int | list[int]:
        """Rows of `train` on which each label was looked for (C); one number where that is all of them."""
        looked_at = looked_at_counts(self.train_labels)
        return self.train_images if (looked_at == self.train_images).all() else [int(count) for count in looked_at]

    def counts(self) -> dict[str, Any]:
        """Everything used and dropped, for the run's records."""
        look = look_at({"train": self.train_labels, "held out": self.validation})
        return {
            "train_images": self.train_images,
            "validation_images": self.validation_images,
            "labels": len(self.label_names),
            "labels_without_training_image": [
                name for name, count in zip(self.label_names, self.label_counts, strict=True) if not count
            ],
            "unknown_labels": sum(split.left_out.get("unknown", 0) for split in look.splits.values()),
            "read": [split.line(name) for name, split in look.splits.items()],
            "broken_rules": self.broken_rules,
            "identical_photos": [list(pair) for pair in self.identical],
            "unreadable_images": self.dropped,
        }

    def obeying(self, rules: LabelRules | None) -> Self:
        """The data with all that the rules decide; what breaks them is told, and counted."""
        if rules is None:
            return self
        train, broken = obey_rules(self.train_labels, rules)
        validation, broken_of_held_out = obey_rules(self.validation_labels, rules)
        for part, found in (("trained on", broken), ("held out", broken_of_held_out)):
            if found.counts():
                logger.warning("of the photos %s\n%s", part, found.text())
        counts = Counter(broken.counts()) + Counter(broken_of_held_out.counts())
        return replace(
            self,
            train=train if isinstance(self.train, Dataset) else obey_rules_as_read(self.train, rules),
            validation=validation
            if isinstance(self.validation, Dataset)
            else obey_rules_as_read(self.validation, rules),
            train_labels=train,
            validation_labels=validation,
            broken_rules=dict(counts),
        )

    def view(self) -> tuple[str, str]:
        """A digest of the rows as this process sees them, and how many they are, in words."""
        rows = digest_texts([self.record.digest(), *sorted(self.dropped)])
        parts = f"{self.train_images:,} photos to train on, {self.validation_images:,} held out"
        return rows, f"{parts}, {len(self.label_names)} labels, digest {rows[:8]}"

    def description(self) -> str:
        """What was read, for people."""
        return summary(look_at({"train": self.train, "held out": self.validation}))


def load_training_data(config: DataConfig, seed: int) -> TrainingData:
    """The training and held-out rows of a run.

    Raises:
        ValueError: Nothing is left to train on or to hold out, no photo has a label, or the two splits name different
            labels or the same rows.
    """
    if config.validation_split is not None:
        trained_on, held_out = (joined_parts(config.name, one) for one in (config.train_split, config.validation_split))
        both = [f"{part} of {name}" for name, part in held_out if (name, part) in trained_on]
        if both:
            raise ValueError(
                f"data.validation_split {config.validation_split!r} holds out what is trained on ({abbreviate(both)}): "
                "name another split, or leave it out, then a part of train is held out"
            )
    if config.streaming:
        return stream_training_data(config)
    train, validation = load_rows(config, seed)
    record = DataRecord.of(label_names(train), train, validation)
    identical = identical_photos({"train": train, "held out": validation})
    if identical:
        named = abbreviate([" and ".join(pair) for pair in identical])
        logger.warning("%s held-out photos are also trained on, byte for byte: %s", len(identical), named)
    dropped: dict[str, str] = {}
    if config.skip_unreadable:
        train, dropped_of_train = drop_unreadable(train)
        validation, dropped_of_validation = drop_unreadable(validation)
        dropped = dropped_of_train | dropped_of_validation
    return TrainingData(train, validation, train, validation, dropped, record, identical)


def load_rows(config: DataConfig, seed: int) -> tuple[Dataset, Dataset]:
    """The rows to train on and those held out, before unreadable ones are left out.

    Raises:
        ValueError: As `load_training_data`.
    """
    train = config.load(config.train_split)
    names = label_names(train)
    if not names or not label_counts(train).any():
        raise ValueError(
            f"{config.root or config.name}, {config.train_split}: none of the {len(train)} photos has a label, so "
            "there is nothing to learn; data.columns '{labels: COLUMN}' names the column that holds them, and 'cnn-rnn "
            "data look' shows what was read"
        )
    if config.validation_split is not None:
        validation = config.load(config.validation_split)
        check_same_labels(config, names, label_names(validation))
        return train, validation
    parts = stratified_split(train, config.validation_fraction, seed)
    return parts["train"], parts["validation"]


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
    train, validation = (config.stream(split) for split in (config.train_split, config.validation_split))
    check_same_labels(config, label_names(train), label_names(validation))
    root = str(config.root)
    labels, held_out = (stream_labels(root, rows) for rows in (train, validation))
    return TrainingData(train, validation, labels, held_out, record=DataRecord(label_names(labels)))


def check_same_labels(config: DataConfig, names: list[str], held_out_names: list[str]) -> None:
    """Refuse two splits that name different labels."""
    if held_out_names != names:
        raise ValueError(f"{config.name}: {config.validation_split} and {config.train_split} name different labels")


def position_seed(seed: int, *position: int) -> int:
    """A seed for everything random at one position of a run, so that resuming needs no random state."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])
