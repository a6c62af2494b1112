"""How a run uses its machine: processes, precision, and what trades memory for time."""

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DataLoaderConfiguration,
    DistributedDataParallelKwargs,
    DistributedType,
    GradientAccumulationPlugin,
    LoggerType,
    ProjectConfiguration,
)
from torch import nn

from cnn_rnn.foundation.launched import check_launch
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .run_config import RunConfig, TrainConfig
from .settings_file import RunConfigError


def build_accelerator(config: RunConfig) -> Accelerator:
    """Accelerate as the run's settings and the launcher's environment ask for it.

    Raises:
        RunConfigError: Processes and parts do not divide the batch, or a tracker is unknown or not installed.
    """
    train = config.train
    # A backbone that joins later, or whose last layers pooling leaves out, has weights that a step does not use.
    partly_used = bool(train.freeze_epochs) or config.model.get("pooling") == "attention"
    check_launch()
    project = ProjectConfiguration(project_dir=train.output_dir, logging_dir=f"{train.output_dir}/tensorboard")
    accelerator = Accelerator(
        mixed_precision=None if train.mixed_precision == "no" else train.mixed_precision,  # None: the launcher's
        gradient_accumulation_plugin=GradientAccumulationPlugin(train.accumulation_steps, sync_with_dataloader=False),
        dataloader_config=DataLoaderConfiguration(split_batches=True, use_seedable_sampler=True, data_seed=train.seed),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=partly_used)],
        log_with=tracker_names(train.trackers) or None,  # an empty list would warn
        project_config=project,
    )
    check_launcher(accelerator)
    check_bfloat16(accelerator)
    parts = train.accumulation_steps * accelerator.num_processes
    if train.batch_size % parts:
        raise RunConfigError(
            f"train.batch_size {train.batch_size} does not divide among {accelerator.num_processes} processes x "
            f"{train.accumulation_steps} accumulation_steps; choose a multiple of {parts}"
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        plugin = accelerator.state.deepspeed_plugin
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = train.batch_size // parts
    if accelerator.distributed_type == DistributedType.FSDP and train.ema_decay:
        raise RunConfigError("train.ema_decay averages whole weights, which FSDP spreads over processes: set it to 0")
    return accelerator


def check_launcher(accelerator: Accelerator) -> None:
    """Refuse to train otherwise than the launcher was asked to; it falls back to one plain process without a word.

    Raises:
        RunConfigError: Weights were to be spread and are not, several processes were asked for and one was started, or
            processes that were started together do not know of each other.
    """
    kind = accelerator.distributed_type
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and accelerator.num_processes == 1:
        raise RunConfigError(
            f"{started} processes were started together and each would train alone, for this machine has no GPU to "
            f"share: for CPUs, ACCELERATE_USE_CPU=true torchrun --nproc_per_node {started} -m cnn_rnn.commands.train "
            "...; for one process, cnn-rnn train ..."
        )
    asked = {"ACCELERATE_USE_FSDP": DistributedType.FSDP, "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED}
    for variable, wanted in asked.items():
        if os.environ.get(variable, "").lower() == "true" and kind != wanted:
            raise RunConfigError(
                f"accelerate was asked for {wanted.value} and came up as {kind.value}, on {accelerator.device}: that "
                "needs GPUs. Launch with other settings (cnn-rnn train --launch gpus), or none"
            )
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if launched and "WORLD_SIZE" not in os.environ:
        raise RunConfigError(
            "accelerate was asked for several processes and started a single one, as it does with --cpu. On CPUs: "
            "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N ...; or ask for one process"
        )


def check_bfloat16(accelerator: Accelerator) -> None:
    """Refuse half precision on a CPU whose instructions do not reach for the recurrent layer in it.

    Raises:
        RunConfigError: They do not.
    """
    if accelerator.mixed_precision != "bf16" or accelerator.device.type != "cpu":
        return
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError as error:
        raise RunConfigError(
            "train.mixed_precision bf16: this CPU has no instructions for a recurrent layer in bfloat16 "
            "(AVX-512 is the least): --train.mixed_precision no"
        ) from error


def tracker_names(setting: str) -> list[str]:
    """Accelerate's names of the trackers that `train.trackers` asks for.

    Raises:
        RunConfigError: One is not known to Accelerate, or not installed.
    """
    installed = [str(name) for name in get_available_trackers()]
    if setting == "auto":
        return [name for name in installed if name == "tensorboard"]
    names = [name.strip() for name in setting.split(",") if name.strip() not in {"", "none"}]
    known = [str(name) for name in LoggerType.list()]
    for name in names:
        if name not in known:
            raise RunConfigError(f"train.trackers: no tracker {name!r}; Accelerate knows {', '.join(known)}")
        if name not in installed:
            raise RunConfigError(
                f"train.trackers: {name} is not installed: pip install {name}, or --train.trackers none"
            )
    return names


def apply_memory_settings(model: CnnRnnForImageClassification, config: TrainConfig) -> None:
    """Give the model the memory layout, checkpointing and compiled backbone that the settings ask for, in place.

    Raises:
        RunConfigError: The backbone cannot compute its activations again.
    """
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        timm_model = model.backbone.timm_model
        try:
            timm_model.set_grad_checkpointing(enable=True)
        except (AttributeError, AssertionError) as error:
            raise RunConfigError(
                f"train.gradient_checkpointing: timm's {model.config.backbone} does not offer it; set it to false"
            ) from error
    if config.compile:
        model.backbone.compile()  # in place: names of weights and what is saved stay as they are


def share_buffers(model: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the main one's running statistics, which are what is saved.

    After a step each process has those of its own share of the batch: figures would come from different models, and
    from others than a run that goes on from the checkpoint measures.
    """
    if accelerator.distributed_type in {DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def reach_sharded(model: nn.Module, accelerator: Accelerator) -> None:
    """Let FSDP gather the weights also for the methods that are called beside `forward`."""
    if accelerator.distributed_type == DistributedType.FSDP:
        from torch.distributed.fsdp import register_fsdp_forward_method

        # Where a part is large enough to be a unit of its own, what is called on it must gather its weights too.
        called = {
            "": ("generate", "encode_images", "get_image_features"),
            "path_decoder": ("holding",),
            "backbone.timm_model": ("forward_features", "forward_head", "forward_intermediates"),
        }
        parts = dict(model.named_modules())
        for part, names in called.items():
            for name in names if part in parts else ():
                register_fsdp_forward_method(parts[part], name)


def to_memory_format(batch: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """The batch with its images in the memory layout that the settings ask for."""
    if "pixel_values" in batch:
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        batch["pixel_values"] = batch["pixel_values"].contiguous(memory_format=layout)
    return batch
