"""Step time and peak memory of training with and without each setting that trades one for the other, as one table.

    python scripts/benchmark_train.py
    python scripts/benchmark_train.py --backbone resnet50 --image_size 448 --batch_size 64 --mixed_precision bf16

Every way runs in a process of its own, all of them in turn, several rounds; the best round of each counts. The images
are random and already in memory, so loading is no part of it.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.training.hardware import build_accelerator, equip, laid_out
from cnn_rnn.training.objective import Objective
from cnn_rnn.training.optimization import build_optimizer
from cnn_rnn.training.run_config import RunConfig, TrainConfig

LABELS, LABELS_AN_IMAGE, ROUNDS, STEPS, WARM_UP = 80, 3, 2, 6, 3
FEATURES = "frozen backbone, cached features"
LINEAR = "the backbone with a plain linear head"
REFERENCES = {FEATURES: "frozen backbone"}  # what a way is compared with, where that is not "as it is"
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    LINEAR: {},
    "accumulation_steps 4": {"accumulation_steps": 4},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "compile": {"compile": True},
    "channels_last": {"channels_last": True},
    "frozen backbone": {"freeze_backbone": True},
    FEATURES: {"freeze_backbone": True, "cache_features": True},
}


@dataclass(frozen=True)
class Load:
    """What is trained: a timm model, the side of its images, images a step, and the precision."""

    backbone: str
    image_size: int
    batch_size: int
    mixed_precision: str


@dataclass(frozen=True)
class Cost:
    """Seconds a step, and megabytes that training takes at its highest beyond what the process held before."""

    seconds: float
    megabytes: float


def measure_training(load: Load, ways: list[str], rounds: int = ROUNDS) -> dict[str, Cost]:
    """The least cost of each way, from `rounds` rounds of all of them in turn."""
    context = multiprocessing.get_context("fork")
    found: dict[str, list[Cost]] = {way: [] for way in ways}
    for way in tqdm(ways * rounds, desc="training", unit="run"):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(load, way, sender))
        process.start()
        sender.close()
        try:
            found[way].append(receiver.recv())
        except EOFError:
            raise RuntimeError(f"{way}: the process failed, see above") from None
        finally:
            process.join()
    return {
        way: Cost(min(cost.seconds for cost in costs), min(cost.megabytes for cost in costs))
        for way, costs in found.items()
    }


def _run(load: Load, way: str, sender: Any) -> None:
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
    sender.send(Cost(statistics.median(times[WARM_UP:]), peak / 2**20))


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
    equip(model.to(accelerator.device), train)
    model, optimizer = accelerator.prepare(model, build_optimizer(model, train))
    model.train()
    part = train.batch_size // train.accumulation_steps
    batch: dict[str, Any] = _batch(load, part, accelerator.device)
    if train.cache_features:
        with torch.no_grad():
            features = accelerator.unwrap_model(model).get_image_features(batch.pop("pixel_values")[:1])
        batch["image_features"] = features.float().expand(part, *features.shape[1:]).clone()

    def step() -> None:
        for _ in range(train.accumulation_steps):
            with accelerator.accumulate(model), accelerator.autocast():
                loss = objective(model, laid_out(dict(batch), train))
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


def table(costs: dict[str, Cost]) -> str:
    """The costs as lines to read, each beside what it is compared with."""
    rows = [("", "s/step", "ratio", "MB", "ratio", "compared with")]
    for way, cost in costs.items():
        reference = REFERENCES.get(way, "as it is")
        base = costs[reference]
        ratios = (f"{cost.seconds / base.seconds:.2f}", f"{cost.megabytes / base.megabytes:.2f}")
        rows.append((way, f"{cost.seconds:.4f}", ratios[0], f"{cost.megabytes:.0f}", ratios[1], reference))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 5)), row[5]]).rstrip()
        for row in rows
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--mixed_precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(arguments)
    load = Load(options.backbone, options.image_size, options.batch_size, options.mixed_precision)
    costs = measure_training(load, list(WAYS), options.rounds)
    print(f"{load}\n{table(costs)}")
    if options.output:
        figures = {way: vars(cost) for way, cost in costs.items()}
        machine = {"system": platform.platform(), "torch": torch.__version__, "load": vars(load)}
        options.output.write_text(json.dumps({"machine": machine, **figures}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
