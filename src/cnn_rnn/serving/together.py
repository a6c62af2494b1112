"""What waits is seen together: each thread takes, again and again, as many as wait, up to a limit."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Given = TypeVar("Given")
Answer = TypeVar("Answer")


class Together(Generic[Given, Answer]):
    """Answers to what is asked one by one, worked out for many at once.

    Args:
        work: Answers of several, in order.
        most: How many it takes at once.
        seen: Called with the number of each batch.
        threads: Batches that are worked on side by side.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Given]], Sequence[Answer]],
        most: int,
        seen: Callable[[int], None] = lambda _: None,
        threads: int = 1,
    ) -> None:
        self.work, self.most, self.seen = work, most, seen
        self._waiting: SimpleQueue[tuple[Given, Future[Answer]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, given: Given) -> "Future[Answer]":
        """The answer, once it is there."""
        future: Future[Answer] = Future()
        self._waiting.put((given, future))
        return future

    def close(self) -> None:
        """Stop after what is at work."""
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        """Take what waits, again and again."""
        while (batch := self._take()) is not None:
            wanted = [one for one in batch if one[1].set_running_or_notify_cancel()]
            if wanted:
                self.seen(len(wanted))
                self._answer(wanted)

    def _take(self) -> "list[tuple[Given, Future[Answer]]] | None":
        """The next and whatever waits beside it; None at the end."""
        batch: list[tuple[Given, Future[Answer]]] = []
        while len(batch) < self.most:
            try:
                one = self._waiting.get(block=not batch)
            except Empty:
                break
            if one is None:
                self._waiting.put(None)  # for the other threads, and for this one after what it has
                break
            batch.append(one)
        return batch or None

    def _answer(self, batch: "Sequence[tuple[Given, Future[Answer]]]") -> None:
        """Answer a batch; where one of it cannot be answered, each by itself, so that the others do not notice."""
        try:
            answers = self.work([given for given, _ in batch])
        except Exception as error:  # noqa: BLE001 - of whatever kind: whoever asked is told
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            logger.warning("a batch of %s failed (%s): each by itself", len(batch), error)
            for one in batch:
                self._answer([one])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)
