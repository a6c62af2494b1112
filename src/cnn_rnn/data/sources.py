"""Every data set by the name that a run's settings give it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from datasets import Dataset

from .digits import load_digits
from .image_folder import load_image_folder
from .voc import load_voc

SOURCES: dict[str, Callable[..., Any]] = {
    "digits": load_digits,
    "image_folder": load_image_folder,
    "voc2007": partial(load_voc, year=2007),
    "voc2012": partial(load_voc, year=2012),
}
EMBEDDED = {"digits"}  # sources that need no folder


def load_split(name: str, root: str | None, split: str) -> Dataset:
    """One split of a data set.

    Args:
        name: A key of `SOURCES`.
        root: The data set's folder; None for an embedded one.
        split: Name of the split.

    Raises:
        ValueError: An unknown name, a missing root or a split that the data set does not have.
    """
    if name not in SOURCES:
        raise ValueError(f"data.name {name!r} is not known; choose from {', '.join(SOURCES)}")
    if name in EMBEDDED:
        return SOURCES[name](split=split)
    if root is None:
        raise ValueError(f"data.root is missing: give the folder of {name} with --data.root FOLDER")
    return SOURCES[name](root, split=split)
