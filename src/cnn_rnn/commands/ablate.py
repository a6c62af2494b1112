"""Train a list of settings over seeds, and compare them on held-out training data: cnn-rnn ablate LIST --output DIR.

LIST is a YAML file: `config`, the settings that all runs share (a name or a file), and `runs`, a name and what it
changes a line:

    config: corel5k
    runs:
      ours: {}
      plain: {train.baseline: true}
      no path: {model.path_loss: none, model.fusion: relevance, model.relevance_in_path: false}

Every seed holds out another part of the training split, on which alone the figures are; no test split is read. DIR gets
a folder a run, ablation.json and the table. The same command goes on where a stopped one was.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import CommandParser, at_least, output_folder, refuse, refusing

if TYPE_CHECKING:
    from cnn_rnn.metrics.tables import Table

COMPARED_FIGURES = {
    "mAP": ("mAP",),
    "O-F1 path": ("path", "OF1"),
    "exact path": ("path", "exact_match"),
    "O-F1 threshold": ("threshold", "OF1"),
    "O-F1 expected": ("expected_f1", "OF1"),
    "C-F1 expected": ("expected_f1", "CF1"),
    "exact expected": ("expected_f1", "exact_match"),
    "C-F1 top k": ("top_k", "CF1"),
}


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, write one table and one JSON."""
    known, others = build_parser().parse_known_args(arguments)

    from cnn_rnn.training import Interrupted, TrainingError

    try:
        table = ablate(known, others)
    except Interrupted as interrupted:
        print(f"{interrupted}: the same command goes on", file=sys.stderr)
        return interrupted.exit_code
    except TrainingError as error:
        return refuse(error)
    print(f"\n{table.text()}\n\nwritten to {known.output}")
    return 0


def ablate(known: argparse.Namespace, others: list[str]) -> "Table":
    """The table of all runs, after training what is missing; it is written, and beside it the JSON.

    Raises:
        Interrupted: A signal came, and a checkpoint is saved.
        TrainingError: A run cannot go on.
        ValueError: A setting stands in the way; OSError: a file does.
    """
    from cnn_rnn.foundation.own_files import kept_aside
    from cnn_rnn.foundation.whole_files import write_json
    from cnn_rnn.metrics.tables import Table, TableRow

    config, runs = read_settings_list(known.list)
    results: dict[str, Any] = {}
    for name, changes in runs.items():
        folder = known.output / name.replace(" ", "_")
        figures = [train_once(config, changes, others, folder / f"seed-{seed}", seed) for seed in known.seeds]
        results[name] = {"changes": changes, "seeds": known.seeds, **over_seeds(figures)}
        with kept_aside([known.output / "ablation.json"], "that of an ablation"):
            write_json(known.output / "ablation.json", {"config": config, "overrides": others, "runs": results})
    rows = tuple(
        TableRow(name, {key: each["mean"] for key, each in run["figures"].items()}) for name, run in results.items()
    )
    notes = (
        f"Mean over seeds {', '.join(map(str, known.seeds))}, each on its own held-out part of the training split.",
    )
    table = Table(f"{known.list.stem}: {config}", columns(), rows, notes)
    with kept_aside(table.files(known.output), "that of an ablation"):
        table.write(known.output)
    return table


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("list", metavar="LIST", type=Path, help="YAML file of what to compare")
    parser.add_argument(
        "--output", type=output_folder, required=True, help="folder for the runs, the table and the JSON"
    )
    parser.add_argument(
        "--seeds", type=at_least(0), nargs="+", default=[0, 1, 2], help="seeds of every run (default: 0 1 2)"
    )
    return parser


def read_settings_list(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """The shared settings, and by name what each run changes.

    Raises:
        ValueError: The file is not such a list; the message says where.
    """
    from cnn_rnn.training.settings_file import read_settings

    content = read_settings(path)
    unknown = sorted(set(content) - {"config", "runs"})
    if unknown or not isinstance(content.get("runs"), dict) or not isinstance(content.get("config"), str):
        raise ValueError(f"{path} must hold 'config', a name or file, and 'runs', a name and its changes a line")
    runs = {str(name): changes or {} for name, changes in content["runs"].items()}
    for name, changes in runs.items():
        if not isinstance(changes, dict) or not all("." in str(key) for key in changes):
            raise ValueError(f"{path}: run {name!r} must hold 'block.key: value' pairs, got {changes!r}")
    return content["config"], runs


def train_once(config: str, changes: dict[str, Any], others: list[str], folder: Path, seed: int) -> dict[str, Any]:
    """The held-out figures of one run, trained unless it is complete."""
    from cnn_rnn.training import Trainer, finished_figures, load_run_config

    changed = [part for key, value in changes.items() for part in (f"--{key}", as_text(value))]
    own = ["--train.output_dir", str(folder), "--train.seed", str(seed)]
    settings = load_run_config(config, [*others, *changed, *own])
    figures = finished_figures(settings)
    return Trainer(settings, resume="auto").train() if figures is None else figures


def as_text(value: object) -> str:
    """A value as it is typed on the command line."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def over_seeds(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and values of each figure over the seeds; None where a run has no such set."""
    found: dict[str, Any] = {}
    for column in columns():
        values = [column.value(each) for each in figures]
        known = [value for value in values if value is not None]
        found[column.heading] = {
            "mean": statistics.fmean(known) if known else None,
            "deviation": statistics.stdev(known) if len(known) > 1 else None,
            "values": values,
        }
    return {"figures": found}


def columns() -> tuple[Any, ...]:
    """The columns of the table."""
    from cnn_rnn.metrics.protocols import Column

    return tuple(Column(heading, key) for heading, key in COMPARED_FIGURES.items())


if __name__ == "__main__":
    sys.exit(main())
