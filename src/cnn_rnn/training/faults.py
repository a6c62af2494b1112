"""What ends a run, and what its message says to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from safetensors import SafetensorError
from torch import nn

from cnn_rnn.decisions import not_finite
from cnn_rnn.foundation.hub_errors import first_line
from cnn_rnn.foundation.whole_files import UnwrittenFileError

from .run_config import TrainConfig


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why, and the way out."""


class NonFiniteLossError(TrainingError):
    """The loss is NaN or infinite; the batch's image ids are in a file of the run's folder."""


class OutOfMemoryError(TrainingError):
    """The model, its activations or a batch do not fit into memory."""


class CheckpointError(TrainingError):
    """A file of the run could not be written; the checkpoints before it are whole."""


def non_finite_loss(told: str, model: nn.Module, images: str) -> NonFiniteLossError:
    """What to raise of a loss that is not finite: it names weights that are not, else the images at fault.

    Args:
        told: What the loss is, and when.
        model: Whose loss it is.
        images: Where the images of the batch are named.
    """
    broken = not_finite(model)
    if broken:
        return NonFiniteLossError(
            f"{told} since weights are not finite numbers ({', '.join(broken[:3])}); start from whole ones "
            "(--model.weights), or lower --train.lr"
        )
    return NonFiniteLossError(
        f"{told}; {images}. Look at them, lower --train.lr, or train with --train.mixed_precision no"
    )


@contextmanager
def memory_advice(config: TrainConfig) -> Iterator[None]:
    """Where memory runs out, an error that names the settings that need less of it, the cheapest first."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not should_reduce_batch_size(error):
            raise
        parts = config.accumulation_steps * 2
        knobs = [f"--train.accumulation_steps {parts} (the same result, slower)"]
        if config.mixed_precision == "no":
            knobs.append("--train.mixed_precision bf16")
        if not config.gradient_checkpointing and not config.freeze_backbone:
            knobs.append("--train.gradient_checkpointing true (slower)")
        if not config.cache_features:
            knobs.append("--train.freeze_backbone true --train.cache_features true")
        knobs.append("a smaller --model.image_size or --model.backbone")
        reason = str(error).splitlines()[0] if str(error) else "no memory left"
        raise OutOfMemoryError(f"out of memory ({reason}); try, in this order: {', '.join(knobs)}") from error


GO_ON = (
    "The checkpoints that are there are whole: free space on that disk (a lower --train.keep_checkpoints needs less), "
    "then go on with --resume auto"
)


@contextmanager
def disk_advice(folder: Path, way_on: str = GO_ON) -> Iterator[None]:
    """Where a file cannot be written, an error that says what is still whole and how to go on."""
    try:
        yield
    except UnwrittenFileError as error:
        raise CheckpointError(f"{error}. {way_on}") from error
    except (OSError, SafetensorError, RuntimeError) as error:  # torch's writer raises RuntimeError
        raise CheckpointError(f"could not write into {folder}: {first_line(error)}. {way_on}") from error
