"""A folder is one process's at a time, and a killed one's no longer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands_by_name import ROOT

from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock

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
