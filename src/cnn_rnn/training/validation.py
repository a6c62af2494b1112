"""A saved model on one split of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from datasets import Dataset, IterableDataset
from transformers import AutoImageProcessor, AutoModelForImageClassification

from cnn_rnn.data import drop_unreadable, label_names, load_source, load_stream
from cnn_rnn.hub import checked_config

from .faults import loading_errors
from .loaders import eval_batches
from .prediction import Predictions, predict
from .run_config import DataConfig, load_run_config


@dataclass
class SavedModel:
    """A model and its preprocessing, from a folder or the Hub.

    Attributes:
        name: The folder or Hub name it came from.
        model: A `CnnRnnForImageClassification`.
        processor: Its image processor.
    """

    name: str
    model: Any
    processor: Any

    @classmethod
    def load(cls, name: str | Path) -> "SavedModel":
        """The model of a run's folder or of a Hub name; no code but this package's is run, no pickle is read.

        Raises:
            OSError: There is no such folder or repository, or a file of it is missing.
            ValueError: It holds another kind of model.
        """
        checked_config(name)
        model = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        return cls(str(name), model.eval(), processor)

    def check_labels(self, dataset: Dataset | IterableDataset) -> None:
        """Refuse a data set whose labels are not the model's, in the same order.

        Raises:
            ValueError: They differ; the message names where.
        """
        own, theirs = self.model.config.label_names, label_names(dataset)
        if own == theirs:
            return
        only_own = sorted(set(own) - set(theirs))[:5]
        only_theirs = sorted(set(theirs) - set(own))[:5]
        where = (
            f"only the model knows {only_own}, only the data {only_theirs}"
            if only_own or only_theirs
            else "they are the same, but in another order"
        )
        raise ValueError(
            f"{self.name} has {len(own)} labels, the data {len(theirs)}; {where}. "
            "Validate on the data set that the model was trained for, or train a model for this one"
        )


def load_data_config(model: str | Path, overrides: Sequence[str] = ()) -> DataConfig:
    """Where a model's data are: as in its run's `run_config.yaml`, if `model` is such a folder, with overrides.

    Raises:
        RunConfigError: A block, key or value is not known; the message names the nearest.
    """
    run = Path(model) / "run_config.yaml"
    return load_run_config(run if run.is_file() else None, overrides).data


def load_validation_data(config: DataConfig, split: str) -> tuple[Dataset | IterableDataset, dict[str, str]]:
    """The rows of a split, and the reason by image id of what was left out as unreadable.

    Raises:
        ValueError: There is no such split, or a stream from which unreadable images should be left out.
    """
    if config.streaming:
        if config.skip_unreadable:
            raise ValueError("data.skip_unreadable reads every image beforehand: set data.streaming to false")
        return load_stream(config.name, config.root, split), {}
    dataset = load_source(config.name, config.root, split=split)
    return drop_unreadable(dataset) if config.skip_unreadable else (dataset, {})


def predict_dataset(
    saved: SavedModel, dataset: Dataset | IterableDataset, batch_size: int, num_workers: int
) -> Predictions:
    """Predictions for every row, over all processes that Accelerate was launched with.

    Raises:
        UnreadableImageError: An image cannot be decoded.
        HubError: A stream broke off.
    """
    saved.check_labels(dataset)
    accelerator = Accelerator(dataloader_config=DataLoaderConfiguration(split_batches=True))
    loader = eval_batches(dataset, saved.processor, batch_size, num_workers, accelerator)
    with loading_errors():
        return predict(saved.model.to(accelerator.device), loader, accelerator, f"predicting with {saved.name}")
