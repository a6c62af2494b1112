"""Annotations in VOC's XML with classes of one's own, a file a photo, as labelling tools and Roboflow write them."""

from pathlib import Path

from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.xml_files import read_voc
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.listing import Listing, Row, spell_alike
from cnn_rnn.data.photos.disk_layout import existing_folder, leaves_folder, split_folders, told_beside
from cnn_rnn.data.photos.found_files import PassedOver, walk_files
from cnn_rnn.data.reading import Reading


def load_voc_xml(
    root: str | Path, split: str | None = None, require_images: bool = True, *, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of a folder of XML files; labels are the objects' names. See `load_source` for what all loaders take.

    Without the folders of splits in it, all of `root` is the split train. The photos lie beside the files, or in
    `JPEGImages` or `images` beside `Annotations`. A label whose objects are all marked difficult is left out of loss
    and figures, as VOC does it.

    Raises:
        FileNotFoundError: There is no XML file, or an image is missing.
        ValueError: A file is not whole, or names no photo.
    """
    folder = existing_folder(root, "folder of XML annotations")
    reading = reading or Reading()
    splits = split_folders(folder)
    places = splits or {"train": folder}
    listings = {
        name: _annotated_photos(place, name, PassedOver(reading.system_files)) for name, place in places.items()
    }
    every = Listing(folder, [row for one in listings.values() for row in one.rows], notes=told_beside(folder, splits))
    spell_alike(every, reading)
    listings[next(iter(places))].notes.extend(every.notes)
    names = sorted({label for listing in listings.values() for label in listing.class_names()})

    def load(name: str) -> Dataset:
        return listings[name].to_dataset(_photos(places[name]), names, name, require_images=require_images)

    return load_splits(list(places), split, str(folder), load)


def _photos(folder: Path) -> Path:
    """Where the photos lie: beside the files, or beside `Annotations`."""
    return next((folder / place for place in ("JPEGImages", "images") if (folder / place).is_dir()), folder)


def _annotated_photos(folder: Path, split: str, passed_over: PassedOver) -> Listing:
    """The photos of one split with their labels; objects that are not seen plainly are difficult."""
    files = sorted(path for path in walk_files(folder, passed_over) if path.suffix == ".xml")
    if not files:
        raise FileNotFoundError(f"{folder} has no XML files")
    photos = _photos(folder)
    own = folder / "Annotations" if photos != folder and (folder / "Annotations").is_dir() else folder
    rows = []
    for path in files:
        name, states = read_voc(path)
        if not name or leaves_folder(name):
            raise ValueError(f"{path}: <filename> is {name!r}, expected the photo's file name")
        beside = path.parent.relative_to(own) / name if path.is_relative_to(own) else Path(name)
        photo = beside.as_posix() if (photos / beside).is_file() else name
        rows.append(Row(photo, photo, path, split))
        rows[-1].present = [label for label, plainly in states.items() if plainly]
        rows[-1].difficult = [label for label, plainly in states.items() if not plainly]
    told = f"{len(rows):,} files of VOC's XML, labels are the objects' names"
    return Listing(folder, rows, notes=[told, *passed_over.lines()])
