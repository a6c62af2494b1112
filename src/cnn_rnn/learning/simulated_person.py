"""A person who knows all labels of a photo, and does on the page what it takes to say so."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from .album import Album
from .journal import Step
from .suggestions import TYPED, suggest


@dataclass(frozen=True)
class Labelled:
    """What one photo took.

    Attributes:
        actions: Presses and clicks, and three for a label that was typed.
        right: Whether all was right at once.
        told_seconds: What it took to take in what was accepted.
    """

    actions: int
    right: bool
    told_seconds: float


def label_photo(album: Album, name: str, labels: Iterable[str]) -> Labelled:
    """Put right what the page suggests of a photo, one label after the other, and accept it.

    What is wrong goes first; then what is missing is taken where it is shown, the most probable first, which may bring
    others among those that are shown; what is left is typed.
    """
    true, actions = set(labels), 0
    first = album.suggest(name).expected
    for label in first:
        if label not in true:
            album.step(Step({name: {label: False}}))
            actions += 1
    right = not actions
    while missing := true - set(first) - {label for label, there in album.known_of(name).items() if there}:
        right = False
        known = album.known_of(name)
        shown = suggest(album.expect(name, known), known).shown
        taken = next((label for label in shown if label in missing), None)
        cost = 1 if taken is not None else TYPED
        album.step(Step({name: {taken or min(missing): True}}, actions=cost))
        actions += cost
    began = time.perf_counter()
    album.step(Step({name: dict.fromkeys(true, True)}, {name: True}))
    return Labelled(actions + 1, right, time.perf_counter() - began)
