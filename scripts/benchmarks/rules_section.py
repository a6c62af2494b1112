"""What rules between labels cost: the search of a model under rules beside that of the same model without."""

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from row import Part, Row
from turns import Turns
from walking_models import varied_images, walking_model

from cnn_rnn.label_rules import LabelRules

LABELS = (374, 10_000)
BATCHES = (1, 32)
BRANCHES = 10  # labels below one, in the tree
EXCLUSIVE = 5  # labels of a group
TURNS = 7


def parts() -> dict[str, Part]:
    """The parts of this section."""
    keys = tuple(key_of(labels, batch) for labels in LABELS for batch in BATCHES)
    return {"search": Part(lambda _: measure_searches(), keys)}


def key_of(labels: int, batch: int) -> str:
    """Key of a figure."""
    return f"rules_{labels}_batch{batch}_over_plain"


def measure(workspace: Path) -> list[Row]:
    """All figures of this section."""
    return [row for part in parts().values() for row in part.measure(workspace)]


def measure_searches() -> Iterator[Row]:
    """The search over features that are at hand, with label scores, fusion and rules."""
    for labels in LABELS:
        plain = walking_model("test_resnet", labels, image_size=64)
        ruled = copy.deepcopy(plain)
        ruled.rules = LabelRules.of(tree_of(plain.config.label_names), plain.config.label_names)
        with torch.inference_mode():
            for batch in BATCHES:
                features = plain.encode_images(varied_images(batch, 64))
                ways = {
                    "rules": partial(ruled.generate, image_features=features),
                    "plain": partial(plain.generate, image_features=features),
                }
                ours, reference = Turns.take(ways, TURNS).values()
                what = f"rules, {labels:,} labels, batch {batch}"
                ratio = ours.median / reference.median
                yield Row(what, ours.least, "s; no rules", reference.least, "", key_of(labels, batch), ratio)


def tree_of(names: list[str]) -> dict[str, Any]:
    """Rules for names: each below the one at a tenth of its place, and every five beside each other exclusive."""
    implies = {name: names[place // BRANCHES] for place, name in enumerate(names) if place >= BRANCHES}
    groups = [names[place : place + EXCLUSIVE] for place in range(0, len(names) - 1, BRANCHES)]
    return {"implies": implies, "excludes": groups}


if __name__ == "__main__":
    for row in measure(Path()):
        print(f"{row.what}: {row.ours:.4f} s, {row.reference:.4f} s without, ratio of medians {row.median:.2f}")
