"""MS-COCO 2014 and 2017 in the official layout: `annotations/instances_<split><year>.json` and image folders.

The 80 classes keep the order of their official ids, which are sparse (1..90). An image without annotation is a valid
row: val2014 has all its 40,504 images. A crowd annotation ("many people, not outlined one by one") counts as present.
"""

import logging
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, leaves_folder, pick_split, present_paths
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix

if TYPE_CHECKING:
    from cnn_rnn.data.files.coco_json import CocoDocument

logger = logging.getLogger(__name__)

COCO_YEARS = (2014, 2017)
COCO_SPLITS = ("train", "val")


def load_coco(
    root: str | Path, year: int | str, require_images: bool = True, split: str | None = None
) -> Dataset | DatasetDict:
    """The official splits of one year whose annotations exist, or the one named by `split`.

    Args:
        root: The folder that holds `annotations/` and, beside it or in `images/`, `train2017/` and its like; or the
            folder that holds it as `coco/`.
        year: 2014 or 2017.
        require_images: False accepts missing images; their rows hold None as image.
        split: train or val.

    Raises:
        FileNotFoundError: The folder, a file or (unless told otherwise) an image is missing.
        ValueError: An annotation file that is cut off or contradicts itself; file and key are named.
        ImportError: The JSON reader of the extra `data` is not installed.
    """
    if str(year) not in map(str, COCO_YEARS):
        raise ValueError(f"COCO year {year!r} is not known; choose {' or '.join(map(str, COCO_YEARS))}")
    annotations = existing_folder(root, f"COCO {year} annotations", ("annotations", "coco/annotations"))
    files = {name: annotations / f"instances_{name}{year}.json" for name in COCO_SPLITS}
    available = [name for name, path in files.items() if path.is_file()]
    chosen = pick_split(available, split, f"COCO {year} in {annotations}")
    loaded = {name: load_coco_file(files[name], f"{name}{year}", require_images, name) for name in chosen}
    vocabularies = {str(rows.features["labels"].feature.names) for rows in loaded.values()}
    if len(vocabularies) > 1:
        raise ValueError(f"{annotations}: the categories of {' and '.join(chosen)} differ; they must be the same")
    return loaded[split] if split else DatasetDict(loaded)


def load_coco_file(path: Path, image_folder: str, require_images: bool = True, split: str | None = None) -> Dataset:
    """One annotation file in COCO's format, with its images in `image_folder` beside `annotations/`."""
    document = _read(path)
    image_ids = _column(document.images, "id")
    names = [image.file_name for image in document.images]
    _refuse_escapes(path, names)
    _refuse_repeats(path, "images: id", image_ids)
    _refuse_repeats(path, "images: file_name", np.array(names))
    category_ids = _column(document.categories, "id")
    _refuse_repeats(path, "categories: id", category_ids)
    _refuse_repeats(path, "categories: name", np.array([category.name for category in document.categories]))

    rows = _positions(path, "image_id", _column(document.annotations, "image_id"), image_ids)
    categories = np.sort(category_ids)
    labels = _positions(path, "category_id", _column(document.annotations, "category_id"), categories)
    present = np.zeros((len(names), len(categories)), dtype=bool)  # (N, C)
    outlined = np.zeros_like(present)
    present[rows, labels] = True
    one_by_one = _column(document.annotations, "iscrowd") != 1
    outlined[rows[one_by_one], labels[one_by_one]] = True
    logger.info(
        "%s: %s images, %s of them without annotation; %s labels rest on crowd annotations alone",
        path.name, len(names), np.sum(~present.any(axis=1)), np.sum(present & ~outlined),
    )  # fmt: skip

    root = path.parents[1]
    folder = next((place for place in (root, root / "images") if (place / image_folder).is_dir()), root) / image_folder
    paths = present_paths(folder, names, path.name, require_images=require_images)
    by_id = sorted(document.categories, key=lambda category: category.id)
    ids = pa.array(image_ids).cast(pa.string())
    return build_dataset(
        image_paths(paths), ids, label_lists_from_matrix(present), [category.name for category in by_id], split=split
    )


def _column(items: Sequence[object], key: str) -> npt.NDArray[np.int64]:
    """One number of each item (N,)."""
    return np.fromiter(map(attrgetter(key), items), np.int64, len(items))


def _refuse_escapes(path: Path, names: list[str]) -> None:
    """Refuse file names that leave the image folder."""
    with_folder = [name for name in names if "/" in name or "\\" in name or ":" in name or name == ".."]
    escaping = [name for name in with_folder if leaves_folder(name)]
    if escaping:
        raise ValueError(f"{path}: images: file_name {abbreviate(escaping)} leaves the image folder")


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


def _read(path: Path) -> "CocoDocument":
    """The content of an annotation file; ImportError that says how to get msgspec."""
    try:
        from cnn_rnn.data.files.coco_json import read_coco
    except ImportError as error:
        raise ImportError("reading COCO's annotations needs msgspec: pip install 'cnn-rnn[data]'") from error
    return read_coco(path)
