"""Measure a model on a split: cnn-rnn validate MODEL --data.root FOLDER --data.split val --output DIR.

In place of a model it takes the predictions.parquet of an earlier validation, and then needs no model and no images.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import PROTOCOL_NAMES, CommandParser, output_folder, refuse

if TYPE_CHECKING:
    from cnn_rnn.data.data_config import DataConfig
    from cnn_rnn.metrics.stored_predictions import StoredPredictions


def main(arguments: list[str] | None = None) -> int:
    """Predict a whole split, print the table, and write figures, tables and predictions."""
    known, overrides = build_parser().parse_known_args(arguments)
    try:
        validate(known, overrides)
    except (ValueError, OSError) as error:
        return refuse(error)
    print(f"\nwritten to {known.output}")
    return 0


def validate(known: argparse.Namespace, overrides: list[str]) -> None:
    """Everything that this command measures, prints and writes.

    Raises:
        ValueError: A setting or an input stands in the way.
        OSError: A file does.
    """
    from cnn_rnn.foundation.whole_files import write_json
    from cnn_rnn.metrics.protocols import get_protocol
    from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
    from cnn_rnn.metrics.stored_predictions import write_predictions
    from cnn_rnn.metrics.tables import comparison_table, figures_table, interval_table, known_table, protocol_table

    protocol = get_protocol(known.protocol) if known.protocol else None
    predictions = {
        name: obtain_predictions(source, known, overrides)
        for name, source in zip(("model", "baseline"), (known.model, *known.baseline[:1]), strict=False)
    }
    settings: dict[str, Any] = protocol.settings if protocol else {}
    settings |= {"min_positives": known.min_positives} | ({"top_k": known.top_k} if known.top_k else {})
    worth = measure_known_labels(known, overrides, settings) if known.known is not None else None
    figures: dict[str, dict[str, Any]] = {}
    for name, stored in predictions.items():
        counts = stored.info.get("label_counts")
        figures[name] = stored.measure(thresholds=thresholds_of(stored), label_counts=counts, **settings)
        suffix = "" if name == "model" else f"_{name}"
        write_predictions(known.output / f"predictions{suffix}.parquet", stored)
        content = figures[name] | stored.info
        if worth is not None and name == "model":
            content["known"] = worth
        if known.samples:
            content["intervals"] = bootstrap_intervals(
                stored.scores,
                stored.truth,
                stored.path_sets,
                samples=known.samples,
                thresholds=thresholds_of(stored),
                **settings,
            )
        write_json(known.output / f"metrics{suffix}.json", content)
    table = protocol_table(protocol, figures) if protocol else figures_table(figures, title_of(predictions["model"]))
    table.write(known.output)
    print(f"\n{table.text()}")
    if known.samples and known.baseline:
        first, second = predictions["baseline"], predictions["model"]
        thresholds = (thresholds_of(first), thresholds_of(second))
        compared = compare_paired(first, second, samples=known.samples, thresholds=thresholds, **settings)
        table = comparison_table(compared, "baseline", "model")
        table.write(known.output, "comparison")
        print(f"\n{table.text()}")
    elif known.samples:
        print(f"\n{interval_table(content['intervals']).text()}")
    if worth is not None:
        table = known_table(worth)
        table.write(known.output, "known")
        print(f"\n{table.text()}")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(
        description=__doc__,
        epilog="Where MODEL is a run's folder, the data block of its run_config.yaml gives the defaults of --data.*,\n"
        "which 'cnn-rnn train --help' lists.",
    )
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
        type=label_counts,
        metavar="0,1,2",
        help="reveal so many true labels of each image: figures over the others, and looks until all are confirmed",
    )
    parser.add_argument("--protocol", help=f"print a benchmark's own table: {PROTOCOL_NAMES}")
    parser.add_argument("--top_k", type=int, help="labels an image in the top-k figures (default: protocol's, or 3)")
    parser.add_argument("--min_positives", type=int, default=1, help="positives a class needs to count in class means")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples for intervals; 0 for none")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int, default=2)
    return parser


def obtain_predictions(source: str, known: argparse.Namespace, overrides: list[str]) -> "StoredPredictions":
    """Predictions read from a file, or made by a model on the chosen split."""
    from cnn_rnn.data.data_config import load_validation_data
    from cnn_rnn.data.what_was_read import what_was_read
    from cnn_rnn.metrics.stored_predictions import read_predictions
    from cnn_rnn.prediction import SavedModel, predict_dataset, stored_predictions
    from cnn_rnn.training.run_config import load_data_config

    if source.endswith(".parquet"):
        return read_predictions(source)
    config = load_data_config(known.model, overrides)
    saved = SavedModel.load(source)
    tell_of_seen_photos(source, config, known.split)
    dataset, dropped = load_validation_data(config, known.split)
    print(what_was_read({known.split: dataset}))
    predicted = predict_dataset(saved, dataset, known.batch_size, known.num_workers)
    info = {"model": saved.name, "data": config.name, "split": known.split, "unreadable_images": dropped}
    model_config = saved.model.config
    info |= {"thresholds": model_config.thresholds, "label_counts": model_config.label_counts}
    return stored_predictions(predicted, model_config.label_names, **info)


def tell_of_seen_photos(source: str, data: "DataConfig", split: str) -> None:
    """Say on stderr where a run learnt from photos that it is to be measured on: those figures are too good."""
    from cnn_rnn.data.joining import joined_parts
    from cnn_rnn.training.run_config import load_data_config

    if not (Path(source) / "run_config.yaml").is_file():
        return
    own = load_data_config(source)
    splits = [own.train_split, *([own.validation_split] if own.validation_split else [])]
    learnt = {part for each in splits for part in joined_parts(own.name, each)}
    seen = learnt & set(joined_parts(data.name, split)) if data.root == own.root else set()
    for name, part in sorted(seen):
        print(f"{source} learnt from {part} of {name}: its figures on it are too good", file=sys.stderr)


def label_counts(text: str) -> list[int]:
    """How many labels to reveal, from `0,1,2`.

    Raises:
        argparse.ArgumentTypeError: It is something else.
    """
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = [-1]
    if counts[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers of labels, such as 0,1,2")
    return counts


def measure_known_labels(known: argparse.Namespace, overrides: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """What revealed labels are worth to the model and to its rivals, under the settings of the metrics.

    Raises:
        ValueError: Predictions are given in place of a model, or the data are streamed.
    """
    from cnn_rnn.data import targets
    from cnn_rnn.data.data_config import load_validation_data
    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.prediction.known_measure import measure_known
    from cnn_rnn.training.run_config import load_data_config

    stored = [source for source in (known.model, *known.baseline) if source.endswith(".parquet")]
    if stored:
        raise ValueError(f"--known asks a model anew for every answer: give the model in place of {stored[0]}")
    config = load_data_config(known.model, overrides)
    if config.streaming:
        raise ValueError("--known needs all rows at hand: set data.streaming to false")
    dataset, _ = load_validation_data(config, known.split)
    truth = targets(dataset).clip(min=-1).astype("int8")
    saved, *rivals = (SavedModel.load(source) for source in (known.model, *known.baseline))
    loading = {"batch_size": known.batch_size, "num_workers": known.num_workers}
    return measure_known(saved, rivals, dataset, truth, known.known, **loading, **settings)


def thresholds_of(stored: "StoredPredictions") -> Any:
    """The thresholds that were fitted on held-out training data with the model, 0.5 where there are none."""
    return stored.info.get("thresholds") or 0.5


def title_of(stored: "StoredPredictions") -> str:
    """What was measured on what."""
    return "{model} on {split} of {data}".format_map({"model": "?", "split": "?", "data": "?"} | stored.info)


if __name__ == "__main__":
    sys.exit(main())
