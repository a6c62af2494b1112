"""What a stage costs in a process of its own: seconds of processor time, and memory at the highest."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import torch

LOOKS = 0.2  # seconds between two looks at the memory

Stage = Callable[[Path, int], None]


@dataclass(frozen=True)
class Cost:
    """Seconds of processor time, and megabytes at the highest, of a process and of all that it starts."""

    seconds: float
    megabytes: float


def cost_of(stage: Stage, root: Path, count: int) -> Cost:
    """What a stage costs in a process of its own, which starts with everything imported.

    Raises:
        RuntimeError: The stage failed.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(stage, root, count, sender))
    process.start()
    sender.close()
    peak = _Peak(process.pid)
    try:
        seconds: float = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{stage.__name__}: the process failed, see above") from None
    finally:
        megabytes = peak.stop()
        process.join()
    return Cost(seconds, megabytes)


class _Peak:
    """The most memory that a process and its children had at once, looked at from outside.

    Pages that several of them share count once over all (PSS).
    """

    def __init__(self, process: int | None) -> None:
        self.process, self.most, self._over = process, 0, Event()
        self._look()  # a stage may be over before the thread has begun
        self._thread = Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The megabytes of the peak."""
        self._over.set()
        self._thread.join()
        return self.most / 2**20

    def _look_on(self) -> None:
        while not self._over.wait(LOOKS):
            self._look()

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process)
            self.most = max(self.most, sum(map(_memory_of, [first, *first.children(recursive=True)])))


def _memory_of(process: psutil.Process) -> int:
    try:
        share: int = process.memory_full_info().pss
    except psutil.NoSuchProcess:
        share = 0
    return share


def _run(stage: Stage, root: Path, count: int, sender: Any) -> None:
    torch.set_num_threads(1)
    stage(root, count)
    time.sleep(2 * LOOKS)  # so that the highest is looked at where it comes at the end
    own, children = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    sender.send(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime)
