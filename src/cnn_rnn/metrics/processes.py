"""Rows that several processes hold, brought together in each of them."""

import numpy as np
import torch
import torch.distributed as dist

from .checked_arrays import Array


def several_processes() -> bool:
    """Whether this is one of several processes that torch.distributed joins."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_numbers(numbers: list[int]) -> list[list[int]]:
    """The same few whole numbers of every process, by rank."""
    own = torch.tensor(numbers, dtype=torch.int64, device=_device())
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return [part.tolist() for part in parts]


def gather_rows(array: Array, rows: list[int]) -> Array:
    """The rows of all processes by rank; `rows` says how many each one holds, and they may differ."""
    padded = np.zeros((max(rows), *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    own = torch.from_numpy(padded).to(_device())
    parts = [torch.empty_like(own) for _ in rows]
    dist.all_gather(parts, own)
    return np.concatenate([part[:count].cpu().numpy() for part, count in zip(parts, rows, strict=True)])


def _device() -> torch.device:
    """Where the backend's tensors must lie."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
