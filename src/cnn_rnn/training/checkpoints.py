"""Checkpoints of a run: written whole or not at all, the last few kept."""

import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from .faults import CheckpointError, disk_advice


def save_checkpoint(accelerator: Accelerator, output_dir: Path, name: str, keep: int) -> Path:
    """Save all that resuming needs as `checkpoints/NAME`, drop all but the last `keep`, and return the folder.

    The same name holds the same state, so a checkpoint that is there already is left alone.

    Raises:
        CheckpointError: It could not be written, as on a full disk; nothing of it is left, those before are whole.
    """
    final = output_dir / "checkpoints" / name
    temporary = final.with_suffix(".tmp")
    if final.exists():
        return final
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with disk_advice(output_dir):
            accelerator.save_state(str(temporary))
            flush(temporary)
    except CheckpointError:
        shutil.rmtree(temporary, ignore_errors=True)  # half of it would fill the disk for nothing
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        temporary.replace(final)
        for old in complete_checkpoints(output_dir)[:-keep]:
            remove_whole(old)
    accelerator.wait_for_everyone()
    return final


def checkpoint_name(step: int, epoch: int, batch: int) -> str:
    """A name by which checkpoints sort by age: the end of an epoch comes behind its last step."""
    return f"step-{step:08d}" if batch else f"step-{step:08d}-epoch-{epoch:04d}"


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """The run's whole checkpoints, oldest first."""
    return sorted(path for path in output_dir.glob("checkpoints/step-*") if not path.suffix)


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The run's newest whole checkpoint, if there is one."""
    checkpoints = complete_checkpoints(output_dir)
    return checkpoints[-1] if checkpoints else None


def remove_leftovers(output_dir: Path) -> list[Path]:
    """Remove what a killed run left half written, and return its paths."""
    leftovers = [*output_dir.glob("checkpoints/*.tmp"), *output_dir.glob("*.tmp"), *output_dir.glob(".saving")]
    for path in leftovers:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return leftovers


def remove_whole(checkpoint: Path) -> None:
    """Remove a checkpoint; killed in between, it leaves what counts as half written."""
    doomed = checkpoint.with_suffix(".tmp")
    checkpoint.replace(doomed)
    shutil.rmtree(doomed)


def flush(folder: Path) -> None:
    """Wait until the folder's files are on the disk, so that a power cut after the renaming finds them there."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
