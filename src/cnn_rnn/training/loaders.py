"""The batches of a run: images or cached features, over all processes."""

from itertools import islice
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from datasets import IterableDataset
from torch.utils.data import RandomSampler

from cnn_rnn.data import TrainTransform
from cnn_rnn.data.batching.batches import StreamLoader, TrainExamples, eval_batches, eval_loader, example_loader
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .feature_cache import CachedFeatures, FeatureCache
from .run_config import RunConfig
from .training_data import TrainingData


def build_loaders(
    config: RunConfig,
    data: TrainingData,
    model: CnnRnnForImageClassification,
    transform: TrainTransform,
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
    step_size = min(train.batch_size, data.train_images // parts * parts)
    if not step_size:
        raise ValueError(f"{data.train_images} training images are too few for {parts} parts; use fewer processes")
    if isinstance(data.train, IterableDataset) or isinstance(data.validation, IterableDataset):
        return stream_loaders(config, data, transform, accelerator, step_size)
    examples: Any
    if train.cache_features:
        cache = FeatureCache(model, transform, accelerator, config)
        others = [] if data.left_out is None else [data.left_out]
        examples, held_out, *_ = cache.load(data.train, data.validation, *others)
        validation, num_workers = example_loader(held_out, train.batch_size), 0
    else:
        examples = TrainExamples(data.train, transform, train.seed)
        num_workers = train.num_workers
        validation = eval_loader(data.validation, transform.processor, train.batch_size, num_workers)
    loader = example_loader(
        examples,
        step_size // train.accumulation_steps,
        num_workers,
        sampler=RandomSampler(examples, num_samples=len(examples) // step_size * step_size),
        pin_memory=accelerator.device.type == "cuda",
    )
    return accelerator.prepare(loader, validation)


def stream_loaders(
    config: RunConfig,
    data: TrainingData,
    transform: TrainTransform,
    accelerator: Accelerator,
    step_size: int,
) -> tuple[StreamLoader, Any]:
    """Batches to train on and held-out ones, both read as they come.

    Raises:
        ValueError: The settings ask for what a stream cannot give.
    """
    train = config.train
    if train.cache_features or accelerator.distributed_type == DistributedType.FSDP:
        setting = "train.cache_features" if train.cache_features else "FSDP"
        raise ValueError(f"{setting} needs all rows at hand: set data.streaming to false")
    assert isinstance(data.train, IterableDataset)
    shuffled = data.train.shuffle(
        seed=train.seed,
        buffer_size=config.data.shuffle_buffer,
        max_buffer_input_shards=1,  # row groups come in random order; reading several at once ends with a pause of 5 s
    )
    loader = StreamLoader(
        shuffled,
        transform,
        step_size // (train.accumulation_steps * accelerator.num_processes),
        train.num_workers,
        accelerator,
        batches=data.train_images // step_size * train.accumulation_steps,
        seed=train.seed,
    )
    return loader, eval_batches(data.validation, transform.processor, train.batch_size, train.num_workers, accelerator)


def epoch_batches(accelerator: Accelerator, loader: Any, epoch: int, done: int) -> Any:
    """The batches of an epoch of training without the first `done` ones."""
    loader.set_epoch(epoch)
    if isinstance(loader, StreamLoader):
        return islice(loader, done, None)
    if isinstance(loader.dataset, TrainExamples | CachedFeatures):
        loader.dataset.set_epoch(epoch)
    return accelerator.skip_first_batches(loader, done) if done else loader
