"""The figures that a card reports: each must be there, none of images that the model was trained or chosen on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.data.labels.choosing import joined_parts

TWO_IN_ONE = {"trainval": ("train", "val")}
HELD_OUT = "held-out"  # the split on which training chooses epoch, fusion and thresholds


class CardError(ValueError):
    """Something that the card must say is not known; the message names it, and the way out."""


class CardFigures:
    """The figures of a `metrics.json`, each of which must be there.

    Args:
        path: The file, as `cnn-rnn validate` wrote it.

    Raises:
        CardError: It is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.content: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CardError(f"no figures in {path}: {error}; cnn-rnn validate writes such a file") from error

    def __getitem__(self, name: str) -> Any:
        """The figure of a dotted name, such as `path.CF1`.

        Raises:
            CardError: It is missing or undefined.
        """
        value = self.content
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            raise CardError(
                f"{self.path} has no figure {name!r}; measure again with cnn-rnn validate on a split where it is "
                "defined"
            )
        return value

    def fraction(self, name: str) -> float:
        """A figure in 0..1.

        Raises:
            CardError: It is missing or no fraction.
        """
        value = self[name]
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise CardError(f"{self.path}: figure {name!r} is {value!r}, expected a fraction in 0..1")
        return value

    def percent(self, name: str) -> str:
        """A figure in 0..1 as a percentage; CardError as `fraction` raises it."""
        return f"{100 * self.fraction(name):.1f}"

    def check(self, config: CnnRnnConfig, run: Mapping[str, Any]) -> None:
        """Refuse figures of another model, or of images that this one was trained or chosen on.

        Raises:
            CardError: They are.
        """
        data, split = run["data"], self["split"]
        chosen_on = filter(None, (data["train_split"], data["validation_split"]))
        seen = {part for used in chosen_on for part in smallest_parts(data["name"], used)}
        if split == HELD_OUT or not seen.isdisjoint(smallest_parts(self["data"], split)):
            raise CardError(
                f"{self.path} was measured on the split {split!r}, on which this model was trained or chosen; give "
                "--metrics the metrics.json that cnn-rnn validate writes for a test split"
            )
        if list(self["per_class"]) != config.label_names:
            raise CardError(f"{self.path} has figures of other labels than the model's; give --metrics its own")


def smallest_parts(kind: str, split: str) -> list[tuple[str, str]]:
    """As `joined_parts`, with VOC's trainval as the two splits that it is."""
    parts = joined_parts(kind, split)
    return [(name, one) for name, part in parts for one in TWO_IN_ONE.get(part, (part,))]


def check_alike(figures: CardFigures, rival: CardFigures) -> None:
    """Refuse a rival that was measured on other images.

    Raises:
        CardError: It was.
    """
    for name in ("data", "split", "counts.images", "counts.positives"):
        if figures[name] != rival[name]:
            raise CardError(
                f"{rival.path}: {name} is {rival[name]!r}, that of {figures.path} {figures[name]!r}; measure both on "
                "the same images, with cnn-rnn validate --baseline"
            )
