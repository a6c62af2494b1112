"""Full disks under every command that writes: `python fill_disks.py WORKSPACE FILLS` prints what came of it, as JSON.

Everything is imported once; each start of a command is a fork. A command's output folder is a small disk of its own
(tmpfs, which needs root) that is full at a random moment; then the disk grows, and the same command goes on.
"""

import hashlib
import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

PRELOADED = (
    *("ablate", "export_onnx", "predict", "report", "review", "train", "validate", "data"),
    *("cnn_rnn.training", "cnn_rnn.training.out_of_fold", "cnn_rnn.prediction.worker", "cnn_rnn.report.page"),
    *("cnn_rnn.prediction.bulk_prediction", "cnn_rnn.report.saliency", "cnn_rnn.publishing.onnx_graph"),
    *("cnn_rnn.prediction.onnx_engine", "cnn_rnn.report.page", "matplotlib.figure", "jinja2", "torch._dynamo"),
)


SMALL = {
    "model.backbone": "test_resnet",
    "model.weights": "null",
    "model.image_size": "32",
    "model.hidden_size": "32",
    "model.embedding_size": "16",
    "data.name": "image_folder",
    "data.validation_fraction": "0.25",
    "train.epochs": "1",
    "train.batch_size": "6",
    "train.num_workers": "0",
    "train.trackers": "none",
}


@dataclass(frozen=True)
class Writer:
    """A command that writes.

    Attributes:
        arguments: Its arguments, for an output folder.
        compared: The files that must come out the same on a disk that was full for a while.
        again: What is added to go on.
    """

    arguments: Callable[[Path], list[str]]
    compared: tuple[str, ...]
    again: tuple[str, ...] = field(default=())


def writers(workspace: Path) -> dict[str, Writer]:
    """The commands that write, by name."""
    run, photos = str(workspace / "run"), str(workspace / "photos")
    on_photos = ["--data.root", photos, "--num_workers", "0"]
    once = [part for name, value in SMALL.items() for part in (f"--{name}", value)] + ["--data.root", photos]
    runs = workspace / "runs.yaml"
    return {
        "predict": Writer(
            lambda out: [
                *("--model", run, "--input", f"{photos}/train", "--output", str(out), "--engine", "torch"),
                *("--num_workers", "0", "--part_size", "4", "--parts_per_file", "3", "--write", "csv"),
            ],
            ("labels-00000-of-00002.parquet", "labels-00001-of-00002.parquet", "labels.csv"),
        ),
        "validate": Writer(
            lambda out: [run, *on_photos, "--output", str(out), "--samples", "20"],
            ("metrics.json", "predictions.parquet"),
        ),
        "report": Writer(lambda out: [run, *on_photos, "--output", f"{out}/page.html"], ("page.html",)),
        "export-onnx": Writer(lambda out: [run, "--output", f"{out}/model.onnx"], ("model.onnx",)),
        "review": Writer(
            lambda out: [run, *once, "--folds", "2", "--output", str(out)], ("review.csv", "predictions.parquet")
        ),
        "ablate": Writer(
            lambda out: [str(runs), "--seeds", "0", "--output", str(out), *once],
            ("ablation.json", "one/seed-0/model.safetensors"),
        ),
        "train": Writer(
            lambda out: [*once, "--train.output_dir", str(out)],
            ("model.safetensors", "metrics.json"),
            ("--resume", "auto"),
        ),
        "data": Writer(
            lambda out: ["convert", "image_folder", "--root", photos, "--output", str(out)],
            ("data/train-00000-of-00001.parquet",),
        ),
    }


def prepare(workspace: Path) -> None:
    """Photos, a run, and a list of runs."""
    for split, count in (("train", 24), ("test", 12)):
        folder = workspace / "photos" / split
        folder.mkdir(parents=True)
        with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
            for index in range(count):
                Image.new("RGB", (40, 40), (9 * index, 80, 200 * (index % 2))).save(folder / f"{index:02d}.png")
                labels = [name for bit, name in enumerate(("red", "green", "blue")) if index % 8 >> bit & 1]
                lines.write(json.dumps({"file_name": f"{index:02d}.png", "labels": labels}) + "\n")
    train = writers(workspace)["train"]
    code, told = started("train", train.arguments(workspace / "run"))
    assert code == 0, told
    (workspace / "runs.yaml").write_text(f"config: {workspace / 'run' / 'run_config.yaml'}\nruns:\n  one: {{}}\n")


def started(command: str, arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command, and what it said on stderr."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(writing, 2)
        code = 70
        try:
            code = importlib.import_module(f"cnn_rnn.commands.{command.replace('-', '_')}").main(arguments)
        except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as said:
        told = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def mount(folder: Path, options: str) -> None:
    """Make a folder a disk of its own, or change the one that it is."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def digests(folder: Path, names: tuple[str, ...]) -> dict[str, str | None]:
    """A digest of what must be the same in each file; None where it is missing."""
    return {
        name: hashlib.sha256(content(folder / name)).hexdigest() if (folder / name).is_file() else None
        for name in names
    }


def content(path: Path) -> bytes:
    """What must be the same in a file; of a page the text, for its drawings have random names inside."""
    return re.sub(rb"data:image/[^\"]*", b"", path.read_bytes()) if path.suffix == ".html" else path.read_bytes()


def run(workspace: Path, fills: int, seed: int = 0, only: tuple[str, ...] = ()) -> dict[str, dict[str, object]]:
    """Fill the disk under each command, `fills` times at another moment."""
    chance = random.Random(seed)  # noqa: S311 - moments to be full at
    prepare(workspace)
    disk = workspace / "disk"
    disk.mkdir()
    counts: dict[str, dict[str, object]] = {}
    for name, writer in writers(workspace).items():
        if only and name not in only:
            continue
        arguments = writer.arguments(disk)
        mount(disk, "size=256m")
        code, told = started(name, arguments)
        assert code == 0, (name, told)
        expected = digests(disk, writer.compared)
        size = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
        there = {path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file()}
        subprocess.run(["umount", str(disk)], check=True)
        found = {"full": 0, "fitted": 0, "not_one_line": 0, "differs": 0, "left_over": 0}
        trouble: list[str] = []
        for _ in range(fills):
            mount(disk, f"size={max(4096, int(size * chance.random()))}")
            code, told = started(name, arguments)
            found["full" if code else "fitted"] += 1
            lines = [line for line in told.splitlines() if line.startswith("error: ")]
            if code and (code != 2 or len(lines) != 1 or "Traceback" in told):
                found["not_one_line"] += 1
                trouble.append(told[-600:])
            subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
            code, again = started(name, [*arguments, *writer.again])
            if code or digests(disk, writer.compared) != expected:
                found["differs"] += 1
                trouble.append(f"{code}: {again[-600:]}")
            now = {path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file()}
            if now - there:
                found["left_over"] += 1
                trouble.append(f"left over: {sorted(now - there)[:5]}")
            subprocess.run(["umount", str(disk)], check=True)
        counts[name] = found | ({"trouble": trouble} if trouble else {})
        print(name, counts[name], file=sys.stderr, flush=True)
    return counts


if __name__ == "__main__":
    torch.set_num_threads(1)
    for module in PRELOADED:
        importlib.import_module(module if "." in module or module == "jinja2" else f"cnn_rnn.commands.{module}")
    place = Path(sys.argv[1])
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    print(json.dumps(run(place, int(sys.argv[2]), only=tuple(sys.argv[3:])), indent=1))
