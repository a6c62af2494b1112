"""Unpacking archives that nobody vouches for: nothing is written before every member was checked."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Self

from tqdm.auto import tqdm

from cnn_rnn.data.photos.disk_layout import leaves_folder
from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.folder_lock import one_at_a_time
from cnn_rnn.foundation.whole_files import named_on_failure

ENCRYPTED = 1  # the flag of a zip's member that wants a password
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
DISK_BLOCK = 4096  # bytes that a disk gives out at once


def extract_archive(path: Path, folder: Path, into: str | None = None) -> None:
    """Unpacks a tar or zip file below `folder`; members that lie there with their right size are left alone.

    Of several processes at once one unpacks, and the others wait for it.

    Args:
        path: The archive; a compressed tar file will do.
        folder: Where to unpack.
        into: A folder below, for an archive that does not bring it along as the first part of every name.

    Raises:
        UnsafeArchiveError: The file is no whole archive, costs more than an archive may, or two members have one name;
            a member has an absolute path, a `..`, is a link or a device; or the disk is too small for all of it.
        UnwrittenFileError: The disk did not take a member after all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder / f".{path.name}.lock"):
        _extract(path, folder, into)


def _extract(path: Path, folder: Path, into: str | None) -> None:
    """As `extract_archive`, once no other process unpacks the same."""
    fault, way_out = "is no whole tar or zip file", "; download it again"
    with told_as_broken(path, fault, way_out, unpacks=True, raising=UnsafeArchiveError):
        if zipfile.is_zipfile(path):
            _extract_zip(path, folder, into)
        else:
            _extract_tar(path, folder, into)
    unpacking_marker(path, folder).unlink(missing_ok=True)


def unpacking_marker(path: Path, folder: Path) -> Path:
    """The file that tells that an archive was not yet unpacked whole."""
    return folder / f".{path.name}.unpacking"


def _extract_zip(path: Path, folder: Path, into: str | None) -> None:
    """Unpack a ZIP archive once all members are checked; files already there in full stay."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        tally = ArchiveTally(str(path), path.stat().st_size)
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check_member(path, member.filename, plain=kind in {0, stat.S_IFREG, stat.S_IFDIR})
            if member.flag_bits & ENCRYPTED or member.compress_type not in METHODS:
                how = "wants a password" if member.flag_bits & ENCRYPTED else "is packed in a way not known here"
                raise UnsafeArchiveError(f"{path}: member {member.filename!r} {how}; unpack it with another program")
            tally.add(member.filename, member.file_size)
        _check_member_names(path, (member.filename for member in members if not member.is_dir()))
        target = _target(folder, into, [member.filename for member in members])
        _check_space(path, target, [(member.filename, member.file_size) for member in members])
        unpacking_marker(path, folder).touch()
        for member in tqdm(members, desc=f"unpacking {path.name}", unit="file", delay=2):
            if not _is_there(target / member.filename, member.file_size):
                with named_on_failure(target / member.filename):
                    archive.extract(member, target)


def _extract_tar(path: Path, folder: Path, into: str | None) -> None:
    """Unpack a tar archive once all members are checked; files already there in full stay."""
    with tarfile.open(path, tarinfo=CheckedTarInfo) as archive:
        members = []
        tally = ArchiveTally(str(path), path.stat().st_size)
        for member in archive:  # one by one: a bomb is not read to its end
            _check_member(path, member.name, plain=member.isfile() or member.isdir())
            tally.add(member.name, member.size)
            members.append(member)
        _check_member_names(path, (member.name for member in members if not member.isdir()))
        target = _target(folder, into, [member.name for member in members])
        _check_space(path, target, [(member.name, member.size) for member in members])
        if isinstance(archive.fileobj, io.BufferedReader):  # not compressed: the end of the last member is known
            end = max((member.offset_data + member.size for member in members), default=0)
            if end > path.stat().st_size:
                raise tarfile.ReadError("it is cut off")
        unpacking_marker(path, folder).touch()
        for member in tqdm(members, desc=f"unpacking {path.name}", unit="file", delay=2):
            if member.isdir() or not _is_there(target / member.name, member.size):
                with named_on_failure(target / member.name):
                    archive.extract(member, target, filter="data")


def _check_member(path: Path, name: str, *, plain: bool) -> None:
    """Refuse a member that leaves the folder, or that is a link or a device."""
    if leaves_folder(name) or "\0" in name:
        raise UnsafeArchiveError(f"{path}: member {name!r} leaves the folder; do not trust this archive")
    if not plain:
        raise UnsafeArchiveError(f"{path}: member {name!r} is a link or a device; do not trust this archive")


def _check_member_names(path: Path, names: Iterable[str]) -> None:
    """Refuse two files of one name, of which only the second would be left, and a file that is a folder too."""
    files: set[PurePosixPath] = set()
    for name in names:
        file = PurePosixPath(name)
        if file in files:
            raise UnsafeArchiveError(f"{path}: member {name!r} comes twice; do not trust this archive")
        files.add(file)
    folders = {parent for file in files for parent in file.parents}
    both = min(files & folders, default=None)
    if both is not None:
        raise UnsafeArchiveError(f"{path}: member {str(both)!r} is a file and a folder; do not trust this archive")


def _target(folder: Path, into: str | None, names: list[str]) -> Path:
    """The folder to unpack into, made if need be: `folder`, or `into` below it where the members do not bring that."""
    brings_it = into is None or all(name.removeprefix("./").split("/")[0] == into for name in names)
    target = folder if brings_it else folder / str(into)
    target.mkdir(parents=True, exist_ok=True)
    return target


def _check_space(path: Path, target: Path, members: list[tuple[str, int]]) -> None:
    """Refuse an archive whose members, named with their sizes, do not fit on the disk beside what is there already."""
    missing = [size for name, size in members if not _is_there(target / name, size)]
    needed = sum(-(-size // DISK_BLOCK) * DISK_BLOCK for size in missing)
    free = shutil.disk_usage(target).free
    if needed > free:
        raise UnsafeArchiveError(f"{path} needs {needed:,} bytes at {target}, the disk has {free:,} free; make room")
    disk = os.statvfs(target)
    if disk.f_files and len(missing) > disk.f_favail:  # some disks do not count their files
        raise UnsafeArchiveError(
            f"{path} has {len(missing):,} files for {target}, the disk takes {disk.f_favail:,} more; remove some, or "
            "choose another disk"
        )


def _is_there(path: Path, size: int) -> bool:
    """Whether a file of this size is there."""
    return path.is_file() and path.stat().st_size == size


MOST_MEMBERS = 1_000_000  # the largest official archive, COCO's train2017.zip, has 118,288
MOST_UNPACKED_BYTES = 2**38  # 256 GiB unpacked; that one has 19.4 GB
MOST_TIMES = 100  # as large unpacked as packed, beyond what follows: photos hardly grow, NUS-WIDE's tables 27 times
HARMLESS_BYTES = 2**32  # that anything may unpack to: a table that is nearly all 0 grows a thousand times
LONGEST_HEADER = 2**20  # bytes of a member's name and notes, which are read into memory whole
LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class UnsafeArchiveError(ValueError):
    """An archive that is cut off, costs too much or would write outside its folder; the message names the member."""


class ArchiveTally:
    """What the members of an archive declare so far, held against what an archive may cost.

    Args:
        archive: What messages call it.
        packed: Its own length in bytes; None where nobody tells.
        most_bytes: What it may unpack to.
    """

    def __init__(self, archive: str, packed: int | None, most_bytes: int = MOST_UNPACKED_BYTES) -> None:
        self.archive, self.packed, self.most_bytes = archive, packed, most_bytes
        self.members = self.bytes = 0

    def add(self, member: str, size: int) -> None:
        """Count a member.

        Raises:
            UnsafeArchiveError: With it they are too many, too large, or too large for so small an archive.
        """
        self.members += 1
        self.bytes += size
        if size < 0:
            self._refuse(member, f"declares {size:,} bytes, and no file has fewer than none")
        if self.members > MOST_MEMBERS:
            self._refuse(member, f"is one more than the {MOST_MEMBERS:,} that an archive may have")
        if self.bytes > self.most_bytes:
            self._refuse(member, f"makes it {self.bytes:,} bytes unpacked, of at most {self.most_bytes:,}")
        if self.packed is not None and self.bytes > max(HARMLESS_BYTES, MOST_TIMES * self.packed):
            self._refuse(
                member,
                f"makes it {self.bytes:,} bytes unpacked, of at most {MOST_TIMES} times the {self.packed:,} that the "
                "archive has",
            )

    def _refuse(self, member: str, why: str) -> None:
        """Raise the error that names archive, member, bound and the way out."""
        raise UnsafeArchiveError(
            f"{self.archive}: member {member!r} {why}; if you trust it, unpack it with a tool of the system and give "
            "what comes of it"
        )


class LongHeaderError(tarfile.TarError):
    """A header that is larger than any that an honest program writes."""


class CheckedTarInfo(tarfile.TarInfo):
    """A tar's member, whose long name and notes are not read where they declare to be longer than any.

    After the last one a tar has blocks of zero: one that ends without them was cut off between two members.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The member of a header of 512 bytes.

        Raises:
            LongHeaderError: They do.
            ReadError: The tar ends here, without blocks of zero.
        """
        if not buf:
            raise tarfile.ReadError("it is cut off: it ends without blocks of zero")
        member = super().frombuf(buf, encoding, errors)
        if member.type in LONG_HEADERS and not 0 <= member.size <= LONGEST_HEADER:
            raise LongHeaderError(
                f"the header of member {member.name!r} declares {member.size:,} bytes, of at most {LONGEST_HEADER:,}"
            )
        return member
