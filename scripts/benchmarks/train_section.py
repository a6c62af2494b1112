"""Step time and peak memory of training with and without each setting that trades one for the other.

Every way runs in a process of its own, all of them in turn, several rounds; the best round of each counts. The images
are random and already in memory, so loading is no part of it.
"""

import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from floors import bytes_of, operations_of, seconds_at_least
from row import Part, Row
from torch import Tensor, nn
from tqdm.auto import tqdm
from turns import Turns

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.training.hardware import apply_memory_settings, build_accelerator, to_memory_format
from cnn_rnn.training.optimization import Objective, build_optimizer
from cnn_rnn.training.run_config import RunConfig, TrainConfig

LABELS, LABELS_AN_IMAGE, ROUNDS, STEPS, WARM_UP = 80, 3, 2, 4, 2
CACHED_BATCH, CACHED_LABELS = 64, 374
AS_IT_IS = "as it is"
BEST_ON_A_GPU = "channels_last and compile"
STATES = 7  # times that AdamW reads or writes each weight: itself, its gradient and two averages
FEATURES = "frozen backbone, cached features"
LINEAR = "the backbone with a plain linear head"
REFERENCES = {FEATURES: "frozen backbone"}  # what a way is compared with, where that is not the first
WAYS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    LINEAR: {},
    "accumulation_steps 4": {"accumulation_steps": 4},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "compile": {"compile": True},
    "channels_last": {"channels_last": True},
    BEST_ON_A_GPU: {"channels_last": True, "compile": True},
    "frozen backbone": {"freeze_backbone": True},
    FEATURES: {"freeze_backbone": True, "cache_features": True},
}


@dataclass(frozen=True)
class Load:
    """What is trained: a timm model, the side of its images, images per step, and the precision."""

    backbone: str
    image_size: int
    batch_size: int
    mixed_precision: str


SMALL = Load("resnet18", 96, 32, "no")
REAL = Load("resnet50", 224, 32, "no")
ON_A_GPU = Load("resnet50", 224, 128, "bf16")


@dataclass(frozen=True)
class StepCost:
    """Seconds a step, and megabytes that training takes at its highest beyond what the process held before."""

    seconds: float
    megabytes: float


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {
        "ways": Part(lambda _: measure_ways()),
        "linear": Part(lambda _: [measure_linear()], ("train_over_linear",)),
        "cached": Part(lambda _: [measure_cached_step()], ("cached_step_over_linear",)),
    }


def measure_ways() -> Iterator[Row]:
    """What each setting costs and saves."""
    costs = measure_training(ON_A_GPU if _devices() else SMALL, list(WAYS))
    for way, cost in costs.items():
        if way != AS_IT_IS:
            reference = costs[REFERENCES.get(way, AS_IT_IS)]
            unit = f"; {REFERENCES.get(way, AS_IT_IS)}"
            yield Row(f"step, {way}", cost.seconds, f"s{unit}", reference.seconds)
            yield Row(f"peak memory, {way}", cost.megabytes, f"MB{unit}", reference.megabytes)


def measure_linear() -> Row:
    """A step of the whole model against that of the same backbone with a linear layer."""
    on_gpu = bool(_devices())
    load, way = (ON_A_GPU, BEST_ON_A_GPU) if on_gpu else (REAL, AS_IT_IS)
    costs = measure_training(load, [way, LINEAR])
    what = f"step, {load.backbone}, {load.image_size} pixels, batch {load.batch_size}"
    wanted = "<= 1.05" if on_gpu else "<= 1.03"
    return Row(what, costs[way].seconds, f"s; {LINEAR}", costs[LINEAR].seconds, wanted, "train_over_linear")


def measure_cached_step() -> Row:
    """A step on cached features against that of a linear layer on the same ones."""
    size = timm.create_model(REAL.backbone, num_classes=0).num_features
    features = torch.randn(CACHED_BATCH, size)
    labels = torch.zeros(CACHED_BATCH, CACHED_LABELS)
    labels.scatter_(1, torch.rand(labels.shape).topk(LABELS_AN_IMAGE).indices, 1.0)
    train = TrainConfig(**_settings(REAL, FEATURES))
    names = [str(name) for name in range(CACHED_LABELS)]
    model = CnnRnnForImageClassification.from_backbone(REAL.backbone, id2label=names)
    model.freeze_backbone()
    model.train()
    objective, optimizer = Objective(train, model), build_optimizer(model, train)
    linear = nn.Linear(size, CACHED_LABELS)
    plain_optimizer = torch.optim.AdamW(linear.parameters())

    def ours() -> None:
        objective(model, {"image_features": features, "labels": labels}).backward()
        optimizer.step()
        optimizer.zero_grad()

    def plain() -> None:
        nn.functional.binary_cross_entropy_with_logits(linear(features), labels).backward()
        plain_optimizer.step()
        plain_optimizer.zero_grad()

    own, reference = Turns.take({"ours": ours, "linear layer": plain}, turns=25, warm_up=3).values()
    what = f"step on cached features, batch {CACHED_BATCH}, {CACHED_LABELS} labels"
    # torch counts no recurrent layer: a product for each step of a path, and twice that for the gradients.
    assert model.path_decoder is not None
    recurrent = sum(weight.numel() for weight in model.path_decoder.recurrent.parameters() if weight.dim() > 1)
    operations = operations_of(ours) + 3 * 2 * recurrent * CACHED_BATCH * (LABELS_AN_IMAGE + 1)
    least = seconds_at_least(
        operations, STATES * bytes_of(weight for weight in model.parameters() if weight.requires_grad)
    )
    return Row(
        what,
        own.least,
        "s; a linear layer",
        reference.least,
        "<= 6",
        "cached_step_over_linear",
        own.median / reference.median,
        least / reference.least,
    )


def _devices() -> str:
    """The GPUs there are, asked without touching them: processes are forked from this one."""
    if shutil.which("nvidia-smi") is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return ""
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout


def measure_training(load: Load, ways: list[str], rounds: int = ROUNDS) -> dict[str, StepCost]:
    """The least cost of each way, from `rounds` rounds of all of them in turn."""
    context = multiprocessing.get_context("fork")
    found: dict[str, list[StepCost]] = {way: [] for way in ways}
    for way in tqdm(ways * rounds, desc="training", unit="run"):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run_way, args=(load, way, sender))
        process.start()
        sender.close()
        try:
            found[way].append(receiver.recv())
        except EOFError:
            raise RuntimeError(f"{way}: the process failed, see above") from None
        finally:
            process.join()
    return {
        way: StepCost(min(cost.seconds for cost in costs), min(cost.megabytes for cost in costs))
        for way, costs in found.items()
    }


def _run_way(load: Load, way: str, sender: Any) -> None:
    torch.manual_seed(0)
    before = _resident()
    step, device = _linear_step(load) if way == LINEAR else _step(load, TrainConfig(**_settings(load, way)))
    times = []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _highest() - before
    sender.send(StepCost(statistics.median(times[WARM_UP:]), peak / 2**20))


def _settings(load: Load, way: str) -> dict[str, Any]:
    return {
        "output_dir": "unused",
        "trackers": "none",
        "batch_size": load.batch_size,
        "mixed_precision": load.mixed_precision,
        **WAYS[way],
    }


def _step(load: Load, train: TrainConfig) -> tuple[Callable[[], None], torch.device]:
    """An optimiser step of the training loop."""
    accelerator = build_accelerator(RunConfig(train=train))
    model = CnnRnnForImageClassification.from_backbone(load.backbone, id2label=[str(name) for name in range(LABELS)])
    if train.freeze_backbone:
        model.freeze_backbone()
    objective = Objective(train, model)
    apply_memory_settings(model.to(accelerator.device), train)
    model, optimizer = accelerator.prepare(model, build_optimizer(model, train))
    model.train()
    part = train.batch_size // train.accumulation_steps
    batch: dict[str, Any] = _batch(load, part, accelerator.device)
    if train.cache_features:
        with torch.no_grad():
            features = accelerator.unwrap_model(model).encode_images(batch.pop("pixel_values")[:1])
        batch["image_features"] = features.float().expand(part, *features.shape[1:]).clone()

    def step() -> None:
        for _ in range(train.accumulation_steps):
            with accelerator.accumulate(model), accelerator.autocast():
                loss = objective(model, to_memory_format(dict(batch), train))
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()

    return step, accelerator.device


def _linear_step(load: Load) -> tuple[Callable[[], None], torch.device]:
    """The step of a timm classifier with binary cross-entropy, in plain torch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = timm.create_model(load.backbone, num_classes=LABELS).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters())
    batch = _batch(load, load.batch_size, device)
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(load.mixed_precision)

    def step() -> None:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            logits: Tensor = model(batch["pixel_values"])
        nn.functional.binary_cross_entropy_with_logits(logits.float(), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, device


def _batch(load: Load, size: int, device: torch.device) -> dict[str, Tensor]:
    labels = torch.zeros(size, LABELS).scatter_(1, torch.rand(size, LABELS).topk(LABELS_AN_IMAGE).indices, 1.0)
    images = torch.randn(size, 3, load.image_size, load.image_size)
    return {"pixel_values": images.to(device), "labels": labels.to(device)}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def _highest() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
