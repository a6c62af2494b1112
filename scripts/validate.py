"""Measure a model on a split: scripts/validate.py MODEL --data.root FOLDER --data.split val --output DIR."""

import argparse
import sys
from pathlib import Path

from cnn_rnn import training
from cnn_rnn.metrics.predictions import write_predictions
from cnn_rnn.training.checkpoints import write_json


def main(arguments: list[str] | None = None) -> int:
    """Predict a whole split, print the table, and write metrics.json and predictions.parquet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Where MODEL is a run's folder, the data block of its run_config.yaml gives the defaults of --data.*.",
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or name on the Hub")
    parser.add_argument("--data.split", dest="split", default="test", help="split to measure on (default: test)")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.json and predictions.parquet")
    parser.add_argument("--baseline", metavar="MODEL", help="second model, measured on the same images")
    parser.add_argument("--top_k", type=int, default=3, help="labels an image in the top-k figures (default: 3)")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int, default=2)
    known, overrides = parser.parse_known_args(arguments)
    try:
        run = Path(known.model) / "run_config.yaml"
        config = training.load_run_config(run if run.is_file() else None, overrides).data
        models = [training.SavedModel.load(name) for name in (known.model, known.baseline) if name]
        dataset, dropped = training.load_validation_data(config, known.split)
        for saved in models:
            saved.check_labels(dataset)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    known.output.mkdir(parents=True, exist_ok=True)
    for saved, suffix in zip(models, ("", "_baseline"), strict=False):
        predictions = training.predict_dataset(saved, dataset, known.batch_size, known.num_workers)
        config_of_model = saved.model.config
        figures = training.measure(predictions, config_of_model.label_names, config_of_model.thresholds, known.top_k)
        figures |= {"model": saved.name, "data": config.name, "split": known.split, "unreadable_images": dropped}
        write_json(known.output / f"metrics{suffix}.json", figures)
        stored = training.stored_predictions(
            predictions,
            config_of_model.label_names,
            model=saved.name,
            data=config.name,
            split=known.split,
            thresholds=config_of_model.thresholds,
        )
        write_predictions(known.output / f"predictions{suffix}.parquet", stored)
        print(f"\n{saved.name} on {known.split} of {config.name}")
        print(training.figures_table(figures))
    print(f"\nwritten to {known.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
