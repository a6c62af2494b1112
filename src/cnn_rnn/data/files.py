"""What loaders ask of a disk: where a set lies, which images are there, and a clear word when they are not."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)
NAMED = 5  # how many offenders an error names


def existing_folder(root: str | Path, what: str, candidates: Sequence[str] = ("",)) -> Path:
    """The first of ``root/candidate`` that is a folder; FileNotFoundError that says what was looked for."""
    for candidate in candidates:
        folder = Path(root) / candidate
        if folder.is_dir():
            return folder
    looked = " or ".join(str(Path(root) / candidate) for candidate in candidates)
    raise FileNotFoundError(f"no {what} at {looked}; give its folder as root (data.root in a configuration)")


def first_names(names: Sequence[object]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more:,} more" if more > 0 else "")


def present_paths(
    paths: Sequence[Path], what: str, require_images: bool, where: Callable[[int], str] | None = None
) -> list[str | None]:
    """Each path as a string, None where no file lies there.

    Args:
        paths: Where the images should be.
        what: The set's name, for messages.
        require_images: Whether a missing image is an error.
        where: What names a row by its number, so that the error can point to the line that asks for the image.

    Raises:
        FileNotFoundError: An image is missing and ``require_images`` asks for all of them. Otherwise the missing ones
            are counted and named in the log.
    """
    listed: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        listed[folder] = _file_names(folder)
    found = [str(path) if path.name in listed[path.parent] else None for path in paths]
    missing = [index for index, path in enumerate(found) if path is None]
    if missing:
        named = first_names([f"{where(index)}: {paths[index]}" if where else paths[index] for index in missing])
        count = f"{what}: {len(missing):,} of {len(paths):,} images are missing: {named}"
        if require_images:
            raise FileNotFoundError(f"{count}; add them, or pass require_images=False to work with labels alone")
        logger.warning(count)
    return found


def _file_names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if _is_file(entry)}


def _is_file(entry: os.DirEntry[str]) -> bool:
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
