"""Batches of a stream.

The row groups of the shards are shared out to the processes, and by each to its workers, so that every image is read
and decoded once. Which images meet in a batch therefore depends on the number of both: an exact continuation needs the
same processes and workers.
"""

from collections.abc import Iterator
from itertools import chain, count, islice
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from datasets import IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchIterableDataset

from cnn_rnn.data import EvalTransform, TrainTransform, collate, prepare_examples
from cnn_rnn.data.reading import explained

from .inputs import AugmentationSeeds, leave_signals_alone

Batch = dict[str, Any]


class StreamExamples(TorchIterableDataset):
    """Examples of a stream; what stops it on the way is told by the process that reads, which knows the cause."""

    def __init__(self, examples: IterableDataset) -> None:
        self.examples = examples

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with explained(f"{self.examples.info.dataset_name}, {self.examples.split}"):
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
        if accelerator.num_processes > 1:
            own = split_dataset_by_node(rows, accelerator.process_index, accelerator.num_processes, strategy="shards")
        self.examples = prepare_examples(own, transform, None if batches is None else self.seeds)
        self.loader: DataLoader[Batch] = DataLoader(
            StreamExamples(self.examples),
            batch_size,
            num_workers=num_workers,
            collate_fn=collate,
            worker_init_fn=leave_signals_alone,
            pin_memory=accelerator.device.type == "cuda",
        )

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
