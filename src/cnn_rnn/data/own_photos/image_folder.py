"""One's own photos: a folder of images with a metadata file beside them.

`<root>/train/metadata.jsonl` (or `.csv`, `.parquet`), and optionally `validation` and `test` likewise, name
each image and its labels. `labels` is a list; in CSV it is one string such as `dog|grass`. Without a column
`labels` every other column is one class with 0 or 1 in it. `<root>/labels.json`, a list of names, fixes the
classes and their order; else they are those of `train`: sorted, or in the order of the 0/1 columns. Roboflow's
`train/`, `valid/`, `test/` with `_classes.csv` or `_annotations.coco.json` are read too.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict

from cnn_rnn.data.files.formats import TABLES
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.listing import Listing
from cnn_rnn.data.photos.disk_layout import SPLITS, abbreviate, existing_folder, pick_split
from cnn_rnn.data.photos.found_files import PassedOver, left_by_system, walk_files
from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.resting_collector import collector_resting

from .table import read_metadata, with_class_names

logger = logging.getLogger(__name__)

METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.tsv", "metadata.xlsx")
ROBOFLOW_NAMES = ("_classes.csv", "_annotations.coco.json")


@collector_resting()
def load_image_folder(
    root: str | Path, split: str | None = None, require_images: bool = True, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The splits of an image folder, see above; and `load_source` for what all loaders take.

    Raises:
        FileNotFoundError: A folder, its metadata or an image is missing.
        ValueError: A row that breaks a rule or could mean two things; file and line are named.
    """
    reading = reading or Reading()
    folder = existing_folder(root, "image folder")
    files = {name: _metadata_file(folder / name) for name in SPLITS if (folder / name).is_dir()}
    if "validation" not in files and _found_files(folder / "valid", ROBOFLOW_NAMES):
        files["validation"] = _metadata_file(folder / "valid")
    _refuse_other_splits(folder)
    if not files:
        own = _found_files(folder, METADATA_NAMES)
        meant = f"; is {folder.parent} meant, for {own[0].name} of one split lies here?" if own else ""
        raise FileNotFoundError(f"{folder} has no folder train/ with one of {', '.join(METADATA_NAMES)}{meant}")
    chosen = pick_split(list(files), split, str(folder))
    reading = with_class_names(reading, folder)
    given = reading.names
    if given is None and "train" not in files:
        raise FileNotFoundError(f"{folder} has neither train/ nor labels.json, so its classes are unknown; add one")
    needed = [name for name in files if name in chosen or (given is None and name == "train")]
    tables = {name: read_metadata(files[name], reading, name) for name in needed}
    class_names = given or tables["train"].class_names()
    _check_splits(tables)

    def load(name: str) -> Dataset:
        return _to_dataset(tables[name], class_names, name, reading, require_images)

    return load_splits(chosen, split, str(folder), load)


def _metadata_file(folder: Path) -> Path:
    """The folder's one metadata file; an error where there is none, or more than one."""
    found = _found_files(folder, METADATA_NAMES) or _found_files(folder, ROBOFLOW_NAMES)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{folder} has {abbreviate([path.name for path in found])}; keep one of them")
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in TABLES and not left_by_system(path.name, folder=False)
    )
    table = (
        f"; it has {abbreviate(others)}: data.name table --data.root {folder / others[0]} reads that" if others else ""
    )
    above = _found_files(folder.parent, METADATA_NAMES)
    if above and not others:
        table = f"; of all splits there is {above[0]}: data.name table --data.root {above[0]} reads that"
    raise FileNotFoundError(f"{folder} has no metadata; expected one of {', '.join(METADATA_NAMES)}{table}")


def _found_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Those of the named files that the folder has."""
    return [folder / name for name in names if (folder / name).is_file()]


def _check_splits(tables: dict[str, Listing]) -> None:
    """Refuse a file that says that a photo of its folder belongs to another split."""
    for name, table in tables.items():
        other = next((index for index, row in enumerate(table.rows) if row.split != name), None)
        if other is not None:
            raise ValueError(
                f"{table.where(other)}: the row is of split {table.rows[other].split}, the folder is {name}; data.name "
                "table reads one file with all its splits, data.columns '{split: none}' leaves the column alone"
            )


def _refuse_other_splits(root: Path) -> None:
    """Refuse folders with metadata whose name is no split."""
    others = [
        path.name
        for path in sorted(root.iterdir())
        if path.name not in SPLITS
        and not left_by_system(path.name, folder=True)
        and any((path / name).is_file() for name in METADATA_NAMES)
    ]
    if others:
        raise ValueError(f"{root}: {abbreviate(others)} is none of the splits {', '.join(SPLITS)}; rename it")


def _to_dataset(table: Listing, class_names: list[str], split: str, reading: Reading, require_images: bool) -> Dataset:
    """The rows of a metadata file with their images; warns of images that it leaves out, and of what systems left."""
    folder = table.path.parent / (reading.image_root or "")
    rows = table.to_dataset(folder, class_names, split, require_images=require_images)
    named = set(rows.with_format("arrow")[:]["image"].combine_chunks().field("path").to_pylist())
    passed_over = PassedOver(reading.system_files)
    there = [path for path in walk_files(folder, passed_over) if is_photo_name(path.name)] if folder.is_dir() else []
    unlisted = sorted(path.name for path in there if str(path) not in named)
    told = [f"{len(unlisted)} images are not in the metadata and stay out: {abbreviate(unlisted)}"] if unlisted else []
    for line in (*told, *passed_over.lines()):
        logger.warning("%s: %s", folder, line)
    return rows
