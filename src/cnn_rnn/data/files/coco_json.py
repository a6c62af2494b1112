"""COCO's annotation format, whoever wrote it: photos and the categories of their annotations, nothing else is kept."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.foundation.broken_files import told_as_broken

from .raw_table import RawTable

try:
    import msgspec
except ImportError as error:
    raise ImportError("reading COCO's annotations needs msgspec: pip install 'cnn-rnn[data]'") from error


class CocoImage(msgspec.Struct, gc=False):
    """One photo."""

    id: int
    file_name: str


class CocoAnnotation(msgspec.Struct, gc=False):
    """One object, or a crowd of them, on one photo."""

    image_id: int
    category_id: int
    iscrowd: int = 0


class CocoCategory(msgspec.Struct, gc=False):
    """One class."""

    id: int
    name: str
    supercategory: str | None = None


class CocoDocument(msgspec.Struct):
    """An annotation file; polygons and boxes are skipped while parsing."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


@dataclass(frozen=True)
class Coco:
    """What an annotation file says of labels.

    Attributes:
        images: The photos in the order of the file.
        present: Which photo has annotations of which category (N, C), a crowd's among them.
        categories: The classes in the order of their ids, which may be sparse.
        annotations: How many there are.
        crowds_alone: How many labels rest on annotations of crowds alone.
    """

    images: list[CocoImage]
    present: npt.NDArray[np.bool_]
    categories: list[CocoCategory]
    annotations: int
    crowds_alone: int


def read_coco(path: Path, text: str | None = None) -> Coco:
    """The checked content of an annotation file.

    Args:
        path: The file.
        text: What it says, where it is not written in plain UTF-8.

    Raises:
        ValueError: It is cut off, or contradicts itself; file and key are named.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    with told_as_broken(path, "is not COCO's instances format, whole"), path.open("rb") as file:
        if text is None:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                document = msgspec.json.decode(content, type=CocoDocument)
        else:
            document = msgspec.json.decode(text, type=CocoDocument)
    image_ids, file_names = _column(document.images, "id"), [image.file_name for image in document.images]
    categories = sorted(document.categories, key=attrgetter("id"))
    names, category_ids = [category.name for category in categories], _column(categories, "id")
    for key, values in (("images: id", image_ids), ("images: file_name", np.array(file_names)),
                        ("categories: id", category_ids), ("categories: name", np.array(names))):  # fmt: skip
        _refuse_repeats(path, key, values)
    found = document.annotations
    rows = _positions(path, "image_id", _column(found, "image_id"), image_ids)
    ids = _positions(path, "category_id", _column(found, "category_id"), category_ids)
    present = np.zeros((len(file_names), len(names)), dtype=bool)  # (N, C)
    outlined = np.zeros_like(present)
    present[rows, ids] = True
    one_by_one = _column(found, "iscrowd") != 1
    outlined[rows[one_by_one], ids[one_by_one]] = True
    return Coco(document.images, present, categories, len(found), int((present & ~outlined).sum()))


def coco_table(path: Path, text: str | None = None) -> RawTable:
    """COCO's format of whatever tool; an image's labels are the categories of its annotations."""
    coco = read_coco(path, text)
    if not coco.images:
        raise ValueError(f"{path}: images is empty")
    used = {coco.categories[index].name for index in np.flatnonzero(coco.present.any(axis=0))}
    above = {category.supercategory for category in coco.categories if category.supercategory != category.name}
    parents = {category.name for category in coco.categories} & above - used
    names = [category.name for category in coco.categories if category.name not in parents]
    notes = [f"COCO's format: {len(coco.images):,} images, {coco.annotations:,} annotations, {len(names)} categories"]
    notes += [
        f"category {category.id} {category.name!r} is the parent of others and on no image: no class of its own"
        for category in coco.categories
        if category.name in parents
    ]
    columns: dict[str, list[Any]] = {
        "file_name": [image.file_name for image in coco.images],
        "labels": [[coco.categories[index].name for index in np.flatnonzero(row)] for row in coco.present],
    }
    return RawTable(path, "image", range(1, len(coco.images) + 1), columns, notes, names)


def _column(items: Sequence[object], key: str) -> npt.NDArray[np.int64]:
    """One number of each item (N,)."""
    return np.fromiter(map(attrgetter(key), items), np.int64, len(items))


def _refuse_repeats(path: Path, key: str, values: npt.NDArray) -> None:
    """Refuse values that occur more than once."""
    unique, counts = np.unique(values, return_counts=True)
    repeated = unique[counts > 1].tolist()
    if repeated:
        raise ValueError(f"{path}: {key} {abbreviate(repeated)} occurs more than once; it must be unique")


def _positions(
    path: Path, key: str, wanted: npt.NDArray[np.int64], known: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Where each annotation's id stands among the known ones."""
    places = pc.index_in(pa.array(wanted), pa.array(known))
    if places.null_count:
        unknown = np.flatnonzero(places.is_null())
        named = abbreviate([f"annotations[{index}] has {key} {wanted[index]}" for index in unknown])
        table = {"image_id": "images", "category_id": "categories"}[key]
        raise ValueError(f"{path}: {len(unknown):,} annotations name what '{table}' does not list: {named}")
    found: npt.NDArray[np.int64] = places.to_numpy().astype(np.int64)
    return found
