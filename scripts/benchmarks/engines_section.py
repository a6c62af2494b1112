"""Bulk prediction by each of its engines, from photos on a disk to Parquet, beside the backbone alone.

Every way is the command as a person types it, in processes of its own, over few photos and over many: what the few take
is the start, and the rest counts photos per second.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from photos import write_photos
from predict_section import PIPELINE_BATCH, PhotoFiles
from row import Row
from turns import Turns

from cnn_rnn.prediction.onnx_engine import use_onnxruntime

FEW, MANY, PART = 64, 768, 32
ENGINES_COMPARED = {
    "one process, onnxruntime": (1, []),
    "one process, torch": (1, ["--engine", "torch"]),
    "the same command twice, onnxruntime": (2, []),
    "ray, two actors, onnxruntime": (1, ["--engine", "ray", "--actors", "2"]),
}


def measure(workspace: Path) -> Iterator[Row]:
    """Photos a second by each engine, beyond its start and with it."""
    files = PhotoFiles(workspace, MANY)
    write_few(workspace)
    threads = torch.get_num_threads()
    model = files.classify.model
    use_onnxruntime(model, str(files.folder))  # the graph is there before anything is timed
    alone = {"torch": files.look, "onnxruntime": torch.inference_mode()(model.backbone)}
    some = files.prepared[: FEW // PIPELINE_BATCH]
    seconds = {
        name: times.least / FEW
        for name, times in Turns.take(
            {name: partial(take_all, look, some) for name, look in alone.items()}
            | {"decode": partial(decode_some, files)},
            turns=5,
        ).items()
    }
    unit = f"photos/s; the backbone alone by onnxruntime, {threads} threads, batch {PIPELINE_BATCH}"
    best = 1 / seconds["onnxruntime"]
    yield Row("backbone alone, torch", 1 / seconds["torch"], unit, best)
    yield Row("decoding and resizing alone, one process", 1 / seconds["decode"], unit, best)
    for name, (processes, options) in ENGINES_COMPARED.items():
        if "ray" in options and importlib.util.find_spec("ray") is None:
            continue
        few, many = (seconds_of_command(workspace, folder, processes, options) for folder in ("few", "photos"))
        yield Row(f"{name}, beyond its start of {few:.1f} s", (MANY - FEW) / (many - few), unit, best)
        yield Row(f"{name}, {MANY:,} photos with the start", MANY / many, unit, best)


def take_all(look: object, batches: list[torch.Tensor]) -> None:
    """Take all batches."""
    assert callable(look)
    for batch in batches:
        look(batch)


def decode_some(files: PhotoFiles) -> None:
    """Read some photos."""
    for part in files.parts[: FEW // PIPELINE_BATCH]:
        files.decode(part)


def write_few(workspace: Path) -> None:
    """The photos that a start is measured with."""
    write_photos(workspace / "few", FEW)


def seconds_of_command(workspace: Path, photos: str, processes: int, options: list[str]) -> float:
    """What the command takes, started once or several times at once, from nothing to its last file."""
    output = workspace / f"predicted-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "cnn_rnn.commands.predict", "--model", str(workspace / "model")]
    command += ["--input", str(workspace / photos), "--output", str(output), "--part_size", str(PART), *options]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, "--batch_size", str(PIPELINE_BATCH)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, env=environment,
        )
        for _ in range(processes)
    ]  # fmt: skip
    told = [process.communicate()[1] for process in running]
    taken = time.perf_counter() - began
    if any(process.returncode for process in running) or not (output / "labels.parquet").is_file():
        sys.exit("\n".join(told))
    return taken
