"""Leaving a run when the machine asks for it: the first signal saves, the second does not wait."""

import os
import signal
from types import FrameType
from typing import Self

from cnn_rnn.data.batching.batches import SIGNALS


class Interrupted(Exception):  # noqa: N818 - asked for, not an error
    """A signal asked the run to leave, and a checkpoint was saved.

    Attributes:
        exit_code: What the process should return: 143 for SIGTERM, 130 for SIGINT, as shells do.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class SignalWatch:
    """Remembers that SIGTERM or SIGINT came, while it is entered; a second one ends the process at once.

    `accelerate launch` of a single process passes no signal on: killed, it leaves the run without a launcher.
    """

    def __init__(self) -> None:
        self.received = 0
        self._launcher = os.getppid() if "ACCELERATE_DYNAMO_BACKEND" in os.environ else None  # not set by hand

    @property
    def asked(self) -> int:
        """The signal that asks the run to leave: the one received, SIGTERM where its launcher is gone, 0 for none."""
        orphaned = self._launcher is not None and os.getppid() != self._launcher
        return self.received or (signal.SIGTERM if orphaned else 0)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        """Note the first signal; leave at once on the second."""
        if self.received:
            os._exit(128 + number)
        self.received = number
