"""What a file or folder that somebody has may be, and the commands that go on with it."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_rnn.data.files.formats import TABLES
from cnn_rnn.data.photos.disk_layout import SPLITS, abbreviate
from cnn_rnn.data.photos.found_files import PassedOver, walk_files
from cnn_rnn.data.photos.photo_suffixes import is_photo_name

from .class_folders import annotations_below
from .image_folder import METADATA_NAMES, ROBOFLOW_NAMES
from .table import CLASSES

logger = logging.getLogger(__name__)
PACKED = frozenset({".gz", ".zip", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z", ".rar"})


@dataclass(frozen=True)
class Found:
    """What a file or folder was taken for.

    Attributes:
        what: In words.
        source: The name of its source, as `data.name` takes it.
        root: Its `data.root`.
    """

    what: str
    source: str
    root: str

    def commands(self, settings: Sequence[str]) -> str:
        """Commands to train on it and to bring it into the one layout."""
        more = "".join(f" {shlex.quote(setting)}" for setting in settings)
        root = shlex.quote(self.root)
        return (
            f"cnn-rnn train --config image_folder --data.name {self.source} --data.root {root}{more}\n"
            f"cnn-rnn data convert {self.source} --root {root} --output FOLDER{more}"
        )


def recognise(path: Path, *, system_files: bool = False) -> Found:
    """What a file or folder is.

    Args:
        path: The file or folder.
        system_files: Whether what systems leave among photos is taken in.

    Raises:
        ValueError: It is of no kind that is known; says what it holds and what is known.
    """
    if path.is_file():
        if path.suffix.lower() in TABLES:
            return Found(f"a label file ({path.suffix.lower()})", "table", str(path))
        packed = "; unpack it first" if path.suffix.lower() in PACKED else ""
        raise ValueError(f"{path} is no label file; they end in {', '.join(sorted(TABLES))}{packed}")
    if not path.is_dir():
        raise ValueError(f"{path} is neither a file nor a folder; expected a label file, or a folder with photos")
    splits = [place for place in (*SPLITS, "valid") if (path / place).is_dir()]
    if any((path / place / name).is_file() for place in splits for name in (*METADATA_NAMES, *ROBOFLOW_NAMES)):
        return Found(f"an image folder ({', '.join(splits)})", "image_folder", str(path))
    passed_over = PassedOver(system_files)
    files = walk_files(path, passed_over)
    beside = [file for file in files if file.parent == path]
    tables = [file for file in beside if file.suffix.lower() in TABLES]
    if any(file.suffix == ".xml" for file in files) and [file.suffix.lower() for file in tables] != [".xml"]:
        return Found("a folder of VOC's XML", "voc_xml", str(path))
    _refuse_a_file_a_photo(path, beside, tables)
    tables = [file for file in tables if file.name != CLASSES] or tables
    if len(tables) == 1:
        for line in passed_over.lines():
            logger.warning("%s: %s", path, line)
        return Found(f"a folder with one label file, {tables[0].name}", "table", str(tables[0]))
    if tables:
        raise ValueError(
            f"{path} has several label files, {abbreviate([one.name for one in tables])}: name one of them"
        )
    found = _of_shards_or_photos(path, files)
    if found is not None:
        return found
    told = "; ".join(["XML annotations nor folders with images", *passed_over.lines()])
    raise ValueError(f"{path} holds neither a label file ({', '.join(sorted(TABLES))}), {told}")


def _of_shards_or_photos(path: Path, files: Sequence[Path]) -> Found | None:
    """A folder of shards or of class folders; None where it is neither, ValueError where it could be both."""
    shards = [file.relative_to(path) for file in files if file.suffix == ".parquet"]
    photos = [file.relative_to(path) for file in files if is_photo_name(file.name) and file.parent != path]
    if shards and photos:
        raise ValueError(
            f"{path} holds Parquet files ({abbreviate(shards)}) and photos in folders ({abbreviate(photos)}): say "
            f"which is meant, 'data look hub --root {path}' or 'data look class_folders --root {path}'"
        )
    if shards:
        return Found("a folder of Parquet shards", "hub", str(path))
    others = annotations_below(path) if photos else []
    if others:
        raise ValueError(
            f"{path} could be a folder per class (data.name class_folders --data.root {path}), but it holds "
            f"{abbreviate(others)} too, which that does not read; give one label file, or export the annotations as "
            "COCO JSON"
        )
    return Found("a folder per class", "class_folders", str(path)) if photos else None


def _refuse_a_file_a_photo(folder: Path, files: Sequence[Path], tables: Sequence[Path]) -> None:
    """Refuse label files that lie beside photos of their names, one each."""
    photos = {file.name for file in files if is_photo_name(file.name)}
    named = photos | {Path(name).stem for name in photos}
    own = [file.name for file in tables if file.stem in named]
    if len(own) > 1:
        raise ValueError(
            f"{folder} has a file for each photo, {abbreviate(own)}: expected one label file for all of them, or "
            "VOC's XML; bring them into a table with the columns file_name and labels, or export them as COCO JSON"
        )
