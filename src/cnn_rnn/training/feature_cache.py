"""Image features of a frozen backbone, computed once and kept on the disk for every run that needs the same.

A folder of the cache holds one memory-mapped array; its name is a hash of all that the features depend on: the images
(path, size and time of change, or the bytes themselves), the backbone with its arguments and weights, the pooling, the
preprocessing, the code and the precision. Labels and splits are not among it, so other seeds, losses and decoders reuse
the same features. What is found is read against its digest once a run.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset, Image, concatenate_datasets
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cnn_rnn.data.batching.batches import AugmentationSeeds, eval_loader, example_loader
from cnn_rnn.data.schema import LABEL_COLUMNS, label_names, targets
from cnn_rnn.data.transforms import TrainTransform, prepare_examples
from cnn_rnn.foundation.provenance import Provenance, digest
from cnn_rnn.learning.feature_store import STORE_FILE, FeatureStore, seen_by
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction.inputs import image_identity
from cnn_rnn.prediction.kept_graphs import onnxruntime_version
from cnn_rnn.prediction.onnx_engine import UnfitGraphError, choose_engine, use_onnxruntime
from cnn_rnn.prediction.predictions import PlacedFeatures, extract_features

from .feature_files import FEATURES, check_features, write_features
from .run_config import RunConfig

CACHED_AT_ONCE = 1024
FEWEST_TO_EXPORT = 500  # images from which on making the graph takes less than it saves
AUGMENTATION = ("crop_scale", "horizontal_flip", "color_jitter", "rand_augment", "random_erasing")  # of block `data`


class CachedFeatures(TorchDataset):
    """Image features that a frozen backbone gave once, in place of the images.

    Args:
        *views: The same rows of the one schema in one or more views, of which an epoch takes one at random for each
            row; their images are not read.
        seed: Of the choice among views.
    """

    def __init__(self, *views: PlacedFeatures, seed: int = 0) -> None:
        self.views, rows = views, views[0].rows
        self.seeds = AugmentationSeeds(seed)
        there = [name for name in ("image_id", *LABEL_COLUMNS) if name in rows.column_names]
        self.rows, self.num_labels = rows.select_columns(there).with_format("arrow"), len(label_names(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        rows = self.rows[indices]
        return [
            {"image_features": self._features_of(index, image_id), "labels": labels, "image_id": image_id}
            for index, image_id, labels in zip(
                indices, rows["image_id"].to_pylist(), torch.from_numpy(targets(rows, self.num_labels)), strict=True
            )
        ]

    def _features_of(self, index: int, image_id: str) -> torch.Tensor:
        """The features of a row in the view that this epoch takes of it."""
        view = self.seeds(image_id) % len(self.views) if len(self.views) > 1 else 0
        return torch.from_numpy(self.views[view].take(index))

    @property
    def features(self) -> npt.NDArray[np.float32]:
        """All features (N, ...) of the first view, in the order of the cache."""
        return self.views[0].features

    def first_view(self) -> "CachedFeatures":
        """The same rows as they are in evaluation."""
        return CachedFeatures(self.views[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose among the views as this epoch does."""
        self.seeds.epoch = epoch


class FeatureCache:
    """The features that a frozen backbone gives, computed where the disk does not hold them yet.

    Args:
        model: The model whose backbone it is.
        transform: The training views beside the first, and the processor of the first.
        accelerator: Processes that share the work.
        config: The run's settings.
        precision: That of the features; the accelerator's where None.
    """

    def __init__(
        self,
        model: CnnRnnForImageClassification,
        transform: TrainTransform,
        accelerator: Accelerator,
        config: RunConfig,
        precision: str | None = None,
    ) -> None:
        self.model, self.transform, self.accelerator, self.config = model, transform, accelerator, config
        train = config.train
        self.root = Path(train.feature_cache or Path(train.output_dir).parent / "features")
        self.precision = precision or accelerator.mixed_precision
        self.engine, self.fits = "torch", True  # fits: whether the backbone could be exported
        self.kept: npt.NDArray[np.float32] | None = None  # what a page saw of the rows that are asked for

    def load(self, train: Dataset, *others: Dataset) -> list[CachedFeatures]:
        """The features of the training rows, in all their views, and of each of the other parts as they are."""
        # of all parts in each view: another split finds them again
        views = [self.views_of(train, *others, view=view) for view in range(self.config.train.cached_views)]
        of_train = CachedFeatures(*(parts[0] for parts in views), seed=self.config.train.seed)
        return [of_train, *map(CachedFeatures, views[0][1:])]

    def holds(self, *parts: Dataset) -> bool:
        """Whether the disk holds the features of these parts together, as they are in evaluation."""
        return (self._folder(parts)[0] / FEATURES).exists()

    def _folder(self, datasets: Sequence[Dataset], view: int = 0) -> tuple[Path, list[int]]:
        """Where one view's features of all rows lie, and the order of the rows there."""
        identities = [identity for dataset in datasets for identity in image_identities(dataset)]
        # Sorted: another split of the same images finds the same array.
        order = sorted(range(len(identities)), key=identities.__getitem__)
        in_order = [identities[index] for index in order]
        processor = self.transform.processor
        self.engine = engine_for(len(order), self.accelerator, self.precision) if self.fits else "torch"
        self.kept = None if view else self._find_kept(datasets, order)
        told = {"view": view, **self._augmentation(view)} | ({"engine": self.engine} if self.engine != "torch" else {})
        key = features_key(self.model, processor, in_order, self.precision, **told)
        return self.root / key, order

    def _find_kept(self, datasets: Sequence[Dataset], order: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """Features (N, D) of the rows in order, where a page saw every photo; what computed them is the engine then."""
        alone = self.accelerator.num_processes == 1 and self.precision == "no"
        if not (self.root / STORE_FILE).is_file() or not alone or self.model.config.pooling == "attention":
            return None
        store = FeatureStore(self.root)
        paths = [path for dataset in datasets for path in image_files(dataset)]
        photos = [store.photo_of(Path(paths[index])) if paths[index] else "" for index in order]
        provenance = Provenance.of_features(self.model, self.transform.processor)
        size = self.model.backbone.num_features
        for engine in ("torch", *([onnxruntime_version()] if importlib.util.find_spec("onnxruntime") else [])):
            by = seen_by(provenance, engine)
            found = [numbers for photo in photos if (numbers := store.find(photo, by, size)) is not None]
            if len(found) == len(photos):
                self.engine = engine
                return np.stack(found)
        return None

    def _augmentation(self, view: int) -> dict[str, Any]:
        """What a view beside the first depends on."""
        return {name: getattr(self.config.data, name) for name in AUGMENTATION} if view else {}

    def views_of(self, *datasets: Dataset, view: int = 0) -> list[PlacedFeatures]:
        """One view of each data set's rows, the first as they are in evaluation; all lie in one array."""
        accelerator = self.accelerator
        folder, order = self._folder(datasets, view)
        present = torch.tensor([int(check_features(folder))], device=accelerator.device)
        # All or none compute: each takes its share of every batch.
        if int(accelerator.reduce(present, reduction="sum")) < accelerator.num_processes:
            rows = concatenate_datasets([rows.select_columns(["image", "image_id", "labels"]) for rows in datasets])
            shown = "image features, computed once" + (f", view {view + 1}" if view else "")
            description = {
                "backbone": self.model.config.backbone,
                "images": len(order),
                "precision": self.precision,
                "engine": self.engine,
                "view": view,
                **self._augmentation(view),
            }
            try:
                if self.kept is not None:
                    accelerator.print(f"image features as the page saw them, from {self.root / STORE_FILE}")
                    write_features(iter([self.kept]), len(order), folder, description, writes=True)
                else:
                    loader = accelerator.prepare(self._loader(rows.select(order), view))
                    with self._by_engine():
                        batches = extract_features(self.model, loader, accelerator, shown)
                        writes = accelerator.is_local_main_process
                        write_features(batches, len(order), folder, description, writes=writes)
            except UnfitGraphError as error:
                self.fits = False
                accelerator.print(f"image features by torch: {error}")
                return self.views_of(*datasets, view=view)
            accelerator.wait_for_everyone()
        else:
            accelerator.print(f"image features from {folder}")
        places = np.empty(len(order), dtype=int)
        places[order] = np.arange(len(order))
        ends = np.cumsum([len(dataset) for dataset in datasets])
        features = np.load(folder / FEATURES, mmap_mode="r")
        parts = zip(datasets, np.split(places, ends[:-1]), strict=True)
        return [PlacedFeatures(str(rows.split), rows, features, own) for rows, own in parts]

    @contextmanager
    def _by_engine(self) -> Iterator[None]:
        """The backbone by the engine that was chosen, for a while.

        Raises:
            UnfitGraphError: It cannot be exported.
        """
        plain = self.accelerator.unwrap_model(self.model)
        backbone, training = plain.backbone, plain.training
        try:
            if self.engine != "torch":
                self.root.mkdir(parents=True, exist_ok=True)
                use_onnxruntime(plain.eval(), str(self.root), shares_cores=True)
                self.accelerator.print(f"image features by {self.engine}")
            yield
        finally:
            plain.backbone = backbone
            plain.train(training)

    def _loader(self, rows: Dataset, view: int) -> DataLoader:
        """Batches of one view of the rows, in order."""
        train = self.config.train
        if not view:
            return eval_loader(rows, self.transform.processor, train.batch_size, train.num_workers)
        transform = copy(self.transform)
        transform.as_bytes = False
        # the same for every seed of a run: then other seeds find these features again
        examples = prepare_examples(rows, transform, AugmentationSeeds(0, epoch=view))
        return example_loader(examples, train.batch_size, train.num_workers)


def engine_for(images: int, accelerator: Accelerator, precision: str) -> str:
    """What computes features of so many images: onnxruntime on a CPU where it is installed and the export pays."""
    if images < FEWEST_TO_EXPORT or precision != "no" or accelerator.num_processes > 1:
        return "torch"
    if choose_engine("auto", accelerator.device) == "torch":
        return "torch"
    return onnxruntime_version()


def image_identities(dataset: Dataset) -> list[str]:
    """For each row what tells its image from any other: the file with its size and time of change, or its bytes."""
    return [image_identity(image) for image in undecoded_images(dataset)]


def image_files(dataset: Dataset) -> list[str]:
    """For each row the file of its image; empty where that is none."""
    return [image["path"] if image and image["bytes"] is None else "" for image in undecoded_images(dataset)]


def undecoded_images(dataset: Dataset) -> Iterator[dict[str, Any] | None]:
    """For each row what its image is decoded from: a `path`, or `bytes`; None where there is no image."""
    rows = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))
    for start in range(0, len(rows), CACHED_AT_ONCE):
        yield from rows[start : start + CACHED_AT_ONCE]["image"]


def features_key(
    model: CnnRnnForImageClassification, processor: Any, identities: Sequence[str], precision: str, **view: Any
) -> str:
    """A hash of all that the features depend on; `view` says which view of the images, and how it was made."""
    provenance = asdict(Provenance.of_features(model, processor))
    return digest(provenance | {"precision": precision, "images": list(identities)} | view)[:32]
