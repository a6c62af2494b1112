"""Where a run's images come from: the block `data` of its settings, and what it stands for."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from datasets import Dataset, IterableDataset
from huggingface_hub.dataclasses import strict

from .images_inside.hub_datasets import load_stream
from .labels.choosing import LabelChoice
from .photos.checks import drop_unreadable
from .reading import Reading
from .sources import load_source

if TYPE_CHECKING:  # settings are read where nothing is trained, too
    from .transforms import TrainTransform


@dataclass
class Photos:
    """Where the images come from and how training varies them.

    Attributes:
        name: Data set, see `cnn_rnn.data.SOURCES`; several with the same classes joined by `+`.
        root: Its folder, or with `name` hub what it is called there (`org/photos`, `org/photos@v2`); None for the
            embedded one.
        train_split: Split to train on; several joined by `+`, one a data set (`trainval+train`) or all of the same one.
        validation_split: Split for choosing checkpoint, fusion and thresholds; None holds out a part of the training
            split. It must never be the split that results are reported on.
        validation_fraction: Share of the training split that is held out where there is no validation split.
        streaming: Read Parquet shards (`name` hub) as they come, without a local copy; needs a validation split. To
            resume exactly takes as many processes and `train.num_workers` as before: they share the rows.
        shuffle_buffer: Images among which the next one of a shuffled stream is drawn, in each worker's memory.
        skip_unreadable: Leave out images that cannot be decoded, counted and named, in place of stopping.
        crop_scale: Least share of a training image's area that a random crop keeps; 1 turns cropping off.
        horizontal_flip: Probability that a training image is mirrored.
        color_jitter: How much brightness, contrast and saturation vary, 0 for not at all.
        rand_augment: Magnitude of RandAugment, 0 for none.
        random_erasing: Probability that a rectangle of a training image is erased.
    """

    name: str = "image_folder"
    root: str | None = None
    train_split: str = "train"
    validation_split: str | None = None
    validation_fraction: float = 0.1
    streaming: bool = False
    shuffle_buffer: int = 1000
    skip_unreadable: bool = False
    crop_scale: float = 0.5
    horizontal_flip: float = 0.5
    color_jitter: float = 0.0
    rand_augment: int = 0
    random_erasing: float = 0.0


@strict
@dataclass
class DataConfig(Reading, Photos):
    """The block `data`: the photos, what a person decides where a file could mean two things, and which labels count.

    Attributes:
        rename_labels: New name of a label by its old one, in any data set; labels of one new name become one, such as
            `{kitten: cat}`.
        keep_labels: The labels to know, by their new names and in this order; photos stay, without the others.
        labels_of_others: With sets joined by `+` whose labels differ: what the photos of one say of the labels that
            only the others have a word for: unknown (nobody looked for them there), or absent.
    """

    rename_labels: dict[Any, Any] | None = None
    keep_labels: list[Any] | None = None
    labels_of_others: Literal["absent", "unknown"] | None = None

    def validate_ranges(self) -> None:
        """Refuse numbers that no augmentation has; called when the block is made."""
        if not 0 < self.crop_scale <= 1:
            raise ValueError(f"crop_scale must be above 0 and at most 1, got {self.crop_scale}")
        for name in ("horizontal_flip", "random_erasing", "validation_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name, least, most in (("color_jitter", 0, 1), ("rand_augment", 0, 30), ("shuffle_buffer", 1, 10**9)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from {least} to {most:,}, got {getattr(self, name)}")

    def validate_choice(self) -> None:
        """Refuse labels that are no names; called when the block is made."""
        self.choice()

    def reading(self) -> Reading:
        """What the settings decide where a label file could mean two things."""
        return Reading(**{entry.name: getattr(self, entry.name) for entry in fields(Reading)})

    def choice(self) -> LabelChoice:
        """Which labels the run knows, and what it calls them."""
        return LabelChoice(self.rename_labels or {}, self.keep_labels, self.labels_of_others)

    def load(self, split: str | None) -> Any:
        """The rows of a split, or all splits."""
        return load_source(self.name, self.root, split=split, choice=self.choice(), reading=self.reading())

    def stream(self, split: str) -> IterableDataset:
        """The rows of a split as they come.

        Raises:
            ValueError: There is no such split, or the settings choose among the labels of shards as they are written.
        """
        for name in ("rename_labels", "keep_labels", "labels_of_others"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"data.{name} does not go with data.streaming: give it to 'cnn-rnn data convert', which writes the "
                    "shards, or leave streaming off"
                )
        self.reading().refuse([entry.name for entry in fields(Reading)], "a stream has the one schema already")
        return load_stream(self.name, self.root, split)


def load_validation_data(config: DataConfig, split: str) -> tuple[Dataset | IterableDataset, dict[str, str]]:
    """The rows of a split, and the reason by image id of what was left out as unreadable.

    Raises:
        ValueError: There is no such split, or a stream from which unreadable images should be left out.
    """
    if config.streaming:
        if config.skip_unreadable:
            raise ValueError("data.skip_unreadable reads every image beforehand: set data.streaming to false")
        return config.stream(split), {}
    dataset = config.load(split)
    return drop_unreadable(dataset) if config.skip_unreadable else (dataset, {})


def train_transform(processor: Any, config: DataConfig) -> "TrainTransform":
    """The augmentation that the settings ask for, handing out bytes."""
    from .transforms import TrainTransform

    return TrainTransform(
        processor,
        scale=(config.crop_scale, 1.0),
        horizontal_flip=config.horizontal_flip,
        color_jitter=config.color_jitter,
        rand_augment=config.rand_augment,
        random_erasing=config.random_erasing,
        as_bytes=True,
    )
