"""Train a model: cnn-rnn train --config voc2012 --data.root FOLDER.

On several GPUs: cnn-rnn train --launch gpus ..., or accelerate launch -m cnn_rnn.commands.train ...
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cnn_rnn.foundation.shipped_files import shipped_file

from .console import INTERRUPTED, CommandParser, refuse, refusing

if TYPE_CHECKING:
    from cnn_rnn.training import RunConfig

GO_ON_LATER = "the same command with --resume auto goes on from the last checkpoint"
SKIP = "--data.skip_unreadable true leaves such images out, counted"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Train as the settings say, and print the closing table."""
    known, others = build_parser().parse_known_args(arguments)
    if known.launch is not None:
        from .launching import launch

        given = sys.argv[1:] if arguments is None else arguments
        return launch("cnn_rnn.commands.train", known.launch, given)

    from cnn_rnn.data import UnreadableImageError
    from cnn_rnn.training import TrainingError, load_run_config

    try:
        return train(load_run_config(known.config, others), known.resume)
    except UnreadableImageError as error:
        return refuse(error, SKIP)
    except TrainingError as error:
        return refuse(error)


def train(config: "RunConfig", resume: str | None) -> int:
    """Train, or tell the figures of a run that is complete; returns what the shell is told.

    Raises:
        UnreadableImageError: An image cannot be decoded.
        TrainingError: The run cannot go on.
        ValueError: A setting stands in the way; OSError: a file does.
    """
    from cnn_rnn.foundation.hub_errors import HubError
    from cnn_rnn.training import Interrupted, Trainer, finished_figures

    try:
        figures = finished_figures(config) if resume == "auto" else None
        if figures is not None:
            print(closing_text(figures, config.train.output_dir))
            return 0
        trainer = Trainer(config, resume)
    except KeyboardInterrupt:
        print("stopped before training began: there is nothing to save yet", file=sys.stderr)
        return INTERRUPTED
    try:
        figures = trainer.train()
    except HubError as error:
        return refuse(error, GO_ON_LATER)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_code
    if trainer.accelerator.is_main_process:
        print(closing_text(figures, config.train.output_dir))
    trainer.accelerator.end_training()
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    shipped = sorted(path.stem for path in shipped_file("hub_configs").glob("*.yaml"))
    parser = CommandParser(
        hands_on="--launch",
        blocks=("model", "data", "train", "hub"),
        description=__doc__,
        epilog="The settings stand in the file as BLOCK: {KEY: VALUE}; what the command line says comes first.\n"
        f"Settings that ship with the package: {', '.join(shipped)}.\n"
        "SIGTERM and Ctrl-C save a checkpoint and leave with 143 and 130 (1 where several were launched);\n"
        "a second one leaves at once.\n"
        "2: a setting, an image, memory or the disk stands in the way, as the last line says.",
    )
    parser.add_argument("--config", metavar="NAME|FILE", help="settings that ship with the package, or a YAML file")
    parser.add_argument("--resume", metavar="auto|CHECKPOINT", help="go on from the latest or the given checkpoint")
    parser.add_argument(
        "--launch",
        metavar="NAME|FILE",
        help="hand over to accelerate's launcher with these settings (gpus, one_gpu, machines, fsdp, deepspeed); "
        "its own options, such as --num_processes 4, may stand among the others",
    )
    return parser


def closing_text(figures: dict[str, Any], output_dir: str) -> str:
    """The table of a complete run, where it lies, and what to do next."""
    from cnn_rnn.metrics.tables import figures_table

    table = figures_table({"held-out part": figures}, output_dir).text()
    return f"{table}\n\nsaved to {output_dir}; next: cnn-rnn validate {output_dir} --help"


if __name__ == "__main__":
    sys.exit(main())
