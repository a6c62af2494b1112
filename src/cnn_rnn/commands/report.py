"""Show how a model does in one HTML file: cnn-rnn report MODEL --data.root FOLDER --data.split val --output F."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import OF_THE_RUN, PROTOCOL_NAMES, CommandParser, at_least, output_file, refusing
from .validate import tell_of_seen_photos

if TYPE_CHECKING:
    from cnn_rnn.report.page import Section, ShownPhoto
    from cnn_rnn.training import Evaluation, RunConfig


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Predict a split, or read its predictions, and write the report."""
    known, overrides = build_parser().parse_known_args(arguments)
    report(known, overrides)
    print(f"written to {known.output}")
    return 0


def report(known: argparse.Namespace, overrides: list[str]) -> None:
    """Everything that this command measures and writes.

    Raises:
        ValueError: A setting or an input stands in the way.
        OSError: A file does.
        ImportError: A library that draws is not installed.
    """
    from cnn_rnn.foundation.own_files import kept_aside
    from cnn_rnn.metrics.protocols import get_protocol
    from cnn_rnn.metrics.tables import figures_table, protocol_table
    from cnn_rnn.report.page import write_report
    from cnn_rnn.training import Evaluation, Split, run_config_of

    protocol = get_protocol(known.protocol) if known.protocol else None
    config = run_config_of(known.model, overrides)
    data = replace(config.data, streaming=False)  # a report looks images up
    split = Split(data, known.split, batch_size=known.batch_size, num_workers=known.num_workers)
    own = Evaluation(known.model, split, stored=known.predictions)
    other = Evaluation(known.baseline, split, beside=[own]) if known.baseline else None
    saved = own.saved
    for told, one in ((known.predictions, own if known.predictions else None), (known.baseline, other)):
        if one is None:
            continue
        if one.predictions.label_names != list(saved.model.config.label_names):
            raise ValueError(f"{told}: its labels are not those of {known.model}")
        if one.predictions.image_ids != list(split.rows["image_id"]):
            raise ValueError(f"{told}: its images are not those of {known.split} of {data.name}")
    duplicates = near_duplicates(known, own, config)
    measured = {"this model": own} | ({} if other is None else {"baseline": other})
    for one in measured.values():
        tell_of_seen_photos(one)
    settings = protocol.settings if protocol else {}
    figures = {name: one.measure(**settings) for name, one in measured.items()}
    has_paths = saved.model.path_decoder is not None
    shown, how_looked = walk_photos(own, known)
    weights = saved.model.path_decoder.label_embedding.weight if has_paths else None
    beside = [] if other is None else compare_models(own, other, list(figures.values()), known.examples // 2)
    further = [*ask_about_photos(own, known), *duplicates]
    with kept_aside([known.output], "a report"):
        write_report(
            known.output,
            own.predictions,
            figures["this model"],
            title=f"{Path(saved.name).name} on {known.split} of {data.name}",
            tables=[protocol_table(protocol, figures) if protocol else figures_table(figures)],
            label_counts=saved.model.config.label_counts,
            embedding=None if weights is None else weights.detach().cpu().numpy()[: saved.model.config.num_labels],
            examples=shown,
            how_looked=how_looked,
            beside=beside,
            further=further,
        )


def walk_photos(evaluation: "Evaluation", known: argparse.Namespace) -> tuple[list["ShownPhoto"], str]:
    """Photos with their paths, or with their labels where the model walks none, and how what it looked at was found."""
    import numpy as np
    from tqdm.auto import tqdm

    from cnn_rnn.data import EvalTransform, prepare_examples
    from cnn_rnn.prediction.doubtful_labels import photo_losses
    from cnn_rnn.report.plots import spread_evenly
    from cnn_rnn.report.saliency import label_example, walk_example

    saved, stored, rows = evaluation.saved, evaluation.predictions, evaluation.split.rows
    losses = photo_losses(stored.scores, stored.truth)
    if known.worst:
        chosen = np.argsort(-losses, kind="stable")[: known.examples]
    else:
        chosen = spread_evenly(len(rows), known.examples)
    shown, methods = [], set()
    examples = prepare_examples(rows.select(chosen), EvalTransform(saved.processor))
    for index, row in zip(chosen, tqdm(examples, desc="looking at images", unit="image", leave=False), strict=True):
        if saved.model.path_decoder is None:
            example, method = label_example(saved.model, saved.processor, row, stored.scores[index]), "no step"
        else:
            example, method = walk_example(saved.model, saved.processor, row)
        shown.append(replace(example, loss=float(losses[index])) if known.worst else example)
        methods.add(method)
    return shown, " or ".join(sorted(methods - {"no step"}))


def compare_models(
    own: "Evaluation", other: "Evaluation", figures: list[dict[str, Any]], examples: int
) -> list["Section"]:
    """The parts that show two models side by side, by the figures of both."""
    from cnn_rnn.metrics.label_sets import obey, pick_by_threshold
    from cnn_rnn.report.side_by_side import comparison_section, side_by_side_section

    names = (Path(own.source).name, Path(other.predictions.info.get("model") or other.source).name)
    models = {"this model": own.predictions, "baseline": other.predictions}
    sets = {
        name: obey(pick_by_threshold(one.scores, found["threshold"]["thresholds"]), one.scores, one.rules)
        for (name, one), found in zip(models.items(), figures, strict=True)
    }
    photos = side_by_side_section(own.split.rows, models, sets, examples)
    label_names = own.predictions.label_names
    return [comparison_section(figures[0], figures[1], label_names, names), *([photos] if photos else [])]


def ask_about_photos(evaluation: "Evaluation", known: argparse.Namespace) -> list["Section"]:
    """The part that shows what one answer changes; none where an answer changes nothing, or nothing is asked."""
    from cnn_rnn.report.one_answer import answer_questions, answer_section, choose_questions, hears

    saved, stored = evaluation.saved, evaluation.predictions
    questions = []
    if hears(saved.model):
        questions = choose_questions(stored.scores, stored.truth, known.answers, evaluation.rules)
    if not questions:
        return []
    trained = saved.model.config.known_labels == "state" or saved.model.path_decoder is None
    answered = answer_questions(saved, evaluation.split.rows, questions)
    return [answer_section(answered, trained=trained, known=known_figures(known.predictions))]


def known_figures(predictions: Path | None) -> dict[str, Any] | None:
    """What `validate --known` measured beside its predictions; None where it did not."""
    from cnn_rnn.foundation.broken_files import told_as_broken

    figures = None if predictions is None else predictions.with_name("metrics.json")
    if figures is None or not figures.is_file():
        return None
    with told_as_broken(figures, "holds no figures of cnn-rnn validate"):
        found = json.loads(figures.read_text(encoding="utf-8")).get("known")
        return None if found is None else dict(found)


def near_duplicates(known: argparse.Namespace, evaluation: "Evaluation", config: "RunConfig") -> list["Section"]:
    """The section of photos that the model learnt from, or nearly; none where nobody asks and no features are kept.

    Raises:
        ValueError: There is no such split as --compare_with names, or the threshold is no cosine.
    """
    from cnn_rnn.report.near_duplicates import near_duplicate_section
    from cnn_rnn.training import compare_features

    if not -1 < known.duplicate_cosine <= 1:
        raise ValueError(f"--duplicate_cosine {known.duplicate_cosine} is no cosine: expected above -1, up to 1")
    compared = compare_features(evaluation, config, known.compare_with)
    if compared is None:
        print(
            "near-duplicates were not looked for: no features of other rows are kept (train.cache_features keeps "
            "those of training); --compare_with SPLIT computes them",
            file=sys.stderr,
        )
        return []
    section = near_duplicate_section(*compared, known.duplicate_cosine)
    print(section.text.partition(": ")[0])
    return [section]


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__, epilog=OF_THE_RUN)
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or name on the Hub")
    parser.add_argument("--data.split", dest="split", default="test", help="split to show (default: test)")
    parser.add_argument("--output", type=output_file, required=True, help="the HTML file")
    parser.add_argument("--predictions", type=Path, help="predictions.parquet of that split, to save the predicting")
    parser.add_argument("--protocol", help=f"whose table to show: {PROTOCOL_NAMES}")
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        help="second model, or its predictions, to compare: each class, and the photos on which both differ most",
    )
    parser.add_argument(
        "--examples", type=at_least(0), default=24, help="images to show, the worst first (default: 24)"
    )
    parser.add_argument(
        "--answers", type=at_least(0), default=12, help="images to show what one answer changes (default: 12)"
    )
    parser.add_argument("--spread", dest="worst", action="store_false", help="show images evenly spread, not the worst")
    parser.add_argument(
        "--compare_with",
        metavar="SPLIT",
        help="look for near-duplicates among this split's photos (default: among those that the run learnt from, where "
        "its features are cached)",
    )
    parser.add_argument(
        "--duplicate_cosine",
        type=float,
        default=0.95,
        help="cosine of features, or correlation of small pictures, from which on photos are that (default: 0.95)",
    )
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="images that the model sees at once")
    parser.add_argument("--num_workers", type=at_least(0), default=2, help="processes that read images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
