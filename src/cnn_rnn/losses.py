"""What training minimises: negative log likelihoods of the labels of an image, averaged over the images of a batch.

Averaging over images, not over steps or labels, keeps the loss of a batch equal to the mean of the losses of its parts.
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.loss import AsymmetricLossMultiLabel, DistributionBalancedLoss, compute_class_weights
from torch import Tensor

from .configuration_cnn_rnn import CnnRnnConfig
from .known_labels import Known
from .label_paths import labels_before

FOCUS_OF_ABSENT, FOCUS_OF_UNKNOWN = 0.0, 1.0  # powers of the probability that an absent, or unknown, label's loss has
LIKELY_PRESENT = 0.5  # from this probability on an unknown label is not taken for absent


class Balance(NamedTuple):
    """What keeps the loss of rare labels from being lost among that of frequent ones.

    Attributes:
        weighting: "none"; or how a label's whole loss is weighted, with a mean weight of 1 (timm's own): "inv_freq", by
            one over its images, or "effective_num", by one over their effective number, (1 - 0.999^n) / (1 - 0.999)
            (Cui et al., CVPR 2019).
        label_counts: Training images (C) that show each label.
        counted_images: Training images on which each was looked for (C), or one number for all.
    """

    weighting: str = "none"
    label_counts: list[int] | None = None
    counted_images: int | list[int] | None = None

    @classmethod
    def of(cls, config: CnnRnnConfig) -> Self:
        """What a model's config says."""
        return cls(config.class_weights, config.label_counts, config.counted_images)

    def counts(self, wanted_by: str) -> tuple[Tensor, int]:
        """Images of each label (C), as if each had been looked for on as many, and how many these are.

        Args:
            wanted_by: The setting that needs them.

        Raises:
            ValueError: The model does not know them.
        """
        if self.label_counts is None or self.counted_images is None:
            raise ValueError(
                f"{wanted_by} needs how many training images show each label: give the model's config label_counts and "
                "counted_images"
            )
        images = torch.tensor(self.counted_images, dtype=torch.float64)
        most = int(images.max())
        return (torch.tensor(self.label_counts) * most / images.clamp(min=1)).clamp(max=most), most

    def weights(self) -> Tensor:
        """Weights (C) of the labels' losses."""
        _, weights = compute_class_weights(*self.counts(f"class_weights={self.weighting!r}"), method=self.weighting)
        return weights


UNBALANCED = Balance()
NOTHING_KNOWN = Known(None, enters=False)


def training_loss(
    config: CnnRnnConfig,
    labels: Tensor,
    relevance_logits: Tensor | None,
    path_logits: Tensor | None,
    paths: Tensor | None,
    *,
    known: Known,
) -> Tensor:
    """The sum of the losses of the parts that a model has, weighted as its config says, a scalar.

    Args:
        config: Kind and weight of each loss.
        labels: Multi-hot labels (B, C), negative where left out.
        relevance_logits: Logits (B, C) of each label by itself; None without relevance head.
        path_logits: Logits (B, T, C + 1) of each step of the true paths; None without path decoder.
        paths: The true paths (B, T), END-padded; None without path decoder.
        known: What is known of the images, the rules between labels among it.
    """
    losses = []
    if relevance_logits is not None:
        loss = relevance_loss(relevance_logits, labels, config.relevance_loss, Balance.of(config))
        losses.append(config.relevance_loss_weight * loss)
    if path_logits is not None and paths is not None:
        losses.append(config.path_loss_weight * path_loss(path_logits, paths, labels, config.path_loss, known))
    return torch.stack(losses).sum()


def path_loss(
    path_logits: Tensor,
    paths: Tensor,
    labels: Tensor,
    kind: str = "cross_entropy",
    known: Known = NOTHING_KNOWN,
) -> Tensor:
    """Mean over images of the negative log probability of their paths (section 3.3 of the paper), a scalar.

    As in the search, a label that was walked before cannot come again; a label that is left out cannot come at all, so
    it neither gains nor loses by the loss.

    Args:
        path_logits: Logits (B, T, C + 1) of each step, teacher forced.
        paths: END-padded paths (B, T); a path's first END is the last step that counts.
        labels: Multi-hot labels (B, C), negative where left out.
        kind: "cross_entropy" of the path's next label, or "remaining_labels": of any label still to come, so that no
            order is imposed on a step.
        known: What is known of the images: as in the search, what a rule bars cannot come.

    Raises:
        ValueError: An unknown `kind`.
    """
    num_labels = labels.shape[-1]
    walked = labels_before(paths, num_labels)
    barred = walked | known.barred(walked)
    impossible = F.pad(barred | (labels < 0)[:, None], (0, 1))  # END is always possible
    log_probabilities = path_logits.float().masked_fill(impossible, -torch.inf).log_softmax(dim=-1)
    at_end = paths == num_labels
    if kind == "cross_entropy":
        log_likelihood = log_probabilities.gather(-1, paths[..., None])[..., 0]
    elif kind == "remaining_labels":
        right = torch.cat([(labels > 0)[:, None] & ~barred, at_end[..., None]], dim=-1)
        log_likelihood = log_probabilities.masked_fill(~right, -torch.inf).logsumexp(dim=-1)
    else:
        raise ValueError(f"unknown path loss {kind!r}, expected 'cross_entropy' or 'remaining_labels'")
    counts = at_end.cumsum(dim=1) <= 1  # up to the first END, which is a step as well
    return -log_likelihood.masked_fill(~counts, 0.0).sum(dim=1).mean()


def relevance_loss(logits: Tensor, labels: Tensor, kind: str = "bce", balance: Balance = UNBALANCED) -> Tensor:
    """Mean over images of the summed loss of every label by itself, a scalar.

    Args:
        logits: Label logits (B, C).
        labels: Multi-hot labels (B, C), negative where left out.
        kind: "bce", binary cross-entropy; "asl", the asymmetric loss (Ridnik et al., ICCV 2021); "db", the
            distribution-balanced loss for long tails (Wu et al., ECCV 2020), both timm's; or "partial_asl" for photos
            most of whose labels nobody looked for, see `partial_losses`.
        balance: Weights of the labels, and the counts that they, or "db", rest on.

    Raises:
        ValueError: An unknown `kind`, or counts that it needs are missing.
    """
    counts = labels >= 0
    targets = labels.clamp(min=0).float()
    if kind == "bce":
        losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    elif kind == "asl":
        losses = AsymmetricLossMultiLabel(reduction="none")(logits, targets)
    elif kind == "db":
        balanced = DistributionBalancedLoss(*balance.counts("relevance_loss='db'"), reduction="none")
        losses = balanced.to(logits.device)(logits, targets)
    elif kind == "partial_asl":
        losses, counts = partial_losses(logits, labels), torch.ones_like(counts)
    else:
        raise ValueError(f"unknown relevance loss {kind!r}, expected 'bce', 'asl', 'db' or 'partial_asl'")
    if balance.weighting != "none":
        losses = losses * balance.weights().to(losses.device)
    return losses.masked_fill(~counts, 0.0).sum(dim=1).mean()


def partial_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """The selective asymmetric loss for partial labels (Ben-Baruch et al., CVPR 2022), of every label (B, C).

    An unknown label is taken for absent, but with a focus that leaves a probability that is small already alone; the
    labels of an image that look most like being there are not taken for absent at all. Left out of the loss instead,
    as with the other losses, labels that nobody ever says are absent would all be learned as present.

    Args:
        logits: Label logits (B, C).
        labels: Multi-hot labels (B, C), negative where unknown.
    """
    logits = logits.float()
    unknown, probabilities = labels < 0, logits.sigmoid()
    present = -F.logsigmoid(logits) * (labels > 0)
    # No gradient flows through weights: a loss must not fall because its label is weighed less.
    focus = torch.where(unknown, FOCUS_OF_UNKNOWN, FOCUS_OF_ABSENT)
    absent = -F.logsigmoid(-logits) * (labels <= 0) * probabilities.detach() ** focus
    likely = (probabilities.detach() > LIKELY_PRESENT) & unknown
    return present + absent.masked_fill(likely, 0.0)
