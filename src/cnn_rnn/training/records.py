"""What a run's folder tells of the run beside the model: history, curves, and the environment it ran in."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cnn_rnn.foundation.whole_files import whole_file, write_json, write_text

LIBRARIES = ("cnn-rnn", "torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "numpy")


def write_history(output_dir: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write `history.jsonl`, one line per epoch."""
    write_text(output_dir / "history.jsonl", "".join(json.dumps(record) + "\n" for record in history))


def write_environment(output_dir: Path, accelerator: Accelerator) -> None:
    """Write `environment.json`: command, versions, machine and code of this start of the run."""
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    environment = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "devices": devices or ["cpu"],
        "processes": accelerator.num_processes,
        "distributed": str(accelerator.distributed_type.value),
        "precision": accelerator.mixed_precision,
        "git": git_state(Path(__file__).parent),
    }
    write_json(output_dir / "environment.json", environment)


def version(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that the folder is in and whether files differ from it; None outside of one."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
        return run.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--untracked=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def draw_curves(output_dir: Path, history: Sequence[dict[str, Any]]) -> None:
    """Draw `curves.png`, loss and held-out figures by epoch, where matplotlib is installed."""
    if not history or find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, names in zip(figure.subplots(1, 2), (("loss", "held_out_loss"), ("mAP", "CF1", "OF1")), strict=True):
        for name in names:
            values = [record.get(name) for record in history]
            axes.plot(epochs, [float("nan") if value is None else value for value in values], label=name, marker=".")
        axes.set_xlabel("epoch")
        axes.legend()
    with whole_file(output_dir / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
