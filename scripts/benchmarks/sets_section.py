"""What whole sets cost: a search that weighs them beside the same search without."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from row import Part, Row
from turns import Turns
from walking_models import varied_images, walking_model

LABELS = (374, 10_000)
BATCHES = (1, 32)
TURNS = 7


def parts() -> dict[str, Part]:
    """The parts of this section."""
    keys = tuple(key_of(labels, batch) for labels in LABELS for batch in BATCHES)
    return {"search": Part(lambda _: measure_searches(), keys)}


def key_of(labels: int, batch: int) -> str:
    """Key of a figure."""
    return f"sets_{labels}_batch{batch}_over_plain"


def measure(workspace: Path) -> list[Row]:
    """All figures of this section."""
    return [row for part in parts().values() for row in part.measure(workspace)]


def measure_searches() -> Iterator[Row]:
    """The search over features that are at hand, with label scores, fusion and sets."""
    for labels in LABELS:
        model = walking_model("test_resnet", labels, image_size=64)
        model.config.set_weights = (0.4, 0.4, 0.2)
        with torch.inference_mode():
            for batch in BATCHES:
                features = model.encode_images(varied_images(batch, 64))
                ways = {
                    "sets": partial(model.generate, image_features=features, sets=True),
                    "plain": partial(model.generate, image_features=features),
                }
                ours, reference = Turns.take(ways, TURNS).values()
                what = f"whole sets, {labels:,} labels, batch {batch}"
                ratio = ours.median / reference.median
                yield Row(what, ours.least, "s; search alone", reference.least, "", key_of(labels, batch), ratio)


if __name__ == "__main__":
    for row in measure(Path()):
        print(f"{row.what}: {row.ours:.4f} s, {row.reference:.4f} s without, ratio of medians {row.median:.2f}")
