"""MS-COCO 2014 and 2017 in the official layout: `annotations/instances_<split><year>.json` and image folders.

The 80 classes keep the order of their official ids, which are sparse (1..90). An image without annotation is a valid
row: val2014 has all its 40,504 images. A crowd annotation ("many people, not outlined one by one") counts as present.
"""

import logging
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict

from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, leaves_folder, pick_split
from cnn_rnn.data.photos.file_matching import match_files
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix
from cnn_rnn.foundation.resting_collector import collector_resting

logger = logging.getLogger(__name__)

COCO_YEARS = (2014, 2017)
COCO_SPLITS = ("train", "val")


@collector_resting()
def load_coco(
    root: str | Path, year: int | str, require_images: bool = True, split: str | None = None
) -> Dataset | DatasetDict:
    """The official splits of one year, 2014 or 2017, with annotations; see `load_source` for what all loaders take.

    `root` holds `annotations/` and, beside it or in `images/`, `train2017/` and its like; or it holds that as `coco/`.

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


def load_coco_file(path: Path, image_folder: str, require_images: bool = True, split: str = "train") -> Dataset:
    """One annotation file in COCO's format, with its images in `image_folder` beside `annotations/`."""
    from cnn_rnn.data.files.coco_json import read_coco

    coco = read_coco(path)
    escaping = [image.file_name for image in coco.images if leaves_folder(image.file_name)]
    if escaping:
        raise ValueError(f"{path}: images: file_name {abbreviate(escaping)} leaves the image folder")
    logger.info(
        "%s: %s images, %s of them without annotation; %s labels rest on crowd annotations alone",
        path.name, len(coco.images), np.sum(~coco.present.any(axis=1)), coco.crowds_alone,
    )  # fmt: skip
    root = path.parents[1]
    folder = next((place for place in (root, root / "images") if (place / image_folder).is_dir()), root) / image_folder
    paths, notes = match_files(
        folder,
        [image.file_name for image in coco.images],
        f"{path.name} ({split})",
        require_images=require_images,
        where=lambda index: f"{path}, image {index + 1}",
    )
    ids = [str(image.id) for image in coco.images]
    names = [category.name for category in coco.categories]
    told = "\n".join(f"{path.name}: {note}" for note in notes)
    labels = label_lists_from_matrix(coco.present)
    return build_dataset(image_paths(paths), ids, labels, names, split=split, description=told)
