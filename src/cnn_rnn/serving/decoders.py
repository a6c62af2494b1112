"""Processes that decode, kept at work: one that dies or hangs is replaced, and its photo is tried once more."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

import numpy as np

from .decoding import ANSWER, READY, REQUEST, Pixels
from .refusals import RefusedError

logger = logging.getLogger(__name__)

TRIES = 2
TICK = 0.5  # seconds between two looks at who hangs
LONGEST_START = 120.0  # seconds that a process may take to be ready


class DecoderGoneError(Exception):
    """A process that decodes has ended without an answer."""


class Decoder:
    """One process that decodes."""

    def __init__(self, command: Sequence[str]) -> None:
        # A group of its own: Ctrl-C in a terminal is the server's, which ends in its own time.
        self.process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self.deadline: float | None = time.monotonic() + LONGEST_START
        self.is_ready = False

    def decode(self, photo: bytes, seconds: float) -> "Pixels | str":
        """Pixel values (3, h, w) of a photo, or why there are none.

        Raises:
            DecoderGoneError: The process ended, or was ended since it took too long.
        """
        assert self.process.stdin is not None
        try:
            self.wait()
            self.deadline = time.monotonic() + seconds
            self.process.stdin.write(REQUEST.pack(len(photo)))
            self.process.stdin.write(photo)
            self.process.stdin.flush()
            readable, *shape, size = ANSWER.unpack(self._read(ANSWER.size))
            content = self._read(size)
        except (OSError, ValueError) as error:  # the second of pipes that are closed at the end
            raise DecoderGoneError from error
        finally:
            self.deadline = None
        if not readable:
            return content.decode()
        return np.frombuffer(content, np.float32).reshape(shape)

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            DecoderGoneError: It never will be.
        """
        if not self.is_ready:
            self.is_ready = self._read(len(READY)) == READY

    def _read(self, size: int) -> bytes:
        """So many bytes of its output."""
        assert self.process.stdout is not None
        content = self.process.stdout.read(size)
        if len(content) < size:
            raise DecoderGoneError
        return content

    def is_overdue(self) -> bool:
        """Whether it should have answered."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                assert pipe is not None
                pipe.close()
            except OSError:  # what could not be written any more
                pass


class Decoders:
    """A number of processes that decode, each with a thread that waits for it.

    Args:
        model: Folder of a run, or name on the Hub, and its preprocessing's settings as JSON.
        number: How many.
        seconds: That a photo may take.
        replaced: Called when one is replaced.
        command: What starts one; the package's own where None.

    Raises:
        RuntimeError: The first does not start.
    """

    def __init__(
        self,
        model: tuple[str, str],
        number: int,
        seconds: float,
        replaced: Callable[[], None] = lambda: None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.command = command or (sys.executable, "-m", "cnn_rnn.serving.decoding", *model)
        self.seconds, self.replaced = seconds, replaced
        self._waiting: SimpleQueue[tuple[bytes, Future[Pixels]] | None] = SimpleQueue()
        self._at_work = [Decoder(self.command) for _ in range(number)]
        self._is_closed = False
        self._threads = [threading.Thread(target=self._work, args=(place,), daemon=True) for place in range(number)]
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            for decoder in self._at_work:
                decoder.wait()
                decoder.deadline = None
        except DecoderGoneError as error:
            self.close()
            raise RuntimeError("the processes that decode photos do not start") from error
        for thread in self._threads:
            thread.start()

    def decode(self, photo: bytes) -> "Future[Pixels]":
        """Pixel values (3, h, w) of a photo, once they are there; its error is a `RefusedError`."""
        future: Future[Pixels] = Future()
        self._waiting.put((photo, future))
        return future

    def close(self) -> None:
        """End all processes; what still waits is refused."""
        self._is_closed = True
        for _ in self._threads:
            self._waiting.put(None)
        for decoder in self._at_work:
            decoder.end()

    def pids(self) -> list[int]:
        """The processes at work now."""
        return [decoder.process.pid for decoder in self._at_work]

    def _work(self, place: int) -> None:
        """Let one process decode what waits."""
        while (job := self._waiting.get()) is not None:
            photo, future = job
            if not future.set_running_or_notify_cancel():
                continue  # nobody waits for it any more
            try:
                future.set_result(self._try(place, photo))
            except RefusedError as error:
                future.set_exception(error)

    def _try(self, place: int, photo: bytes) -> Pixels:
        """Pixel values of a photo, by a new process where the one at hand dies over it."""
        for _ in range(TRIES):
            try:
                made = self._at_work[place].decode(photo, self.seconds)
            except DecoderGoneError:
                if self._is_closed:
                    raise RefusedError(503, "the server ends; ask again when it is back", retry_after=5) from None
                logger.warning("a process that decodes photos ended; another takes its place")
                self._at_work[place].end()
                self._at_work[place] = Decoder(self.command)
                self.replaced()
                continue
            if isinstance(made, str):
                raise RefusedError(422, made)
            return made
        raise RefusedError(422, "the photo cannot be decoded: it ends, or takes too long in, every process that tries")

    def _watch(self) -> None:
        """Kill processes that hang."""
        while not self._is_closed:
            for decoder in list(self._at_work):
                if decoder.is_overdue():
                    decoder.process.kill()
            time.sleep(TICK)
