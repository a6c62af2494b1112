"""From a photo to its labels: decoded, seen with what waits beside it, in a queue that has an end."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from cnn_rnn.learning.learner import Seen

from .at_work import ModelAtWork, Wish
from .counts import Counts
from .decoders import Decoders
from .decoding import PixelValues
from .gate import Limits
from .refusals import RefusedError, busy
from .together import Together

MOST_TOGETHER = 16

Given = TypeVar("Given")
Answer = TypeVar("Answer")


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
        self._labels: Together[tuple[PixelValues, Wish], dict[str, Any]] = Together(
            model.see, MOST_TOGETHER, counts.seen, model.threads
        )
        self._looks: Together[tuple[PixelValues, Mapping[str, bool]], Seen] = Together(
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
        self, photo: bytes, together: Together[tuple[PixelValues, Given], Answer], asked: Sequence[Given]
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
