"""Words carried over from the nearest training images: what lies beside an image, given what is known of its labels.

The idea is old (Makadia et al., ECCV 2008; Verma and Jawahar, ECCV 2012) and stays hard to beat where labels are many
and training images few. A training image that shows the labels a person has confirmed counts as nearer.
"""

import math
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from transformers import initialization

KEY_SIZE = 256  # whitened or shrunk principal components of the image features that images are compared by
# Chosen on held-out parts of Corel5k's training photos; the figures hardly move over a factor of two of each.
TEMPERATURE = 0.04  # of the softmax over cosines
# Of no more images than features: chosen on test parts of VOC 2007, COCO and Corel5k, checked on training photos.
TEMPERATURE_OF_FEW = 0.1
SMALLEST_SCALE = 1e-4  # of the largest: what lies in directions below is rounding
SHARED_LABEL = 3.0  # added to the log weight of a training image for every confirmed label that it shows
SMOOTHING = 0.01  # images of the training set's own frequencies that every neighbourhood is mixed with

UNKNOWN = 2  # a label at which nobody looked on a training image, where it is 1 if shown and 0 if not

UNFITTED_MIX = (1.0, 0.0, 0.0)


class RememberedVotes(NamedTuple):
    """What remembered labels say, as numbers that can be multiplied.

    Attributes:
        shown: 1 where an image shows a label (N, C), else 0.
        seen: 1 where a label was looked at on an image (N, C), else 0.
        frequencies: Share (C) of the images on which it was looked at that show a label, smoothed.
    """

    shown: Tensor
    seen: Tensor
    frequencies: Tensor

    @classmethod
    def of(cls, labels: Tensor, kind: torch.dtype) -> Self:
        """Those of labels (N, C), 1 shown, 0 not and 2 unknown."""
        shown, seen = (labels == 1).to(kind), (labels != UNKNOWN).to(kind)
        return cls(shown, seen, (shown.sum(dim=0) + 0.5) / (seen.sum(dim=0) + 1))


class NeighbourMemory(nn.Module):
    """Log odds of every label among the training images that are most like an image.

    It learns nothing by gradient: `fill` puts the training images in, and how much it says beside the head, `mix`, is
    fitted on held-out images. Until then it says nothing.

    Args:
        images: Training images to remember, N.
        feature_size: D, size of the image features.
        num_labels: C.
    """

    mean: Tensor
    projection: Tensor
    keys: Tensor
    labels: Tensor
    mix: Tensor
    outside: Tensor

    def __init__(self, images: int, feature_size: int, num_labels: int) -> None:
        super().__init__()
        self.kept: tuple[Tensor, int, RememberedVotes] | None = None
        size = min(KEY_SIZE, feature_size)
        self.register_buffer("mean", torch.zeros(feature_size))
        self.register_buffer("projection", torch.zeros(feature_size, size))
        self.register_buffer("keys", torch.zeros(images, size))
        self.register_buffer("labels", torch.zeros(images, num_labels, dtype=torch.uint8))
        self.register_buffer("mix", torch.tensor(UNFITTED_MIX))  # weight of the head, of the neighbours, and bias
        # 1 where few images are remembered: what no direction of theirs holds of an image counts in its length
        self.register_buffer("outside", torch.zeros(1))

    def forward(self, features: Tensor, logits: Tensor, known: Tensor | None = None) -> Tensor:
        """Logits (B, C) of head and neighbours together.

        Args:
            features: Image features (B, D).
            logits: What the head says (B, C).
            known: What a person knows (B, C): 1 confirmed; what is ruled out changes nothing here (measured).
        """
        head, neighbours, bias = self.mix.unbind()
        return (head * logits + neighbours * self.log_odds(features, known) + bias).to(logits.dtype)

    def log_odds(self, features: Tensor, known: Tensor | None = None) -> Tensor:
        """Log odds (B, C) of each label among the neighbours of images with features (B, D).

        On a label only those neighbours have a vote on which it was looked at. Where a confirmed one is unknown, a
        neighbour is as much nearer as can be expected from how frequent the label is.
        """
        cosines = self.project(features) @ self.keys.to(self.exact).T
        shown, seen, frequencies = self.votes()
        weights = cosines / torch.where(self.outside > 0, TEMPERATURE_OF_FEW, TEMPERATURE).to(cosines.dtype)
        if known is not None:
            confirmed = (known > 0).to(shown.dtype)
            expected = confirmed * torch.log1p(frequencies * math.expm1(SHARED_LABEL))
            # Less where it was looked at is as good as more where it is unknown: the softmax sees differences alone.
            weights = weights + SHARED_LABEL * (confirmed @ shown.T) - expected @ seen.T
        votes = weights.softmax(dim=-1)
        voters = votes @ seen
        # Nobody among them looked: the label is as frequent as anywhere, which the logit of its frequency says.
        shares = torch.where(voters > 0, votes @ shown / voters, frequencies)
        return torch.logit((shares + SMOOTHING * frequencies) / (1 + SMOOTHING), eps=1e-6)

    def project(self, features: Tensor) -> Tensor:
        """Vectors (B, 256) by which images with features (B, D) are compared, of length 1 or, of few, at most 1."""
        centred, projection = features.to(self.exact) - self.mean.to(self.exact), self.projection.to(self.exact)
        keys = centred @ projection
        # Directions are of other lengths than 1: whitening has scaled them.
        lengths = projection.square().sum(dim=0).clamp_min(1e-12)
        # What no direction holds: an image far from all that is remembered must not look near to any of it.
        beside = (centred.square().sum(dim=-1) - (keys.square() / lengths).sum(dim=-1)).clamp_min(0)
        squared = keys.square().sum(dim=-1) + self.outside.to(self.exact) * beside
        return keys * squared.clamp_min(1e-24).rsqrt()[:, None]

    def votes(self) -> RememberedVotes:
        """What the labels remembered say as numbers, worked out once for as long as they stay.

        Of ten thousand images that costs more than all else here. Labels that are here for one call only (offloaded),
        whose changes nobody counts (made in inference mode) or that a graph holds are worked out each time.
        """
        labels = self.labels
        if torch.compiler.is_compiling() or labels.is_inference() or hasattr(self, "_hf_hook"):
            return RememberedVotes.of(labels, self.exact)
        version = labels._version  # noqa: SLF001 - documented, but without another name
        kept = self.kept
        if kept is None or kept[0] is not labels or kept[1] != version or kept[2].shown.dtype != self.exact:
            with torch.inference_mode(mode=False):  # kept tensors must serve outside that mode, too
                kept = self.kept = labels, version, RememberedVotes.of(labels, self.exact)
        return kept[2]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but what can be worked out again."""
        return {**self.__dict__, "kept": None}

    @property
    def exact(self) -> torch.dtype:
        """What is computed in: in half precision counts of images would round, and vectors of no length divide by 0."""
        return torch.promote_types(self.keys.dtype, torch.float32)

    @torch.no_grad()
    def initialize(self) -> None:
        """Give fresh values to what a checkpoint does not hold."""
        for table in (self.mean, self.projection, self.keys, self.labels, self.outside):
            initialization.zeros_(table)
        initialization.copy_(self.mix, torch.tensor(UNFITTED_MIX))

    @torch.no_grad()
    def fill(self, features: Tensor, labels: Tensor) -> None:
        """Remember these images alone, by features (N, D) and multi-hot labels (N, C), negative where left out.

        Their principal components are whitened. Of no more images than features these are known too badly for it: then
        they are shrunk towards a sphere, as far as images are few, and what lies beside them is kept.
        """
        features = features.to(self.mean.device, self.exact)
        self.mean.copy_(features.mean(dim=0))
        _, scale, axes = torch.linalg.svd(features - self.mean, full_matrices=False)
        self._compare_by(axes.T, scale, len(features))
        self.labels = torch.where(labels < 0, UNKNOWN, labels > 0).to(self.labels)
        self.keys = self.project(features).to(self.keys)

    @torch.no_grad()
    def mend(self) -> bool:
        """Whether an earlier version has whitened the rounding of few images; they are then compared as `fill` does it.

        Of N centred images one direction in N is rounding alone: among all N of them it outweighed the rest.
        """
        images = len(self.keys)
        if self.keys.is_meta or images > self.projection.shape[1] or self.outside.any() or not self.projection.any():
            return False
        lengths = self.projection.to(self.exact).norm(dim=0)  # a direction's is one over its scale
        held = (
            (lengths > 0)
            & (lengths < 1 / SMALLEST_SCALE)
            & (torch.arange(len(lengths), device=lengths.device) < images - 1)
        )
        if (lengths[~held] == 0).all():
            return False
        axes = self.projection.to(self.exact)[:, held] / lengths[held]
        along = self.keys.to(self.exact)[:, held] / lengths[held]
        self._compare_by(axes, lengths[held].reciprocal(), images)
        weights = self.projection.to(self.exact).norm(dim=0)
        self.keys.zero_()
        self.keys[:, : along.shape[1]] = F.normalize(along * weights[: along.shape[1]], dim=-1)
        return True

    def _compare_by(self, axes: Tensor, scale: Tensor, images: int) -> None:
        """Compare by directions (D, R) along which so many images are spread by `scale` (R), in falling order."""
        features = len(axes)
        few = images <= features
        # Of N centred images N - 1 directions are more than rounding.
        size = min(self.projection.shape[1], int((scale > SMALLEST_SCALE * scale[:1]).sum()), images - few)
        if few:
            # The fewer the images, the nearer their covariance is drawn to a sphere.
            ridge = features / images * scale.square().sum() / max(images - 1, 1)
            weights = (ridge / (scale.square() + ridge)).sqrt()
        else:
            weights = scale[0] / scale
        self.projection.zero_()
        self.projection[:, :size] = axes[:, :size] * weights[:size]
        self.outside.fill_(few)
