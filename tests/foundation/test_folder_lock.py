"""A folder is one process's at a time, and a killed one's no longer."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands_by_name import ROOT

from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock, one_at_a_time

HOLD = """
import sys, time, os
from pathlib import Path
from cnn_rnn.foundation.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "training").acquire()
if not os.fork():
    print("held", flush=True)  # by the child, which has let go of the lock by now, so that it outlives a kill
    sys.stdout.close()
time.sleep(60)
"""


def test_who_holds_it_is_told_and_a_kill_frees_it_though_a_child_lives_on(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "run" / LOCK, "labelling")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock.path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        assert not lock.try_acquire()
        with pytest.raises(FolderInUseError, match=rf"run is in use: process {holder.pid} on .* is training there"):
            lock.acquire()
        holder.kill()
        holder.wait()
        with lock.acquire().held():
            assert lock.holder()["pid"] == os.getpid()
            assert not FolderLock(lock.path, "training").try_acquire()
        assert FolderLock(lock.path, "training").try_acquire()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)  # the child


def test_a_lock_whose_holder_cannot_be_read_still_holds(tmp_path: Path) -> None:
    held = FolderLock(tmp_path / LOCK, "training").acquire()
    for content in (b"", b"[1]", b"\xff"):
        held.path.write_bytes(content)
        with pytest.raises(FolderInUseError, match=r"process \? on \?"):
            FolderLock(tmp_path / LOCK, "training").acquire()
    held.release()


def no_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make this a system whose disks answer every lock with an error."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_that_knows_no_locks_is_told_and_leaves_nothing_that_outlives_a_kill(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_locks(monkeypatch, number)
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "run"
    with FolderLock(folder / LOCK, "training").acquire().held():
        pass
    with FolderLock(folder / LOCK, "training").acquire().held(), one_at_a_time(folder / "other.lock"):
        pass
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert all(f"{folder} lies on a disk that knows no locks ({os.strerror(number)})" in line for line in told)


def test_a_lock_that_fails_in_another_way_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        FolderLock(tmp_path / LOCK, "training").acquire()
    with pytest.raises(OSError, match="Input/output error"), one_at_a_time(tmp_path / "other.lock"):
        pass


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(NotADirectoryError, match=r"photo\.jpg is a file; expected a folder"):
        FolderLock(tmp_path / "photo.jpg" / LOCK, "training")


def test_nothing_is_left_of_a_folder_that_was_made_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (None, errno.ENOSYS):
        if number is not None:
            no_locks(monkeypatch, number)
        FolderLock(tmp_path / "a" / "b" / LOCK, "training").acquire().abandon()
        assert list(tmp_path.iterdir()) == []
