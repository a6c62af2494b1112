"""What a kill leaves goes with the next start; what is at work, or was never this program's, stays."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cnn_rnn.foundation.temporary_folders import temporary_folder

PREFIX = "cnn-rnn-test-"
HOLDER = """
import sys
from cnn_rnn.foundation.temporary_folders import temporary_folder
folder = temporary_folder(sys.argv[1])
(folder / "photo.jpg").write_text("dropped")
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders lie."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@contextmanager
def holder(place: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that has a temporary folder until it is ended or told to end, and the folder."""
    environment = os.environ | {"TMPDIR": str(place)}
    command = [sys.executable, "-c", HOLDER, PREFIX]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_killed_process_leaves_its_folder_until_the_next_one_starts(place: Path) -> None:
    with holder(place) as (killed, left), holder(place) as (at_work, held):
        killed.kill()
        killed.wait()
        assert (left / "photo.jpg").exists()
        own = temporary_folder(PREFIX)
        assert own.is_dir()
        assert sorted(place.iterdir()) == sorted([held.parent, own.parent])
        assert (held / "photo.jpg").read_text() == "dropped"
        at_work.communicate()  # it ends by itself
        assert list(place.iterdir()) == [own.parent]


def abandoned(folder: Path) -> Path:
    """A folder that looks as if its process were gone."""
    folder.mkdir(mode=0o700)
    (folder / "held.lock").write_text(os.uname().nodename)
    (folder / "photo.jpg").write_text("precious")
    return folder


def test_what_is_not_this_programs_own_stays(place: Path, tmp_path: Path) -> None:
    abandoned(place / f"{PREFIX}of-a-person")
    abandoned(place / "cnn-rnn-graph-abcdefgh")
    abandoned(place / f"{PREFIX}writable").chmod(0o770)
    (abandoned(place / f"{PREFIX}elsewher") / "held.lock").write_text("another machine")
    (abandoned(place / f"{PREFIX}unlocked") / "held.lock").unlink()
    (place / f"{PREFIX}linked__").symlink_to(abandoned(tmp_path / "precious"))
    lock = abandoned(place / f"{PREFIX}linklock") / "held.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "precious" / "held.lock")
    before = sorted(path.name for path in place.iterdir())
    own = temporary_folder(PREFIX)
    assert sorted(path.name for path in place.iterdir() if path != own.parent) == before
    assert (tmp_path / "precious" / "photo.jpg").exists()


def test_a_link_in_an_abandoned_folder_is_not_followed(place: Path, tmp_path: Path) -> None:
    left = abandoned(place / f"{PREFIX}abcdefgh")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_text("precious")
    (left / "link").symlink_to(tmp_path / "precious")
    temporary_folder(PREFIX)
    assert not left.exists()
    assert (tmp_path / "precious" / "photo.jpg").exists()
