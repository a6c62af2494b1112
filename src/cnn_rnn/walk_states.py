"""What the recurrent layer remembers after a label prefix, worked out once for all walks, images and batches.

The recurrent layer never sees the image, so equal prefixes are remembered alike. The prefixes form a tree: a node holds
the tensors that belong to its prefix, and each label leads to a child. The tree belongs to the values of the weights
that made it: with other values it begins anew. It holds no more than `MOST_BYTES`, or what a step of a search needs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

NO_KNOWLEDGE = b""  # the state before START is all zeros
MOST_BYTES = 64 << 20
FEWEST_ROWS = 256
FEWEST_AT_ONCE = 4  # products of fewer rows round otherwise: what a node holds must not tell who came there first
PLAIN_TYPES = {
    nn.Embedding,
    nn.Linear,
    nn.LSTM,
    nn.GRU,
}  # adapted, quantised and parametrised modules have types of their own

Entry = TypeVar("Entry")

Extend = Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, ...]]
"""Takes the labels (N,) walked last and the tensors (N, ...) of the nodes before; returns those of the new nodes."""


class WalkStates:
    """A tree of prefixes whose nodes have numbers.

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
        self.roots: dict[bytes, int] = {}
        self.children: dict[int, int] = {}  # node * (start + 1) + label -> node

    @contextmanager
    def opened(self, weights: list[Tensor]) -> Iterator["Self | None"]:
        """The tree for one search; None where another search is using it.

        Args:
            weights: What `shareable_weights` gave; they are compared with those that made the tree.
        """
        if not self.lock.acquire(blocking=False):
            yield None
            return
        try:
            self._belong_to(weights)
            yield self
        finally:
            self.lock.release()

    def begin(self, beginnings: Sequence[bytes], first: Callable[[Tensor], tuple[Tensor, ...]]) -> Tensor:
        """The nodes (B,) of the prefixes that hold START alone.

        Args:
            beginnings: What the state before START follows from, for each of B images.
            first: The tensors (N, ...) of these prefixes for N of the images, by their positions.
        """
        # No search is under way here, so nothing is forgotten that one needs.
        if self.rows and self.count + len(beginnings) > self.most_rows:
            self.clear()
        new = {key: place for place, key in enumerate(beginnings) if key not in self.roots}
        if new:
            self._append(first(torch.tensor(at_least(list(new.values())))), len(new))
            self.roots.update(zip(new, range(self.count - len(new), self.count), strict=True))
        return torch.tensor([self.roots[key] for key in beginnings])

    def follow(self, nodes: Tensor, labels: Tensor, extend: Extend) -> Tensor:
        """The nodes (B, W) to which labels (B, W) lead from nodes (B, W); START leads nowhere."""
        stride = self.start + 1
        # Node and label in one number: a key that a dictionary finds at once.
        keys = (nodes * stride + labels).flatten().tolist()
        found = [self.children.get(key) for key in keys]
        if None in found:
            new = [key for key in dict.fromkeys(keys) if key not in self.children]
            walked = [key for key in new if key % stride != self.start]
            if self.children and self.count + len(walked) > self.most_rows:
                return self.follow(self._forget_all_but(nodes), labels, extend)  # the nodes have new numbers now
            self.children.update((key, key // stride) for key in new)  # START's stay where they are, others follow
            if walked:
                self.children.update(zip(walked, range(self.count, self.count + len(walked)), strict=True))
                before, last = torch.tensor(at_least([divmod(key, stride) for key in walked])).unbind(dim=1)
                self._append(extend(last, [rows[before] for rows in self.rows]), len(walked))
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
        # The sum alone would miss values that change places, identity alone what is done to `.data`.
        same = len(weights) == len(self.weights) and all(map(Tensor.is_set_to, weights, self.weights))
        if not (same and versions == self.versions and torch.equal(sums, self.sums)):
            self.weights, self.versions, self.sums = weights, versions, sums
            self.clear()

    def _append(self, tensors: Sequence[Tensor], number: int) -> None:
        """Add nodes, those of the first `number` of what tensors (N, ...) hold."""
        count = self.count + number
        with torch.inference_mode(mode=False), torch.no_grad():  # kept tensors must serve outside that mode, too
            old = self.rows or [tensor.new_empty(0, *tensor.shape[1:]) for tensor in tensors]
            if count > len(old[0]):  # twice the room each time, so that rows are copied once on average
                more = max(count, 2 * len(old[0]), FEWEST_ROWS)
                self.rows = [rows.new_empty(more, *rows.shape[1:]) for rows in old]
                for rows, before in zip(self.rows, old, strict=True):
                    rows[: self.count] = before[: self.count]
            for rows, tensor in zip(self.rows, tensors, strict=True):
                rows[self.count : count] = tensor[:number]
        self.count = count

    def _forget_all_but(self, nodes: Tensor) -> Tensor:
        """Keep these nodes (B, W) alone, and tell their new numbers."""
        kept, places = torch.unique(nodes, return_inverse=True)
        tensors = [rows[kept] for rows in self.rows]
        self.clear()
        self._append(tensors, len(kept))
        return places.view_as(nodes)


def at_least(entries: list[Entry]) -> list[Entry]:
    """The entries, the first of them again until there are `FEWEST_AT_ONCE`."""
    return entries + entries[:1] * (FEWEST_AT_ONCE - len(entries))


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
    return type(module) in PLAIN_TYPES and not changed
