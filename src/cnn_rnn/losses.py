"""What training minimises: negative log likelihoods of the labels of an image, averaged over the images of a batch.

Averaging over images, not over steps or labels, keeps the loss of a batch equal to the mean of the losses of its parts.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor

from .configuration_cnn_rnn import CnnRnnConfig
from .label_paths import labels_before

FOCUS_OF_ABSENT, FOCUS_OF_UNKNOWN = 0.0, 1.0  # powers of the probability that an absent, or unknown, label's loss has
LIKELY = 0.5  # from this probability on an unknown label is not taken for absent


def training_loss(
    config: CnnRnnConfig,
    labels: Tensor,
    relevance_logits: Tensor | None,
    path_logits: Tensor | None,
    paths: Tensor | None,
) -> Tensor:
    """The sum of the losses of the parts that a model has, weighted as its config says, a scalar.

    Args:
        config: Kind and weight of each loss.
        labels: Multi-hot labels (B, C), negative where left out.
        relevance_logits: Logits (B, C) of each label by itself; None without relevance head.
        path_logits: Logits (B, T, C + 1) of each step of the true paths; None without path decoder.
        paths: The true paths (B, T), END-padded; None without path decoder.
    """
    losses = []
    if relevance_logits is not None:
        loss = relevance_loss(relevance_logits, labels, config.relevance_loss)
        losses.append(config.relevance_loss_weight * loss)
    if path_logits is not None and paths is not None:
        losses.append(config.path_loss_weight * path_loss(path_logits, paths, labels, config.path_loss))
    return torch.stack(losses).sum()


def path_loss(path_logits: Tensor, paths: Tensor, labels: Tensor, kind: str = "cross_entropy") -> Tensor:
    """Mean over images of the negative log probability of their paths (section 3.3 of the paper), a scalar.

    As in the search, a label that was walked before cannot come again; a label that is left out cannot come at all, so
    it neither gains nor loses by the loss.

    Args:
        path_logits: Logits (B, T, C + 1) of each step, teacher forced.
        paths: END-padded paths (B, T); a path's first END is the last step that counts.
        labels: Multi-hot labels (B, C), negative where left out.
        kind: "cross_entropy" of the path's next label, or "remaining_labels": of any label still to come, so that no
            order is imposed on a step.

    Raises:
        ValueError: An unknown `kind`.
    """
    num_labels = labels.shape[-1]
    walked = labels_before(paths, num_labels)
    impossible = F.pad(walked | (labels < 0)[:, None], (0, 1))  # END is always possible
    log_probabilities = path_logits.float().masked_fill(impossible, -torch.inf).log_softmax(dim=-1)
    at_end = paths == num_labels
    if kind == "cross_entropy":
        right = F.one_hot(paths, num_labels + 1).bool()
    elif kind == "remaining_labels":
        right = torch.cat([(labels > 0)[:, None] & ~walked, at_end[..., None]], dim=-1)
    else:
        raise ValueError(f"unknown path loss {kind!r}, expected 'cross_entropy' or 'remaining_labels'")
    log_likelihood = log_probabilities.masked_fill(~right, -torch.inf).logsumexp(dim=-1)
    counts = at_end.cumsum(dim=1) <= 1
    return -log_likelihood.masked_fill(~counts, 0.0).sum(dim=1).mean()


def relevance_loss(logits: Tensor, labels: Tensor, kind: str = "bce") -> Tensor:
    """Mean over images of the summed loss of every label by itself, a scalar.

    Args:
        logits: Label logits (B, C).
        labels: Multi-hot labels (B, C), negative where left out.
        kind: "bce", binary cross-entropy; "asl", the asymmetric loss (Ridnik et al., ICCV 2021); or "partial_asl" for
            photos most of whose labels nobody looked for, see `partial_loss`.

    Raises:
        ValueError: An unknown `kind`.
    """
    if kind == "partial_asl":
        return partial_loss(logits, labels)
    counts = labels >= 0
    targets = labels.clamp(min=0).float()
    if kind == "bce":
        losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    elif kind == "asl":
        losses = AsymmetricLossMultiLabel(reduction="none")(logits, targets)
    else:
        raise ValueError(f"unknown relevance loss {kind!r}, expected 'bce', 'asl' or 'partial_asl'")
    return losses.masked_fill(~counts, 0.0).sum(dim=1).mean()


def partial_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The selective asymmetric loss for partial labels (Ben-Baruch et al., CVPR 2022), a scalar.

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
    focus = torch.where(unknown, FOCUS_OF_UNKNOWN, FOCUS_OF_ABSENT)
    absent = -F.logsigmoid(-logits) * (labels <= 0) * probabilities.detach() ** focus
    likely = (probabilities.detach() > LIKELY) & unknown
    return (present + absent.masked_fill(likely, 0.0)).sum(dim=1).mean()
