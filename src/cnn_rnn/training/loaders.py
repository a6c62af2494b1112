"""The batches of a run: images or cached features, over all processes."""

from typing import Any

from accelerate import Accelerator
from torch.utils.data import DataLoader, RandomSampler

from cnn_rnn.data import collate
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .feature_cache import cached_features, collate_features
from .inputs import TrainExamples, TrainingData, eval_loader, leave_signals_alone, train_transform
from .run_config import RunConfig


def build_loaders(
    config: RunConfig,
    data: TrainingData,
    model: CnnRnnForImageClassification,
    processor: Any,
    accelerator: Accelerator,
) -> tuple[Any, Any]:
    """Batches to train on, shuffled, and those held out in order.

    A training batch is a process's share of one of the parts of an optimiser step. Each epoch takes another random
    choice of as many images as whole steps need.

    Raises:
        ValueError: There are too few training images for one step.
    """
    train = config.train
    parts = train.accumulation_steps * accelerator.num_processes
    step_size = min(train.batch_size, len(data.train) // parts * parts)
    if not step_size:
        raise ValueError(f"{len(data.train)} training images are too few for {parts} parts; use fewer processes")
    examples: Any
    if train.cache_features:
        examples, held_out = cached_features(model, processor, (data.train, data.validation), accelerator, train)
        validation = DataLoader(held_out, train.batch_size, collate_fn=collate_features)
        collation, num_workers = collate_features, 0
    else:
        examples = TrainExamples(data.train, train_transform(processor, config.data), train.seed)
        validation = eval_loader(data.validation, processor, train.batch_size, train.num_workers)
        collation, num_workers = collate, train.num_workers
    loader = DataLoader(
        examples,
        step_size // train.accumulation_steps,
        sampler=RandomSampler(examples, num_samples=len(examples) // step_size * step_size),
        num_workers=num_workers,
        collate_fn=collation,
        worker_init_fn=leave_signals_alone,
        pin_memory=accelerator.device.type == "cuda",
    )
    return accelerator.prepare(loader, validation)


def epoch_batches(accelerator: Accelerator, loader: Any, epoch: int, done: int) -> Any:
    """The batches of an epoch of training without the first `done` ones."""
    loader.set_epoch(epoch)
    if isinstance(loader.dataset, TrainExamples):
        loader.dataset.set_epoch(epoch)
    return accelerator.skip_first_batches(loader, done) if done else loader
