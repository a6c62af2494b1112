"""What a model says of every image of a data set, gathered from all processes, and its figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, gather_object
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from cnn_rnn.data.batching.batches import StreamLoader
from cnn_rnn.decisions import probabilities_of
from cnn_rnn.foundation.launched import check_launch
from cnn_rnn.label_paths import paths_to_labels
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.stored_predictions import StoredPredictions, collect_predictions
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification


@dataclass
class Predictions:
    """Predictions for N images, on the CPU, in the order of the data set.

    Attributes:
        image_ids: N ids.
        targets: Multi-hot labels (N, C), negative where left out.
        logits: Fused label logits (N, C).
        relevance_logits: Logits (N, C) of the relevance head; None without one.
        label_scores: Probability (N, C) that the path holds each label; None without a path decoder.
        paths: Label ids (N, T) of the best path, END-padded; None without a path decoder.
        step_scores: Natural log probability (N, T + 1) of each of its steps; None without a path decoder.
        sets: Multi-hot labels (N, C) of the best whole set; None where the model has no weights for it.
    """

    image_ids: list[str]
    targets: Tensor
    logits: Tensor
    relevance_logits: Tensor | None = None
    label_scores: Tensor | None = None
    paths: Tensor | None = None
    step_scores: Tensor | None = None
    sets: Tensor | None = None

    @property
    def path_labels(self) -> Tensor | None:
        """Multi-hot labels (N, C) of the best path."""
        return None if self.paths is None else paths_to_labels(self.paths, self.logits.shape[1])

    @classmethod
    def concatenate(cls, batches: list[dict[str, Any]]) -> Self:
        """All batches as one."""
        names = [entry.name for entry in fields(cls) if entry.name in batches[0]]
        joined = {name: torch.cat([batch[name] for batch in batches]) for name in names if name != "image_ids"}
        if "paths" in joined:
            joined["paths"] = joined["paths"].long()
        return cls(image_ids=[image_id for batch in batches for image_id in batch["image_ids"]], **joined)


@dataclass(frozen=True)
class PlacedFeatures:
    """Rows with the features that a backbone gives of their images.

    Attributes:
        name: What the rows are called.
        rows: Rows of the one schema.
        features: (M, ...) features of their images and perhaps of others; a file mapped into memory will do.
        places: The place of each row's among them.
    """

    name: str
    rows: Dataset
    features: NDArray[np.float32]
    places: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | int | slice) -> NDArray[np.float32]:
        """The features of some of the rows, read from the disk where they lie there."""
        return np.array(self.features[self.places[rows]], np.float32)


def launched_accelerator() -> Accelerator:
    """The processes that Accelerate was launched with, which share each batch."""
    check_launch()
    return Accelerator(dataloader_config=DataLoaderConfiguration(split_batches=True))


def predict(
    model: nn.Module,
    loader: DataLoader | StreamLoader,
    accelerator: Accelerator,
    description: str = "predicting",
    after_batch: Callable[[], None] | None = None,
) -> Predictions:
    """Predictions for every image of a prepared loader, from its features where it holds these."""
    plain = accelerator.unwrap_model(model)
    plain.eval()

    def answer(batch: dict[str, Any]) -> dict[str, Tensor]:
        """The fields of a batch that the model has a part for."""
        found = batch_predictions(plain, features_of(plain, batch, accelerator))
        probabilities_of(found["logits"], plain)  # refuses those that are no finite numbers
        return found

    return Predictions.concatenate(gather_batches(answer, loader, accelerator, description, after_batch))


def features_of(model: Any, batch: dict[str, Any], accelerator: Accelerator) -> Tensor:
    """Image features (B, ...) of a batch, in full precision: those that it holds, else what the backbone sees.

    The backbone alone computes in the accelerator's precision: rounded scores would tie and lose their order.
    """
    features = batch.get("image_features")
    if features is None:
        with accelerator.autocast():
            features = model.encode_images(batch["pixel_values"])
    full: Tensor = features.float()
    return full


@torch.inference_mode()
def gather_batches(
    answer: Callable[[dict[str, Any]], dict[str, Tensor]],
    loader: DataLoader | StreamLoader,
    accelerator: Accelerator,
    description: str,
    after_batch: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """What is answered for every batch of a prepared loader, the same in every process; `after_batch` is called often.

    Processes have different numbers of a stream's batches: what they predict is gathered at its end, and `after_batch`,
    for which they would wait, is called only where there is one.
    """
    streamed = isinstance(loader, StreamLoader)
    batches = []
    for batch in tqdm(loader, desc=description, unit="batch", disable=not accelerator.is_main_process, leave=False):
        tensors = answer(batch) | {"targets": batch["labels"]}
        ids = batch["image_id"]
        if not streamed:
            tensors = accelerator.gather_for_metrics({name: tensor.contiguous() for name, tensor in tensors.items()})
            ids = accelerator.gather_for_metrics(ids, use_gather_object=True)
        batches.append({name: tensor.float().cpu() for name, tensor in tensors.items()} | {"image_ids": ids})
        if after_batch is not None and not (streamed and accelerator.num_processes > 1):
            after_batch()
    if streamed:
        batches = gather_object(batches)
    return batches


def batch_predictions(model: CnnRnnForImageClassification, image_features: Tensor) -> dict[str, Any]:
    """The fields of `Predictions` for one batch, as far as the model has the parts for them."""
    if not model.config.has_path_decoder:
        outputs = model(image_features=image_features)
        return {"logits": outputs.logits, "relevance_logits": outputs.relevance_logits}
    output = model.generate(image_features=image_features, sets=model.config.set_weights is not None)
    assert output.paths is not None
    assert output.step_scores is not None
    tensors = {
        "logits": output.logits,
        "label_scores": output.label_scores,
        "paths": output.paths[:, 0],
        "step_scores": output.step_scores[:, 0],
    }
    more = {"relevance_logits": output.relevance_logits, "sets": output.sets}
    return tensors | {name: value for name, value in more.items() if value is not None}


@torch.inference_mode()
def extract_features(
    model: nn.Module, loader: DataLoader, accelerator: Accelerator, description: str
) -> Iterator[Tensor]:
    """Image features of every image of a prepared loader, in order, batch by batch, the same in every process."""
    plain = accelerator.unwrap_model(model)
    plain.eval()
    for batch in tqdm(loader, desc=description, unit="batch", disable=not accelerator.is_main_process):
        yield accelerator.gather_for_metrics(features_of(plain, batch, accelerator).contiguous()).cpu()


def measure(
    predictions: Predictions,
    label_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    top_k: int = 3,
    rules: LabelRules | None = None,
) -> dict[str, Any]:
    """The figures of `MultiLabelMetrics`; sets by threshold use 0.5 where no thresholds are given."""
    least = 0.5 if thresholds is None else list(thresholds)
    metrics = MultiLabelMetrics(label_names, top_k=top_k, thresholds=least, rules=rules)
    metrics.update(predictions.logits.sigmoid(), predictions.targets, paths=predictions.path_labels)
    return metrics.compute()


def stored_predictions(predictions: Predictions, label_names: Sequence[str], **info: Any) -> StoredPredictions:
    """The predictions as they are written to a file, with whatever is worth knowing about them."""
    relevance = predictions.relevance_logits
    steps = predictions.step_scores
    return collect_predictions(
        predictions.image_ids,
        label_names,
        predictions.logits.sigmoid(),
        predictions.targets,
        relevance_scores=None if relevance is None else relevance.sigmoid(),
        paths=predictions.paths,
        path_scores=None if steps is None else steps.sum(-1),
        step_scores=steps,
        sets=predictions.sets,
        info=info,
    )
