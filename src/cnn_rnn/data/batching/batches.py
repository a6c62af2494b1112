"""From rows to batches: augmented or as they are, looked up or as a stream, shared out to all processes.

The row groups of a stream's shards are shared out to the processes, and by each to its workers, so that every image is
read and decoded once. Which images meet in a batch therefore depends on the number of both: an exact continuation needs
the same processes and workers.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, count, islice
from traceback import clear_frames
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset as TorchIterableDataset

from cnn_rnn.data.images_inside.hub_datasets import reading_errors
from cnn_rnn.data.photos.images import UnreadableImageError
from cnn_rnn.data.transforms import EvalTransform, TrainTransform, collate, prepare_examples
from cnn_rnn.foundation.hub_errors import HubError

Batch = dict[str, Any]
SIGNALS = (signal.SIGTERM, signal.SIGINT)  # that ask a whole run to leave


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


class StreamExamples(TorchIterableDataset):
    """Examples of a stream; what stops it on the way is told by the process that reads, which knows the cause."""

    def __init__(self, examples: IterableDataset) -> None:
        self.examples = examples

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with reading_errors(f"{self.examples.info.dataset_name}, {self.examples.split}"):
            yield from self.examples


class StreamLoader:
    """Batches of this process's share of a stream, on its device.

    Args:
        rows: Rows of the one schema.
        transform: What makes pixel values of a picture.
        batch_size: Images a batch of this process.
        num_workers: Processes that read and decode for this one.
        accelerator: Tells device and processes.
        batches: Whole batches an epoch, of augmented images; None for every row once.
        seed: Of the augmentation; evaluation has none.

    Raises:
        ValueError: There are fewer shards than processes.
    """

    def __init__(
        self,
        rows: IterableDataset,
        transform: EvalTransform | TrainTransform,
        batch_size: int,
        num_workers: int,
        accelerator: Accelerator,
        *,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self.seeds = AugmentationSeeds(seed)
        self.batches, self.device = batches, accelerator.device
        own = rows
        if accelerator.num_processes > rows.num_shards:
            raise ValueError(
                f"{accelerator.num_processes} processes share {rows.num_shards} shards (row groups of the Parquet "
                "files), so some would have nothing to read: start fewer, or write smaller row groups "
                "('cnn-rnn data convert')"
            )
        if accelerator.num_processes > 1:
            own = split_dataset_by_node(rows, accelerator.process_index, accelerator.num_processes, strategy="shards")
        self.examples = prepare_examples(own, transform, None if batches is None else self.seeds)
        pinned = accelerator.device.type == "cuda"
        self.loader = example_loader(StreamExamples(self.examples), batch_size, num_workers, pin_memory=pinned)

    def __len__(self) -> int:
        if self.batches is None:
            raise TypeError("a stream that is read once tells its number of batches at its end")
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        batches: Iterator[Batch] = iter(self.loader)
        if self.batches is not None:
            # a process whose share is short begins it again, so that all make as many steps
            endless = chain(batches, chain.from_iterable(self.loader for _ in count()))
            batches = islice(whole_batches(endless, self.loader.batch_size or 1), self.batches)
        for batch in batches:
            yield send_to_device(batch, self.device, non_blocking=True)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle and vary the images as this epoch does."""
        self.seeds.epoch = epoch
        self.examples.set_epoch(epoch)


def whole_batches(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Batches of exactly `size` images; those with which workers end are joined, and what is left over is dropped."""
    short: Batch | None = None
    for batch in batches:
        if len(batch["image_id"]) == size:
            yield batch
            continue
        short = batch if short is None else {name: joined(short[name], batch[name]) for name in batch}
        if len(short["image_id"]) >= size:
            yield {name: column[:size] for name, column in short.items()}
            short = {name: column[size:] for name, column in short.items()}


def joined(first: Any, second: Any) -> Any:
    """Two tensors or two lists as one."""
    return torch.cat([first, second]) if isinstance(first, torch.Tensor) else first + second


def example_loader(examples: Any, batch_size: int, num_workers: int = 0, **options: Any) -> DataLoader:
    """Batches of examples, of images or of cached features, in order; options are further ones of `DataLoader`."""
    own: dict[str, Any] = {"collate_fn": collate, "worker_init_fn": leave_signals_alone}
    return DataLoader(examples, batch_size, num_workers=num_workers, **own, **options)


def eval_loader(dataset: Dataset, processor: Any, batch_size: int, num_workers: int) -> DataLoader:
    """Batches of the rows in order, preprocessed as the saved image processor does it."""
    return example_loader(prepare_examples(dataset, EvalTransform(processor)), batch_size, num_workers)


def eval_batches(
    rows: Dataset | IterableDataset, processor: Any, batch_size: int, num_workers: int, accelerator: Accelerator
) -> Any:
    """Batches of all rows, preprocessed as the saved image processor does it, shared out to all processes."""
    if isinstance(rows, IterableDataset):
        own_size = max(1, batch_size // accelerator.num_processes)
        return StreamLoader(rows, EvalTransform(processor), own_size, num_workers, accelerator)
    return accelerator.prepare(eval_loader(rows, processor, batch_size, num_workers))


def leave_signals_alone(_: int) -> None:
    """Let a loading process live on when a signal goes to all processes; it ends with the one that it loads for."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def loading_errors() -> Iterator[None]:
    """An error of a loading process in its one line, without the traceback that torch hands on in front of it.

    After any error no loading process is left: they ignore SIGTERM, and a process that exits would wait for them.
    """
    try:
        yield
    except BaseException as error:
        clear_frames(error.__traceback__)  # the iterators in them end their processes
        told = str(error).splitlines()
        if not isinstance(error, UnreadableImageError | HubError) or len(told) == 1:
            raise
        raise type(error)(told[-1].partition(": ")[2]) from error
