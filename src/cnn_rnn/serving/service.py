"""From a photo to its labels: decoded, seen with what waits beside it, in a queue that has an end."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from cnn_rnn.learning.learner import Seen

from .at_work import ModelAtWork, Wish
from .counts import Counts
from .decoders import Decoders
from .decoding import Pixels
from .gate import Limits
from .refusals import RefusedError, busy

logger = logging.getLogger(__name__)

MOST_TOGETHER = 16

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


class Service:
    """A model that many ask at once.

    Args:
        model: The model.
        decoders: What decodes photos for it.
        limits: How much it takes on.
        counts: Where batches are counted.
    """

    def __init__(self, model: ModelAtWork, decoders: Decoders, limits: Limits, counts: Counts) -> None:
        self.model, self.decoders, self.limits = model, decoders, limits
        self.waiting = 0
        self._labels: Together[tuple[Pixels, Wish], dict[str, Any]] = Together(
            model.see, MOST_TOGETHER, counts.seen, model.threads
        )
        self._looks: Together[tuple[Pixels, Mapping[str, bool]], Seen] = Together(
            model.look, MOST_TOGETHER, counts.seen, model.threads
        )

    async def label(self, photo: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Labels, path and next question of a photo.

        Raises:
            RefusedError: The queue is full, a parameter is wrong, or the photo cannot be read.
        """
        (answer,) = await self._answer(photo, self._labels, [self.model.wish(parameters)])
        return answer

    async def look(self, photo: bytes, known: Sequence[Mapping[str, bool]]) -> list[Seen]:
        """A photo as Label Studio's projects take it, given each of some things that are known of it.

        Raises:
            RefusedError: The queue is full, or the photo cannot be read.
        """
        return await self._answer(photo, self._looks, known)

    async def _answer(
        self, photo: bytes, together: Together[tuple[Pixels, Given], Answer], asked: Sequence[Given]
    ) -> list[Answer]:
        """What is said of a photo, decoded once, to each that is asked of it."""
        if self.waiting >= self.limits.waiting:
            raise busy(f"{self.waiting} photos wait already")
        self.waiting += 1
        try:
            pixel_values = await asyncio.wrap_future(self.decoders.decode(photo))
            asking = [asyncio.wrap_future(together.ask((pixel_values, one))) for one in asked]
            return list(await asyncio.gather(*asking))
        except ValueError as error:  # of the model about this photo alone, such as more confirmed labels than it takes
            raise RefusedError(422, str(error)) from error
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End what works for it."""
        self.decoders.close()
        self._labels.close()
        self._looks.close()
