"""Image features of a frozen backbone, computed once and kept on the disk for every run that needs the same.

A folder of the cache holds one memory-mapped array; its name is a hash of all that the features depend on: the images
(path, size and time of change, or the bytes themselves), the backbone with its arguments and weights, the pooling, the
preprocessing, the code and the precision. Labels and splits are not among it, so other seeds, losses and decoders reuse
the same features. What is found is read against its digest once a run.
"""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset, Image, concatenate_datasets
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm.auto import tqdm

from cnn_rnn.data.batching.batches import AugmentationSeeds, eval_loader, leave_signals_alone
from cnn_rnn.data.schema import LABEL_COLUMNS, label_names, targets
from cnn_rnn.data.transforms import TrainTransform, collate, prepare_examples
from cnn_rnn.foundation.provenance import Provenance, digest, file_identity
from cnn_rnn.foundation.whole_files import flush_folder, remove_whole, temporary_name, write_json
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction.onnx_engine import UnfitGraphError, choose_engine, use_onnxruntime
from cnn_rnn.prediction.predictions import PlacedFeatures, extract_features

from .agreement import wait_until_seen
from .faults import disk_advice
from .run_config import RunConfig

logger = logging.getLogger(__name__)
CACHED_AT_ONCE = 1024
FEWEST_TO_EXPORT = 500  # images from which on making the graph takes less than it saves
AUGMENTATION = ("crop_scale", "horizontal_flip", "color_jitter", "rand_augment", "random_erasing")  # of block `data`
FEATURES, DESCRIPTION = "features.npy", "description.json"
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
WAY_ON = "free space on that disk, or name a folder on another one with --train.feature_cache; then start again"


class CachedFeatures(TorchDataset):
    """Image features that a frozen backbone gave once, in place of the images.

    Args:
        views: Features (N, ...) in one or more views; an epoch takes one of them at random for each row.
        places: The place in each view of each of these rows.
        rows: Rows of the one schema; their images are not read.
        seed: Of the choice among views.
    """

    def __init__(
        self, views: Sequence[npt.NDArray[np.float32]], places: Sequence[Any], rows: Dataset, seed: int = 0
    ) -> None:
        self.views = [
            PlacedFeatures(str(rows.split), rows, view, np.asarray(own))
            for view, own in zip(views, places, strict=True)
        ]
        self.seeds = AugmentationSeeds(seed)
        there = [name for name in ("image_id", *LABEL_COLUMNS) if name in rows.column_names]
        self.rows, self.num_labels = rows.select_columns(there).with_format("arrow"), len(label_names(rows))

    @classmethod
    def of(cls, *views: PlacedFeatures, seed: int = 0) -> "CachedFeatures":
        """The same rows in one or more views."""
        return cls([view.features for view in views], [view.places for view in views], views[0].rows, seed)

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
        return CachedFeatures.of(self.views[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose among the views as this epoch does."""
        self.seeds.epoch = epoch


def collate_features(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of `CachedFeatures`."""
    return {
        "image_features": torch.stack([example["image_features"] for example in examples]),
        "labels": torch.stack([example["labels"] for example in examples]),
        "image_id": [example["image_id"] for example in examples],
    }


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

    def load(self, train: Dataset, *others: Dataset) -> list[CachedFeatures]:
        """The features of the training rows, in all their views, and of each of the other parts as they are."""
        # of all parts in each view: another split finds them again
        views = [self.views_of(train, *others, view=view) for view in range(self.config.train.cached_views)]
        of_train = CachedFeatures.of(*(parts[0] for parts in views), seed=self.config.train.seed)
        return [of_train, *(CachedFeatures.of(part) for part in views[0][1:])]

    def holds(self, *parts: Dataset) -> bool:
        """Whether the disk holds the features of these parts together, as they are in evaluation."""
        return (self._folder(parts)[0] / FEATURES).exists()

    def _folder(self, datasets: Sequence[Dataset], view: int = 0) -> tuple[Path, list[int]]:
        """Where one view's features of all rows lie, and the order of the rows there."""
        identities = [identity for dataset in datasets for identity in image_identities(dataset)]
        order = sorted(range(len(identities)), key=identities.__getitem__)
        in_order = [identities[index] for index in order]
        processor = self.transform.processor
        self.engine = engine_for(len(order), self.accelerator, self.precision) if self.fits else "torch"
        told = {"view": view, **self._augmentation(view)} | ({"engine": self.engine} if self.engine != "torch" else {})
        key = features_key(self.model, processor, in_order, self.precision, **told)
        return self.root / key, order

    def _augmentation(self, view: int) -> dict[str, Any]:
        """What a view beside the first depends on."""
        return {name: getattr(self.config.data, name) for name in AUGMENTATION} if view else {}

    def views_of(self, *datasets: Dataset, view: int = 0) -> list[PlacedFeatures]:
        """One view of each data set's rows, the first as they are in evaluation; all lie in one array."""
        accelerator = self.accelerator
        folder, order = self._folder(datasets, view)
        present = torch.tensor([int(check_features(folder))], device=accelerator.device)
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
            loader = accelerator.prepare(self._loader(rows.select(order), view))
            try:
                with self._by_engine():
                    batches = extract_features(self.model, loader, accelerator, shown)
                    write_features(batches, len(order), folder, description, writes=accelerator.is_local_main_process)
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
        return DataLoader(
            examples,
            batch_size=train.batch_size,
            num_workers=train.num_workers,
            collate_fn=collate,
            worker_init_fn=leave_signals_alone,
        )


def engine_for(images: int, accelerator: Accelerator, precision: str) -> str:
    """What computes features of so many images: onnxruntime on a CPU where it is installed and the export pays."""
    if images < FEWEST_TO_EXPORT or precision != "no" or accelerator.num_processes > 1:
        return "torch"
    if choose_engine("auto", accelerator.device) == "torch":
        return "torch"
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def write_features(
    batches: Iterator[torch.Tensor], count: int, folder: Path, description: dict[str, Any], *, writes: bool
) -> None:
    """Write the batches as one array, whole or not at all; a process that does not write still takes its part."""
    if not writes:
        for _ in batches:
            pass
        return
    temporary = temporary_name(folder)
    found = hashlib.sha256()
    start, shape = 0, (count,)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        with disk_advice(folder.parent, WAY_ON):
            temporary.mkdir(parents=True)
            # Written, not mapped: on a full disk a memory map ends the process without a word.
            file = (temporary / FEATURES).open("wb")
            stack.callback(close, file)
        for batch in batches:
            rows = np.ascontiguousarray(batch.numpy(), dtype=np.float32)
            with disk_advice(folder.parent, WAY_ON):
                if not start:
                    shape = (count, *rows.shape[1:])
                    write_header(file, shape)
                file.write(rows.data)
            found.update(rows.data)
            start += len(rows)
        assert start == count
        with disk_advice(folder.parent, WAY_ON):
            file.close()
            size = (temporary / FEATURES).stat().st_size
            whole = {"shape": list(shape), "bytes": size, "digest": found.hexdigest()}
            write_json(temporary / DESCRIPTION, description | whole)
            flush_folder(temporary)
        try:
            temporary.replace(folder)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            wait_until_seen(folder / FEATURES)  # another run or machine was faster; its features are the same


def close(file: BinaryIO) -> None:
    """Close a file that is given up or closed already."""
    with suppress(OSError):
        file.close()


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of an array's file whose values follow."""
    fields = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)


def check_features(folder: Path) -> bool:
    """Whether a folder of the cache holds features that are what was written; damaged ones are removed, and told."""
    path = folder / FEATURES
    if not path.exists():
        return False
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        whole = path.stat().st_size == description["bytes"] and digest_values(path) == description["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be checked (%s): the features are computed again", path, error)
    else:
        if whole:
            return True
        logger.warning("%s is damaged, not what was written: the features are computed again", path)
    remove_whole(folder)
    return False


def digest_values(path: Path) -> str:
    """A digest of the values of an array's file."""
    found, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file, tqdm(total=size, desc="checking features", unit="B", unit_scale=True, delay=2) as bar:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(1 << 22):
            found.update(block)
            bar.update(len(block))
    return found.hexdigest()


def image_identities(dataset: Dataset) -> list[str]:
    """For each row what tells its image from any other: the file with its size and time of change, or its bytes."""
    rows = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))
    identities = []
    for start in range(0, len(rows), CACHED_AT_ONCE):
        for image in rows[start : start + CACHED_AT_ONCE]["image"]:
            if image["bytes"] is not None:
                identities.append(hashlib.sha256(image["bytes"]).hexdigest())
            else:
                identities.append(file_identity(image["path"]))
    return identities


def features_key(
    model: CnnRnnForImageClassification, processor: Any, identities: Sequence[str], precision: str, **view: Any
) -> str:
    """A hash of all that the features depend on; `view` says which view of the images, and how it was made."""
    provenance = asdict(Provenance.of_features(model, processor))
    return digest(provenance | {"precision": precision, "images": list(identities)} | view)[:32]
