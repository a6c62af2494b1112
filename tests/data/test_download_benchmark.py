"""From a server to a loaded benchmark, with small archives in the official layouts."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn_rnn.data import load_voc
from cnn_rnn.data.benchmarks.archives import ARCHIVES, Archive
from cnn_rnn.data.benchmarks.download import DownloadError, download_benchmark
from cnn_rnn.data.files.unpacking import UnsafeArchiveError
from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock

from .loopback import Loopback, serve
from .test_coco import document, write_coco
from .test_voc import STATES, write_voc


def tar_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder / "VOCdevkit", "VOCdevkit")
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made_voc(tmp_path: Path) -> dict[str, bytes]:
    """The two tar files of VOC 2007."""
    for split, digit in (("trainval", "0"), ("test", "1")):
        write_voc(tmp_path / split, {image_id + digit: states for image_id, states in STATES.items()}, split)
    return {
        "/VOCtrainval_06-Nov-2007.tar": tar_of(tmp_path / "trainval"),
        "/VOCtest_06-Nov-2007.tar": tar_of(tmp_path / "test"),
    }


def made_coco(tmp_path: Path) -> dict[str, bytes]:
    """The annotations and the images of a small COCO 2017."""
    write_coco(tmp_path / "coco", document(), "val")
    files = files_in(tmp_path / "coco")
    return {
        "/annotations_trainval2017.zip": zip_of({n: c for n, c in files.items() if n.startswith("annotations")}),
        "/val2017.zip": zip_of({n: c for n, c in files.items() if n.startswith("val2017")}),
    }


def made_nus_wide() -> dict[str, bytes]:
    """Lists with their folder, labels and concepts without, as they are published."""
    labels = {f"TrainTestLabels/Labels_{n}_{p}.txt": b"1\n0\n" for n in ("sky", "sea") for p in ("Train", "Test")}
    lists = {
        f"ImageList/{part}Imagelist.txt": f"a\\0001_{part}1.jpg\r\na\\0002_{part}2.jpg\r\n".encode()
        for part in ("Train", "Test")
    }
    return {
        "/ImageList.zip": zip_of(lists),
        "/Groundtruth.zip": zip_of(labels),
        "/ConceptsList.zip": zip_of({"Concepts81.txt": b"sea\nsky\n"}),
    }


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server of all three benchmarks, and tables that point to it with the right checksums."""
    monkeypatch.setattr("cnn_rnn.data.benchmarks.download.PAUSE", 0.0)
    voc, coco, nus_wide = made_voc(tmp_path / "made"), made_coco(tmp_path / "made"), made_nus_wide()
    with serve({**voc, **coco, **nus_wide}) as plan:
        into = {archive.name: archive.into for archives in ARCHIVES.values() for archive in archives}
        for name, files in (("voc2007", voc), ("coco2017", coco), ("nus-wide-81", nus_wide)):
            archives = tuple(
                Archive(plan.url + path, len(content), sha256=hashlib.sha256(content).hexdigest(), into=into[path[1:]])
                for path, content in files.items()
            )
            monkeypatch.setitem(ARCHIVES, name, archives)
        yield plan


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("voc2007", {"trainval": 3, "test": 3}),
        ("coco2017", {"val": 4}),
        ("nus-wide-81", {"train": 2, "test": 2}),
    ],
)
def test_a_benchmark_is_downloaded_unpacked_and_loaded_and_again(
    tmp_path: Path, server: Loopback, name: str, sizes: dict[str, int]
) -> None:
    for _ in range(2):
        data = download_benchmark(name, tmp_path / "root")
        assert {split: len(rows) for split, rows in data.items()} == sizes
    assert len(server.seen) == len(ARCHIVES[name])


def test_a_broken_line_is_mended(tmp_path: Path, server: Loopback) -> None:
    server.break_after = [3000]
    assert list(download_benchmark("voc2007", tmp_path / "root", keep_archives=False)) == ["trainval", "test"]
    assert server.seen[1] == "bytes=3000-"
    assert not list((tmp_path / "root").glob("*.tar"))


def test_two_processes_do_not_download_into_one_folder(tmp_path: Path, server: Loopback) -> None:
    with (
        FolderLock(tmp_path / "root" / LOCK, "downloading voc2007").acquire().held(),
        pytest.raises(FolderInUseError, match=r"root is in use: .* downloading voc2007"),
    ):
        download_benchmark("voc2007", tmp_path / "root")
    assert not server.seen


def replace_file(server: Loopback, path: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serves other content under a checksum that fits it, as a hostile mirror would."""
    server.files[path] = content
    entry = Archive(server.url + path, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(ARCHIVES, "voc2007", (entry,))


def test_a_malicious_archive_writes_nothing_outside(
    tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO(server.files["/VOCtest_06-Nov-2007.tar"])
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("VOCdevkit/../../evil.txt"))
    replace_file(server, "/VOCtest_06-Nov-2007.tar", buffer.getvalue(), monkeypatch)
    with pytest.raises(UnsafeArchiveError, match=r"evil\.txt' leaves the folder"):
        download_benchmark("voc2007", tmp_path / "root")
    assert not list(tmp_path.rglob("evil.txt"))
    assert not (tmp_path / "root" / "VOCdevkit").exists()


def test_a_truncated_archive_is_refused(tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    content = server.files["/VOCtest_06-Nov-2007.tar"]
    replace_file(server, "/VOCtest_06-Nov-2007.tar", content[: len(content) // 2], monkeypatch)
    with pytest.raises(UnsafeArchiveError, match="no whole tar or zip file"):
        download_benchmark("voc2007", tmp_path / "root")


def test_a_wrong_checksum_is_refused_unless_the_user_vouches_for_another(tmp_path: Path, server: Loopback) -> None:
    path = "/val2017.zip"
    content = bytearray(server.files[path])
    content[40] ^= 1
    server.files[path] = bytes(content)
    with pytest.raises(DownloadError, match=r"val2017\.zip\.part: sha256 is"):
        download_benchmark("coco2017", tmp_path / "root")
    with pytest.raises(DownloadError, match="expected 0000"):
        download_benchmark("coco2017", tmp_path / "root", {"annotations_trainval2017.zip": "0" * 64})
    with pytest.raises(ValueError, match=r"no archive other\.zip"):
        download_benchmark("coco2017", tmp_path / "root", {"other.zip": "0" * 64})


def test_an_unknown_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'imagenet' has no archives"):
        download_benchmark("imagenet", tmp_path)


def test_voc_loads_from_its_official_tar_files_and_mends_a_broken_unpacking(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for path, content in made_voc(tmp_path / "made").items():
        (root / path[1:]).write_bytes(content)
    assert list(load_voc(root, 2007)) == ["trainval", "test"]
    image = root / "VOCdevkit/VOC2007/JPEGImages/0000010.jpg"
    image.unlink()
    (root / ".VOCtrainval_06-Nov-2007.tar.unpacking").touch()
    assert len(load_voc(root, 2007, split="trainval")) == 3
    assert image.is_file()
    assert json.dumps(sorted(path.name for path in root.iterdir())).count("unpacking") == 0
