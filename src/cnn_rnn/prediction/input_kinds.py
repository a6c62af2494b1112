"""From what --input says to images in parts."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_rnn.data.photos.found_files import PassedOver, printable
from cnn_rnn.data.photos.photo_suffixes import READ_SUFFIXES, is_photo_name

from .found_images import RAW_SUFFIXES, RAW_WAY, add_file, is_image_name, read_list, walk_images
from .inputs import Inputs, NamedFiles, SplitRows, reached

if TYPE_CHECKING:  # a photo or a folder needs neither the library nor the loaders, half a second of a start
    from datasets import Dataset

    from cnn_rnn.data import Reading

logger = logging.getLogger(__name__)
SHARDS = frozenset({".parquet", ".tar"})
EXPECTED = (
    "expected an image, a folder, a list with one path per line, *.parquet, *.tar, an address, NAME:SPLIT or table:FILE"
)


def open_inputs(
    source: str, root: str | None, limit: int | None, part_size: int, work: Path, *, reading: "Reading | None" = None
) -> Inputs:
    """The images that --input names, none of them opened yet.

    Args:
        source: A file, a folder, a text file with one path per line, Parquet files or tars (a file, a folder of them or
            a pattern such as `shards/*.tar`), each also as an address that fsspec knows; or a split, `NAME:SPLIT`;
            `table:FILE` is all photos of a label file.
        root: Folder of the data set that `NAME:SPLIT` names.
        limit: Only the first images.
        part_size: Images in each part, where the input has no parts of its own.
        work: A folder on whose disk the names that are found are kept.
        reading: What a person decided where a label file could mean two things, and of what systems left there.

    Raises:
        FileNotFoundError: There is no such file or folder, or it holds no image.
        ValueError: It is of no such kind, or `limit` does not fit it.
    """
    name, _, split = source.partition(":")
    if split and not split.startswith("//") and _is_source(name):
        return _split_rows(_rows(name, root, split, reading), limit, part_size)
    foreign = [name for name in reading.given() if name != "system_files"] if reading is not None else []
    if foreign:
        raise ValueError(
            f"--input {source} is no label file, so data.{foreign[0]} decides nothing; a label file is given as "
            "table:FILE, a split of a data set as NAME:SPLIT"
        )
    system_files = reading is not None and reading.system_files
    shards, passed_over = find_shards(source, system_files=system_files)
    if shards:
        if limit is not None:
            raise ValueError(f"--limit does not go with shards ({shards[0]} ...): name fewer of them")
        is_tar = _suffix(shards[0]) == ".tar"
        from .shards import ParquetShards, TarShards

        return TarShards(shards, passed_over) if is_tar else ParquetShards(shards, part_size, passed_over)
    passed_over = PassedOver(system_files)
    found = NamedFiles(_names(source, passed_over), work, part_size, passed_over, limit)
    if not found.images:
        raise nothing_found(source, passed_over)
    return found


def _is_source(name: str) -> bool:
    """Whether a data set is called so."""
    from cnn_rnn.data import SOURCES

    return name in SOURCES


def _split_rows(dataset: "Dataset", limit: int | None, part_size: int) -> SplitRows:
    """The first rows of a data set in parts, their images undecoded."""
    from datasets import Image

    from cnn_rnn.data import label_names

    undecoded = dataset.cast_column("image", Image(decode=False))
    rows = undecoded.select(range(min(limit or len(undecoded), len(undecoded))))
    return SplitRows(rows, label_names(rows), part_size)


def _rows(name: str, root: str | None, split: str, reading: "Reading | None") -> "Dataset":
    """The rows of a split, or of all splits of a label file."""
    from datasets import concatenate_datasets

    from cnn_rnn.data import load_source

    if name != "table" or root is not None:
        return load_source(name, root, split=split, reading=reading)
    if not Path(split).is_file():
        raise FileNotFoundError(
            f"no file {split!r}; a label file is given as table:FILE, or table:SPLIT with --data.root"
        )
    return concatenate_datasets(list(load_source(name, split, reading=reading).values()))


def find_images(source: str, *, system_files: bool = False) -> list[Path]:
    """The image files that a file, a folder (searched through) or a list names; what else is there is said in the log.

    Args:
        source: The file or folder.
        system_files: Whether what systems leave among photos is taken in.

    Raises:
        FileNotFoundError: There is no such file or folder, or it holds no image.
    """
    passed_over = PassedOver(system_files)
    found = [Path(name) for name in _names(source, passed_over)]
    if not found:
        raise nothing_found(source, passed_over)
    for line in passed_over.lines():
        logger.warning("%s: %s", source, line)
    return found


def nothing_found(source: str, passed_over: PassedOver) -> FileNotFoundError:
    """What to raise where there is no image; it tells what there is."""
    told = "; ".join(passed_over.lines())
    kinds = ", ".join(sorted(READ_SUFFIXES)[:8])
    return FileNotFoundError(f"{source!r} holds or names no image ({kinds}, ...){told and f'; {told}'}")


def find_shards(source: str, *, system_files: bool = False) -> tuple[list[str], PassedOver]:
    """The Parquet files or tars that a file, a pattern or a folder of nothing else names, and what lies between them.

    There are none where it is no such.

    Args:
        source: The file, pattern or folder.
        system_files: Whether what systems leave there is taken in.

    Raises:
        ValueError: There are files of both kinds.
    """
    remote, passed_over = "://" in source, PassedOver(system_files)
    if not remote and Path(source).is_dir():
        files = _without_system_files(map(str, sorted(Path(source).iterdir())), passed_over)
        others = any(is_photo_name(file) for file in files)
        found = [] if others else [file for file in files if _suffix(file) in SHARDS]
    elif _suffix(source) not in SHARDS:
        return [], passed_over
    else:
        import fsspec

        with reached(source):
            system, path = fsspec.core.url_to_fs(source)
            is_pattern = any(mark in path for mark in "*?[")
            found = _without_system_files(sorted(system.glob(path)), passed_over) if is_pattern else [path]
        found = [system.unstrip_protocol(file) if remote else str(file) for file in found]
        missing = [] if remote else [file for file in found if not Path(file).is_file()]
        if missing or not found:
            raise FileNotFoundError(f"no file {source!r}; {EXPECTED}")
    if len({_suffix(file) for file in found}) > 1:
        raise ValueError(f"{source} holds Parquet files and tars; name one kind, such as {source}/*.tar")
    return found, passed_over


def _without_system_files(files: Iterable[str], passed_over: PassedOver) -> list[str]:
    """The files but for those that systems leave."""
    return [file for file in files if not passed_over.leaves_out(file.rpartition("/")[2], file, folder=False)]


def _suffix(name: str) -> str:
    """What comes after a name's last dot, with the dot, in small letters."""
    return "." + name.rpartition(".")[2].lower()


def check_there(source: str) -> None:
    """Refuse a file or folder that is not there, before anything else is done; names of data sets are not looked up.

    Raises:
        FileNotFoundError: It is not.
    """
    file = source.removeprefix("table:")
    if not Path(file).exists() and not any(mark in file for mark in ":*?["):
        raise _absent(file)


def _absent(source: str) -> FileNotFoundError:
    """What to raise where there is no such file."""
    return FileNotFoundError(f"no file or folder {source!r}; data sets are written NAME:SPLIT, such as digits:test")


def _names(source: str, passed_over: PassedOver) -> Iterator[str]:
    """The names of files, one by one."""
    if "://" in source:
        with reached(source):
            yield from _remote_names(source, passed_over)
        return
    path = Path(source)
    if path.is_dir():
        yield from walk_images(source, passed_over)
    elif not path.is_file():
        raise _absent(source)
    elif path.suffix.lower() in RAW_SUFFIXES:
        raise ValueError(f"{printable(source)} is not read here, {RAW_WAY}")
    elif is_photo_name(path.name):
        yield source
    else:
        yield from read_list(path)


def _remote_names(source: str, passed_over: PassedOver) -> Iterator[str]:
    """The addresses of images: the source itself, those it lists, or those in the folder and below it."""
    import fsspec

    system, path = fsspec.core.url_to_fs(source)
    if is_photo_name(path):
        yield source
    elif system.isfile(path):
        with system.open(path, "rb") as lines:
            for line in lines:
                name = line.decode("utf-8-sig").strip()
                if name:
                    yield name if "://" in name else f"{source.rpartition('/')[0]}/{name}"
    else:
        for folder, folders, names in system.walk(path):
            # those that are taken out are not entered
            folders[:] = [one for one in folders if not passed_over.leaves_out(one, f"{folder}/{one}", folder=True)]
            for file in _without_system_files([f"{folder}/{name}" for name in sorted(names)], passed_over):
                if is_image_name(file):
                    yield system.unstrip_protocol(file)
                else:
                    add_file(passed_over, file)
