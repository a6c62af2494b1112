"""Bulk prediction by each of its engines, from photos on a disk to Parquet, beside the backbone alone.

Every way is the command as a person types it, in processes of its own, over few photos and over many: what the few take
is the start, and the rest counts photos per second. The limit is what the machine does at best: a process for each core
that decodes, prepares and sees batches of the same photos with the same graph, and does nothing else.
"""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photos import write_photos
from PIL import Image
from predict_section import PIPELINE_BATCH, PhotoFiles
from row import Part, Row
from turns import Turns

from cnn_rnn import CnnRnnOnnx
from cnn_rnn.foundation.provenance import settings_of
from cnn_rnn.pixel_values import PixelValues
from cnn_rnn.prediction.onnx_engine import use_onnxruntime

FEW, MANY, PART, TURNS = 64, 768, 32, 3
CORES = len(os.sched_getaffinity(0))  # all that the commands have, whatever OMP_NUM_THREADS says of this process
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
    CnnRnnOnnx.from_pretrained(files.folder)  # its graph is there before anything is timed
    use_onnxruntime(model, str(files.folder))
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


def measure_limit(workspace: Path) -> Iterator[Row]:
    """Photos a second of the command beyond its start, over those of the machine's limit; and the start."""
    files = PhotoFiles(workspace, MANY)
    write_few(workspace)
    graph = use_onnxruntime(files.classify.model, str(files.folder))
    assert graph is not None
    CnnRnnOnnx.from_pretrained(files.folder)  # its graph is there before anything is timed
    preprocessing = settings_of(files.processor)
    times: dict[str, list[float]] = {"limit": [], "few": [], "photos": []}
    for _ in range(TURNS):  # in turns, so that a busy machine slows all alike
        times["limit"].append(seconds_of_limit(graph, preprocessing, files.paths))
        for folder in ("few", "photos"):
            times[folder].append(seconds_of_command(workspace, folder, 1, []))
    limit, few, many = (min(times[name]) for name in ("limit", "few", "photos"))
    rate, best = (MANY - FEW) / (many - few), MANY / limit
    unit = f"photos/s; {CORES} processes that decode, prepare and see"
    yield Row("one process, onnxruntime, beyond its start", rate, unit, best, ">= 0.92", "bulk_over_limit")
    yield Row("its start", few - FEW / rate, "s", wanted="<= 1.5", key="bulk_start")


def seconds_of_limit(graph: Path, preprocessing: Mapping[str, Any], paths: list[str]) -> float:
    """What one process for each core takes for all photos, once all are ready."""
    context = multiprocessing.get_context("spawn")
    begun = context.Barrier(CORES + 1)
    shares = [paths[core::CORES] for core in range(CORES)]
    workers = [context.Process(target=see_share, args=(graph, preprocessing, share, begun)) for share in shares]
    for worker in workers:
        worker.start()
    begun.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit("a process of the limit failed, see above")
    return time.perf_counter() - began


def see_share(graph: Path, preprocessing: Mapping[str, Any], paths: list[str], begun: Any) -> None:
    """Decode, prepare and see photos by one thread, as soon as all others are ready too."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    prepare = PixelValues(preprocessing)
    begun.wait()
    for start in range(0, len(paths), PIPELINE_BATCH):
        some = paths[start : start + PIPELINE_BATCH]
        session.run(None, {"pixel_values": np.stack([prepare(Image.open(path).convert("RGB")) for path in some])})


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


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {"all": Part(measure), "limit": Part(measure_limit, ("bulk_over_limit", "bulk_start"))}
