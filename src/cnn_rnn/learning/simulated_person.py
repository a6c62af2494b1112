"""A person who knows all labels of a photo, and does on the page what it takes to say so."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from .album import Album
from .journal import Step
from .suggestions import TYPED


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
    suggestion = album.suggest(name)

    def decide(label: str, cost: int, *, there: bool) -> None:
        nonlocal actions
        album.step(Step({name: {label: there}}, actions=cost))
        actions += cost
        known = album.known_of(name)
        suggestion.fill(album.expect(name, known), known)

    for label in suggestion.expected:
        if label not in true:
            decide(label, 1, there=False)
    while missing := true - set(suggestion.labels(album.known_of(name))):
        shown = next((label for label in suggestion.shown if label in missing), None)
        decide(shown or min(missing), TYPED if shown is None else 1, there=True)
    began = time.perf_counter()
    right = not actions
    accepted = dict.fromkeys(suggestion.labels(album.known_of(name)), True)
    album.step(Step({name: accepted}, {name: True}))
    return Labelled(actions + 1, right, time.perf_counter() - began)
