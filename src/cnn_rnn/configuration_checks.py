"""What the fields of a config must be for a model to be built of them."""

import math
from typing import TYPE_CHECKING, Any

from .label_rules import LabelRules

if TYPE_CHECKING:
    from .configuration_cnn_rnn import CnnRnnConfig

# The search and its memory grow with the path; no label set of a real photo comes near this.
LONGEST_PATH = 1024
WIDEST_BEAM = 1024
# A config from elsewhere must not take days or all memory to build: beyond any model that there is.
LARGEST_SIZE = 2**16
LARGEST_ARGUMENT = 50_000  # the sum of all numbers for the backbone, layers among them
MOST_ARGUMENTS = 1_000

HEADS_OF_PLACES = ("residual_attention", "ml_decoder")  # they take the places of the feature map, not their mean

# timm arguments that would read a file or a hub while a model is built, or that this model sets itself.
REFUSED_BACKBONE_ARGS = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "features_only",
        "global_pool",
        "model_name",
        "num_classes",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "scriptable",
    }
)


def check_config(config: "CnnRnnConfig") -> None:
    """Refuse a config that no model can be built from.

    Raises:
        ValueError: A field is out of its range, or contradicts another; it is named, with what is expected.
    """
    for check in (
        _check_labels,
        _check_label_rules,
        _check_bounds,
        _check_numbers,
        _check_shares,
        _check_fusion,
        _check_path_loss,
        _check_relevance_head,
        _check_backbone,
    ):
        check(config)


def _check_labels(config: "CnnRnnConfig") -> None:
    """Check that the ids are 0..C-1, that names are unique, and that what is listed per label has C entries."""
    if not config.id2label:
        raise ValueError("id2label is empty: a model needs at least one label")
    if set(config.id2label) != set(range(config.num_labels)):
        raise ValueError(f"id2label must have the keys 0..{config.num_labels - 1}, got {sorted(config.id2label)[:10]}")
    _check_names(config)
    for name in ("label_counts", "thresholds", "counted_images"):
        values = getattr(config, name)
        if isinstance(values, list) and len(values) != config.num_labels:
            raise ValueError(f"{name} has {len(values)} entries for {config.num_labels} labels")
    if min(config.label_counts or [0]) < 0:
        raise ValueError(f"label_counts are numbers of images, 0 or more, got {min(config.label_counts or [])}")
    counted = config.counted_images
    if counted is not None and config.label_counts is not None:
        images = counted if isinstance(counted, list) else [counted] * config.num_labels
        for all_of_them, showing in zip(images, config.label_counts, strict=True):
            if all_of_them < showing:
                raise ValueError(f"counted_images is {all_of_them}, but label_counts has {showing} of one label")


def _check_names(config: "CnnRnnConfig") -> None:
    """Check that every label has a name of its own."""
    if len(set(config.id2label.values())) != config.num_labels:
        raise ValueError("id2label names a label twice; every label needs a name of its own")
    if not all(isinstance(label, str) for label in config.id2label.values()):
        raise ValueError(f"id2label must map ids to names, got {list(config.id2label.values())[:10]}")
    if not all(label.strip() for label in config.id2label.values()):
        raise ValueError(f"id2label gives a label no name: {config.id2label}"[:200])
    try:
        "\n".join(config.id2label.values()).encode()
    except UnicodeEncodeError as error:  # of half a character of UTF-16, with which no file of labels can be written
        label = error.object[: error.end].rpartition("\n")[2]
        raise ValueError(f"id2label names a label {label!r}, which UTF-8 cannot write: give it another name") from None
    if config.label2id != {label: index for index, label in config.id2label.items()}:
        raise ValueError("label2id is not the inverse of id2label: give both, or id2label alone")


def _check_label_rules(config: "CnnRnnConfig") -> None:
    """Check that the rules between labels name labels there are, and do not contradict each other."""
    if config.label_rules:
        LabelRules.of(config.label_rules, config.label_names)


def _check_bounds(config: "CnnRnnConfig") -> None:
    """Check that sizes are positive and bounded, and shares lie in their ranges."""
    largest = dict.fromkeys(("embedding_size", "hidden_size", "relevance_hidden_size", "image_size"), LARGEST_SIZE)
    for name, most in (largest | {"max_path_length": LONGEST_PATH, "beam_width": WIDEST_BEAM}).items():
        if not 1 <= getattr(config, name) <= most:
            raise ValueError(f"{name} must lie in 1..{most}, got {getattr(config, name)}")
    if not 0 < config.crop_pct <= 2:  # above 1 the crop is larger than the image, with a black border (VOLO)
        raise ValueError(f"crop_pct must lie in (0, 2], got {config.crop_pct}")
    if not (config.path_loss_weight >= 0 and config.relevance_loss_weight >= 0):  # so that NaN fails too
        raise ValueError("path_loss_weight and relevance_loss_weight must not be negative")


def _check_numbers(config: "CnnRnnConfig") -> None:
    """Check that what comes in threes is finite, and that pixels can be divided by their deviation."""
    for name in ("fusion_weights", "set_weights", "image_mean", "image_std"):
        if name == "set_weights" and config.set_weights is None:
            continue
        values = list(getattr(config, name))
        if len(values) != 3:
            raise ValueError(f"{name} must have 3 entries, got {values}")
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{name} must hold finite numbers, got {values}")
        if name == "image_std" and min(values) <= 0:
            raise ValueError(f"image_std must be above 0, as pixels are divided by it, got {values}")


def _check_shares(config: "CnnRnnConfig") -> None:
    """Check that dropouts and thresholds are shares, and that no negative number of images is to be remembered."""
    for value in config.thresholds or ():
        if not 0 <= value <= 1:  # so that NaN fails too
            raise ValueError(f"thresholds are probabilities in 0..1, got {value}")
    if not 0 <= config.familiar_from <= 1:
        raise ValueError(f"familiar_from is a probability in 0..1, got {config.familiar_from}")
    for name in ("projection_dropout", "relevance_dropout"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {getattr(config, name)}")
    if config.neighbours < 0:
        raise ValueError(f"neighbours must be the number of images to remember, 0 for none, got {config.neighbours}")


def _check_fusion(config: "CnnRnnConfig") -> None:
    """Check that the parts which the fusion needs are there."""
    parts = {"path": config.has_path_decoder, "relevance": config.has_relevance_head}
    if not any(parts.values()):
        raise ValueError("path_loss and relevance_loss are both 'none': nothing would be left to train")
    needed = parts if config.fusion == "both" else {config.fusion}
    for part in needed:
        if not parts[part]:
            there = next(name for name, present in parts.items() if present)
            raise ValueError(
                f"fusion={config.fusion!r} needs the {part} part, but {part}_loss is 'none': set fusion={there!r}"
            )


def _check_path_loss(config: "CnnRnnConfig") -> None:
    """Check that training walks the paths that the search will walk."""
    if config.path_loss == "remaining_labels" and config.label_order != "aligned":
        raise ValueError(
            f"path_loss='remaining_labels' leaves the order of a path to the model, but label_order="
            f"{config.label_order!r} would train on other paths than it walks: set label_order='aligned'"
        )


def _check_relevance_head(config: "CnnRnnConfig") -> None:
    """Check that what builds on the relevance head finds it, and that the head gets the features it needs."""
    if config.relevance_head in HEADS_OF_PLACES and config.pooling != "attention":
        raise ValueError(f"relevance_head={config.relevance_head!r} reads the feature map: set pooling='attention'")
    if config.relevance_head == "ml_decoder" and config.relevance_hidden_size % 8:
        raise ValueError(
            f"relevance_head='ml_decoder' has 8 heads: relevance_hidden_size must be a multiple of 8, "
            f"got {config.relevance_hidden_size}"
        )
    wanted = {"relevance_in_path": config.relevance_in_path, "neighbours": config.neighbours}
    for name, value in wanted.items():
        if value and not config.has_relevance_head:
            raise ValueError(f"{name}={value!r} needs a relevance head, but relevance_loss is 'none'")
    if config.relevance_in_path and not config.has_path_decoder:
        raise ValueError("relevance_in_path=True needs a path decoder, but path_loss is 'none'")


def _check_backbone(config: "CnnRnnConfig") -> None:
    """Refuse a backbone that would be fetched or unpickled while the model is built."""
    if ":" in config.backbone or "/" in config.backbone:
        raise ValueError(
            f"backbone {config.backbone!r} is an address; give the plain name of a timm model (timm.list_models())"
        )
    refused = sorted(REFUSED_BACKBONE_ARGS & set(config.backbone_args or {}))
    if refused:
        raise ValueError(f"backbone_args must not set {', '.join(refused)}: the model sets or forbids these itself")
    values: list[Any] = [config.backbone_args or {}]
    total = 0.0
    for count, value in enumerate(values):  # grows on the way
        if count > MOST_ARGUMENTS:
            raise ValueError(f"backbone_args holds more than {MOST_ARGUMENTS} values, more than any timm model has")
        if isinstance(value, int | float):
            total += abs(value)
            if not total <= LARGEST_ARGUMENT:  # so that NaN fails too
                raise ValueError(f"backbone_args holds {value}; a backbone of that size cannot be built")
        if isinstance(value, dict | list | tuple):
            values.extend(value.values() if isinstance(value, dict) else value)
