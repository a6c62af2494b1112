"""Which files a person means: a folder, searched through, or a list; found one by one, never all in memory.

Nothing is passed over in silence: what looks like an image and is none, and what no installed plug-in reads, is counted
and named.
"""

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cnn_rnn.data.photos.found_files import PassedOver, is_kind, printable, walk
from cnn_rnn.data.photos.photo_suffixes import READ_SUFFIXES, way_to_read
from cnn_rnn.foundation.file_kinds import kind_of_file

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef",
     ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)  # fmt: skip
RAW_WAY = "a camera's RAW file: export it as JPEG, or take out its preview, exiftool -b -PreviewImage -w jpg FILE"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def add_file(passed_over: PassedOver, name: str) -> None:
    """Count a file that is not read, with the way to read it where there is one."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    way_on = RAW_WAY if suffix in RAW_SUFFIXES else way_to_read(name)
    passed_over.add(f"file {suffix or 'without a suffix'}{f', not read here ({way_on})' if way_on else ''}", name)


def is_image_name(name: str) -> bool:
    """Whether a name ends as those of images do that are read here."""
    return os.path.splitext(name)[1].lower() in READ_SUFFIXES  # noqa: PTH122 - asked a hundred million times


def walk_images(folder: str, passed_over: PassedOver) -> Iterator[str]:
    """The image files below a folder, as `walk` finds them.

    Raises:
        OSError: A folder cannot be listed.
    """
    for entry in walk(folder, passed_over):
        if not is_image_name(entry.name):
            add_file(passed_over, entry.path)
        elif is_kind(entry, os.DirEntry.is_file):
            yield entry.path
        else:
            passed_over.add(special_kind(entry), entry.path)


def special_kind(entry: os.DirEntry[str]) -> str:
    """What something called like an image is that is neither file nor folder."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "link to nothing"
    return "pipe" if stat.S_ISFIFO(mode) else "device or socket"


def read_list(path: Path) -> Iterator[str]:
    r"""The files that a text file names, one path per line, relative to its folder; empty lines count for nothing.

    UTF-8 and UTF-16 are told by their mark, else it is UTF-8; a line that is none counts as the very bytes of a file's
    name. `photos\a.jpg` means `photos/a.jpg` where only that is there.

    Raises:
        ValueError: It is another kind of file, or a line can be read in no such way; file and line are named.
    """
    if kind := kind_of_file(path):
        raise ValueError(f"{path} {kind}")
    folder = f"{path.parent}/"
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(0)
        lines = _from_utf16(path) if head in UTF16 else iter(file)
        for number, line in enumerate(lines, start=1):
            raw = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
            if not raw:
                continue
            where = f"{path}, line {number}"
            if b"\0" in raw:
                raise ValueError(f"{where} holds bytes of zero: expected UTF-8, or UTF-16 with its mark (BOM)")
            name = os.fsdecode(raw)
            name = name if name.startswith("/") or "://" in name else folder + name
            if "\\" in name and not os.path.lexists(name):
                turned = name.replace("\\", "/")
                name = turned if os.path.lexists(turned) else name
            if not raw.isascii() and not _is_utf8(raw) and not os.path.lexists(name):
                raise ValueError(
                    f"{where} is not UTF-8, and no file has these bytes for its name ({printable(name)}): save the "
                    "list as UTF-8"
                )
            yield name


def _from_utf16(path: Path) -> Iterator[bytes]:
    """The lines of a file of UTF-16, as UTF-8; ValueError where it breaks off."""
    try:
        with path.open(encoding="utf-16", newline=None) as lines:
            for line in lines:
                yield line.encode("utf-8")
    except UnicodeError as error:
        raise ValueError(f"{path} begins as UTF-16 and breaks off: {error}; save it again") from error


def _is_utf8(raw: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
