"""Checkpoints of a run: written whole or not at all, the last few kept."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator


def save_checkpoint(accelerator: Accelerator, output_dir: Path, step: int, keep: int) -> None:
    """Save all that resuming needs as `checkpoints/step-...`, and drop all but the last `keep`."""
    final = output_dir / "checkpoints" / f"step-{step:08d}"
    temporary = final.with_suffix(".tmp")
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        for old in complete_checkpoints(output_dir)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """The run's whole checkpoints, oldest first."""
    return sorted(path for path in output_dir.glob("checkpoints/step-*") if not path.suffix)


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The run's newest whole checkpoint, if there is one."""
    checkpoints = complete_checkpoints(output_dir)
    return checkpoints[-1] if checkpoints else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
