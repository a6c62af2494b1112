"""Walks as a tree: nothing of the beam is lost, and what begins alike stands once."""

import math

import pytest
import torch

from cnn_rnn.app.beam_tree import Branch, grow_tree

NAMES = ["a", "b", "c"]


def ends(branches: list[Branch], walked: tuple[str, ...] = ()) -> dict[tuple[str, ...], float | None]:
    """The probability of every path that ends in the tree."""
    found: dict[tuple[str, ...], float | None] = {}
    for branch in branches:
        here = walked if branch.label is None else (*walked, branch.label)
        if branch.path_probability is not None:
            found[here] = branch.path_probability
        found |= ends(branch.branches, here)
    return found


def test_every_walk_is_a_way_from_root_to_end() -> None:
    paths = torch.tensor([[0, 1, 3], [0, 3, 3], [2, 0, 1], [0, 0, 0]])
    steps = torch.log(torch.tensor([[0.5, 0.5, 0.9, 1], [0.5, 0.3, 1, 1], [0.2, 0.5, 0.5, 1], [1, 1, 1, 1]]))
    scores = torch.tensor([math.log(0.225), math.log(0.15), math.log(0.05), -math.inf])
    tree = grow_tree(paths, steps, scores, NAMES)
    assert ends(tree) == {
        ("a", "b"): pytest.approx(0.225),
        ("a",): pytest.approx(0.15),
        ("c", "a", "b"): pytest.approx(0.05),
    }
    assert [branch.label for branch in tree] == ["a", "c"]
    assert [branch.label for branch in tree[0].branches] == ["b", None]
    assert tree[0].probability == pytest.approx(0.5)


def test_the_path_of_no_label_is_an_end() -> None:
    tree = grow_tree(torch.tensor([[3, 3]]), torch.zeros(1, 3), torch.zeros(1), NAMES)
    assert ends(tree) == {(): 1.0}
