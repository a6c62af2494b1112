"""From a set of labels to an ordered path and back.

A path lists label ids in 0..C-1 and closes with END = C, which also pads it. Labels arrive multi-hot: 1 present, 0
absent, any negative value (-100 by convention) left out, which is neither on the path nor counted against it.
"""

import torch
from torch import Tensor


def labels_to_paths(labels: Tensor, ranks: Tensor, longest: int | None = None) -> Tensor:
    """Paths (B, T + 1) of the present labels in rank order, END-padded; T is the largest set of the batch.

    Every row therefore holds at least one END, the step at which its path closes.

    Args:
        labels: Multi-hot labels (B, C).
        ranks: Position (C,) of every label, as `positions_of` gives it.
        longest: T, where it is known beforehand; a larger set is cut to it.
    """
    num_labels = labels.shape[-1]
    present = labels > 0
    keys = torch.where(present, ranks.to(labels.device), num_labels)  # absent labels sort after all present ones
    order = keys.argsort(dim=-1)
    lengths = present.sum(-1, keepdim=True)
    if longest is None:
        longest = int(lengths.max()) if len(labels) else 0
    lengths = lengths.clamp(max=longest)
    steps = torch.arange(longest + 1, device=labels.device)
    padded = torch.nn.functional.pad(order, (0, 1), value=num_labels)[:, : longest + 1]
    return torch.where(steps < lengths, padded, num_labels)


def sets_to_paths(sets: Tensor, ranks: Tensor) -> Tensor:
    """Paths (N, T) of the labels of sets (N, C), bool, in rank order, END-padded; T is the size of the largest.

    Sets hold few of many labels, so these alone are sorted.
    """
    number, num_labels = sets.shape
    rows, labels = sets.nonzero(as_tuple=True)
    order = (rows * num_labels + ranks.to(sets.device)[labels]).argsort()
    sizes = sets.sum(dim=-1)
    # The place on its own path: a label's running number less that of the first of its set.
    places = torch.arange(len(rows), device=sets.device) - (sizes.cumsum(dim=0) - sizes)[rows]
    paths = sizes.new_full((number, int(sizes.max())), num_labels)
    paths[rows, places] = labels[order]
    return paths


def paths_to_labels(paths: Tensor, num_labels: int) -> Tensor:
    """Multi-hot labels (..., C) as bool of END-padded paths (..., T)."""
    labels = torch.zeros(*paths.shape[:-1], num_labels + 1, dtype=torch.bool, device=paths.device)
    return labels.scatter(-1, paths, value=True)[..., :num_labels]


def labels_before(paths: Tensor, num_labels: int) -> Tensor:
    """Labels (B, T, C) as bool that stand before each step of END-padded paths (B, T)."""
    steps = paths.shape[1]
    earlier = torch.ones(steps, steps, dtype=torch.bool, device=paths.device).tril(-1)  # (T, T) the steps before each
    walked = torch.zeros(*paths.shape, num_labels + 1, dtype=torch.bool, device=paths.device)
    walked.scatter_(2, torch.where(earlier, paths[:, None], num_labels), value=True)
    return walked[..., :num_labels]
