"""PASCAL VOC 2007 and 2012 in the official layout.

`ImageSets/Main` is the truth. `<split>.txt` lists the images of a split, `<class>_<split>.txt` says for each of
them -1 (absent), 0 (seen only as difficult objects) or 1 (present). Where the XML annotations lie beside the lists,
both must tell the same.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.unpacking import extract_archive, unpacking_marker
from cnn_rnn.data.files.xml_files import read_voc
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.listing import Listing, Row
from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder

from .archives import ARCHIVES

logger = logging.getLogger(__name__)

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_YEARS = (2007, 2012)
VOC_SPLITS = ("train", "val", "trainval", "test")
IMAGE_ID = re.compile(r"\w+")  # an id becomes a file name, so it may not hold a path
ABSENT, DIFFICULT, PRESENT = -1, 0, 1


def load_voc(
    root: str | Path, year: int | str, require_images: bool = True, split: str | None = None
) -> Dataset | DatasetDict:
    """The official splits of one year, 2007 or 2012, whose lists exist; see `load_source` for what all loaders take.

    `root` holds `VOCdevkit/`, or is it; official tar files that lie in it and are not yet unpacked are unpacked there.
    `labels` holds the classes that are present (1), `difficult` those present only as difficult objects (0), which the
    official evaluation leaves out.

    Raises:
        FileNotFoundError: The folder, a list or (unless told otherwise) an image is missing.
        ValueError: Lists that disagree with each other or with the XML; file and line are named.
    """
    if str(year) not in map(str, VOC_YEARS):
        raise ValueError(f"VOC year {year!r} is not known; choose {' or '.join(map(str, VOC_YEARS))}")
    _unpack_archives(Path(root), f"voc{year}")
    folder = existing_folder(root, f"VOC {year}", (f"VOCdevkit/VOC{year}", f"VOC{year}"))
    lists = existing_folder(folder, f"VOC {year} image lists", ("ImageSets/Main",))
    available = [name for name in VOC_SPLITS if (lists / f"{name}.txt").is_file()]
    return load_splits(
        available, split, f"VOC {year} in {lists}", lambda name: _load_split(folder, name, require_images)
    )


def _unpack_archives(root: Path, name: str) -> None:
    """Unpack the archives in `root` whose files are not there, or not all of them."""
    lists = root / "VOCdevkit" / name.upper() / "ImageSets" / "Main"
    for archive in ARCHIVES[name]:
        path = root / archive.name
        brings = lists / ("test.txt" if "test" in archive.name else "trainval.txt")
        if path.is_file() and (not brings.is_file() or unpacking_marker(path, root).exists()):
            extract_archive(path, root)


def _load_split(folder: Path, split: str, require_images: bool) -> Dataset:
    """One split, with plain objects as labels and difficult ones beside them."""
    lists = folder / "ImageSets" / "Main"
    ids = _read_ids(lists / f"{split}.txt")
    states = np.stack([_read_states(lists / f"{name}_{split}.txt", ids) for name in VOC_CLASSES], axis=1)  # (N, C)
    _check_against_xml(folder / "Annotations", split, ids, states)
    rows = []
    for line, (image_id, own) in enumerate(zip(ids, states.tolist(), strict=True), start=1):
        row = Row(f"{image_id}.jpg", image_id, line)
        row.present, row.difficult = (
            [name for name, said in zip(VOC_CLASSES, own, strict=True) if said == state]
            for state in (PRESENT, DIFFICULT)
        )
        rows.append(row)
    listing = Listing(lists / f"{split}.txt", rows, VOC_CLASSES)
    return listing.to_dataset(folder / "JPEGImages", VOC_CLASSES, split, require_images=require_images)


def _read_ids(path: Path) -> list[str]:
    """The image ids of a list; ValueError that names a line with none or with a known one."""
    ids = path.read_text(encoding="utf-8").split()
    seen: set[str] = set()
    for number, image_id in enumerate(ids, start=1):
        if not IMAGE_ID.fullmatch(image_id):
            raise ValueError(f"{path}, line {number}: {image_id!r} is not an image id (letters, digits and _)")
        if image_id in seen:
            raise ValueError(f"{path}, line {number}: {image_id} is listed twice; remove one of the lines")
        seen.add(image_id)
    return ids


def _read_states(path: Path, ids: Sequence[str]) -> npt.NDArray[np.int8]:
    """The -1, 0 or 1 of every image of the split, (N,), in the order of the split's own list."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the official ImageSets/Main has one list a class and split")
    lines = path.read_text(encoding="utf-8").splitlines()
    states = []
    for number, (line, image_id) in enumerate(zip(lines, ids, strict=False), start=1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in {"-1", "0", "1"}:
            raise ValueError(
                f"{path}, line {number}: {line!r}, expected '{image_id} -1', '{image_id} 0' or '{image_id} 1'"
            )
        if fields[0] != image_id:
            raise ValueError(f"{path}, line {number}: image {fields[0]}, but the split's own list has {image_id} there")
        states.append(int(fields[1]))
    if len(lines) != len(ids):
        raise ValueError(f"{path} has {len(lines)} lines, but the split's own list has {len(ids)} images")
    return np.array(states, dtype=np.int8)


def _check_against_xml(annotations: Path, split: str, ids: Sequence[str], states: npt.NDArray[np.int8]) -> None:
    """Refuse lists that say other than the XML; warn of images without any."""
    if not annotations.is_dir():
        return
    unchecked, faults = [], []
    for image_id, row in zip(ids, states, strict=True):
        path = annotations / f"{image_id}.xml"
        if not path.is_file():
            unchecked.append(image_id)
            continue
        _, told = read_voc(path)
        strange = [name for name in told if name not in VOC_CLASSES]
        if strange:
            raise ValueError(f"{path} has an object {strange[0]!r}, which is none of the 20 VOC classes")
        for name, listed in zip(VOC_CLASSES, row, strict=True):
            said = ABSENT if name not in told else PRESENT if told[name] else DIFFICULT
            if said != listed:
                faults.append(f"{path} says {name} {said}, the list says {listed}")
    if unchecked:
        logger.warning("%s: no XML for %s images: %s", split, len(unchecked), abbreviate(unchecked))
    if faults:
        raise ValueError(
            f"{split}: XML and ImageSets/Main disagree ({abbreviate(faults)}); "
            "restore the official files, or move Annotations away to trust the lists alone"
        )
