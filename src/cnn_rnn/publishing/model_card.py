"""What a published model says of itself: a card filled from the run and from figures measured on a split it never saw.

Every sentence of `model_card.md` that needs a number gets one, or there is no card: a missing figure is an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import timm
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from timm.models import get_pretrained_cfg

from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.data.labels.choosing import joined_parts
from cnn_rnn.foundation.shipped_files import shipped_file
from cnn_rnn.metrics.protocols import Column
from cnn_rnn.metrics.tables import WAYS_TO_A_SET, Table, TableRow

from .card_figures import CardError, CardFigures, check_alike

FIGURES = ("CP", "CR", "CF1", "OP", "OR", "OF1", "example_F1", "exact_match")
LISTED_LABELS = 500  # rows of the card's table of labels
WEAKEST = 5
CROSS_VALIDATION = "cross-validation"  # the split of figures that `cnn-rnn review` predicts fold by fold
EXAMPLE = "example.jpg"  # a photo to try the model with, as a repository holds it
FEWEST_IMAGES = 20  # images with a label below which its figures say little
Sources = Mapping[str, Mapping[str, int]]  # by label and source, how many photos of that source show the label

DATA_NOTES = {
    "digits": "Scenes are put together from handwritten digits by rules: which digits occur together is ours, not the "
    "world's, and nothing of it carries over to photos.",
    **dict.fromkeys(
        ("voc2007", "voc2012"),
        "The photos were collected from Flickr with queries for twenty classes; `person` is by far the most frequent, "
        "and Western everyday life is what most of them show.",
    ),
    **dict.fromkeys(
        ("coco2014", "coco2017"),
        "The photos were collected from Flickr to show common objects in their context, mostly of Western everyday "
        "life; `person` is on about half of them.",
    ),
    "nus-wide-81": "Photos and tags come from Flickr; landscapes prevail, and volunteers found the labels from the "
    "tags, so that many labels are missing.",
    "nus-wide-1000": "Photos and labels are those of Flickr's users: tags name what their authors cared for, and many "
    "labels are missing.",
}


def make_card(
    repo: str,
    config: CnnRnnConfig,
    figures: CardFigures,
    run: Mapping[str, Any],
    *,
    data_note: str | None = None,
    has_example: bool = False,
    rival: CardFigures | None = None,
    sources: Sources | None = None,
    read: Sequence[str] = (),
) -> ModelCard:
    """The filled card of a model.

    Args:
        repo: Its name on the Hub.
        config: Its configuration.
        figures: Measured on a split that it never saw.
        run: The settings of its run, the blocks of `run_config.yaml`.
        data_note: Where the training images come from and how that biases the model; for the benchmarks it is known.
        has_example: Whether the repository holds a photo to try it with.
        rival: Figures of a plain head that was trained and measured alike.
        sources: Photos of each label by the set that they come from, where several were joined.
        read: What training read, a line a part, as it printed it.

    Raises:
        CardError: Something that the card must say is not known.
    """
    figures.check(config, run)
    if rival is not None:
        check_alike(figures, rival)
    data, licence = run["data"], run["hub"]["license"]
    parts = joined_parts(data["name"], data["train_split"])
    unknown = [name for name, _ in parts if name not in DATA_NOTES]
    if unknown and not data_note:
        raise CardError(
            f"nothing is known about the data {unknown[0]!r}: say with --data_note where the photos come from, and "
            "what is over- and under-represented"
        )
    trained_on = " and ".join(f"the split `{split}` of `{name}`" for name, split in parts)
    split = data["validation_split"]
    told_read = f" What was read: {'; '.join(map(cell, read))}." if read else ""
    held_out = f"the split `{split}`" if split else f"{100 * data['validation_fraction']:.0f}% held out of that"
    left_out = figures["counts.classes_left_out_of_means"]
    unreadable = len(figures["unreadable_images"])
    return ModelCard.from_template(
        card_data(repo, figures, run, licence, has_example=has_example),
        template_path=str(shipped_file("model_card.md")),
        name=repo.rpartition("/")[2],
        repo=repo,
        backbone=config.backbone,
        has_path=config.has_path_decoder,
        training_data=f"Trained on {trained_on}; epoch, fusion and thresholds were chosen on {held_out}."
        f"{labels_chosen(data)}{told_read}",
        data_note=data_note or " ".join(dict.fromkeys(DATA_NOTES[name] for name, _ in parts)),
        label_table=label_table(config, figures, rival, sources),
        has_rival=rival is not None,
        has_sources=sources is not None,
        beside=beside(figures, rival),
        few_images=few_images(figures),
        evaluation=f"{measured_on(figures)}, with {figures['counts.positives']:,} labels. "
        f"Images not readable: {unreadable:,}.",
        sets_table=sets_table(figures).markdown_rows("predicted set"),
        mean_average_precision=figures.percent("mAP"),
        classes_left_out=f"Left out of the means for want of positives: {', '.join(left_out)}. " if left_out else "",
        weakest_labels=weakest_labels(figures),
        num_labels=config.num_labels,
        image_size=config.image_size,
        max_path_length=min(config.max_path_length, config.num_labels),
        license=licence,
    )


def labels_chosen(data: Mapping[str, Any]) -> str:
    """Sentences on labels that a run renamed or left out; empty where it took them as they are."""
    renamed = [f"{cell(old)} is {cell(new)}" for old, new in (data.get("rename_labels") or {}).items()]
    told = f" Where a data set names labels otherwise, {', '.join(renamed)} here." if renamed else ""
    kept = " Labels that are not in the table were left out; photos that show none of those in it stayed."
    return told + (kept if data.get("keep_labels") else "")


def measured_on(figures: CardFigures) -> str:
    """Which images the figures are of."""
    images, data = f"{figures['counts.images']:,} images", f"`{sets_measured_on(figures)}`"
    if figures["split"] != CROSS_VALIDATION:
        return f"Measured on the {images} of the split `{figures['split']}` of {data}"
    return (
        f"Measured by cross-validation on {images} of {data}: each was judged by the one of {figures['folds']} models "
        "of these settings that was neither trained nor chosen on it"
    )


def sets_measured_on(figures: CardFigures) -> str:
    """The data sets that the figures are of, each named once."""
    return "+".join(dict.fromkeys(str(figures["data"]).split("+")))


def beside(figures: CardFigures, rival: CardFigures | None) -> str:
    """A sentence that compares the model with a plain head; empty where there is none."""
    if rival is None:
        return ""
    told = [
        ("mAP", "mAP"),
        ("threshold.OF1", "OF1 by threshold"),
        ("expected_f1.example_F1", "example F1 by expected F1"),
    ]
    pairs = [f"{title} {figures.percent(name)} against {rival.percent(name)}" for name, title in told]
    return f"Compared with a plain head on the same backbone, trained and measured alike: {', '.join(pairs)}. "


def few_images(figures: CardFigures) -> str:
    """A sentence on the labels that too few images show to measure them, the rarest named; empty without such."""
    counts = {name: one["positives"] for name, one in figures["per_class"].items() if one["positives"] < FEWEST_IMAGES}
    if not counts:
        return ""
    rarest = sorted(counts, key=lambda name: (counts[name], name))[:WEAKEST]
    named = ", ".join(f"{cell(name)} ({counts[name]})" for name in rarest)
    told = f"{named} and {len(counts) - len(rarest):,} more of the labels" if len(counts) > len(rarest) else named
    return f"Fewer than {FEWEST_IMAGES} images show {told}: their figures say little. "


def base_model(run: Mapping[str, Any]) -> str | None:
    """The name on the Hub of the model whose weights training began with; None where it is not known, or none."""
    name, weights = run["model"].get("backbone"), run["model"].get("weights")
    of_timm = weights == "imagenet" or str(weights).startswith("pip:")
    if not of_timm or name is None or not timm.is_model(name):  # a run from an earlier model may name no backbone
        return None
    pretrained = get_pretrained_cfg(name)
    return None if pretrained is None else pretrained.hf_hub_id and f"{pretrained.hf_hub_id}".removesuffix("/")


def data_sets(run: Mapping[str, Any]) -> list[str]:
    """The data sets of a run, by their names on the Hub where they come from there."""
    data = run["data"]
    if data["name"] == "hub" and data.get("root"):
        return [str(data["root"]).partition("@")[0]]
    return list(dict.fromkeys(name for name, _ in joined_parts(data["name"], data["train_split"])))


def card_data(
    repo: str, figures: CardFigures, run: Mapping[str, Any], licence: str, *, has_example: bool = False
) -> ModelCardData:
    """The card's metadata, with the figures as the Hub lists them."""
    measured = {"mAP": ("mAP", "mean average precision")} | {
        f"{name}.{figure}": ("f1", f"{figure} of the set predicted {WAYS_TO_A_SET[name]}")
        for name in ("path", "threshold")
        if figures.content.get(name)
        for figure in ("CF1", "OF1")
    }
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Multi-label image classification",
            dataset_type=sets_measured_on(figures),
            dataset_name=sets_measured_on(figures),
            dataset_split=str(figures["split"]),
            metric_type=kind,
            metric_name=title,
            metric_value=round(float(figures[name]), 4),
        )
        for name, (kind, title) in measured.items()
    ]
    return ModelCardData(
        license=licence,
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["multi-label", "cnn-rnn", "beam-search", *data_sets(run)],
        base_model=base_model(run),
        datasets=data_sets(run),
        widget=[{"src": example_address(repo)}] if has_example else None,
        model_name=repo.rpartition("/")[2],
        eval_results=results,
    )


def example_address(repo: str) -> str:
    """Where the photo to try a published model with is found."""
    return f"https://huggingface.co/{repo}/resolve/main/{EXAMPLE}"


def label_table(
    config: CnnRnnConfig, figures: CardFigures, rival: CardFigures | None = None, sources: Sources | None = None
) -> str:
    """Rows of the labels, how many training images show each, and how well each is found; the most frequent first.

    With a rival each row goes on with how well that one finds it, with sources it ends with the photos of each.

    Raises:
        CardError: The model does not know how often it saw its labels.
    """
    if config.label_counts is None:
        raise CardError("the config has no label_counts: how often each label was seen in training is part of the card")
    total = max(sum(config.label_counts), 1)
    ranked = sorted(zip(config.label_counts, config.label_names, strict=True), key=lambda pair: (-pair[0], pair[1]))
    rows = []
    for count, name in ranked:
        own = figures["per_class"][name]
        seen = [f"{count:,}", f"{100 * count / total:.1f}%", precision_of(figures, name), f"{own['positives']:,}"]
        theirs = [] if rival is None else [precision_of(rival, name)]
        if sources is not None:
            theirs.append(", ".join(f"{source} {count:,}" for source, count in sources.get(name, {}).items()))
        rows.append(f"| {' | '.join([cell(name), *seen, *theirs])} |")
    if len(rows) > LISTED_LABELS:
        half = LISTED_LABELS // 2
        empty = rows[0].count("|") - 2
        rows = [*rows[:half], f"| ... {len(rows) - 2 * half} more ... |{' |' * empty}", *rows[-half:]]
    return "\n".join(rows)


def precision_of(figures: CardFigures, name: str) -> str:
    """How well a label is found, as a percentage; empty where no image shows it."""
    found = figures["per_class"][name]["AP"]
    return "" if found is None else f"{100 * found:.1f}"


def sets_table(figures: CardFigures) -> Table:
    """The figures of the predicted sets, a row for each way to choose them that the model has."""
    ways = WAYS_TO_A_SET | {"top_k": f"top {figures['top_k.k']}"}
    if figures.content.get("path", False) is None:
        del ways["path"]  # a model without a path decoder predicts no set by path
    if figures.content.get("set") is None:
        del ways["set"]  # nor one whose figures are older than whole sets
    columns = tuple(Column(name.replace("_", " "), (name,)) for name in FIGURES)
    rows = [
        TableRow(title, {column.heading: figures.fraction(".".join((way, *column.key))) for column in columns})
        for way, title in ways.items()
    ]
    return Table("Predicted sets", columns, tuple(rows))


def weakest_labels(figures: CardFigures) -> str:
    """The labels of least average precision, with it and their number of positives."""
    known = [
        (values["AP"], name, values["positives"])
        for name, values in figures["per_class"].items()
        if values["AP"] is not None
    ]
    return ", ".join(
        f"{cell(name)} {100 * precision:.1f} ({positives} image{'s' if positives != 1 else ''})"
        for precision, name, positives in sorted(known)[:WEAKEST]
    )


def cell(name: str) -> str:
    """A label as text of one table cell, whatever signs it holds."""
    return " ".join(name.replace("|", "\\|").replace("<", "&lt;").split())
