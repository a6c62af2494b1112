"""A process that writes into a folder and tells how far it came, killed while it does."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

fork = multiprocessing.get_context("fork")


def kill_while_writing(write: Callable[[Path, Connection], None], folder: Path, seconds: float) -> tuple[int, int]:
    """The id of the process that was killed, and the last number that it told after the first and `seconds` more."""
    heard, told = fork.Pipe(duplex=False)
    page = fork.Process(target=write, args=(folder, told))
    page.start()
    last = heard.recv()
    time.sleep(seconds)
    assert page.pid is not None
    os.kill(page.pid, signal.SIGKILL)
    page.join()
    while heard.poll():
        last = heard.recv()
    return page.pid, last
