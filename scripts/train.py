"""Train a model: accelerate launch scripts/train.py --config hub_configs/voc2012.yaml --data.root FOLDER."""

import argparse
import sys
from pathlib import Path
from typing import Any

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.hub_errors import HubError
from cnn_rnn.metrics.tables import figures_table
from cnn_rnn.training import Interrupted, Trainer, TrainingError, finished_figures, load_run_config

GO_ON = "the same command with --resume auto goes on from the last checkpoint"


def main(arguments: list[str] | None = None) -> int:
    """Train as the settings say, and print the closing table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Every setting of the file can be overridden, such as --train.lr 1e-4 --model.backbone resnet18. "
        "SIGTERM and Ctrl-C save a checkpoint and leave with 143 and 130 (1 where several were launched); "
        "a second one leaves at once. "
        "2: a setting, an image, memory or the disk stands in the way, as the last line says.",
    )
    parser.add_argument("--config", type=Path, help="YAML file with the blocks model, data, train and hub")
    parser.add_argument("--resume", metavar="auto|CHECKPOINT", help="go on from the latest or the given checkpoint")
    known, overrides = parser.parse_known_args(arguments)
    try:
        config = load_run_config(known.config, overrides)
        figures = finished_figures(config) if known.resume == "auto" else None
        if figures is not None:
            print(closing_text(figures, config.train.output_dir))
            return 0
        trainer = Trainer(config, known.resume)
    except (UnreadableImageError, TrainingError, ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        print("stopped before training began: there is nothing to save yet", file=sys.stderr)
        return 130
    try:
        figures = trainer.train()
    except (UnreadableImageError, TrainingError, HubError) as error:
        return fail(error, GO_ON if isinstance(error, HubError) else "")
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_code
    if trainer.accelerator.is_main_process:
        print(closing_text(figures, config.train.output_dir))
    trainer.accelerator.end_training()
    return 0


def closing_text(figures: dict[str, Any], output_dir: str) -> str:
    """The table of a complete run, where it lies, and what to do next."""
    table = figures_table({"held-out part": figures}, output_dir).text()
    return f"{table}\n\nsaved to {output_dir}; next: python scripts/validate.py {output_dir} --help"


def fail(error: Exception, hint: str = "") -> int:
    """Say what is wrong in one line, and the way out."""
    if isinstance(error, UnreadableImageError):
        hint = "--data.skip_unreadable true leaves such images out, counted"
    print(f"error: {error}{hint and f'; {hint}'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
