"""From a photo to its labels: decoded, seen with what waits beside it, in a queue that has an end."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from .at_work import ModelAtWork, Sight, Wish
from .counts import Counts
from .decoders import Decoders
from .decoding import PixelValues
from .gate import Limits
from .refusals import RefusedError, busy
from .together import Together

MOST_TOGETHER = 16


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
        self._together: Together[tuple[PixelValues, Wish], Sight] = Together(model.see, MOST_TOGETHER, counts.seen)

    async def label(self, photo: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Labels, path and next question of a photo.

        Raises:
            RefusedError: The queue is full, a parameter is wrong, or the photo cannot be read.
        """
        (sight,) = await self.look(photo, [parameters])
        return sight.answer

    async def look(self, photo: bytes, asked: Sequence[Mapping[str, Any]]) -> list[Sight]:
        """What is said of a photo for each of some sets of parameters.

        Raises:
            RefusedError: As `label`.
        """
        wishes = [self.model.wish(parameters) for parameters in asked]
        if self.waiting >= self.limits.waiting:
            raise busy(f"{self.waiting} photos wait already")
        self.waiting += 1
        try:
            pixel_values = await asyncio.wrap_future(self.decoders.decode(photo))
            asking = [asyncio.wrap_future(self._together.ask((pixel_values, wish))) for wish in wishes]
            return list(await asyncio.gather(*asking))
        except ValueError as error:  # of the model about this photo alone, such as more confirmed labels than it takes
            raise RefusedError(422, str(error)) from error
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End what works for it."""
        self.decoders.close()
        self._together.close()
