"""Image features of a frozen backbone, computed once and kept on the disk for every run that needs the same.

A folder of the cache holds one memory-mapped array; its name is a hash of all that the features depend on: the images
(path, size and time of change, or the bytes themselves), the backbone's weights, the preprocessing and the precision.
Labels and splits are not among it, so other seeds, losses and decoders reuse the same features.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset, Image, concatenate_datasets
from torch.utils.data import Dataset as TorchDataset

from cnn_rnn.data.batches import eval_loader
from cnn_rnn.data.transforms import multi_hot
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction.predictions import extract_features
from cnn_rnn.whole_files import write_json

from .run_config import TrainConfig

ROWS_A_BATCH = 1024


class CachedFeatures(TorchDataset):
    """Image features that a frozen backbone gave once, in place of the images.

    Args:
        features: All features (N, ...) of the cache.
        places: The row of `features` of each of these rows.
        dataset: Rows with labels and ids; its images are not read.
    """

    def __init__(self, features: npt.NDArray[np.float32], places: Sequence[int], dataset: Dataset) -> None:
        self.features, self.places = features, list(places)
        self.rows = dataset.remove_columns("image")
        self.num_labels = len(dataset.features["labels"].feature.names)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        return {
            "image_features": torch.from_numpy(np.array(self.features[self.places[index]])),
            "labels": multi_hot(row["labels"], self.num_labels, row.get("difficult") or ()),
            "image_id": row["image_id"],
        }


def collate_features(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of `CachedFeatures`."""
    return {
        "image_features": torch.stack([example["image_features"] for example in examples]),
        "labels": torch.stack([example["labels"] for example in examples]),
        "image_id": [example["image_id"] for example in examples],
    }


def cached_features(
    model: CnnRnnForImageClassification,
    processor: Any,
    datasets: Sequence[Dataset],
    accelerator: Accelerator,
    config: TrainConfig,
) -> list[CachedFeatures]:
    """The features of each data set, computed where the cache does not hold them yet."""
    identities = [identity for dataset in datasets for identity in image_identities(dataset)]
    order = sorted(range(len(identities)), key=identities.__getitem__)
    in_order = [identities[index] for index in order]
    root = Path(config.feature_cache or Path(config.output_dir).parent / "features")
    folder = root / features_key(model, processor, in_order, accelerator.mixed_precision)
    present = torch.tensor([int((folder / "features.npy").exists())], device=accelerator.device)
    if int(accelerator.reduce(present, reduction="sum")) < accelerator.num_processes:
        rows = concatenate_datasets([dataset.select_columns(["image", "image_id", "labels"]) for dataset in datasets])
        loader = eval_loader(rows.select(order), processor, config.batch_size, config.num_workers)
        batches = extract_features(model, accelerator.prepare(loader), accelerator, "image features, computed once")
        description = {
            "backbone": model.config.backbone,
            "images": len(order),
            "precision": accelerator.mixed_precision,
        }
        write_features(batches, len(order), folder, description, writes=accelerator.is_local_main_process)
        accelerator.wait_for_everyone()
    else:
        accelerator.print(f"image features from {folder}")
    features = np.load(folder / "features.npy", mmap_mode="r")
    places = np.empty(len(order), dtype=int)
    places[order] = np.arange(len(order))
    ends = np.cumsum([len(dataset) for dataset in datasets])
    parts = np.split(places, ends[:-1])
    return [CachedFeatures(features, part.tolist(), rows) for part, rows in zip(parts, datasets, strict=True)]


def write_features(
    batches: Iterator[torch.Tensor], count: int, folder: Path, description: dict[str, Any], *, writes: bool
) -> None:
    """Write the batches as one array, whole or not at all; a process that does not write still takes its part."""
    temporary = folder.with_name(f"{folder.name}.{platform.node()}-{os.getpid()}.tmp")
    array: Any = None
    start = 0
    for batch in batches:
        if not writes:
            continue
        if array is None:
            temporary.mkdir(parents=True, exist_ok=True)
            shape = (count, *batch.shape[1:])
            array = np.lib.format.open_memmap(temporary / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        array[start : start + len(batch)] = batch.numpy()
        start += len(batch)
    if writes:
        assert start == count
        array.flush()
        write_json(temporary / "description.json", description | {"shape": list(array.shape)})
        try:
            temporary.replace(folder)
        except OSError:
            if not (folder / "features.npy").exists():
                raise
            shutil.rmtree(temporary)  # another run or machine was faster; its features are the same


def image_identities(dataset: Dataset) -> list[str]:
    """For each row what tells its image from any other: the file with its size and time of change, or its bytes."""
    rows = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))
    identities = []
    for start in range(0, len(rows), ROWS_A_BATCH):
        for image in rows[start : start + ROWS_A_BATCH]["image"]:
            if image["bytes"] is not None:
                identities.append(hashlib.sha256(image["bytes"]).hexdigest())
            else:
                status = Path(image["path"]).stat()
                identities.append(f"{image['path']}:{status.st_size}:{status.st_mtime_ns}")
    return identities


def features_key(model: CnnRnnForImageClassification, processor: Any, identities: Sequence[str], precision: str) -> str:
    """A hash of all that the features depend on."""
    settings = {name: value for name, value in processor.to_dict().items() if name != "auto_map"}
    settings |= {"pooling": model.config.pooling, "precision": precision, "images": list(identities)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
