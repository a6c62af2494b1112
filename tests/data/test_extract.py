"""Unpacking: honest archives come out whole, no other writes a single file."""

import errno
import io
import os
import stat
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_rnn.data.files import unpacking
from cnn_rnn.data.files.unpacking import UnsafeArchiveError, extract_archive, unpacking_marker
from cnn_rnn.foundation.whole_files import UnwrittenFileError

FILES = {"VOCdevkit/VOC2007/a.txt": b"one", "VOCdevkit/VOC2007/sub/b.txt": b"two" * 5000}


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def write_tar(path: Path, extra: list[tarfile.TarInfo] | None = None, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # modes come as a parameter
        for name, content in FILES.items():
            member = tar_member(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra or []:
            archive.addfile(member)
    return path


def write_zip(path: Path, extra: list[tuple[str, int]] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        for name, mode in extra or []:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, "target")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_an_honest_archive_comes_out_whole_and_twice_is_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        write_zip(path)
    else:
        write_tar(path, mode=f"w:{kind.partition('.')[2]}")
    extract_archive(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    (tmp_path / "out" / "VOCdevkit/VOC2007/a.txt").write_bytes(b"")
    before = (tmp_path / "out" / "VOCdevkit/VOC2007/sub/b.txt").stat().st_mtime_ns
    extract_archive(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "VOCdevkit/VOC2007/sub/b.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize(("into", "root"), [("VOCdevkit", ""), ("Groundtruth", "Groundtruth/"), (None, "")])
def test_a_folder_is_added_only_where_the_archive_does_not_bring_it(
    tmp_path: Path, into: str | None, root: str
) -> None:
    extract_archive(write_zip(tmp_path / "a.zip"), tmp_path / "out", into)
    assert contents(tmp_path / "out") == {root + name: content for name, content in FILES.items()}


HOSTILE_TAR = {
    "up": tar_member("../evil.txt"),
    "deep up": tar_member("VOCdevkit/../../evil.txt"),
    "absolute": tar_member("/tmp/evil.txt"),  # noqa: S108  # never written
    "link out": tar_member("VOCdevkit/link", tarfile.SYMTYPE, "/etc"),
    "hard link": tar_member("VOCdevkit/link", tarfile.LNKTYPE, "../evil"),
    "device": tar_member("VOCdevkit/null", tarfile.CHRTYPE),
    "pipe": tar_member("VOCdevkit/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("member", HOSTILE_TAR.values(), ids=HOSTILE_TAR)
def test_a_hostile_tar_writes_nothing(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar: member .* do not trust this archive"):
        extract_archive(write_tar(tmp_path / "a.tar", [member]), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.txt", 0),
        ("a/../../evil.txt", 0),
        ("/evil.txt", 0),
        ("..\\evil.txt", 0),
        ("C:\\evil.txt", 0),
        ("l", stat.S_IFLNK),
    ],
)
def test_a_hostile_zip_writes_nothing(tmp_path: Path, member: tuple[str, int]) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"a\.zip: member .* do not trust this archive"):
        extract_archive(write_zip(tmp_path / "a.zip", [member]), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_cut_off_archive_is_refused(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / f"a.{kind}"
    whole = (write_zip(path) if kind == "zip" else write_tar(path, mode=f"w:{kind.partition('.')[2]}")).read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(UnsafeArchiveError, match="no whole tar or zip file"):
        extract_archive(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_spoilt_bytes_inside_a_packed_tar_are_found(tmp_path: Path, kind: str) -> None:
    path = write_tar(tmp_path / "a.tar", mode=f"w:{kind}")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 8] = b"spoilt!!"
    path.write_bytes(whole)
    with pytest.raises(UnsafeArchiveError, match="no whole tar or zip file"):
        extract_archive(path, tmp_path / "out")


def test_spoilt_bytes_inside_a_zip_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"the original bytes")
    path.write_bytes(path.read_bytes().replace(b"original", b"trojaned"))
    with pytest.raises(UnsafeArchiveError, match="Bad CRC-32"):
        extract_archive(path, tmp_path / "out")
    assert unpacking_marker(path, tmp_path / "out").exists()


def test_an_archive_that_declares_more_than_the_disk_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip")
    extract_archive(path, tmp_path / "again")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(
        UnsafeArchiveError, match=r"a\.zip needs 20,480 bytes at .*out, the disk has 10 free; make room"
    ):
        extract_archive(path, tmp_path / "out")
    extract_archive(path, tmp_path / "again")  # all of it is there


def test_an_archive_of_more_files_than_the_disk_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"f_bavail": 99, "f_blocks": 99, "f_bfree": 99, "f_frsize": 4096}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk, f_files=9, f_favail=1))
    with pytest.raises(UnsafeArchiveError, match=r"has 2 files for .*, the disk takes 1 more"):
        extract_archive(write_tar(tmp_path / "a.tar"), tmp_path / "out")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk, f_files=0, f_favail=0))  # it does not count
    extract_archive(write_tar(tmp_path / "a.tar"), tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_disk_that_is_full_in_between_is_told_with_the_file_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = (write_zip if kind == "zip" else write_tar)(tmp_path / f"a.{kind}")
    opened = zipfile.ZipFile if kind == "zip" else tarfile.TarFile
    extract = opened.extract

    def half(self: Any, member: Any, target: Path, **options: Any) -> Any:
        written = Path(extract(self, member, target, **options) or target / member.name)
        if written.name == "b.txt":
            written.write_bytes(b"two")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    monkeypatch.setattr(opened, "extract", half)
    with pytest.raises(UnwrittenFileError, match=r"could not write .*sub/b\.txt: No space left .*free space"):
        extract_archive(path, tmp_path / "out")
    assert unpacking_marker(path, tmp_path / "out").exists()
    monkeypatch.undo()
    extract_archive(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def tar_that_declares(path: Path, size: int) -> Path:
    """A packed tar of a few bytes with a member of so many."""
    member = tar_member("VOCdevkit/bomb.jpg")
    member.size = size
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member)
    return path


def zip_that_declares(path: Path, size: int) -> Path:
    """A zip of a few bytes with a member of so many."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("VOCdevkit/bomb.jpg", b"small")
        archive.infolist()[0].file_size = size
    return path


@pytest.mark.parametrize("write", [tar_that_declares, zip_that_declares], ids=["tar", "zip"])
@pytest.mark.parametrize(
    ("size", "told"),
    [
        (
            2**33,
            "makes it 8,589,934,592 bytes unpacked, of at most 100 times the .* that the archive has; if you trust",
        ),
        (2**39, "makes it 549,755,813,888 bytes unpacked, of at most 274,877,906,944; if you trust it, unpack it with"),
    ],
)
def test_a_bomb_is_refused_before_a_byte_is_unpacked(tmp_path: Path, write: Any, size: int, told: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=rf"a\.any: member 'VOCdevkit/bomb\.jpg' {told}"):
        extract_archive(write(tmp_path / "a.any", size), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_a_member_of_less_than_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar: member 'VOCdevkit/bomb\.jpg' declares -512 bytes"):
        extract_archive(tar_that_declares(tmp_path / "a.tar", -512), tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 1)
    with pytest.raises(UnsafeArchiveError, match=r"member '.*b\.txt' is one more than the 1 that an archive may have"):
        extract_archive((write_zip if kind == "zip" else write_tar)(tmp_path / "a"), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_a_header_that_is_longer_than_any_is_not_read(tmp_path: Path, layout: int) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz", format=layout) as archive:
        archive.addfile(tar_member("a" * 2**21))
    with pytest.raises(UnsafeArchiveError, match=r"a\.tar .*the header of member .* declares .* of at most 1,048,576"):
        extract_archive(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.txt", "./a.txt"], r"member '\./a\.txt' comes twice"),
        (["a", "a/b.txt"], "member 'a' is a file and a folder"),
        (["a/b.txt", "a"], "member 'a' is a file and a folder"),
    ],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_in_each_others_place_are_refused(tmp_path: Path, kind: str, names: list[str], told: str) -> None:
    if kind == "zip":
        write_zip(tmp_path / "a", [(name, 0) for name in names])
    else:
        write_tar(tmp_path / "a", [tar_member(name) for name in names])
    with pytest.raises(UnsafeArchiveError, match=told):
        extract_archive(tmp_path / "a", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("flag_bits", 1, "wants a password"), ("compress_type", 9, "packed in a way not known")],
)
def test_a_zip_that_cannot_be_unpacked_here_is_told_before_it_is_begun(
    tmp_path: Path, field: str, value: int, told: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", b"one")
        archive.writestr("b.txt", b"two")
        setattr(archive.infolist()[1], field, value)
    with pytest.raises(UnsafeArchiveError, match=rf"member 'b\.txt' .*{told}.*; unpack it with another program"):
        extract_archive(tmp_path / "a.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_processes_that_unpack_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar")
    inside: list[str] = []
    most = 0
    extract = tarfile.TarFile.extract

    def slow(self: Any, member: Any, target: Path, **options: Any) -> None:
        nonlocal most
        inside.append(member.name)
        most = max(most, len(inside))
        time.sleep(0.02)
        extract(self, member, target, **options)
        inside.remove(member.name)

    monkeypatch.setattr(tarfile.TarFile, "extract", slow)
    waiting = [threading.Thread(target=extract_archive, args=(path, tmp_path / "out")) for _ in range(3)]
    for one in waiting:
        one.start()
    for one in waiting:
        one.join()
    assert most == 1
    assert contents(tmp_path / "out") == FILES
