"""What the recurrent layer remembers behind a label prefix, worked out once for all walks, images and batches.

The recurrent layer never sees the image, so equal prefixes are remembered alike. The prefixes form a tree: a node holds
the tensors that belong to its prefix, and each label leads to a child. The tree belongs to the values of the weights
that made it: with other values it begins anew. It holds no more than `MOST_BYTES`, or what a step of a search needs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_BYTES = 64 << 20
FEWEST_ROWS = 256
FEWEST_AT_ONCE = 4  # products of fewer rows round otherwise: what a node holds must not tell who came there first
PLAIN = {
    nn.Embedding,
    nn.Linear,
    nn.LSTM,
    nn.GRU,
}  # adapted, quantised and parametrised modules have types of their own

Extend = Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, ...]]
"""Takes the labels (N,) walked last and the tensors (N, ...) of the nodes before; returns those of the new nodes."""


class WalkStates:
    """A tree of prefixes whose nodes have numbers; 0 is the prefix that holds START alone.

    One search at a time uses it, since it may have to forget, and then numbers change. It is no part of what is saved
    or copied: a copy begins with an empty tree.

    Args:
        start: Id of START, greater than that of any label.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.lock = Lock()
        self.weights: list[Tensor] = []
        self.versions: list[int] = []
        self.sums = torch.empty(0)
        self.clear()

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.start,)

    def __len__(self) -> int:
        return self.count

    def clear(self) -> None:
        """Forget every prefix."""
        self.rows: list[Tensor] = []  # (capacity, ...) each, of which the first `count` are nodes
        self.count = 0
        self.children: dict[int, int] = {}  # node * (start + 1) + label -> node

    @contextmanager
    def opened(self, weights: list[Tensor], first: Callable[[int], tuple[Tensor, ...]]) -> Iterator["Self | None"]:
        """The tree for one search; None where another search is using it.

        Args:
            weights: What `shareable_weights` gave; they are compared with those that made the tree.
            first: The tensors (N, ...) of the prefix that holds START alone, each as often as asked for.
        """
        if not self.lock.acquire(blocking=False):
            yield None
            return
        try:
            self._belong_to(weights)
            if not self.rows:
                self._append([tensor[:1] for tensor in first(FEWEST_AT_ONCE)])
            yield self
        finally:
            self.lock.release()

    def follow(self, nodes: Tensor, labels: Tensor, extend: Extend) -> Tensor:
        """The nodes (B, W) to which labels (B, W) lead from nodes (B, W); START leads to the first of all."""
        keys = (nodes * (self.start + 1) + labels).flatten().tolist()
        found = [self.children.get(key) for key in keys]
        if None in found:
            new = [key for key in dict.fromkeys(keys) if key not in self.children]
            walked = [key for key in new if key % (self.start + 1) != self.start]
            if self.children and self.count + len(walked) > self.most_rows:
                return self.follow(self._forget_all_but(nodes), labels, extend)
            self.children.update(dict.fromkeys(new, 0))
            if walked:
                self.children.update(zip(walked, range(self.count, self.count + len(walked)), strict=True))
                padded = walked + walked[:1] * (FEWEST_AT_ONCE - len(walked))
                before = torch.tensor([key // (self.start + 1) for key in padded])
                last = torch.tensor([key % (self.start + 1) for key in padded])
                made = extend(last, [rows[before] for rows in self.rows])
                self._append([tensor[: len(walked)] for tensor in made])
            found = [self.children[key] for key in keys]
        return torch.tensor(found).view_as(labels)

    def at(self, nodes: Tensor, number: int) -> list[Tensor]:
        """The first `number` tensors of each of the nodes (B, W), as (B, W, ...)."""
        return [functional.embedding(nodes, rows) for rows in self.rows[:number]]

    @property
    def most_rows(self) -> int:
        """Nodes that the tree may hold, beyond which it forgets."""
        return MOST_BYTES // sum(rows[0].numel() * rows.element_size() for rows in self.rows)

    def _belong_to(self, weights: list[Tensor]) -> None:
        """Forget what other values of the weights have made.

        A tensor kept alive cannot give its place to another, and its version counts what is done to it in place. What
        is done to its `.data` is not counted, so the sum of the values is compared as well.
        """
        versions = [weight._version for weight in weights]  # noqa: SLF001 - documented, but without another name
        sums = torch.stack([weight.sum() for weight in weights])
        same = len(weights) == len(self.weights) and all(map(Tensor.is_set_to, weights, self.weights))
        if not (same and versions == self.versions and torch.equal(sums, self.sums)):
            self.weights, self.versions, self.sums = weights, versions, sums
            self.clear()

    def _append(self, tensors: Sequence[Tensor]) -> None:
        """Add nodes that hold tensors (N, ...)."""
        count = self.count + len(tensors[0])
        with torch.inference_mode(mode=False), torch.no_grad():  # kept tensors must serve outside that mode, too
            if not self.rows:
                self.rows = [tensor.new_empty(FEWEST_ROWS, *tensor.shape[1:]) for tensor in tensors]
            if count > len(self.rows[0]):
                more = max(count, 2 * len(self.rows[0]))
                old = self.rows
                self.rows = [rows.new_empty(more, *rows.shape[1:]) for rows in old]
                for rows, before in zip(self.rows, old, strict=True):
                    rows[: self.count] = before[: self.count]
            for rows, tensor in zip(self.rows, tensors, strict=True):
                rows[self.count : count] = tensor
        self.count = count

    def _forget_all_but(self, nodes: Tensor) -> Tensor:
        """Keep the first node and these (B, W), and tell their new numbers."""
        kept, places = torch.unique(nodes, return_inverse=True)
        old, chosen = self.rows, torch.cat([kept.new_zeros(1), kept])
        self.clear()
        self._append([rows[chosen] for rows in old])
        return places.view_as(nodes) + 1


def shareable_weights(modules: Sequence[nn.Module]) -> list[Tensor]:
    """The weights of modules whose outputs on the CPU depend on nothing else; empty where that cannot be known.

    A search that is compiled or exported has no tree, nor has one that gradients flow through. On a GPU a step of the
    recurrent layer is a few launches, and looking prefixes up would have to wait for them.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return []
    weights: list[Tensor] = []
    for module in modules:
        if not is_plain(module):
            return []
        weights.extend(module.parameters())
    gradients = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
    own = all(type(weight) is nn.Parameter and weight.is_cpu and not weight.is_inference() for weight in weights)
    return [weight.detach() for weight in weights] if own and not gradients else []


def is_plain(module: nn.Module) -> bool:
    """Whether a module of torch's own does what it does by its weights alone: not adapted, quantised or offloaded."""
    changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)  # noqa: SLF001
    return type(module) in PLAIN and not changed
