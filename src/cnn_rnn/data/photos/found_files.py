"""What lies in a folder of photos: one walk for all that look through folders, and what it passes over, by name.

Systems leave files and folders of their own among photos: thumbnails, waste bins, older versions, halves of a Mac's
files. Read as photos they would become classes, or twins of photos that are held out.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# Beside them every hidden folder, such as .ipynb_checkpoints, .thumbnails, .Trash-1000 and .Spotlight-V100.
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle",
     "#snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found", "lost.dir"}
)  # fmt: skip
SYSTEM_FILES = frozenset(
    {".ds_store", ".apdisk", ".localized", ".volumeicon.icns", "icon\r", "thumbs.db", "ehthumbs.db",
     "ehthumbs_vista.db", "desktop.ini", ".directory", ".nomedia", ".picasa.ini", "picasa.ini", "zbthumbnail.info",
     "pspbrwse.jbf"}
)  # fmt: skip
MADE_UP = re.compile(r"(\._|~\$|\.~lock\.|\.trashed-|\.pending-|\.fuse_hidden|\.nfs|\.smbdelete|\.goutputstream-).")
TAKES_IN = "data.system_files true takes them in"
EXAMPLES = 3
OWN_FOLDER = ".cnn-rnn"  # what the page keeps beside the photos that it labels; there are no photos in it
JOB_PICTURE, JOB_LABELS = "paths.png", "labels*.parquet"  # what `cnn-rnn predict` writes, perhaps beside the photos


def left_by_system(name: str, *, folder: bool) -> str | None:
    """What a file or folder of this name is called among those that systems leave; None where it is anybody's."""
    plain = name.casefold()
    if folder:
        return name if plain in SYSTEM_FOLDERS or (name.startswith(".") and name.strip(".")) else None
    made_up = MADE_UP.match(plain)
    return f"{made_up[1]}*" if made_up else name if plain in SYSTEM_FILES else None


def printable(name: str) -> str:
    r"""A file's name as text: bytes that are no UTF-8 as `\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass
class PassedOver:
    """What was found and is no image, by kind, with the first names of each.

    Attributes:
        system_files: Whether what systems leave among photos is taken in with the rest.
    """

    system_files: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        named = self.examples.setdefault(kind, [])
        if len(named) < EXAMPLES:
            named.append(printable(name))

    def leaves_out(self, name: str, path: str, *, folder: bool) -> bool:
        """Whether something of this name is a system's own and left out; then it is counted."""
        kind = None if self.system_files else left_by_system(name, folder=folder)
        if kind is not None:
            self.add(f"{'folder' if folder else 'file'} {kind}, left by a system ({TAKES_IN})", path)
        return kind is not None

    def leaves_out_path(self, path: str) -> bool:
        """Whether a path as archives write it leads into what is left out; then it is counted."""
        *folders, name = PurePosixPath(path).parts or ("",)
        return any(self.leaves_out(one, path, folder=True) for one in folders) or self.leaves_out(
            name, path, folder=False
        )

    def lines(self) -> list[str]:
        """A line a kind, the most frequent first."""
        return [
            f"passed over: {count:,} {kind if count == 1 else several(kind)}: {', '.join(self.examples[kind])}"
            + (" ..." if count > EXAMPLES else "")
            for kind, count in self.counts.most_common()
        ]


def several(kind: str) -> str:
    """What several of a kind are called, such as "files .txt" of "file .txt"."""
    noun, *rest = kind.split(" ", 1)
    return " ".join([f"{noun}s", *rest])


def walk(folder: str | os.PathLike[str], passed_over: PassedOver) -> Iterator[os.DirEntry[str]]:
    """All that is no folder in a folder and below it, sorted; links to folders are followed, none is entered twice.

    Raises:
        OSError: A folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    ways = [_listed(os.fspath(folder), seen)]  # not a recursion: folders lie in one another as deep as they like
    while ways:
        entry = next(ways[-1], None)
        if entry is None:
            ways.pop()
            continue
        is_folder = is_kind(entry, os.DirEntry.is_dir)
        if entry.name == OWN_FOLDER and is_folder:
            continue
        if passed_over.leaves_out(entry.name, entry.path, folder=is_folder):
            continue
        if entry.name == JOB_PICTURE and any(Path(entry.path).parent.glob(JOB_LABELS)):
            passed_over.add("picture drawn by a job", entry.path)
            continue
        if not is_folder:
            yield entry
            continue
        status = entry.stat()
        if (status.st_dev, status.st_ino) in seen:
            passed_over.add("folder reached a second time through a link", entry.path)
        else:
            ways.append(_listed(entry.path, seen))


def walk_files(folder: str | os.PathLike[str], passed_over: PassedOver) -> list[Path]:
    """All files in a folder and below it, as `walk` finds them."""
    return [Path(entry.path) for entry in walk(folder, passed_over) if is_kind(entry, os.DirEntry.is_file)]


def _listed(folder: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder by name; `seen` notes the folder, whatever path leads to it."""
    status = os.stat(folder)  # noqa: PTH116
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def is_kind(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Whether an entry is of a kind; a link that leads to itself is of none."""
    try:
        return kind(entry)
    except OSError:  # a link that leads to itself
        return False
