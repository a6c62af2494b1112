"""NUS-WIDE in the official layout: 81 concepts checked by people, or the 1,000 most frequent Flickr tags.

`ImageList/{Train,Test}Imagelist.txt` are the official splits. Papers differ in them, because photos vanished from
Flickr and because some drop the images without any label: so each load prints what its split holds.
"""

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict

from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, leaves_folder, pick_split
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix

from .nus_wide_labels import read_concepts, read_tags

logger = logging.getLogger(__name__)

NUS_WIDE_SPLITS = {"train": "Train", "test": "Test"}
LABEL_READERS = {"concepts81": read_concepts, "tags1k": read_tags}
_FATE = {True: "left out", False: "kept"}
IMAGE_FOLDERS = ("Flickr", "images", "image", "flickr")


def load_nus_wide(
    root: str | Path,
    labels: str = "concepts81",
    require_images: bool = True,
    split: str | None = None,
    *,
    drop_missing: bool = False,
    drop_unlabelled: bool = False,
) -> Dataset | DatasetDict:
    """The official splits train and test, or the one named by `split`; their counts are printed to stderr.

    Images are found in `Flickr/` or `images/`, in subfolders as the lists name them or flat, under their listed
    name or under the photo's Flickr id alone.

    Args:
        root: The folder that holds `Groundtruth/`, `ImageList/` and (for tags) `NUS_WID_Tags/`.
        labels: concepts81 or tags1k.
        require_images: False accepts missing images; their rows hold None as image.
        split: train or test.
        drop_missing: Leave out the rows whose image is missing, counted and named, instead of failing.
        drop_unlabelled: Leave out the rows without any label, counted.

    Raises:
        FileNotFoundError: A folder, a file or (unless told otherwise) an image is missing.
        ValueError: A list that contradicts another; file and line are named.
    """
    if labels not in LABEL_READERS:
        raise ValueError(f"labels {labels!r} are not known; choose {' or '.join(LABEL_READERS)}")
    existing_folder(root, "NUS-WIDE ground truth", ("Groundtruth",))
    lists = existing_folder(root, "NUS-WIDE image lists", ("ImageList",))
    available = [name for name, word in NUS_WIDE_SPLITS.items() if (lists / f"{word}Imagelist.txt").is_file()]
    photos = _index_photos(Path(root))
    loaded = {}
    for name in pick_split(available, split, f"NUS-WIDE in {lists}"):
        files = _read_list(lists / f"{NUS_WIDE_SPLITS[name]}Imagelist.txt")
        class_names, present = LABEL_READERS[labels](Path(root), NUS_WIDE_SPLITS[name], len(files))
        paths = [photos.get(file) or photos.get(_flickr_id(file)) for file in files]
        missing = np.array([path is None for path in paths])
        if require_images and not drop_missing and missing.any():
            raise FileNotFoundError(
                f"NUS-WIDE {name}: {_count_missing(files, missing)}; looked in {root} for {', '.join(IMAGE_FOLDERS)}. "
                "Pass drop_missing=True to leave them out, or require_images=False to work with labels alone"
            )
        unlabelled = ~present.any(axis=1)
        kept = np.flatnonzero(~(missing & drop_missing | unlabelled & drop_unlabelled))
        print(
            f"NUS-WIDE {name}: {len(files):,} images listed; {_count_missing(files, missing)} ({_FATE[drop_missing]}); "
            f"{unlabelled.sum():,} without label ({_FATE[drop_unlabelled]}); {len(kept):,} rows",
            file=sys.stderr,
        )
        loaded[name] = build_dataset(
            image_paths([paths[i] for i in kept]),
            [files[i].removesuffix(".jpg") for i in kept],
            label_lists_from_matrix(present[kept]),
            class_names,
            split=name,
        )
    return loaded[split] if split else DatasetDict(loaded)


def _read_list(path: Path) -> list[str]:
    """The images of a split as `folder/name.jpg`; the official lists use backslashes."""
    files = path.read_text(encoding="utf-8").replace("\\", "/").split()
    for number, file in enumerate(files, start=1):
        if not file.endswith(".jpg") or leaves_folder(file):
            raise ValueError(f"{path}, line {number}: {file!r}, expected an image such as actor/0001_2124494179.jpg")
    repeated = [file for file, count in Counter(files).items() if count > 1]
    if repeated:
        logger.warning("%s lists %s images more than once: %s", path, len(repeated), abbreviate(repeated))
    return files


def _flickr_id(file: str) -> str:
    """The photo's number: it names a photo wherever a copy of NUS-WIDE keeps it."""
    return file.removesuffix(".jpg").rpartition("/")[2].rpartition("_")[2]


def _index_photos(root: Path) -> dict[str, str]:
    """Paths of the photos on disk by `folder/name.jpg` and by Flickr id."""
    photos: dict[str, str] = {}
    base = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    if base is None:
        return photos
    for place, _, names in os.walk(base):  # follows no link, so a loop of links is harmless
        below = Path(place).relative_to(base).as_posix()
        for name in names:
            path = f"{place}{os.sep}{name}"
            photos[name if below == "." else f"{below}/{name}"] = path
            photos.setdefault(_flickr_id(name), path)
    return photos


def _count_missing(files: list[str], missing: npt.NDArray[np.bool_]) -> str:
    """How many images are missing, and the names of some, for a message."""
    named = abbreviate([files[i] for i in np.flatnonzero(missing)])
    return f"{missing.sum():,} of {len(files):,} images are missing" + (f": {named}" if named else "")
