"""Tables that name images and their labels, checked row by row: text, JSON, Excel or Parquet, of whatever shape."""

import json
from dataclasses import replace
from pathlib import Path

from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.formats import read_label_file
from cnn_rnn.data.images_inside.one_table import image_column, load_images_of_table
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.columns import find_roles
from cnn_rnn.data.meaning.listing import Listing, list_rows
from cnn_rnn.data.meaning.long_table import join_label_rows
from cnn_rnn.data.photos.disk_layout import SPLITS
from cnn_rnn.data.reading import Reading, check_class_names
from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.resting_collector import collector_resting

CLASSES = "labels.json"


def read_metadata(path: Path, reading: Reading | None = None, split: str = "train") -> Listing:
    """The rows of a label file, see `files.formats` for what it may be.

    Args:
        path: The file. A table has a column that names the photo and either a column of labels or one of yes and no
            for each class.
        reading: What a person decided where the file could mean two things; of classes that it names, each may be a
            column.
        split: What the rows' split is where the file does not tell it.

    Raises:
        ValueError: A row that breaks a rule or could mean two things; file and line are named, and the setting.
    """
    reading = reading or Reading()
    raw = read_label_file(path, reading)
    roles = find_roles(raw, reading, reading.names)
    joined = reading.rows == "label" or (roles.confidence and reading.rows is None)
    if not roles.confidence or not joined:
        reading.refuse({"least_confidence"}, f"{path} has no column of confidences, one a label")
    if joined:
        raw, reading = join_label_rows(raw, roles, reading), replace(reading, separator=None)
    return list_rows(raw, roles, reading, reading.names or raw.class_names, split)


def with_class_names(reading: Reading, folder: Path) -> Reading:
    """The reading with the classes that a `labels.json` in the folder fixes, if there is one.

    Raises:
        ValueError: It is no list of names, or settings name the classes too.
    """
    path = folder / CLASSES
    if not path.is_file():
        return reading
    reading.refuse({"class_names"}, f"{path} tells the classes")
    with told_as_broken(path, "is not JSON"):
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f'{path}: expected a list of class names such as ["cat", "dog"]')
    check_class_names(names, str(path))
    return replace(reading, class_names=names)


@collector_resting()
def load_table(
    path: str | Path, split: str | None = None, require_images: bool = True, *, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of one label file; see `load_source` for what all loaders take.

    A Parquet table may hold the images itself, see `image_column`; any other file names them. A column `split`,
    `is_valid` or `is_test` tells the split of a row; a file without one is one split, `train`. A `labels.json` beside
    it, a list of names, fixes the classes and their order.

    Raises:
        ValueError: There is no such split, or as `read_metadata`.
    """
    path, reading = Path(path), reading or Reading()
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}" + (", which is a folder" if path.is_dir() else ""))
    reading = reading if path.name == CLASSES else with_class_names(reading, path.parent)
    image = image_column(path, reading) if path.suffix.lower() == ".parquet" else None
    if image:
        return load_images_of_table(path, image, split, reading)
    table = read_metadata(path, reading)
    present = [name for name in SPLITS if any(row.split == name for row in table.rows)]
    first = table.of_split("train") if "train" in present and not table.names else table
    names, root = reading.names or first.class_names(), path.parent / (reading.image_root or "")

    def load(name: str) -> Dataset:
        return table.of_split(name).to_dataset(root, names, name, require_images=require_images)

    return load_splits(present, split, str(path), load)
