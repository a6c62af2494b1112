"""Where a run stands, and what its folder tells of it beside the model: history, curves, environment."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cnn_rnn.foundation.provenance import version_of
from cnn_rnn.foundation.whole_files import whole_file, write_json, write_text

HEADLINES = ("mAP", "CF1", "OF1")
RECORDED = ("cnn-rnn", "torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "numpy")


@dataclass
class Progress:
    """Where a run stands; saved with each checkpoint.

    Attributes:
        epoch: Epochs that are complete.
        batch: Optimiser steps of the next epoch that are complete.
        step: Optimiser steps so far.
        loss_sum: Sum of the losses of the next epoch's steps.
        best_value: Best figure on the held-out part so far, higher is better.
        best_epoch: Epoch that reached it, from 1.
        history: A record an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_value: float = float("-inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """All of it, for Accelerate's checkpoints."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a checkpoint stood."""
        for name in asdict(self):
            setattr(self, name, state[name])

    def finish_step(self, loss: float) -> None:
        """Count one more optimiser step and its loss."""
        self.loss_sum += loss
        self.batch += 1
        self.step += 1

    def finish_epoch(self, figures: dict[str, Any], value: float) -> bool:
        """Count one more epoch and record its figures; whether its weights are the best so far."""
        loss = self.loss_sum / max(self.batch, 1)
        self.epoch, self.batch, self.loss_sum = self.epoch + 1, 0, 0.0
        self.history.append({"epoch": self.epoch, "step": self.step, "loss": loss, **figures})
        best = value >= self.best_value  # of equals the last: it was trained longest
        if best:
            self.best_value, self.best_epoch = value, self.epoch
        return best

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or `patience` of them (0 for any number) brought nothing better."""
        return self.epoch >= epochs or bool(patience and self.epoch - self.best_epoch >= patience)


def headline_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures that stand for the rest: mAP, and CF1 and OF1 of the predicted set, by path where there is one."""
    sets = figures.get("path") or figures["threshold"]
    return {"mAP": figures["mAP"], "CF1": sets["CF1"], "OF1": sets["OF1"]}


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
        "libraries": {name: version_of(name) for name in RECORDED},
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "devices": devices or ["cpu"],
        "processes": accelerator.num_processes,
        "distributed": str(accelerator.distributed_type.value),
        "precision": accelerator.mixed_precision,
        "git": git_state(Path(__file__).parent),
    }
    write_json(output_dir / "environment.json", environment)


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
    for axes, names in zip(figure.subplots(1, 2), (("loss", "held_out_loss"), HEADLINES), strict=True):
        for name in names:
            values = [record.get(name) for record in history]
            axes.plot(epochs, [float("nan") if value is None else value for value in values], label=name, marker=".")
        axes.set_xlabel("epoch")
        axes.legend()
    with whole_file(output_dir / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
