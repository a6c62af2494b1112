"""Unpacking archives that nobody vouches for: nothing is written before every member was checked."""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

from tqdm.auto import tqdm

from .disk_layout import leaves_folder


class UnsafeArchiveError(RuntimeError):
    """An archive that is cut off or would write outside its folder; the message names it and the member."""


def extract_archive(path: Path, folder: Path, into: str | None = None) -> None:
    """Unpacks a tar or zip file below `folder`; members that lie there with their right size are left alone.

    Args:
        path: The archive; a compressed tar file will do.
        folder: Where to unpack.
        into: A folder below, for an archive that does not bring it along as the first part of every name.

    Raises:
        UnsafeArchiveError: The file is no whole archive, a member has an absolute path, a `..`, is a link or a
            device, or the disk is too small for what the archive declares.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(path):
            _extract_zip(path, folder, into)
        else:
            _extract_tar(path, folder, into)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        raise UnsafeArchiveError(f"{path} is no whole tar or zip file: {error}; download it again") from error
    unpacking_marker(path, folder).unlink(missing_ok=True)


def unpacking_marker(path: Path, folder: Path) -> Path:
    """The file that tells that an archive was not yet unpacked whole."""
    return folder / f".{path.name}.unpacking"


def _extract_zip(path: Path, folder: Path, into: str | None) -> None:
    """Unpack a ZIP archive once all members are checked; files already there in full stay."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check_member(path, member.filename, plain=kind in {0, stat.S_IFREG, stat.S_IFDIR})
        target = _target(folder, into, [member.filename for member in members])
        _check_space(path, target, sum(member.file_size for member in members))
        unpacking_marker(path, folder).touch()
        for member in tqdm(members, desc=f"unpacking {path.name}", unit="file"):
            if not _is_there(target / member.filename, member.file_size):
                archive.extract(member, target)


def _extract_tar(path: Path, folder: Path, into: str | None) -> None:
    """Unpack a tar archive once all members are checked; files already there in full stay."""
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        for member in members:
            _check_member(path, member.name, plain=member.isfile() or member.isdir())
        target = _target(folder, into, [member.name for member in members])
        _check_space(path, target, sum(member.size for member in members))
        if isinstance(archive.fileobj, io.BufferedReader):  # not compressed: the end of the last member is known
            end = max((member.offset_data + member.size for member in members), default=0)
            if end > path.stat().st_size:
                raise tarfile.ReadError("it is cut off")
        unpacking_marker(path, folder).touch()
        for member in tqdm(members, desc=f"unpacking {path.name}", unit="file"):
            if member.isdir() or not _is_there(target / member.name, member.size):
                archive.extract(member, target, filter="data")


def _check_member(path: Path, name: str, *, plain: bool) -> None:
    """Refuse a member that leaves the folder, or that is a link or a device."""
    if leaves_folder(name) or "\0" in name:
        raise UnsafeArchiveError(f"{path}: member {name!r} leaves the folder; do not trust this archive")
    if not plain:
        raise UnsafeArchiveError(f"{path}: member {name!r} is a link or a device; do not trust this archive")


def _target(folder: Path, into: str | None, names: list[str]) -> Path:
    """The folder to unpack into, made if need be: `folder`, or `into` below it where the members do not bring that."""
    brings_it = into is None or all(name.removeprefix("./").split("/")[0] == into for name in names)
    target = folder if brings_it else folder / str(into)
    target.mkdir(parents=True, exist_ok=True)
    return target


def _check_space(path: Path, target: Path, needed: int) -> None:
    """Refuse an archive that needs more bytes than the disk has free."""
    free = shutil.disk_usage(target).free
    if needed > free:
        raise UnsafeArchiveError(f"{path} declares {needed:,} bytes, the disk has {free:,} free; make room")


def _is_there(path: Path, size: int) -> bool:
    """Whether a file of this size is there."""
    return path.is_file() and path.stat().st_size == size
