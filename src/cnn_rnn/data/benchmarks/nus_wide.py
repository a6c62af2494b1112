"""NUS-WIDE in the official layout: 81 concepts checked by people, or the 1,000 most frequent Flickr tags.

`ImageList/{Train,Test}Imagelist.txt` are the official splits. Papers differ in them, because photos vanished from
Flickr and because some drop the images without any label: so each load prints what its split holds. The label files
are read as bytes: they are small words on many lines.
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

logger = logging.getLogger(__name__)

NUS_WIDE_SPLITS = {"train": "Train", "test": "Test"}
_FATE = {True: "left out", False: "kept"}
IMAGE_FOLDERS = ("Flickr", "images", "image", "flickr")

NamedLabels = tuple[list[str], npt.NDArray[np.bool_]]  # class names, presence (N, C)

ONE, ZERO, NEWLINE = b"10\n"
BLANKS = np.frombuffer(b" \t\r\n", np.uint8)
BYTES_AT_ONCE = 1 << 22  # bytes read at once: some 2,000 images of 1,000 tags


def load_nus_wide(
    root: str | Path,
    labels: str = "concepts81",
    require_images: bool = True,
    split: str | None = None,
    *,
    drop_missing: bool = False,
    drop_unlabelled: bool = False,
) -> Dataset | DatasetDict:
    """The official splits, with counts printed to stderr; see `load_source` for what all loaders take.

    `root` holds `Groundtruth/`, `ImageList/` and (for tags) `NUS_WID_Tags/`. Images are found in `Flickr/` or
    `images/`, in subfolders as the lists name them or flat, under their listed name or under the photo's Flickr id.
    The labels are concepts81 or tags1k; `drop_missing` and `drop_unlabelled` leave out rows whose image is missing and
    rows without any label, counted.

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


def read_concepts(root: Path, part: str, num_images: int) -> NamedLabels:
    """The 81 concepts of the part `Train` or `Test`: one file a concept, one line an image."""
    folder = existing_folder(root, "NUS-WIDE concept labels", ("Groundtruth/TrainTestLabels",))
    names = _concept_names(root, folder, part)
    present = np.zeros((num_images, len(names)), dtype=bool)
    for column, name in enumerate(names):
        path = folder / f"Labels_{name}_{part}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; the official ground truth has one file a concept and part")
        present[:, column] = _read_rows(path, 1, num_images)[:, 0]
    return names, present


def read_tags(root: Path, part: str, num_images: int) -> NamedLabels:
    """The 1,000 tags of the part `Train` or `Test`: one line an image, one 0 or 1 a tag."""
    folder = existing_folder(root, "NUS-WIDE tags", ("NUS_WID_Tags", "Tags"))
    names_file, rows_file = folder / "TagList1k.txt", folder / f"{part}_Tags1k.dat"
    for path in (names_file, rows_file):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; it is part of the official NUS_WID_Tags.zip")
    names = names_file.read_text(encoding="utf-8").split()
    return names, _read_rows(rows_file, len(names), num_images)


def _concept_names(root: Path, folder: Path, part: str) -> list[str]:
    """The concepts in the official order, from their list or, without it, from the names of the label files."""
    for place in ("Concepts81.txt", "ConceptsList/Concepts81.txt", "Concepts/Concepts81.txt"):
        if (root / place).is_file():
            return (root / place).read_text(encoding="utf-8").split()
    files = sorted(path.name for path in folder.glob(f"Labels_*_{part}.txt"))  # the official order is alphabetical
    return [name.removeprefix("Labels_").removesuffix(f"_{part}.txt") for name in files]


def _read_rows(path: Path, num_columns: int, num_images: int) -> npt.NDArray[np.bool_]:
    """A text of 0 and 1, one line an image, as a matrix (N, C); ValueError that names the first wrong line."""
    present = np.empty((num_images, num_columns), dtype=bool)
    row = 0
    with path.open("rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            block += file.readline()  # whole lines only
            if not block.endswith(b"\n"):
                block += b"\n"
            values = _parse_block(path, np.frombuffer(block, np.uint8), num_columns, row)
            if row + len(values) <= num_images:
                present[row : row + len(values)] = values
            row += len(values)
    if row != num_images:
        raise ValueError(f"{path} has {row:,} lines, but the image list has {num_images:,}; they belong together")
    return present


def _parse_block(path: Path, block: npt.NDArray[np.uint8], num_columns: int, first_row: int) -> npt.NDArray[np.bool_]:
    """Whole lines of 0 and 1 as a matrix (lines, columns); ValueError that names the first wrong line."""
    digits = (block == ONE) | (block == ZERO)
    odd = ~digits & ~np.isin(block, BLANKS)
    odd[1:] |= digits[1:] & digits[:-1]  # "10" is no value
    ends = np.flatnonzero(block == NEWLINE)
    # of each line as many as it has values, and more than it may have where a byte is odd
    counts = np.diff(np.cumsum(digits + (num_columns + 1) * odd, dtype=np.int64)[ends], prepend=0)
    wrong = np.flatnonzero(counts != num_columns)
    if len(wrong):
        line = int(wrong[0])
        text = bytes(block[: ends[line]]).rsplit(b"\n", 1)[-1][:40].decode("ascii", "replace")
        raise ValueError(
            f"{path}, line {first_row + line + 1}: {text!r}, expected {num_columns} values, each 0 or 1, in every line"
        )
    values: npt.NDArray[np.bool_] = (block[digits] == ONE).reshape(-1, num_columns)
    return values


LABEL_READERS = {"concepts81": read_concepts, "tags1k": read_tags}
