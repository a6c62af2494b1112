"""Annotations in VOC's XML with classes of one's own, a file a photo, as labelling tools and Roboflow write them."""

from pathlib import Path, PurePosixPath

import numpy as np
from datasets import Dataset, DatasetDict

from cnn_rnn.data.choosing import with_same_columns
from cnn_rnn.data.files.xml_files import read_xml
from cnn_rnn.data.photos.disk_layout import existing_folder, leaves_folder, pick_split
from cnn_rnn.data.photos.file_matching import match_files
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix

from .class_folders import SPLIT_FOLDERS


def load_voc_xml(root: str | Path, split: str | None = None, require_images: bool = True) -> Dataset | DatasetDict:
    """The splits of a folder of XML files, or the one named by `split`; a photo's labels are its objects' names.

    A label whose objects are all marked difficult is left out of loss and figures, as VOC does it.

    Args:
        root: The folder; without the folders of splits in it, all of it is the split train. The photos lie beside the
            files, or in `JPEGImages` or `images` beside `Annotations`.
        split: train, validation or test.
        require_images: False accepts missing images; their rows hold None as image.

    Raises:
        FileNotFoundError: There is no XML file, or an image is missing.
        ValueError: A file is not whole, or names no photo.
    """
    folder = existing_folder(root, "folder of XML annotations")
    places = {
        name: next(folder / place for place in candidates if (folder / place).is_dir())
        for name, candidates in SPLIT_FOLDERS.items()
        if any((folder / place).is_dir() for place in candidates)
    } or {"train": folder}
    chosen = pick_split(list(places), split, str(folder))
    read = {name: [_read(path) for path in _files(place)] for name, place in places.items()}
    names = sorted({label for rows in read.values() for _, states in rows for label in states})
    loaded = {name: _rows(places[name], read[name], names, name, require_images) for name in chosen}
    return loaded[split] if split else with_same_columns(loaded)


def _files(folder: Path) -> list[Path]:
    """The XML files in a folder and below it, sorted; FileNotFoundError where there is none."""
    found = sorted(folder.rglob("*.xml"))
    if not found:
        raise FileNotFoundError(f"{folder} has no XML files")
    return found


def _read(path: Path) -> tuple[str, dict[str, bool]]:
    """A file's photo and, by label, whether it is seen plainly."""
    tree = read_xml(path)
    if tree.tag != "annotation":
        cvat = f"; CVAT's is read by data.name table --data.root {path}" if tree.tag == "annotations" else ""
        raise ValueError(f"{path}: the root is <{tree.tag}>, expected VOC's <annotation>{cvat}")
    name = (tree.findtext("filename") or "").strip()
    if not name or leaves_folder(name):
        raise ValueError(f"{path}: <filename> is {name!r}, expected the photo's file name")
    states: dict[str, bool] = {}
    for item in tree.findall("object"):
        label = (item.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"{path}: an <object> has no <name>")
        states[label] = states.get(label, False) or (item.findtext("difficult") or "0").strip() != "1"
    return name, states


def _rows(
    folder: Path, read: list[tuple[str, dict[str, bool]]], names: list[str], split: str, require_images: bool
) -> Dataset:
    """The photos of one split with their labels; objects that are not seen plainly are difficult."""
    ids = {name: index for index, name in enumerate(names)}
    present, difficult = np.zeros((2, len(read), len(names)), dtype=bool)
    for row, (_, states) in enumerate(read):
        for label, plainly in states.items():
            (present if plainly else difficult)[row, ids[label]] = True
    images = next((folder / place for place in ("JPEGImages", "images") if (folder / place).is_dir()), folder)
    xml = _files(folder)
    own = folder / "Annotations" if images != folder and (folder / "Annotations").is_dir() else folder
    nested = [
        (path.parent.relative_to(own) if path.is_relative_to(own) else Path()) / name
        for path, (name, _) in zip(xml, read, strict=True)
    ]
    files = [
        str(PurePosixPath(one)) if (images / one).is_file() else name
        for one, (name, _) in zip(nested, read, strict=True)
    ]
    paths, notes = match_files(
        images, files, f"{folder.name} ({split})", require_images=require_images, where=lambda row: str(xml[row])
    )
    return build_dataset(
        image_paths(paths),
        files,
        label_lists_from_matrix(present),
        names,
        difficult=label_lists_from_matrix(difficult) if difficult.any() else None,
        split=split,
        description="\n".join([f"{folder}: {len(read):,} files of VOC's XML, labels are the objects' names", *notes]),
    )
