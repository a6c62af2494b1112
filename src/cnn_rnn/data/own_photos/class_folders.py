"""A folder per class: `<root>/<class>/photo.jpg`, or the same below `train/`, `validation/` and `test/`."""

from pathlib import Path

from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.formats import TABLES
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.listing import Listing, Row, spell_alike
from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, split_folders, told_beside
from cnn_rnn.data.photos.found_files import PassedOver, walk_files
from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.reading import Reading

ANNOTATIONS = TABLES | {".yaml", ".yml", ".mat", ".npy"}


def load_class_folders(
    root: str | Path, split: str | None = None, require_images: bool = True, *, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of a folder of class folders; each photo has one label. See `load_source` for what all loaders take.

    Without the folders of splits in it, all of `root` is the split train. What lies there is what there is, so
    `require_images` has no meaning.

    Raises:
        FileNotFoundError: There is no folder with images.
        ValueError: Images lie beside the class folders, there is one class, or a split has a class that train lacks.
    """
    del require_images
    folder, reading = existing_folder(root, "folder of class folders"), reading or Reading()
    splits = split_folders(folder)
    listings = {name: _list_folders(place, name, reading.system_files) for name, place in splits.items()}
    if "train" not in listings or not all(row.present for row in listings["train"].rows):
        splits, listings = {}, {"train": _list_folders(folder, "train", reading.system_files)}
    for listing in listings.values():
        _refuse_classless(listing)
    every = Listing(folder, [row for one in listings.values() for row in one.rows], notes=told_beside(folder, splits))
    spell_alike(every, reading)
    listings["train"].notes.extend(every.notes)
    names = listings["train"].class_names()
    if len(names) == 1:
        others = annotations_below(folder)
        beside = f", and {abbreviate(others)} {'lies' if len(others) == 1 else 'lie'} beside" if others else ""
        raise ValueError(
            f"{folder}: a folder per class would give every photo the one class {names[0]!r}{beside}; expected two "
            "folders or more, or a label file (data.name table or image_folder), such as an export as COCO JSON"
        )
    for listing in listings.values():
        strange = [one for one in listing.class_names() if one not in names]
        if strange:
            raise ValueError(f"{listing.path}: {abbreviate(strange)} is no folder of train ({abbreviate(names)})")
    return load_splits(
        list(listings), split, str(folder), lambda name: listings[name].to_dataset(listings[name].path, names, name)
    )


def _list_folders(folder: Path, split: str, system_files: bool) -> Listing:
    """The photos in a folder and below it; the label of each is the folder that it lies in, if it lies in one."""
    passed_over = PassedOver(system_files)
    files = [path.relative_to(folder) for path in sorted(walk_files(folder, passed_over))]
    photos = [path for path in files if is_photo_name(path.name)]
    others = [path.as_posix() for path in files if not is_photo_name(path.name)]
    unread = f"; not read: {len(others):,} other files, {abbreviate(others)}" if others else ""
    rows = [Row(path.as_posix(), path.as_posix(), folder / path, split, _label(path)) for path in photos]
    deeper = sorted({path.parent.as_posix() for path in photos if len(path.parts) > 2})
    told = [f"folders within those of classes name no label: {abbreviate(deeper)}"] if deeper else []
    notes = [f"a folder per class, one label per photo{unread}", *told, *passed_over.lines()]
    return Listing(folder, rows, notes=notes)


def _label(path: Path) -> list[str]:
    """The label of a photo by its path: the first folder's name, none where there is no folder."""
    return [path.parts[0].strip()] if len(path.parts) > 1 else []


def _refuse_classless(listing: Listing) -> None:
    """Refuse a folder with photos that lie in no folder of a class, or without any."""
    beside = [row.photo for row in listing.rows if not row.present]
    if beside:
        raise ValueError(
            f"{listing.path}: {abbreviate(beside)} lie beside the folders, in no class: move them into one, or give a "
            "label file (data.name image_folder or table)"
        )
    if not listing.rows:
        told = "; ".join([f"expected {listing.path}/CLASS/photo.jpg", *listing.notes[1:]])
        raise FileNotFoundError(f"{listing.path} has no folders with images; {told}")


def annotations_below(folder: Path) -> list[str]:
    """The files below a folder that may say something of its photos, sorted."""
    found = (path for path in walk_files(folder, PassedOver()) if path.suffix.lower() in ANNOTATIONS)
    return sorted(path.relative_to(folder).as_posix() for path in found)
