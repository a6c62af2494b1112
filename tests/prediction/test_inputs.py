"""What --input may name: every file is found or named, and parts are read one at a time."""

import errno
import gzip
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn.data.files.unpacking import UnsafeArchiveError
from cnn_rnn.data.photos import photo_suffixes
from cnn_rnn.data.photos.found_files import PassedOver, printable
from cnn_rnn.data.photos.images import UnreadableImageError, decode_image
from cnn_rnn.foundation.hub_errors import HTTP_ERROR
from cnn_rnn.foundation.whole_files import UnwrittenFileError
from cnn_rnn.prediction import found_images, shards
from cnn_rnn.prediction.found_images import read_list, walk_images
from cnn_rnn.prediction.input_kinds import open_inputs
from cnn_rnn.prediction.inputs import Inputs, NamedFiles
from cnn_rnn.prediction.kept_graphs import FOLDER, own_graph
from cnn_rnn.prediction.shards import TarShards


def photo(path: Path, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), "red").save(path, "PNG")
    return path


def all_names(inputs: Inputs) -> list[str]:
    return [image.name for part in range(inputs.parts) for image in inputs.part(part)]


def test_a_folder_is_searched_through_and_nothing_is_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_images, "READ_SUFFIXES", photo_suffixes.READ_SUFFIXES - {".heic"})  # no plug-in
    monkeypatch.setitem(photo_suffixes.WAYS_TO_READ, ".heic", photo_suffixes.HEIF)
    root = tmp_path / "photos"
    for name in ("b.png", "a/2.jpg", "a/1.PNG", "called.png/inside.png"):
        photo(root / name)
    elsewhere = photo(tmp_path / "elsewhere" / "linked.png").parent
    (root / "link").symlink_to(elsewhere)
    (root / "again").symlink_to(elsewhere)
    (root / "round").symlink_to(root)
    (root / "c.png").symlink_to(elsewhere / "linked.png")
    (root / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (root / "itself.png").symlink_to(root / "itself.png")
    os.mkfifo(root / "pipe.png")
    (root / "phone.HEIC").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    passed_over = PassedOver()
    found = [Path(path).relative_to(root).as_posix() for path in walk_images(str(root), passed_over)]
    assert found == ["a/1.PNG", "a/2.jpg", "again/linked.png", "b.png", "c.png", "called.png/inside.png"]
    told = "\n".join(passed_over.lines())
    for expected in (
        "2 links to nothing",
        "1 pipe: ",
        "file .heic, not read here (pip install 'cnn-rnn[heif]')",
        "file .txt",
        "2 folders reached a second time through a link",
    ):
        assert expected in told
    assert sum(passed_over.counts.values()) == 7


@pytest.mark.parametrize(
    "content",
    [
        b"a.png\nb.png\n",
        b"\xef\xbb\xbfa.png\r\n\r\n  b.png  \r\n",
        "a.png\nb.png\n".encode("utf-16"),
        b"\xfe\xff" + "a.png\r\nb.png".encode("utf-16-be"),
    ],
    ids=["plain", "mark and Windows lines", "UTF-16", "UTF-16, big end first"],
)
def test_a_list_is_read_however_an_editor_saved_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert list(read_list(path)) == [f"{tmp_path}/a.png", f"{tmp_path}/b.png"]


def test_back_slashes_mean_folders_where_no_file_is_called_so(tmp_path: Path) -> None:
    photo(tmp_path / "day" / "a.png")
    photo(tmp_path / "day\\b.png")
    path = tmp_path / "list.txt"
    path.write_text("day\\a.png\nday\\b.png\nday\\gone.png\ns3://bucket/c.png\n/d.png\n")
    assert list(read_list(path)) == [
        *(f"{tmp_path}/day/a.png", f"{tmp_path}/day\\b.png", f"{tmp_path}/day\\gone.png"),
        *("s3://bucket/c.png", "/d.png"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.png\nk\xe4se.png\n", r"line 2 is not UTF-8.*k\\xe4se\.png.*save the list as UTF-8"),
        ("a.png\n".encode("utf-16-le"), "line 1 holds bytes of zero"),
        (b"\xff\xfea\x00\n", "begins as UTF-16 and breaks off"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_its_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_list(path))


def test_a_raw_file_is_named_as_such_with_a_way_on(tmp_path: Path) -> None:
    path = tmp_path / "a.CR2"
    path.write_bytes(b"II*\0\x10\0\0\0CR")
    with pytest.raises(ValueError, match=r"a\.CR2 is not read here, a camera's RAW file: export it as JPEG"):
        open_inputs(str(path), None, None, 2, tmp_path / "out")
    photo(tmp_path / "b.png")
    inputs = open_inputs(str(tmp_path), None, None, 2, tmp_path / "out")
    assert "1 file .cr2, not read here (a camera's RAW file" in inputs.passed_over.lines()[0]


def test_any_name_that_the_system_allows_is_an_input(tmp_path: Path) -> None:
    raw = [b"caf\xe9.png", b"new\nline.png", b" blank .png", "käse.png".encode(), b"quote\"'.png"]
    for name in raw:
        photo(Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + name)))
    inputs = open_inputs(str(tmp_path / "photos"), None, None, 2, tmp_path / "out")
    assert sorted(all_names(inputs)) == sorted(printable(f"{tmp_path}/photos/{os.fsdecode(name)}") for name in raw)
    for part in range(inputs.parts):
        for image in inputs.part(part):
            image.name.encode("utf-8")
            assert Path(image.image).is_file()
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"photos/caf\xe9.png\n")
    assert all_names(open_inputs(str(listed), None, None, 2, tmp_path / "out")) == [f"{tmp_path}/photos/caf\\xe9.png"]


@pytest.mark.parametrize("limit", [None, 0, 1, 4, 5, 9])
def test_parts_cut_the_names_and_lose_none(limit: int | None, tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(7)]
    inputs = NamedFiles(names, tmp_path / "work", 2, limit=limit)
    expected = names[:limit]
    assert inputs.images == len(expected)
    assert inputs.parts == -(-len(expected) // 2)
    assert all_names(inputs) == expected
    assert list(inputs) == expected
    assert len({NamedFiles(other, tmp_path, 2).names for other in (names, names[::-1], names[1:])}) == 3
    assert not list(tmp_path.rglob("*.*"))


def test_no_image_at_all_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"' holds or names no image.*1 file \.txt"):
        open_inputs(str(tmp_path / "photos"), None, None, 2, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_shards_are_parts_and_their_images_are_read_from_them(tmp_path: Path) -> None:
    content = photo(tmp_path / "one.png").read_bytes()
    shards = tmp_path / "shards"
    shards.mkdir()
    for shard in range(2):
        with tarfile.open(shards / f"{shard}.tar", "w") as tar:
            for name, data in ((f"{shard}a.png", content), (f"{shard}a.json", b"{}"), (f"{shard}b.png", content)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    inputs = open_inputs(str(shards), None, None, 99, tmp_path / "out")
    assert inputs.parts == 2
    assert [Path(name).name for name in all_names(inputs)] == ["0a.png", "0b.png", "1a.png", "1b.png"]
    assert next(iter(inputs.part(1))).image == content
    before = [inputs.identity(part, "time") for part in range(2)]
    os.utime(shards / "1.tar", (1, 1))
    assert [inputs.identity(part, "time") == before[part] for part in range(2)] == [True, False]
    assert open_inputs(f"file://{shards}/*.tar", None, None, 99, tmp_path / "out").parts == 2


def test_parquet_holds_images_or_their_names(tmp_path: Path) -> None:
    content = photo(tmp_path / "one.png").read_bytes()
    images = [{"bytes": content, "path": None}] * 5
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": images, "image_id": [*"abcde"], "x": [0] * 5}), path, row_group_size=2)
    inputs = open_inputs(str(path), None, None, 99, tmp_path / "out")
    assert (inputs.parts, inputs.images) == (3, 5)
    assert all_names(inputs) == [*"abcde"]
    pq.write_table(pa.table({"image": images}), path, row_group_size=2)
    assert all_names(open_inputs(str(path), None, None, 99, tmp_path / "out")) == [f"{path}:{row}" for row in range(5)]
    pq.write_table(pa.table({"img": images, "file_name": [*"abcde"]}), path)
    found = list(open_inputs(str(path), None, None, 99, tmp_path / "out").part(0))
    assert found[4].image["bytes"] == content
    pq.write_table(pa.table({"image": ["one.png"]}), path)
    assert all_names(open_inputs(str(path), None, None, 99, tmp_path / "out")) == ["one.png"]
    pq.write_table(pa.table({"url": ["one.png", "s3://b/c.png"]}), path)
    found = list(open_inputs(str(path), None, None, 99, tmp_path / "out").part(0))
    assert [image.image for image in found] == [f"{tmp_path}/one.png", "s3://b/c.png"]
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ValueError, match="has no column image"):
        open_inputs(str(path), None, None, 99, tmp_path / "out")


def test_files_elsewhere_are_found_through_fsspec(tmp_path: Path) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    content = photo(tmp_path / "one.png").read_bytes()
    for name in ("/p/b.png", "/p/sub/a.png", "/p/notes.txt"):
        system.pipe(name, content)
    system.pipe("/p/list.txt", b"b.png\nmemory://p/sub/a.png\n")
    folder = open_inputs("memory://p", None, None, 2, tmp_path / "out")
    assert all_names(folder) == ["memory:///p/b.png", "memory:///p/sub/a.png"]
    assert folder.passed_over.counts["file .txt"] == 2
    assert all_names(open_inputs("memory://p/list.txt", None, None, 2, tmp_path / "out")) == [
        *("memory://p/b.png", "memory://p/sub/a.png"),
    ]


def packed_shard(path: Path, *sizes: int, content: bool = True) -> Path:
    """A packed tar of members called like images, of so many bytes; or with headers that only say so."""
    with tarfile.open(path, "w:gz") as shard:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = size
            shard.addfile(member, io.BytesIO(bytes(size)) if content else None)
    return path


def test_a_tar_that_unpacks_to_far_more_than_it_is_stops_the_job(tmp_path: Path) -> None:
    shard = packed_shard(tmp_path / "bomb.tar", 2**33, content=False)
    with pytest.raises(UnsafeArchiveError, match=r"bomb\.tar: member '0\.png' makes it .* of at most 100 times"):
        all_names(open_inputs(str(shard), None, None, 99, tmp_path / "out"))


def test_a_member_larger_than_a_photo_is_not_read_and_named_in_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LARGEST_FILE", 1000)
    found = list(open_inputs(str(packed_shard(tmp_path / "a.tar", 1001, 1000)), None, None, 99, tmp_path).part(0))
    assert found[1].image == bytes(1000)
    with pytest.raises(UnreadableImageError, match=r"a\.tar/0\.png: cannot be decoded \(1,001 bytes; at most"):
        decode_image(found[0].image, found[0].name)


@pytest.mark.parametrize("kept", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_shard_that_breaks_off_is_named(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        packed_shard(path, 99, 99_999)
    else:
        pq.write_table(pa.table({"path": [f"{index}.png" for index in range(999)]}), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"a\.{kind} cannot be read: .*; get it again"):
        all_names(open_inputs(str(path), None, None, 99, tmp_path / "out"))


@pytest.mark.parametrize("column", ["path", "image"])
def test_a_large_row_group_is_several_parts(tmp_path: Path, column: str) -> None:
    names = [f"/{index}.png" for index in range(150)]
    cells = names if column == "path" else [{"bytes": b"x", "path": None}] * 150
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({column: cells, "other": names}), path, row_group_size=100)
    inputs = open_inputs(str(path), None, None, 30, tmp_path / "out")
    assert [len(list(inputs.part(part))) for part in range(inputs.parts)] == [30, 30, 30, 10, 30, 20]
    assert all_names(inputs) == (names if column == "path" else [f"{path}:{index}" for index in range(150)])
    assert len({inputs.identity(part, "time") for part in range(6)}) == 6
    assert open_inputs(str(path), None, None, 100, tmp_path / "out").parts == 2


def test_a_link_in_a_tar_is_a_row_that_says_so(tmp_path: Path) -> None:
    """`tar` packs the second name of a file with two as a link: its photo must not be missing in silence."""
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "a.png")
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name in ("a.png", "b.png", "c.png"):
            shard.add(tmp_path / name, name)
    first, *links = open_inputs(str(tmp_path / "a.tar"), None, None, 99, tmp_path).part(0)
    assert first.image == (tmp_path / "a.png").read_bytes()
    assert len(links) == 2
    for link in links:
        with pytest.raises(UnreadableImageError, match=r"/[bc]\.png: cannot be decoded \(a link .*hard-dereference"):
            decode_image(link.image, link.name)


def test_a_row_without_an_id_is_called_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x", b"y", b"z"], "image_id": ["a", None, "c"]}), path)
    assert list(open_inputs(str(path), None, None, 9, tmp_path)) == ["a", f"{path}:1", "c"]


def test_a_tar_that_is_cut_off_between_two_members_is_told(tmp_path: Path) -> None:
    whole = packed_shard(tmp_path / "a.tar", *[9] * 9)
    content = gzip.decompress(whole.read_bytes())
    for members in (1, 5, 9):
        (tmp_path / "cut.tar").write_bytes(content[: 1024 * members])  # a head and a block each
        with pytest.raises(ValueError, match=r"cut\.tar cannot be read: it is cut off"):
            list(open_inputs(str(tmp_path / "cut.tar"), None, None, 99, tmp_path).part(0))


def test_a_shard_without_images_is_told(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    with tarfile.open(tmp_path / "none.tar", "w"):
        pass
    for name in ("none.parquet", "none.tar"):
        asked = ["--model", str(run), "--input", str(tmp_path / name), "--engine", "torch"]
        for more in ([], ["--output", str(tmp_path / f"labels of {name}")]):
            assert main_of("predict")([*asked, *more]) == 2
            assert f"{name}' holds or names no image" in capsys.readouterr().err


def test_a_list_of_another_kind_and_bytes_that_are_no_image_are_told_alike_each_time(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(ValueError, match=r"list\.txt is a zip archive"):
        open_inputs(str(tmp_path / "list.txt"), None, None, 99, tmp_path)
    with pytest.raises(UnreadableImageError, match=r"^x: cannot be decoded \(it is no image of a kind that is known"):
        decode_image(b"no photo", "x")


def test_a_disk_that_is_full_of_names_is_named_and_one_that_breaks_while_they_are_read_is_not(tmp_path: Path) -> None:
    def names(number: int) -> Iterator[str]:
        yield "a.jpg"
        raise OSError(number, os.strerror(number), "/photos")

    with pytest.raises(UnwrittenFileError, match=f"could not write {tmp_path}: No space left"):
        NamedFiles(names(errno.ENOSPC), tmp_path, 9)
    with pytest.raises(OSError, match="/photos"):
        NamedFiles(names(errno.EIO), tmp_path, 9)


def test_a_graph_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / FOLDER / "a.onnx").mkdir(parents=True)
    assert own_graph(str(tmp_path), "a.onnx", "digest") is None


def test_columns_of_a_shard_are_told_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a\nb": ["a.jpg"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"it has a\\nb: rename"):
        open_inputs(str(tmp_path / "a.parquet"), None, None, 99, tmp_path)


@pytest.mark.parametrize(
    ("address", "raised", "told"),
    [
        ("hf://datasets/org/x", HTTP_ERROR("no such host"), "(no such host)"),
        ("memory://x/*.tar", OSError("no such host"), "(no such host)"),
        ("memory://x/photos", FileNotFoundError("memory://x/photos"), "(no such host)"),  # as fsspec of the web
    ],
    ids=["the Hub", "a pattern", "the address alone"],
)
def test_an_address_that_is_not_reached_is_one_line(
    address: str, raised: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised.__cause__ = OSError("no such host")

    def url_to_fs(_url: str) -> None:
        raise raised

    monkeypatch.setattr("fsspec.core.url_to_fs", url_to_fs)
    with pytest.raises(OSError, match=rf"^{re.escape(address)} cannot be reached {re.escape(told)}: see"):
        open_inputs(address, None, None, 2, tmp_path / "out")
    with pytest.raises(OSError, match=f"^{re.escape(address)}.tar cannot be reached"):
        TarShards([f"{address}.tar"]).identity(0, "time")
