"""Measure a model on a split: cnn-rnn validate MODEL --data.root FOLDER --data.split val --output DIR.

In place of a model it takes the predictions.parquet of an earlier validation, and then needs no model and no images.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .console import OF_THE_RUN, PROTOCOL_NAMES, CommandParser, at_least, output_folder, refusing

if TYPE_CHECKING:
    from cnn_rnn.metrics.tables import Table
    from cnn_rnn.training import Evaluation

Number = TypeVar("Number", int, float)


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Predict a whole split, print the table, and write figures, tables and predictions."""
    known, overrides = build_parser().parse_known_args(arguments)
    validate(known, overrides)
    print(f"\nwritten to {known.output}")
    return 0


def validate(known: argparse.Namespace, overrides: list[str]) -> None:
    """Everything that this command measures, prints and writes.

    Raises:
        ValueError: A setting or an input stands in the way.
        OSError: A file does.
    """
    from cnn_rnn.data.look import look_at, summary
    from cnn_rnn.foundation.own_files import kept_aside
    from cnn_rnn.foundation.whole_files import write_json
    from cnn_rnn.metrics.asking import asked_table
    from cnn_rnn.metrics.protocols import get_protocol
    from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
    from cnn_rnn.metrics.stored_predictions import write_predictions
    from cnn_rnn.metrics.tables import (
        TABLES_OF_KNOWN,
        comparison_table,
        figures_table,
        interval_table,
        protocol_table,
    )
    from cnn_rnn.training import Evaluation, Split, run_config_of

    protocol = get_protocol(known.protocol) if known.protocol else None
    data = run_config_of(known.model, overrides).data
    split = Split(data, known.split, batch_size=known.batch_size, num_workers=known.num_workers)
    models: list[Evaluation] = []
    for source in (known.model, *known.baseline):
        models.append(Evaluation(source, split, beside=tuple(models)))
    measured = dict(zip(("model", "baseline"), models, strict=False))
    loaded = [one.saved for one in measured.values() if one.has_model]
    for one in measured.values():
        tell_of_seen_photos(one)
    if loaded:
        print(summary(look_at({split.name: split.rows})))
    settings: dict[str, Any] = protocol.settings if protocol else {}
    settings |= {"min_positives": known.min_positives} | ({"top_k": known.top_k} if known.top_k else {})
    worth = measure_known_labels(models, known, settings)
    figures: dict[str, dict[str, Any]] = {}
    for name, one in measured.items():
        stored = one.predictions
        figures[name] = one.measure(**settings)
        suffix = "" if name == "model" else f"_{name}"
        files = [known.output / f"predictions{suffix}.parquet", known.output / f"metrics{suffix}.json"]
        with kept_aside(files, f"that of {one.title}"):
            write_predictions(files[0], stored)
            content = figures[name] | stored.info
            if name == "model":
                content |= worth
            if known.samples:
                content["intervals"] = bootstrap_intervals(
                    stored.scores,
                    stored.truth,
                    stored.path_sets,
                    stored.sets,
                    samples=known.samples,
                    thresholds=one.thresholds,
                    rules=one.rules,
                    **settings,
                )
            write_json(files[1], content)
    title = models[0].title
    show(protocol_table(protocol, figures) if protocol else figures_table(figures, title), known.output, "table", title)
    if known.samples and known.baseline:
        own, rival = models[:2]
        compared = compare_paired(
            rival.predictions,
            own.predictions,
            samples=known.samples,
            thresholds=(rival.thresholds, own.thresholds),
            rules=(rival.rules, own.rules),
            **settings,
        )
        show(comparison_table(compared, "baseline", "model"), known.output, "comparison", title)
    elif known.samples:
        show(interval_table(content["intervals"]))
    for name, found in worth.items():
        show((TABLES_OF_KNOWN | {"ask": asked_table})[name](found), known.output, name, title)


def show(table: "Table", folder: Path | None = None, name: str = "", title: str = "") -> None:
    """Print a table, and write it into the folder under a name where there is one."""
    from cnn_rnn.foundation.own_files import kept_aside

    if folder is not None:
        with kept_aside(table.files(folder, name), f"that of {title}"):
            table.write(folder, name)
    print(f"\n{table.text()}")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__, epilog=OF_THE_RUN)
    parser.add_argument("model", metavar="MODEL", help="folder of a run, name on the Hub, or a predictions.parquet")
    parser.add_argument("--data.split", dest="split", default="test", help="split to measure on (default: test)")
    parser.add_argument(
        "--output", type=output_folder, required=True, help="folder for metrics.json and predictions.parquet"
    )
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        nargs="+",
        default=[],
        help="second model or predictions, measured on the same images; further ones are averaged with it in --known",
    )
    parser.add_argument(
        "--known",
        type=counts_to_tell,
        metavar="0,1,2",
        help="reveal so many true labels of each image: figures over the others, and looks until all are confirmed",
    )
    parser.add_argument(
        "--known_share",
        type=shares_to_tell,
        metavar="0.25,0.5",
        help="tell so large a share of all labels of each image, present and absent alike: mAP over the others",
    )
    parser.add_argument(
        "--known_seed", type=at_least(0), default=0, help="of which labels --known_share tells (default: 0)"
    )
    parser.add_argument(
        "--ask", action="store_true", default=None, help="count the questions until the set of an image is right"
    )
    parser.add_argument("--protocol", help=f"print a benchmark's own table: {PROTOCOL_NAMES}")
    parser.add_argument(
        "--top_k", type=at_least(1), help="labels per image in the top-k figures (default: protocol's, or 3)"
    )
    parser.add_argument(
        "--min_positives", type=at_least(0), default=1, help="positives a class needs to count in class means"
    )
    parser.add_argument(
        "--samples", type=at_least(0), default=200, help="half sets drawn for intervals; 0 for no intervals"
    )
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="images that the model sees at once")
    parser.add_argument("--num_workers", type=at_least(0), default=2, help="processes that read images")
    return parser


def tell_of_seen_photos(evaluation: "Evaluation") -> None:
    """Say on stderr where a run learnt from photos that it is to be measured on."""
    for part in evaluation.seen_parts():
        print(f"{part}: its figures on it are too good", file=sys.stderr)


def counts_to_tell(text: str) -> list[int]:
    """How many labels to reveal, from `0,1,2`; argparse.ArgumentTypeError where it is something else."""
    return _numbers(text, int, lambda count: count >= 0, "numbers of labels, such as 0,1,2")


def shares_to_tell(text: str) -> list[float]:
    """Shares of the labels to tell, from `0.25,0.5`; argparse.ArgumentTypeError where it is something else."""
    return _numbers(text, float, lambda share: 0 <= share < 1, "shares from 0 to below 1, such as 0.25,0.5,0.75")


def _numbers(text: str, kind: Callable[[str], Number], fits: Callable[[Number], bool], expected: str) -> list[Number]:
    """The numbers between commas, each once, in order.

    Raises:
        argparse.ArgumentTypeError: One of them is no such number, or does not fit.
    """
    try:
        numbers = {kind(part) for part in text.split(",")}
    except ValueError:
        numbers = set()
    if not numbers or not all(map(fits, numbers)):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {expected}")
    return sorted(numbers)


def measure_known_labels(
    models: "list[Evaluation]", asked: argparse.Namespace, settings: dict[str, Any]
) -> dict[str, Any]:
    """What known labels are worth to the model and to its rivals, by the option that asks for it.

    Args:
        models: The model and its rivals.
        asked: The arguments of this command.
        settings: Of the metrics.

    Raises:
        ValueError: Predictions are given in place of a model, or the data are streamed.
    """
    from cnn_rnn.prediction.known_measure import measure_asked, measure_known, measure_known_share

    options = {name: value for name in ("known", "known_share", "ask") if (value := getattr(asked, name)) is not None}
    if not options:
        return {}
    stored, option = [one.source for one in models if not one.has_model], f"--{next(iter(options))}"
    if stored:
        raise ValueError(f"{option} asks a model anew for every answer: give the model in place of {stored[0]}")
    split = models[0].split
    if split.data.streaming:
        raise ValueError(f"{option} needs all rows at hand: set data.streaming to false")
    given = [one.saved.model for one in models], [one.features for one in models], split.truth
    found = {}
    if "known" in options:
        found["known"] = measure_known(*given, options["known"], **settings)
    if "known_share" in options:
        found["known_share"] = measure_known_share(*given, options["known_share"], asked.known_seed, **settings)
    if "ask" in options:
        found["ask"] = measure_asked(*given)
    return found


if __name__ == "__main__":
    sys.exit(main())
