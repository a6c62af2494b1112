"""Find photos whose labels are probably wrong or missing: cnn-rnn review RUN --data.root FOLDER --output DIR.

The training photos are dealt into folds, and each fold is judged by a model of RUN's settings, on a frozen backbone,
that was trained on the others. DIR gets review.csv and review.html, and predictions.parquet, which cnn-rnn validate
takes: figures by cross-validation. With --unlabelled FOLDER also unlabelled.csv: photos most worth labelling, by RUN.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import CommandParser, at_least, output_folder, refuse, refusing, share

if TYPE_CHECKING:
    from cnn_rnn.prediction.doubtful_labels import Doubt


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Judge every training photo by a model that did not see it, and write the ranked list and its page."""
    known, overrides = build_parser().parse_known_args(arguments)

    from cnn_rnn.training import Interrupted, TrainingError

    try:
        review(known, overrides)
    except Interrupted as interrupted:
        print(f"{interrupted}: the same command goes on", file=sys.stderr)
        return interrupted.exit_code
    except TrainingError as error:
        return refuse(error)
    print(f"written to {known.output}")
    return 0


def review(known: argparse.Namespace, overrides: list[str]) -> None:
    """Everything that this command writes.

    Raises:
        ValueError: A setting stands in the way; OSError: a file does.
        TrainingError: A fold's model cannot be trained.
        UnreadableImageError: An image cannot be decoded.
    """
    from cnn_rnn.data import drop_unreadable
    from cnn_rnn.foundation.own_files import kept_aside
    from cnn_rnn.training import load_run_config
    from cnn_rnn.training.out_of_fold import predict_out_of_fold

    settings = Path(known.run) / "run_config.yaml"
    if Path(known.run).is_dir() and not settings.is_file():
        raise ValueError(f"{known.run} is no folder of a run: it has no run_config.yaml")
    config = load_run_config(settings if settings.is_file() else known.run, overrides)
    rows = config.data.load(config.data.train_split)
    if config.data.skip_unreadable:
        rows, dropped = drop_unreadable(rows)
        print(f"{len(dropped)} photos cannot be read and are left out")
    planted = None
    if known.plant:
        rows, planted = with_mistakes(rows, known.plant, config.train.seed)
    found = predict_out_of_fold(config, rows, known.folds, known.output / "folds")
    asked = {"planted.json": known.plant, "unlabelled.csv": known.unlabelled}
    names = ["predictions.parquet", "review.csv", "review.html", *(name for name, given in asked.items() if given)]
    with kept_aside([known.output / name for name in names], f"that of a review of {known.run}"):
        write_found(known, config, rows, found, planted)


def write_found(known: argparse.Namespace, config: Any, rows: Any, found: Any, planted: Any) -> None:
    """Write the predictions, the ranked list and its page, and what was asked for beside them.

    Args:
        known: The arguments.
        config: The settings of the folds' models.
        rows: The photos, with their mistakes where some were planted.
        found: What is said of them out of fold.
        planted: Which rows those are; None where there are none.
    """
    from cnn_rnn.data import label_names
    from cnn_rnn.foundation.whole_files import write_json
    from cnn_rnn.metrics.stored_predictions import write_predictions
    from cnn_rnn.prediction.doubtful_labels import found_mistakes, photo_doubts, rank_doubts, write_doubts

    write_predictions(known.output / "predictions.parquet", found)
    if planted is not None:
        figures = found_mistakes(photo_doubts(found.scores, found.truth), planted)
        write_json(known.output / "planted.json", figures)
        print("  ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    doubts = rank_doubts(found, known.most)
    write_doubts(known.output / "review.csv", doubts, found.image_ids)
    write_review(
        known.output / "review.html",
        doubts[: known.shown],
        rows.select([one.index for one in doubts[: known.shown]]),
        title=f"Labels to look at again: {config.data.train_split} of {config.data.name}",
        subtitle=f"{len(doubts):,} of {len(rows):,} photos, {len(label_names(rows)):,} labels, {known.folds} folds",
    )
    if known.unlabelled is not None:
        rank_photos(known, system_files=config.data.system_files)


def with_mistakes(rows: Any, share: float, seed: int) -> tuple[Any, Any]:
    """The rows with planted mistakes, and which rows those are."""
    from cnn_rnn.data import label_features, label_names, targets
    from cnn_rnn.data.schema import label_lists_from_matrix
    from cnn_rnn.prediction.doubtful_labels import plant_mistakes

    changed, planted = plant_mistakes(targets(rows), share, seed)
    features = label_features(label_names(rows))
    labels = label_lists_from_matrix(changed).cast(features.arrow_schema.field("labels").type)
    return rows.remove_columns("labels").add_column("labels", labels, feature=features["labels"]), planted


def write_review(file: Path, doubts: "Sequence[Doubt]", rows: Any, *, title: str, subtitle: str) -> None:
    """Write one HTML page of photos whose labels a person should look at again; it opens offline.

    Args:
        file: Where to.
        doubts: The photos, the most doubtful first.
        rows: Their rows.
        title: Its heading.
        subtitle: What stands below it.

    Raises:
        ImportError: jinja2 is not installed.
    """
    from cnn_rnn.data import decode_image
    from cnn_rnn.report.embedded_images import image_address, thumbnail
    from cnn_rnn.report.page import Section, render_page

    suspects = [
        {
            "name": row["image_id"],
            "picture": image_address(thumbnail(decode_image(row["image"], row["image_id"]))),
            "given": doubt.given,
            "wrong": doubt.wrong,
            "missing": doubt.missing,
        }
        for doubt, row in zip(doubts, rows, strict=True)
    ]
    text = (
        "Each photo was judged by a model that was not trained on it. Red: given, but less probable than without a "
        "look at the photo; orange: not given, but probable. The rest are the other labels that are given. The most "
        "doubtful stands first; review.csv has all."
    )
    render_page(file, title, subtitle, [Section("review", "Probably wrong or missing", text, suspects=suspects)])


def rank_photos(known: argparse.Namespace, *, system_files: bool) -> None:
    """Write which unlabelled photos are most worth labelling."""
    import numpy as np

    from cnn_rnn.data import drop_unreadable
    from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix
    from cnn_rnn.prediction import SavedModel, predict_dataset
    from cnn_rnn.prediction.doubtful_labels import write_unlabelled
    from cnn_rnn.prediction.input_kinds import find_images

    saved = SavedModel.load(known.run)
    label_names = saved.model.config.label_names
    files = [str(file) for file in find_images(known.unlabelled, system_files=system_files)]
    labels = label_lists_from_matrix(np.zeros((len(files), len(label_names)), dtype=bool))
    rows, dropped = drop_unreadable(build_dataset(image_paths(files), files, labels, label_names))
    for reason in dropped.values():
        print(f"unreadable: {reason}", file=sys.stderr)
    if not len(rows):
        raise ValueError(f"{known.unlabelled}: none of {len(files)} photos can be read")
    found = predict_dataset(saved, rows, known.batch_size, num_workers=0)
    write_unlabelled(known.output / "unlabelled.csv", found.image_ids, found.logits.sigmoid().numpy(), label_names)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(
        description=__doc__,
        epilog="Every setting of the run can be overridden, such as --train.epochs 10 --model.path_loss none;\n"
        "'cnn-rnn train --help' lists them.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, or settings: a YAML file or a name that ships")
    parser.add_argument(
        "--output",
        type=output_folder,
        required=True,
        help="folder for review.csv (what begins like a formula has ' before it), review.html and the folds",
    )
    parser.add_argument(
        "--folds", type=at_least(2), default=5, help="models, each judging the photos of one fold (default: 5)"
    )
    parser.add_argument("--most", type=at_least(1), help="photos in the list (default: all with a doubt)")
    parser.add_argument("--shown", type=at_least(0), default=100, help="photos on the page (default: 100)")
    parser.add_argument("--unlabelled", help="image, folder or list of photos without labels, to rank by RUN")
    parser.add_argument(
        "--plant", type=share, help="share of photos to plant a wrong label in, to see how many are found"
    )
    parser.add_argument("--batch_size", type=at_least(1), default=16, help="images that the model sees at once")
    return parser


if __name__ == "__main__":
    sys.exit(main())
