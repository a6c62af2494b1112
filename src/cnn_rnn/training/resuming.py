"""Whether a run may go on with given settings, and what it has already reached."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnn_rnn.data import label_names

from .data_record import DataRecord, refuse_others
from .run_config import RunConfig, RunConfigError, load_run_config
from .training_data import load_rows

logger = logging.getLogger(__name__)

# Settings that change where and how fast a run goes, never what comes out.
FREE = {
    *("train.output_dir", "train.num_workers", "train.save_steps", "train.keep_checkpoints", "train.trackers"),
    *("train.feature_cache", "hub.repo", "hub.private", "hub.license"),
}


def check_settings(output_dir: Path, config: RunConfig) -> None:
    """Refuse to go on with a run under settings that would have made it another run.

    Raises:
        RunConfigError: Settings differ from the run's own; the message names each key with both values.
    """
    path = output_dir / "run_config.yaml"
    if not path.exists():
        return
    before, now = flat_settings(load_run_config(path)), flat_settings(config)
    free = FREE - {"train.num_workers"} if config.data.streaming else FREE  # workers share a stream out
    changed = [key for key in sorted(before | now) if key not in free and before.get(key) != now.get(key)]
    if changed:
        shown = ", ".join(f"{key} (was {before.get(key)!r}, now {now.get(key)!r})" for key in changed)
        raise RunConfigError(
            f"{output_dir} holds a run with other settings: {shown}. Resume it with its own (--config {path}), "
            "or choose another --train.output_dir"
        )


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
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return found
