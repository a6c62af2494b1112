"""Downloads from a server on this machine: broken lines are mended, wrong files are never believed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_rnn.data.benchmarks.archives import ARCHIVES, Archive
from cnn_rnn.data.benchmarks.download import DownloadError, fetch_archive

from .loopback import Loopback, serve

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_rnn.data.benchmarks.download.PAUSE", 0.0)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve({"/sets/a.tar": CONTENT}) as plan:
        yield plan


def archive(server: Loopback, **facts: Any) -> Archive:
    return Archive(f"{server.url}/sets/a.tar", **facts)


@pytest.mark.parametrize(
    "facts", [{"sha256": SHA256}, {"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}]
)
def test_a_file_is_downloaded_verified_and_not_asked_for_again(
    tmp_path: Path, server: Loopback, facts: dict[str, str]
) -> None:
    path = fetch_archive(archive(server, size=len(CONTENT), **facts), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["a.tar"]
    assert fetch_archive(archive(server, **facts), tmp_path / "new") == path
    assert len(server.seen) == 1


def test_a_broken_line_is_taken_up_where_it_broke(tmp_path: Path, server: Loopback) -> None:
    server.break_after = [1000, 50_000]
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000-", "bytes=51000-"]


def test_the_next_run_goes_on_with_the_part_of_the_last(tmp_path: Path, server: Loopback) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:777])
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT
    assert server.seen == ["bytes=777-"]


def test_a_part_that_is_whole_already_is_taken(tmp_path: Path, server: Loopback) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT)
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_anew(tmp_path: Path, server: Loopback) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT + b"more")
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(tmp_path: Path, server: Loopback) -> None:
    server.ranges = False
    server.break_after = [1000]
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT


def test_passing_server_errors_are_waited_out_and_lasting_ones_told(tmp_path: Path, server: Loopback) -> None:
    server.status = [503, 500]
    assert fetch_archive(archive(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT
    server.status = [503] * 20
    with pytest.raises(DownloadError, match=r"a\.tar: HTTP Error 503.*run the command again"):
        fetch_archive(archive(server, sha256=SHA256), tmp_path / "other")


@pytest.mark.parametrize("facts", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_a_wrong_checksum_is_refused_and_its_bytes_are_removed(
    tmp_path: Path, server: Loopback, facts: dict[str, str]
) -> None:
    with pytest.raises(DownloadError, match=rf"a\.tar\.part: {next(iter(facts))} is .*, expected 000"):
        fetch_archive(archive(server, **facts), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_length_is_refused_before_a_byte_is_stored(tmp_path: Path, server: Loopback) -> None:
    with pytest.raises(DownloadError, match="the server offers 1,024,000 bytes, expected 7"):
        fetch_archive(archive(server, size=7), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_file_on_disk_is_refused(tmp_path: Path, server: Loopback) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(DownloadError, match="expected 1,024,000; remove it"):
        fetch_archive(archive(server, size=len(CONTENT), sha256=SHA256), tmp_path)
    with pytest.raises(DownloadError, match=r"sha256 is .* remove it"):
        fetch_archive(archive(server, sha256=SHA256), tmp_path)


def test_without_a_published_checksum_the_length_is_checked_and_that_is_said(
    tmp_path: Path, server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_archive(archive(server), tmp_path)
    assert f"no checksum is published; its length of {len(CONTENT)} bytes is right, sha256 {SHA256}" in caplog.text


def test_what_is_not_there_is_told_at_once(tmp_path: Path, server: Loopback) -> None:
    with pytest.raises(DownloadError, match=r"missing\.tar: the server answers 404"):
        fetch_archive(Archive(f"{server.url}/missing.tar"), tmp_path)
    with pytest.raises(DownloadError, match="begins with http"):
        fetch_archive(Archive("file:///etc/passwd"), tmp_path)


def test_a_disk_that_is_too_small_is_told_first(
    tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="1,024,000 bytes are to come, the disk has 10 free"):
        fetch_archive(archive(server), tmp_path)


def test_every_benchmark_names_distinct_files_and_a_checksum_where_one_is_published() -> None:
    for name, archives in ARCHIVES.items():
        assert len({archive.name for archive in archives}) == len(archives)
        for entry in archives:
            assert entry.url.endswith((".zip", ".tar"))
            assert name.startswith("nus-wide") or bool(entry.md5) != bool(entry.sha256)
            assert len(entry.sha256 or entry.md5 or "0" * 32) in {32, 64}
