"""Which images a person means: a file, a folder, a list, or a split of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Image as ImageFeature
from PIL import Image

from cnn_rnn.data import SOURCES, label_names, load_source

IMAGE_SUFFIXES = set(Image.registered_extensions())


@dataclass
class FoundImages:
    """Images to label: names, undecoded images and, for a data set, true labels, each by position."""

    names: Sequence[str]
    images: Sequence[Any]
    truths: Sequence[list[str]] | None = None


def find_images(source: str) -> list[Path]:
    """Image files that a file, a folder (searched through) or a text file with a path a line names.

    Raises:
        FileNotFoundError: There is no such file or folder, or it holds no image.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{path} holds no image file ({', '.join(sorted(IMAGE_SUFFIXES)[:8])}, ...)")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {source!r}; data sets are written NAME:SPLIT, such as digits:test")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path]
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [path.parent / line.strip() for line in lines if line.strip()]
    if not found:
        raise FileNotFoundError(f"{path} names no image; expected a path a line")
    return found


def find_inputs(source: str, root: str | None, limit: int | None) -> FoundImages:
    """The images that --input names, none of them opened yet."""
    name, _, split = source.partition(":")
    if name in SOURCES and split:
        dataset = load_source(name, root, split=split).cast_column("image", ImageFeature(decode=False))
        dataset = dataset.select(range(min(limit or len(dataset), len(dataset))))
        names = label_names(dataset)
        truths = [[names[label] for label in labels] for labels in dataset["labels"]]
        return FoundImages(list(dataset["image_id"]), dataset["image"], truths)
    files = [str(file) for file in find_images(source)[:limit]]
    return FoundImages(files, files)
