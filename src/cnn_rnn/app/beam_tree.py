"""The walks of a beam as a tree: what begins alike is told once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Branch:
    """One step of one or more walks.

    Attributes:
        label: The label walked to; None for the end of a path.
        probability: Of this step, given the ones before.
        path_probability: Of the whole path, at its end.
        branches: What follows, the best path first.
    """

    label: str | None
    probability: float
    path_probability: float | None = None
    branches: "list[Branch]" = field(default_factory=list)


def grow_tree(paths: Tensor, step_scores: Tensor, path_scores: Tensor, names: Sequence[str]) -> list[Branch]:
    """The first steps of the walks of one image, with what follows them.

    Args:
        paths: Label ids (K, T), best first, END-padded.
        step_scores: Natural log probabilities (K, T + 1) of the steps and of the end.
        path_scores: Natural log probabilities (K,); -inf where the beam holds fewer walks.
        names: Of the labels, by id.
    """
    roots: list[Branch] = []
    steps, scores = step_scores.exp().tolist(), path_scores.tolist()
    for path, probabilities, score in zip(paths.tolist(), steps, scores, strict=True):
        if score == -math.inf:
            continue
        walked = [names[label] for label in path if label < len(names)]
        branch = Branch(None, 1.0, branches=roots)
        for label, probability in zip([*walked, None], probabilities, strict=False):
            follower = next((one for one in branch.branches if one.label == label), None)
            if follower is None:
                follower = Branch(label, probability)
                branch.branches.append(follower)
            branch = follower
        branch.path_probability = math.exp(score)
    return roots
