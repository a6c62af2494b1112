"""Whether a run may go on with given settings, where from, and what it has already reached."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cnn_rnn.data import label_names
from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock
from cnn_rnn.foundation.provenance import stored_settings

from .agreement import decided_by_main, wait_until_seen
from .checkpoints import MANIFEST, check_digests, holds_a_run, latest_whole_checkpoint, read_manifest
from .data_record import DataRecord, refuse_others
from .faults import CheckpointError
from .run_config import RunConfig, load_run_config
from .settings_file import RunConfigError
from .training_data import load_rows

logger = logging.getLogger(__name__)

# Settings that change where and how fast a run goes, never what comes out.
FREE = {
    *("train.output_dir", "train.num_workers", "train.save_steps", "train.keep_checkpoints", "train.trackers"),
    *("train.feature_cache", "hub.repo", "hub.private", "hub.license"),
}


def take_folder(output_dir: Path, accelerator: Accelerator) -> FolderLock:
    """The run's folder for this run alone, over all its processes; the lock of the main one is what counts.

    Raises:
        FolderInUseError: Another run has it; every process raises.
    """
    lock = FolderLock(output_dir / LOCK, "training")
    taken = torch.tensor([int(not accelerator.is_main_process or lock.try_acquire())], device=accelerator.device)
    if int(accelerator.reduce(taken, reduction="sum")) < accelerator.num_processes:
        if not accelerator.is_main_process:
            raise FolderInUseError(f"{output_dir} is in use")
        lock.acquire()
    return lock


def starting_point(
    resume: str | None, config: RunConfig, accelerator: Accelerator
) -> tuple[Path | None, dict[Path, CheckpointError]]:
    """The checkpoint to go on from, before anything is loaded, and what is wrong with each newer one.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        FileExistsError: The folder holds a run and `resume` is None.
        CheckpointError: The checkpoint is damaged.
        RunConfigError: It is of a run with other settings.
    """
    output_dir, damaged = Path(config.train.output_dir), dict[Path, CheckpointError]()
    checkpoint = Path(resume) if resume else None
    if resume == "auto":
        checkpoint, damaged = decided_by_main(accelerator, lambda: latest_whole_checkpoint(output_dir))
        if checkpoint:
            wait_until_seen(checkpoint / MANIFEST)
        for reason in damaged.values():
            accelerator.print(f"{reason}; going back to {checkpoint}")
    if checkpoint:
        if not checkpoint.is_dir():
            raise FileNotFoundError(f"no checkpoint {checkpoint}; --resume auto takes the run's latest")
        check_settings(output_dir, config)
        if resume != "auto":
            check_digests(checkpoint)
        check_origin(checkpoint, config)
    elif resume is None and decided_by_main(accelerator, lambda: holds_a_run(output_dir)):
        raise FileExistsError(
            f"{output_dir} holds a run; continue it with --resume auto or choose another --train.output_dir"
        )
    return checkpoint, damaged


def check_settings(output_dir: Path, config: RunConfig) -> None:
    """Refuse to go on with a run under settings that would have made it another run.

    Raises:
        RunConfigError: Settings differ from the run's own; the message names each key with both values.
    """
    path = output_dir / "run_config.yaml"
    if not path.exists():
        return
    changed = changed_settings(own_settings(load_run_config(path)), own_settings(config))
    if changed:
        raise RunConfigError(
            f"{output_dir} holds a run with other settings: {changed}. Resume it with its own (--config {path}), "
            "or choose another --train.output_dir"
        )


def check_origin(checkpoint: Path, config: RunConfig) -> None:
    """Refuse a checkpoint of a run with other settings.

    Raises:
        RunConfigError: Settings differ; the message names each key with both values.
        CheckpointError: The checkpoint does not say what run it is of.
    """
    # A setting that is newer than the run had its default there.
    before = own_settings(RunConfig()) | read_manifest(checkpoint)["settings"]
    changed = changed_settings(before, own_settings(config))
    if changed:
        raise RunConfigError(
            f"{checkpoint} is of another run: {changed}. Resume that run with its own settings, in its own folder"
        )


def own_settings(config: RunConfig) -> dict[str, Any]:
    """The settings that a run is known by, as they come back from JSON."""
    free = FREE - {"train.num_workers"} if config.data.streaming else FREE  # workers share a stream out
    return stored_settings({key: value for key, value in flat_settings(config).items() if key not in free})


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings that differ, each with both values; "" where none does."""
    changed = [key for key in sorted(before | now) if before.get(key) != now.get(key)]
    return ", ".join(f"{key} (was {before.get(key)!r}, now {now.get(key)!r})" for key in changed)


def flat_settings(config: RunConfig) -> dict[str, Any]:
    """The settings as `block.key` to value."""
    return {f"{block}.{key}": value for block, values in asdict(config).items() for key, value in values.items()}


def finished_figures(config: RunConfig) -> dict[str, Any] | None:
    """The figures of the run in `train.output_dir`, if it is complete; no model and no image is loaded.

    Raises:
        RunConfigError: It was run with other settings.
        OtherDataError: Its rows or classes are other now. Rows that are not there, or a stream, are not compared.
    """
    output_dir = Path(config.train.output_dir)
    figures = output_dir / "metrics.json"
    if not figures.exists() or not (output_dir / "model.safetensors").exists():
        return None
    check_settings(output_dir, config)
    record = DataRecord.read(output_dir)
    if record is not None and not config.data.streaming:
        try:
            train, validation = load_rows(config.data, config.train.seed)
        except OSError as error:
            logger.warning("the run is complete; its data were not compared: %s", error)
        else:
            refuse_others(output_dir, record, DataRecord.of(label_names(train), train, validation))
    with told_as_broken(figures, "holds no figures of a run", "; remove it, and the run is ended anew"):
        return dict(json.loads(figures.read_text(encoding="utf-8")))
