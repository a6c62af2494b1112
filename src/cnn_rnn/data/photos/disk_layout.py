"""What loaders ask of a disk: where a set lies, which images are there, and a clear word when they are not."""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from .found_files import is_kind, left_by_system

T = TypeVar("T")
logger = logging.getLogger(__name__)
ROOT = "--data.root FOLDER in training, --root FOLDER in cnn-rnn data, root in Python"
NAMED_IN_ERRORS = 5  # how many offenders an error names
SPLITS = {  # what a split is called, and what else files and folders call it
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
LEAVES = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


def existing_folder(root: str | Path, what: str, candidates: Sequence[str] = ("",)) -> Path:
    """The first of `root/candidate` that is a folder; FileNotFoundError that says what was looked for."""
    for candidate in candidates:
        folder = Path(root) / candidate
        if folder.is_dir():
            return folder
    looked = " or ".join(str(Path(root) / candidate) for candidate in candidates)
    raise FileNotFoundError(f"no {what} at {looked}; give its folder: {ROOT}")


def abbreviate(names: Sequence[T], tell: Callable[[T], str] = str) -> str:
    """The first few of many names, and how many more there are; `tell` says how one is written."""
    more = len(names) - NAMED_IN_ERRORS
    return ", ".join(map(tell, names[:NAMED_IN_ERRORS])) + (f" and {more:,} more" if more > 0 else "")


def leaves_folder(name: str) -> bool:
    """Whether a relative file name, as Windows or Linux write it, points outside its folder."""
    marked = "/" in name or "\\" in name or ":" in name or name == ".."  # far sooner said than searched
    return marked and LEAVES.search(name) is not None


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
        return {entry.name for entry in entries if is_kind(entry, os.DirEntry.is_file)}


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of splits in a folder, by the name of the split, whatever their letters' case."""
    there = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    places = {name: [there[word] for word in words if word in there] for name, words in SPLITS.items()}
    return {name: found[0] for name, found in places.items() if found}


def told_beside(folder: Path, splits: Mapping[str, Path]) -> list[str]:
    """A note on folders with photos or annotations that lie beside those of splits, which are not read; none else."""
    others = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and path not in splits.values()]
    others = [name for name in others if not left_by_system(name, folder=True)]
    return [f"not read, beside the folders of splits: {abbreviate(others)}"] if splits and others else []


def pick_split(available: Sequence[str], split: str | None, what: str) -> list[str]:
    """The splits to load: all of them, or the one that was asked for; ValueError that names what there is."""
    if not available:
        raise FileNotFoundError(f"{what}: no split found")
    if split is None:
        return list(available)
    if split not in available:
        raise ValueError(f"{what} has no split '{split}'; it has {', '.join(available)}")
    return [split]
