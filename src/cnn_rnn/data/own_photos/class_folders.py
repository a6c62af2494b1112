"""A folder per class: `<root>/<class>/photo.jpg`, or the same below `train/`, `validation/` and `test/`."""

from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.raw_table import TABLES
from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, pick_split
from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix

ANNOTATIONS = TABLES | {".yaml", ".yml", ".mat", ".npy"}
SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


def load_class_folders(
    root: str | Path, split: str | None = None, require_images: bool = True
) -> Dataset | DatasetDict:
    """The splits of a folder of class folders, or the one named by `split`; each photo has one label.

    Args:
        root: The folder; without the folders of splits in it, all of it is the split train.
        split: train, validation or test.
        require_images: Without meaning here: what lies there is what there is.

    Raises:
        FileNotFoundError: There is no folder with images.
        ValueError: Images lie beside the class folders, there is one class, or a split has a class that train lacks.
    """
    del require_images
    folder = existing_folder(root, "folder of class folders")
    found = {
        name: next(folder / place for place in places if (folder / place).is_dir())
        for name, places in SPLIT_FOLDERS.items()
        if any((folder / place).is_dir() for place in places)
    }
    splits = found if "train" in found and not _images(folder / "train", deep=False) else {"train": folder}
    classes = {name: _class_names(place) for name, place in splits.items()}
    names = classes["train"]
    if len(names) == 1:
        others = annotations_below(folder)
        beside = f", and {abbreviate(others)} {'lies' if len(others) == 1 else 'lie'} beside" if others else ""
        raise ValueError(
            f"{folder}: a folder per class would give every photo the one class {names[0]!r}{beside}; expected two "
            "folders or more, or a label file (data.name table or image_folder), such as an export as COCO JSON"
        )
    for name, own in classes.items():
        strange = [one for one in own if one not in names]
        if strange:
            raise ValueError(f"{splits[name]}: {abbreviate(strange)} is no folder of train ({abbreviate(names)})")
    chosen = pick_split(list(splits), split, str(folder))
    loaded = {name: _rows(splits[name], names, name) for name in chosen}
    return loaded[split] if split else DatasetDict(loaded)


def annotations_below(folder: Path) -> list[str]:
    """The files below a folder that may say something of its photos, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ANNOTATIONS and path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _class_names(folder: Path) -> list[str]:
    """The folders with images, sorted, a class each; an error where there is none, or images beside them."""
    beside = _images(folder, deep=False)
    names = sorted(place.name for place in folder.iterdir() if place.is_dir() and _images(place, deep=True))
    if beside:
        raise ValueError(
            f"{folder}: {abbreviate([path.name for path in beside])} lie beside the folders, in no class: move them "
            "into one, or give a label file (data.name image_folder or table)"
        )
    if not names:
        raise FileNotFoundError(f"{folder} has no folders with images; expected {folder}/CLASS/photo.jpg")
    return names


def _images(folder: Path, *, deep: bool) -> list[Path]:
    """The images of a folder, sorted; `deep` takes those of the folders below it too."""
    files = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in files if is_photo_name(path.name) and path.is_file())


def _rows(folder: Path, names: list[str], split: str) -> Dataset:
    """The photos of one split, each with its folder as its one label."""
    files = [(path, index) for index, name in enumerate(names) for path in _images(folder / name, deep=True)]
    present = np.zeros((len(files), len(names)), dtype=bool)
    present[np.arange(len(files)), [index for _, index in files]] = True
    return build_dataset(
        image_paths([str(path) for path, _ in files]),
        [path.relative_to(folder).as_posix() for path, _ in files],
        label_lists_from_matrix(present),
        names,
        split=split,
        description=f"{folder}: a folder per class, one label a photo{_told_unread(folder)}",
    )


def _told_unread(folder: Path) -> str:
    """What lies beside the photos and is not read, annotations and files of other kinds, for people."""
    files = sorted(path for path in folder.rglob("*") if not is_photo_name(path.name) and path.is_file())
    others = [path.relative_to(folder).as_posix() for path in files]
    return f"; not read: {len(others):,} other files, {abbreviate(others)}" if others else ""
