"""A folder per class: `<root>/<class>/photo.jpg`, or the same below `train/`, `validation/` and `test/`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.formats import TABLES
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.listing import Listing, Row
from cnn_rnn.data.photos.disk_layout import abbreviate, existing_folder, split_folders
from cnn_rnn.data.photos.found_files import PassedOver, walk_files
from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.reading import Reading

ANNOTATIONS = TABLES | {".yaml", ".yml", ".mat", ".npy"}


@dataclass(frozen=True)
class ClassFolders:
    """What lies in a folder of class folders.

    Attributes:
        folder: The folder.
        photos: The photos of each class, sorted.
        beside: Photos that lie in no class.
        others: Files of other kinds.
        passed_over: What systems left there.
    """

    folder: Path
    photos: dict[str, list[Path]]
    beside: list[Path]
    others: list[Path]
    passed_over: PassedOver

    @classmethod
    def of(cls, folder: Path, system_files: bool) -> Self:
        """What lies in the folder and below it."""
        found = cls(folder, {}, [], [], PassedOver(system_files))
        for path in walk_files(folder, found.passed_over):
            first, *below = path.relative_to(folder).parts
            if not is_photo_name(path.name):
                found.others.append(path)
            elif below:
                found.photos.setdefault(first, []).append(path)
            else:
                found.beside.append(path)
        return found

    def class_names(self) -> list[str]:
        """The folders with photos, sorted, a class each; an error where there is none, or photos beside them."""
        if self.beside:
            raise ValueError(
                f"{self.folder}: {abbreviate([path.name for path in self.beside])} lie beside the folders, in no "
                "class: move them into one, or give a label file (data.name image_folder or table)"
            )
        if not self.photos:
            told = "; ".join([f"expected {self.folder}/CLASS/photo.jpg", *self.passed_over.lines()])
            raise FileNotFoundError(f"{self.folder} has no folders with images; {told}")
        return sorted(self.photos)

    def rows(self, names: list[str], split: str) -> Dataset:
        """The photos as rows, each with its folder as its one label."""
        files = [(path, name) for name in names for path in sorted(self.photos.get(name, ()))]
        photos = [(path.relative_to(self.folder).as_posix(), path, name) for path, name in files]
        others = [path.relative_to(self.folder).as_posix() for path in sorted(self.others)]
        unread = f"; not read: {len(others):,} other files, {abbreviate(others)}" if others else ""
        told = [f"a folder per class, one label per photo{unread}", *self.passed_over.lines()]
        listing = Listing(
            self.folder, [Row(photo, photo, path, split, [name]) for photo, path, name in photos], notes=told
        )
        return listing.to_dataset(self.folder, names, split)


def load_class_folders(
    root: str | Path, split: str | None = None, require_images: bool = True, *, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of a folder of class folders, or the one named by `split`; each photo has one label.

    Args:
        root: The folder; without the folders of splits in it, all of it is the split train.
        split: train, validation or test.
        require_images: Without meaning here: what lies there is what there is.
        reading: Whether what systems leave among photos is taken in.

    Raises:
        FileNotFoundError: There is no folder with images.
        ValueError: Images lie beside the class folders, there is one class, or a split has a class that train lacks.
    """
    del require_images
    folder = existing_folder(root, "folder of class folders")
    found = split_folders(folder)
    system_files = reading is not None and reading.system_files
    train = ClassFolders.of(found["train"], system_files) if "train" in found else None
    splits = {"train": ClassFolders.of(folder, system_files)} if train is None or train.beside else {"train": train}
    if splits["train"] is train:
        splits |= {name: ClassFolders.of(place, system_files) for name, place in found.items() if name != "train"}
    classes = {name: place.class_names() for name, place in splits.items()}
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
            raise ValueError(
                f"{splits[name].folder}: {abbreviate(strange)} is no folder of train ({abbreviate(names)})"
            )
    return load_splits(list(splits), split, str(folder), lambda name: splits[name].rows(names, name))


def annotations_below(folder: Path) -> list[str]:
    """The files below a folder that may say something of its photos, sorted."""
    found = (path for path in walk_files(folder, PassedOver()) if path.suffix.lower() in ANNOTATIONS)
    return sorted(path.relative_to(folder).as_posix() for path in found)
