"""Measure a model on a split: scripts/validate.py MODEL --data.root FOLDER --data.split val --output DIR.

In place of a model it takes the predictions.parquet of an earlier validation, and then needs no model and no images.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from cnn_rnn import training
from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.predictions import StoredPredictions, read_predictions, write_predictions
from cnn_rnn.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
from cnn_rnn.metrics.tables import figures_table, protocol_table
from cnn_rnn.training.checkpoints import write_json


def main(arguments: list[str] | None = None) -> int:
    """Predict a whole split, print the table, and write figures, tables and predictions."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Where MODEL is a run's folder, the data block of its run_config.yaml gives the defaults of --data.*.",
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, name on the Hub, or a predictions.parquet")
    parser.add_argument("--data.split", dest="split", default="test", help="split to measure on (default: test)")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.json and predictions.parquet")
    parser.add_argument("--baseline", metavar="MODEL", help="second model or predictions, measured on the same images")
    parser.add_argument("--protocol", help=f"print a benchmark's own table: {', '.join(PROTOCOLS)}")
    parser.add_argument("--top_k", type=int, help="labels an image in the top-k figures (default: protocol's, or 3)")
    parser.add_argument("--min_positives", type=int, default=1, help="positives a class needs to count in class means")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples for intervals; 0 for none")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int, default=2)
    known, overrides = parser.parse_known_args(arguments)
    try:
        protocol = get_protocol(known.protocol) if known.protocol else None
        predictions = {
            name: obtain_predictions(source, known, overrides)
            for name, source in (("model", known.model), ("baseline", known.baseline))
            if source
        }
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    settings: dict[str, Any] = {"min_positives": known.min_positives} | ({"top_k": known.top_k} if known.top_k else {})
    figures = {
        name: measure(stored, protocol, settings | thresholds_of(stored)) for name, stored in predictions.items()
    }
    known.output.mkdir(parents=True, exist_ok=True)
    for name, stored in predictions.items():
        suffix = "" if name == "model" else f"_{name}"
        if known.samples:
            figures[name]["intervals"] = intervals(stored, protocol, settings, known.samples)
        write_json(known.output / f"metrics{suffix}.json", figures[name] | stored.info)
        write_predictions(known.output / f"predictions{suffix}.parquet", stored)
    table = protocol_table(protocol, figures) if protocol else figures_table(figures, title_of(predictions["model"]))
    table.write(known.output)
    print(f"\n{table.text()}")
    if len(predictions) == 2 and known.samples:
        compared = compare_paired(predictions["baseline"], predictions["model"], samples=known.samples, **settings)
        write_json(known.output / "comparison.json", compared)
        print(f"\n{comparison_text(compared)}")
    print(f"\nwritten to {known.output}")
    return 0


def obtain_predictions(source: str, known: argparse.Namespace, overrides: list[str]) -> StoredPredictions:
    """Predictions read from a file, or made by a model on the chosen split."""
    if source.endswith(".parquet"):
        return read_predictions(source)
    run = Path(known.model) / "run_config.yaml"
    config = training.load_run_config(run if run.is_file() else None, overrides).data
    saved = training.SavedModel.load(source)
    dataset, dropped = training.load_validation_data(config, known.split)
    predicted = training.predict_dataset(saved, dataset, known.batch_size, known.num_workers)
    info = {"model": saved.name, "data": config.name, "split": known.split, "unreadable_images": dropped}
    model_config = saved.model.config
    return training.stored_predictions(predicted, model_config.label_names, thresholds=model_config.thresholds, **info)


def thresholds_of(stored: StoredPredictions) -> dict[str, Any]:
    """The thresholds that were fitted on held-out training data with the model, 0.5 where there are none."""
    return {"thresholds": stored.info.get("thresholds") or 0.5}


def measure(stored: StoredPredictions, protocol: Protocol | None, settings: dict[str, Any]) -> dict[str, Any]:
    """All figures, by the protocol's rules where one is given."""
    names = stored.label_names
    metrics = protocol.metrics(names, **settings) if protocol else MultiLabelMetrics(names, **settings)
    metrics.update(stored.scores, stored.truth, paths=stored.path_sets)
    return metrics.compute()


def intervals(
    stored: StoredPredictions, protocol: Protocol | None, settings: dict[str, Any], samples: int
) -> dict[str, Any]:
    """95 % bootstrap intervals of the headline figures."""
    rules: dict[str, Any] = {}
    if protocol:
        method = protocol.average_precision_method
        rules = {"top_k": protocol.top_k, "map_k": protocol.map_k, "average_precision_method": method}
    every = rules | settings | thresholds_of(stored)
    return bootstrap_intervals(stored.scores, stored.truth, stored.path_sets, samples=samples, **every)


def title_of(stored: StoredPredictions) -> str:
    """What was measured on what."""
    return "{model} on {split} of {data}".format_map({"model": "?", "split": "?", "data": "?"} | stored.info)


def comparison_text(compared: dict[str, Any]) -> str:
    """The paired comparison of the headline figures as lines to read, in percentage points."""
    images, samples = compared["images"], compared["samples"]
    lines = [f"model less baseline, {images} images, {samples} paired bootstrap samples, sets by threshold at 0.5:"]
    for name in ("mAP", "path.OF1", "path.CF1", "threshold.OF1", "threshold.CF1", "top_k.OF1", "top_k.CF1"):
        found = compared["figures"].get(name)
        if found and found["difference"] is not None:
            low, high = 100 * found["low"], 100 * found["high"]
            lines.append(
                f"  {name:14s} {100 * found['difference']:+.1f}  [{low:+.1f}, {high:+.1f}]  p = {found['p_value']:.3f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
