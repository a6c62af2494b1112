"""What no code can go below on this machine: its arithmetic and its bytes, each at the machine's best speed.

The best speed of arithmetic is that of a product of two large matrices, that of bytes of a copy of a large tensor.
"""

import time
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

SIDE, MEGABYTES, TURNS = 1536, 128, 5


def seconds_at_least(operations: float, moved: float = 0.0) -> float:
    """Seconds that floating-point operations, or the bytes moved, take at the very least; whichever is more."""
    return max(operations / operations_a_second(), moved / bytes_a_second())


def operations_of(way: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions of one run."""
    with FlopCounterMode(display=False) as counted:
        way()
    return float(counted.get_total_flops())


def bytes_of(tensors: Iterable[Tensor]) -> float:
    """Bytes that all of the tensors hold."""
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def weights_of(module: nn.Module | None) -> float:
    """Bytes of a module's weights, each of which must be read once."""
    return 0.0 if module is None else bytes_of(module.parameters())


@cache
@torch.no_grad()
def operations_a_second() -> float:
    """The machine's speed in float32."""
    one, other = torch.randn(2, SIDE, SIDE).unbind()
    return 2 * SIDE**3 / _least_seconds(lambda: one @ other)


@cache
@torch.no_grad()
def bytes_a_second() -> float:
    """The memory's speed, read and written."""
    source = torch.zeros(MEGABYTES << 18)  # of four bytes each
    target = torch.zeros_like(source)
    return 2 * bytes_of([source]) / _least_seconds(lambda: target.copy_(source))


def _least_seconds(way: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
