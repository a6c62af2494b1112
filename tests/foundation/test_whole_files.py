"""A file is whole or as it was before, and nothing is left beside it."""

import errno
import json
import os
from pathlib import Path

import pytest

from cnn_rnn.foundation.whole_files import UnwrittenFileError, remove_whole, whole_file, write_json, write_text


def test_a_file_has_its_new_content_only_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "before\n")
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "before\n"
        temporary.write_text("after\n")
    assert path.read_text() == "after\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
@pytest.mark.parametrize("begun", [True, False])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException, begun: bool) -> None:
    def fail(path: Path) -> None:
        with whole_file(path) as temporary:
            if begun:
                temporary.write_text("half")
            raise error

    path = tmp_path / "a.json"
    write_json(path, {"whole": True})
    for target in (path, tmp_path / "never.txt"):
        with pytest.raises(type(error)):
            fail(target)
    assert json.loads(path.read_text()) == {"whole": True}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "way_on"), [(errno.ENOSPC, "free space"), (errno.EDQUOT, "free space"), (errno.EIO, "look at that disk")]
)
def test_a_disk_that_takes_no_more_is_told_with_the_file_and_a_way_on(
    number: int, way_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"whole": True})

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))  # the system names no file

    monkeypatch.setattr("cnn_rnn.foundation.whole_files.os.fsync", fail)
    with pytest.raises(UnwrittenFileError, match=rf"a\.json: {os.strerror(number)}; .* whole\. To go on, {way_on}"):
        write_text(path, "more")
    assert json.loads(path.read_text()) == {"whole": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_goes_at_once_and_what_is_left_of_it_counts_as_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "parts"
    (folder / "inner").mkdir(parents=True)
    remove_whole(folder)
    remove_whole(folder)  # another process was faster
    assert list(tmp_path.iterdir()) == []

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder.mkdir()
    monkeypatch.setattr("cnn_rnn.foundation.whole_files.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_whole(folder)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp")


def test_what_is_renamed_is_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[Path, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr("cnn_rnn.foundation.whole_files.flush", lambda each: flushed.append((each, path.exists())))
    write_text(path, "content")
    (file, before), (folder, after) = flushed
    assert (file.suffix, before) == (".tmp", False)
    assert (folder, after) == (tmp_path, True)


def test_two_that_write_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_what_it_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("before")
    path.chmod(0o604)
    link.symlink_to(path)
    write_text(link, "after")
    assert (link.is_symlink(), path.read_text(), path.stat().st_mode & 0o777) == (True, "after", 0o604)


def test_the_longest_name_of_all_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "ä" * 127):
        write_text(tmp_path / name, "content")
        assert (tmp_path / name).read_text() == "content"


def test_no_folder_is_made_where_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "gone" / "a.txt", make_folder=False) as temporary:
        temporary.write_text("content")
    assert list(tmp_path.iterdir()) == []
