"""From the names in a label file to the files on the disk: exact, else the one file that can be meant, else why not."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from .disk_layout import abbreviate, existing_paths, logger
from .found_files import PassedOver, walk_files
from .photo_suffixes import is_photo_name

Where = Callable[[int], str]  # names a row by its place in the columns


def match_files(
    folder: Path, names: Sequence[str], what: str, *, require_images: bool, where: Where
) -> tuple[list[str | None], list[str]]:
    """The path of each named file, None where there is none, and what names had to be taken for, for people.

    A name that no file has stands for the one file that differs from it in case, in the direction of its slashes, in
    the way that accents are written, or by a suffix or leading folders that only one of the two has.

    Raises:
        FileNotFoundError: Images are missing and `require_images` asks for all of them; says what lies there instead.
        ValueError: A name could mean two files, or two names mean one.
    """
    exact = existing_paths(folder, names)
    missing = [index for index, path in enumerate(exact) if path is None]
    if not missing:
        return exact, []
    index = _FolderIndex(folder, [names[row] for row in missing])
    notes: Counter[str] = Counter()
    for row in missing if index.by_name else ():
        found, how = index.meant_by(names[row])
        if len(found) > 1:
            raise ValueError(
                f"{where(row)}: {names[row]!r} is no file of {folder} and could mean {abbreviate(found)}; write the "
                "name of one of them"
            )
        if found:
            exact[row] = str(folder / found[0])
            notes[how] += 1
    taken = Counter(path for path in exact if path)
    twice = next((path for path, count in taken.items() if count > 1), None)
    if twice is not None:
        rows = [index for index, path in enumerate(exact) if path == twice]
        raise ValueError(
            f"{where(rows[0])} and {where(rows[1])}: {names[rows[0]]!r} and {names[rows[1]]!r} mean one file"
        )
    missing = [index for index, path in enumerate(exact) if path is None]
    if missing:
        named = abbreviate(missing, lambda row: f"{where(row)}: {names[row]}")
        told = f"{what}: {len(missing):,} of {len(names):,} images are missing in {folder}: {named}"
        if all(os.path.isfile(names[row]) for row in missing):  # noqa: PTH113 - a name may be any text
            why = f"seen from the present folder they are all there: data.image_root {Path.cwd()}"
        else:
            why = index.diagnosis([names[row] for row in missing])
        told += f"; {why}" if why else ""
        if require_images:
            raise FileNotFoundError(
                f"{told}; add them; 'cnn-rnn data look', or require_images=False in Python, does without them"
            )
        logger.warning(told)
    return exact, [f"{count:,} of {len(names):,} file names {how}" for how, count in notes.items()]


def normal(name: str) -> str:
    """A name without what two writings of it may differ in."""
    composed = unicodedata.normalize("NFC", name.replace("\\", "/")).strip().casefold()
    return composed.removeprefix("./")


class _FolderIndex:
    """The image files below a folder by every name that could mean them.

    Args:
        folder: The folder.
        wanted: The names; what systems left among photos is meant by such names alone.
    """

    def __init__(self, folder: Path, wanted: Sequence[str]) -> None:
        self.folder = folder
        self.by_name: dict[str, list[str]] = defaultdict(list)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_base: dict[str, list[str]] = defaultdict(list)
        if not folder.is_dir():
            return
        by_name = PassedOver()
        passed_over = PassedOver(system_files=any(by_name.leaves_out_path(normal(name)) for name in wanted))
        for path in walk_files(folder, passed_over):
            if is_photo_name(path.name):
                name = path.relative_to(folder).as_posix()
                key = normal(name)
                self.by_name[key].append(name)
                self.by_stem[key.rpartition(".")[0]].append(name)
                self.by_base[key.rpartition("/")[2]].append(name)

    def meant_by(self, name: str) -> tuple[list[str], str]:
        """The files that a name can mean, and by what rule."""
        key = normal(name)
        if key in self.by_name:
            return self.by_name[key], "differ from the files in case, slashes, blanks or the writing of accents"
        if key in self.by_stem and not is_photo_name(key):
            return self.by_stem[key], "lack the files' suffix"
        parts = key.split("/")
        for start in range(1, len(parts)):
            shorter = "/".join(parts[start:])
            if shorter in self.by_name:
                return self.by_name[shorter], f"have leading folders too many, such as {'/'.join(parts[:start])}/"
        if (plain := normal(unquote(name))) != key and plain in self.by_name:
            return self.by_name[plain], "are written as addresses are, a blank as %20"
        upload = parts[-1].partition("-")  # Label Studio's copies: 8 hexadecimal digits, a dash, the name
        if upload[1] and len(upload[0]) == 8 and upload[2] in self.by_name:
            return self.by_name[upload[2]], "have Label Studio's prefix"
        return [], ""

    def diagnosis(self, missing: Sequence[str]) -> str:
        """Where or under what name the missing ones lie."""
        if not self.by_name:
            return f"{self.folder} holds no images at all: data.image_root names the folder that does"
        keys = {name: normal(name) for name in missing}
        found = [self.by_base.get(key.rpartition("/")[2], []) for key in keys.values()]
        folders = {PurePosixPath(own[0]).parent.as_posix() for own in found if len(own) == 1}
        if len(folders) == 1:
            below = folders.pop()
            return f"files of these names lie in {self.folder / below}: data.image_root {below}"
        for name, key in keys.items():
            if own := self.by_stem.get(key.rpartition(".")[0]):
                return f"under another suffix there is {own[0]} for {name}"
        some = sorted(name for found in self.by_name.values() for name in found)
        return f"what lies there is called {abbreviate(some[:3])}"
