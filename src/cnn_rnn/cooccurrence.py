"""How much likelier a label is beside another than alone, counted on the training labels: P[k, l] = log p(l|k) / p(l).

Up to some thousand labels the table is dense; beyond, it is a product of two narrow ones, so memory grows with C alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization

LARGEST_TABLE = 4096  # labels up to which the table is kept as it is, 64 MiB in float32
RANK = 256  # columns of the two narrow tables beyond
IMAGES_DRAWN = 5.0  # images by which every p(l|k) is drawn towards p(l); 1 and 5 did alike on held-out parts of Corel5k
FIRST_WEIGHT = 0.3


class CooccurrencePrior(nn.Module):
    """What the known and walked labels say of every other, added to logits with learned weights."""

    left: Tensor
    right: Tensor | None

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        narrow = num_labels > LARGEST_TABLE
        self.register_buffer("left", torch.zeros(num_labels, RANK if narrow else num_labels))
        self.register_buffer("right", torch.zeros(RANK, num_labels) if narrow else None)
        self.relevance_weight = nn.Parameter(torch.tensor([FIRST_WEIGHT]))  # no scalars: FSDP shards none
        self.path_weight = nn.Parameter(torch.tensor([FIRST_WEIGHT]))

    def forward(self, labels: Tensor, part: str | None = None, *, ids: bool = False) -> Tensor:
        """Sum (..., C) of the rows of the table that `labels` name, weighted for a part of the model.

        Table and weights are read in this call alone: where they are offloaded, they are here only meanwhile.

        Args:
            labels: Multi-hot labels (..., C), where only positive ones count; or ids (...), END and START too.
            part: "path" or "relevance", whose learned weight is taken; None for the bare sum.
            ids: Whether `labels` are ids.
        """
        if ids:
            # END and START have no row: they read the last label's, of which nothing is kept.
            named = self.left[labels.clamp(max=self.num_labels - 1)]
            rows = torch.where((labels < self.num_labels)[..., None], named, 0.0)
        else:
            rows = (labels > 0).to(self.left.dtype) @ self.left
        said = rows if self.right is None else rows @ self.right
        weights = {"path": self.path_weight, "relevance": self.relevance_weight}
        return said if part is None else weights[part] * said

    @torch.no_grad()
    def initialize(self) -> None:
        """Give fresh values to what a checkpoint does not hold."""
        for weight in (self.relevance_weight, self.path_weight):
            initialization.constant_(weight, FIRST_WEIGHT)
        for table in self.buffers():
            initialization.zeros_(table)

    @torch.no_grad()
    def fit(self, together: Any, images: Any, shown: Any = None) -> None:
        """Fill the table from counts, as `log_ratios` takes them."""
        table = log_ratios(together, images, shown)
        if self.right is None:
            self.left.copy_(table)
            return
        # Each side takes the root of a direction's scale, so that both are of like size.
        left, scale, right = torch.svd_lowrank(table, q=RANK, niter=4)
        self.left.copy_(left * scale.sqrt())
        self.right.copy_((right * scale.sqrt()).T)


def log_ratios(together: Any, images: Any, shown: Any = None) -> Tensor:
    """The table (C, C) of log p(l|k) / p(l), smoothed; 0 on the diagonal, and about 0 in the row of a rare label.

    Both probabilities are of the images on which both labels were looked at: others say nothing of their co-occurrence.
    Counts may be numbers, tensors or arrays.

    Args:
        together: Training images (C, C) that show both labels; on the diagonal those that show the label.
        images: Training images in all, or those (C, C) on which both labels were looked at.
        shown: Images (C, C) that show the first label and on which the second was looked at; None where every label was
            looked at on every image.
    """
    together, images = torch.as_tensor(together).double(), torch.as_tensor(images)
    shown = together.diagonal()[:, None].expand_as(together) if shown is None else torch.as_tensor(shown).double()
    # Of rare labels p(l|k) would be 0 or 1 by chance: images that show l as often as any are added to each row.
    alone = (shown.T + 0.5) / (images + 1)
    beside = (together + IMAGES_DRAWN * alone) / (shown + IMAGES_DRAWN)
    return (beside / alone).log().fill_diagonal_(0.0).float()
