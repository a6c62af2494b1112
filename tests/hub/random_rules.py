"""Random rules between few labels, and all sets that obey them, found by trying each."""

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnn_rnn.label_rules import LabelRules

NAMES = ["animal", "dog", "poodle", "cat", "car", "none"]
ANIMALS: dict[str, Any] = {
    "implies": {"poodle": "dog", "dog": "animal", "cat": ["animal"]},
    "excludes": [["dog", "cat"], ["none", "animal"], ["car", "none"]],
}


def random_rules(seed: int, labels: int = 6) -> dict[str, Any]:
    """Rules that contradict nothing, of labels "0", "1", ...: what a label implies has a place of its own before it."""
    random = np.random.default_rng(seed)
    names = [str(label) for label in range(labels)]
    order = random.permutation(labels)
    implies = {}
    for place, label in enumerate(order):
        above = [names[one] for one in order[:place] if random.random() < 0.3]
        if above:
            implies[names[label]] = above
    excludes: list[list[str]] = []
    for _ in range(3):
        group = [names[one] for one in random.permutation(labels)[: random.integers(2, 4)]]
        try:
            LabelRules.of({"implies": implies, "excludes": [*excludes, group]}, names)
        except ValueError:
            continue
        excludes.append(group)
    return {"implies": implies, "excludes": excludes}


def obeys(rules: dict[str, Any], held: set[str]) -> bool:
    """Whether a set of names holds all that it implies, and of each group one at most."""
    for label, implied in rules["implies"].items():
        if label in held and not ({implied} if isinstance(implied, str) else set(implied)) <= held:
            return False
    return all(len(held & set(group)) <= 1 for group in rules["excludes"])


def closed_sets(rules: dict[str, Any], names: list[str]) -> Tensor:
    """All sets of labels that obey (S, C), as bool."""
    every = [set(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]
    return torch.tensor([[name in chosen for name in names] for chosen in every if obeys(rules, chosen)])
