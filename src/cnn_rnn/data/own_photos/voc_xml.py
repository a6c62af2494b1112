"""Annotations in VOC's XML with classes of one's own, a file a photo, as labelling tools and Roboflow write them."""

from pathlib import Path, PurePosixPath

import numpy as np
from datasets import Dataset, DatasetDict

from cnn_rnn.data.choosing import with_same_columns
from cnn_rnn.data.files.xml_files import read_xml
from cnn_rnn.data.photos.disk_layout import existing_folder, leaves_folder, pick_split
from cnn_rnn.data.photos.file_matching import match_files
from cnn_rnn.data.photos.found_files import PassedOver, walk_files
from cnn_rnn.data.reading import Reading
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix

from .class_folders import SPLIT_FOLDERS


def load_voc_xml(
    root: str | Path, split: str | None = None, require_images: bool = True, *, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of a folder of XML files, or the one named by `split`; a photo's labels are its objects' names.

    A label whose objects are all marked difficult is left out of loss and figures, as VOC does it.

    Args:
        root: The folder; without the folders of splits in it, all of it is the split train. The photos lie beside the
            files, or in `JPEGImages` or `images` beside `Annotations`.
        split: train, validation or test.
        require_images: False accepts missing images; their rows hold None as image.
        reading: Whether what systems leave among photos is taken in.

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
    system_files = reading is not None and reading.system_files
    passed_over = {name: PassedOver(system_files) for name in places}
    read = {name: {path: _read(path) for path in _files(places[name], passed_over[name])} for name in places}
    names = sorted({label for rows in read.values() for _, states in rows.values() for label in states})
    loaded = {
        name: _rows(places[name], read[name], names, name, require_images=require_images, told=passed_over[name])
        for name in chosen
    }
    return loaded[split] if split else with_same_columns(loaded)


def _files(folder: Path, passed_over: PassedOver) -> list[Path]:
    """The XML files in a folder and below it, sorted; FileNotFoundError where there is none."""
    found = sorted(path for path in walk_files(folder, passed_over) if path.suffix == ".xml")
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
    folder: Path,
    read: dict[Path, tuple[str, dict[str, bool]]],
    names: list[str],
    split: str,
    *,
    require_images: bool,
    told: PassedOver,
) -> Dataset:
    """The photos of one split with their labels; objects that are not seen plainly are difficult."""
    ids = {name: index for index, name in enumerate(names)}
    present, difficult = np.zeros((2, len(read), len(names)), dtype=bool)
    for row, (_, states) in enumerate(read.values()):
        for label, plainly in states.items():
            (present if plainly else difficult)[row, ids[label]] = True
    images = next((folder / place for place in ("JPEGImages", "images") if (folder / place).is_dir()), folder)
    own = folder / "Annotations" if images != folder and (folder / "Annotations").is_dir() else folder
    nested = [
        (path.parent.relative_to(own) if path.is_relative_to(own) else Path()) / name
        for path, (name, _) in read.items()
    ]
    files = [
        str(PurePosixPath(one)) if (images / one).is_file() else name
        for one, (name, _) in zip(nested, read.values(), strict=True)
    ]
    xml = list(read)
    paths, notes = match_files(
        images, files, f"{folder.name} ({split})", require_images=require_images, where=lambda row: str(xml[row])
    )
    what = f"{folder}: {len(read):,} files of VOC's XML, labels are the objects' names"
    return build_dataset(
        image_paths(paths),
        files,
        label_lists_from_matrix(present),
        names,
        difficult=label_lists_from_matrix(difficult) if difficult.any() else None,
        split=split,
        description="\n".join([what, *notes, *told.lines()]),
    )
