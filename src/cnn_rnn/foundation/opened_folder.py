"""A folder that was opened, and no other that lies under its name later: its disk may go, and another one come."""

from pathlib import Path

Place = tuple[int, int]  # device and inode of a folder, whatever it is called


class FolderGoneError(OSError):
    """The folder that was opened is not there: its disk is away, or it has another name."""


def place_of(folder: Path) -> Place:
    """Which folder it is; FileNotFoundError where there is none."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def check_place(folder: Path, opened: Place | None) -> None:
    """Refuse to write where another folder, or none, lies under the name of the one that was opened.

    Raises:
        FolderGoneError: It does.
    """
    try:
        there = place_of(folder)
    except OSError as error:
        raise FolderGoneError(
            f"{folder} is not there any more ({error.strerror}): bring it back, and do that again"
        ) from error
    if opened is not None and there != opened:
        raise FolderGoneError(f"{folder} is not the folder that was opened: bring that back, and do that again")
