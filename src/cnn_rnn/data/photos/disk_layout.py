"""What loaders ask of a disk: where a set lies, which images are there, and a clear word when they are not."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)
ROOT = "--data.root FOLDER in training, --root FOLDER in cnn-rnn data, root in Python"
NAMED = 5  # how many offenders an error names
LEAVES = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


def existing_folder(root: str | Path, what: str, candidates: Sequence[str] = ("",)) -> Path:
    """The first of `root/candidate` that is a folder; FileNotFoundError that says what was looked for."""
    for candidate in candidates:
        folder = Path(root) / candidate
        if folder.is_dir():
            return folder
    looked = " or ".join(str(Path(root) / candidate) for candidate in candidates)
    raise FileNotFoundError(f"no {what} at {looked}; give its folder: {ROOT}")


def abbreviate(names: Sequence[object]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more:,} more" if more > 0 else "")


def leaves_folder(name: str) -> bool:
    """Whether a relative file name, as Windows or Linux write it, points outside its folder."""
    return LEAVES.search(name) is not None


def present_paths(
    folder: Path,
    names: Sequence[str],
    what: str,
    *,
    require_images: bool = True,
    where: Callable[[int], str] | None = None,
) -> list[str | None]:
    """The path of each named file, None where no file lies there; every folder is listed once, no file is touched.

    Args:
        folder: Where the images should be.
        names: Their paths below the folder.
        what: The set's name, for messages.
        require_images: Whether a missing image is an error.
        where: What names a row by its number, so that the error can point to the line that asks for the image.

    Raises:
        FileNotFoundError: An image is missing and `require_images` asks for all of them. Otherwise the missing ones
            are counted and named in the log.
    """
    found = existing_paths(folder, names)
    missing = [index for index, path in enumerate(found) if path is None]
    if missing:
        named = abbreviate([f"{where(index)}: {names[index]}" if where else names[index] for index in missing])
        count = f"{what}: {len(missing):,} of {len(names):,} images are missing in {folder}: {named}"
        if require_images:
            alone = "'cnn-rnn data look', or require_images=False in Python, does without them"
            raise FileNotFoundError(f"{count}; add them; {alone}")
        logger.warning(count)
    return found


def existing_paths(folder: Path, names: Sequence[str]) -> list[str | None]:
    """The path of each file that lies below the folder under exactly this name, None for each other."""
    split = [name.rpartition("/") for name in names]
    listed = {below: _file_names(folder / below) for below in {below for below, _, _ in split}}
    prefix = f"{folder}{os.sep}"
    return [
        prefix + name if base in listed[below] else None for name, (below, _, base) in zip(names, split, strict=True)
    ]


def _file_names(folder: Path) -> set[str]:
    """The names of the files in a folder; none where there is no folder."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if _is_file(entry)}


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file; a link that leads to itself is none."""
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def pick_split(available: Sequence[str], split: str | None, what: str) -> list[str]:
    """The splits to load: all of them, or the one that was asked for; ValueError that names what there is."""
    if not available:
        raise FileNotFoundError(f"{what}: no split found")
    if split is None:
        return list(available)
    if split not in available:
        raise ValueError(f"{what} has no split '{split}'; it has {', '.join(available)}")
    return [split]
