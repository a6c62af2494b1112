"""A search that does more beside the same search alone, over features that are at hand, for few and for many labels."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from row import Part, Row
from turns import Turns
from walking_models import varied_images

from cnn_rnn import CnnRnnForImageClassification

LABELS = (374, 10_000)
BATCHES = (1, 32)
TURNS = 7

Search = Callable[..., object]


def compared_searches(
    key: str, what: str, alone: str, searches: Callable[[int], tuple[CnnRnnForImageClassification, Search, Search]]
) -> Part:
    """The part of a section whose keys are `KEY_LABELS_batchBATCH_over_plain`.

    Args:
        key: What the keys begin with.
        what: What does more, for the table.
        alone: What the search alone is called there.
        searches: For a number of labels the model that encodes images, and both ways to search their features.
    """
    keys = {(labels, batch): f"{key}_{labels}_batch{batch}_over_plain" for labels in LABELS for batch in BATCHES}

    def measure() -> Iterator[Row]:
        for labels in LABELS:
            model, more, plain = searches(labels)
            with torch.inference_mode():
                for batch in BATCHES:
                    features = model.encode_images(varied_images(batch, 64))
                    ways = {
                        key: partial(more, image_features=features),
                        "plain": partial(plain, image_features=features),
                    }
                    ours, reference = Turns.take(ways, TURNS).values()
                    ratio = ours.median / reference.median
                    title = f"{what}, {labels:,} labels, batch {batch}"
                    yield Row(title, ours.least, f"s; {alone}", reference.least, "", keys[labels, batch], ratio)

    return Part(lambda _: measure(), tuple(keys.values()))
