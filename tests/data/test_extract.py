"""Unpacking: honest archives come out whole, no other writes a single file."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from cnn_rnn.data.extract import UnsafeArchiveError, extract_archive, unpacking_marker

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
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_cut_off_archive_is_refused(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / f"a.{kind}"
    whole = (write_zip(path) if kind == "zip" else write_tar(path, mode=f"w:{kind.partition('.')[2]}")).read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
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
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UnsafeArchiveError, match="declares 15,003 bytes, the disk has 10 free"):
        extract_archive(write_zip(tmp_path / "a.zip"), tmp_path / "out")
