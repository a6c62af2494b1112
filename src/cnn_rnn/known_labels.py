"""What a person knows of an image's labels: 1 confirmed, -1 ruled out, 0 open."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, TypedDict

import torch
from torch import Tensor, nn
from transformers.utils import logging

from .beam_search import BeamSearchResult, Constraints
from .configuration_cnn_rnn import CnnRnnConfig
from .label_answers import check_confirmed
from .label_paths import labels_to_paths
from .label_rules import LEFT_OUT, LabelRules
from .ruled_tensors import RuledTensors, on_device

logger = logging.get_logger(__name__)

SMALLEST_SCORE = 1e-6  # label scores are clipped to [this, 1 - this] before their log odds
LARGEST_LOGIT = math.log((1 - SMALLEST_SCORE) / SMALLEST_SCORE)
SHARE_TOLD = 0.5  # of the images of a training batch
MOST_OTHERS = 8  # images of a batch whose labels are ruled out in training

NOT_TRAINED_WITH_KNOWN_LABELS = (
    "This model was not trained with known labels (known_labels='prefix'): its walks begin with the confirmed ones and "
    "leave out what is ruled out, but what they say of the other labels may be worse than without. Train with "
    "model.known_labels=state to condition on them."
)
KNOWN_LABELS_CHANGE_NOTHING = (
    "This model scores every label by itself: what is known changes nothing but its own labels. Train with "
    "model.cooccurrence=true, or with a path, for the others to follow."
)


class Conditions(TypedDict, total=False):
    """What `forward` takes beside image and labels; `output_attentions`, as all models do, but none can be asked for.

    The stock Trainer takes every argument of its signature whose name holds "label" for one that must be given.
    """

    known_labels: Tensor | None
    output_attentions: bool | None


def known_labels_of(conditions: Conditions) -> Tensor | None:
    """What is known (B, C), or None.

    Raises:
        ValueError: Attentions are asked for.
    """
    if conditions.get("output_attentions"):
        raise ValueError("no layer here has attention weights to return: leave output_attentions out")
    return conditions.get("known_labels")


def check_multi_hot(labels: Tensor | None, batch: int, num_labels: int) -> None:
    """Refuse labels that are not multi-hot of shape (B, C).

    Raises:
        TypeError: They are no tensor.
        ValueError: They are of another shape, or a value is above 1, such as the id of a label, or not a number.
    """
    if labels is None:
        return
    check_shape("labels", labels, batch, num_labels)
    if are_values(labels) and not bool((labels <= 1).all()):  # NaN is not either
        raise ValueError(
            f"labels must be multi-hot: 1 present, 0 absent, -100 unknown, in the column of each label; got "
            f"{labels[~(labels <= 1)][0].item()}"
        )


def check_shape(name: str, labels: Tensor, batch: int, num_labels: int) -> None:
    """Refuse what is not of shape (B, C).

    Raises:
        TypeError: It is no tensor.
        ValueError: It is of another shape.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name} must be a tensor of shape ({batch}, {num_labels}), got {type(labels).__name__}")
    if labels.shape != (batch, num_labels):
        raise ValueError(
            f"{name} must be multi-hot of shape ({batch}, {num_labels}), one row per image, one column per label, "
            f"got {tuple(labels.shape)}"
        )


def are_values(labels: Tensor) -> bool:
    """Whether the values are there to be looked at: not while a graph is made, nor on the meta device."""
    return not (torch.compiler.is_compiling() or labels.is_meta)


@dataclass(frozen=True)
class Known:
    """What is known of a batch, and what follows from it for walks, results and losses.

    Attributes:
        labels: What a person knows (B, C); None for nothing.
        enters: Whether a walk takes it in as its initial state; else it begins with the confirmed labels.
        rules: Rules between labels, which are known of every image; None for none.
    """

    labels: Tensor | None
    enters: bool
    rules: RuledTensors | None = None

    @classmethod
    def of(cls, labels: Tensor | None, config: CnnRnnConfig, features: Tensor, rules: LabelRules | None = None) -> Self:
        """What is known of the images of a batch, as a model takes it in; what it cannot make of it is told once.

        Args:
            labels: 1 confirmed, -1 ruled out, 0 open (B, C); None where nothing is known.
            config: The model's.
            features: The images' features (B, ...).
            rules: Rules between labels. All that follows by them is known as well.

        Raises:
            TypeError: It is no tensor of numbers.
            ValueError: Another shape, a value other than 1, -1 and 0, or answers that the rules do not allow together.
        """
        ruled = on_device(rules, features.device)
        if labels is not None:
            check_shape("known_labels", labels, features.shape[0], config.num_labels)
            if labels.dtype == torch.bool:
                raise TypeError("known_labels are 1 (confirmed), -1 (ruled out) or 0 (open): False could be either")
        if labels is not None and are_values(labels):
            wrong = labels[(labels != 0) & (labels.abs() != 1)]  # NaN is unequal to all
            if wrong.numel():
                raise ValueError(f"known_labels are 1 (confirmed), -1 (ruled out) or 0 (open), got {wrong[0].item()}")
            if ruled is not None:
                ruled.check(labels)
        if labels is not None and ruled is not None:
            labels = ruled.close(labels)
        if labels is not None and config.has_path_decoder and config.known_labels == "prefix":
            logger.warning_once(NOT_TRAINED_WITH_KNOWN_LABELS)
        if labels is not None and not (config.has_path_decoder or config.cooccurrence or config.neighbours):
            logger.warning_once(KNOWN_LABELS_CHANGE_NOTHING)
        return cls(labels, enters=config.known_labels == "state", rules=ruled)

    @property
    def entering(self) -> Tensor | None:
        """What a search takes in beside the image (B, C)."""
        return self.labels if self.enters else None

    def limit(self, limits: Constraints, order: Callable[[Tensor], Tensor]) -> Constraints:
        """The limits of a search over what is open.

        Args:
            limits: Those of a search without knowledge.
            order: Gives the paths (B, T + 1) of multi-hot labels (B, C).

        Raises:
            ValueError: More labels are confirmed than a path can hold.
        """
        if self.rules is not None:
            limits = replace(limits, rules=self.rules)
        if self.labels is None:
            return limits
        taken, longest = (self.labels > 0).sum(dim=-1), limits.max_path_length
        if not torch.compiler.is_compiling():
            check_confirmed(int(taken.max()), longest)
        if self.enters:
            return replace(limits, allowed=self.labels == 0, taken=taken, held=self.labels > 0)
        return replace(limits, allowed=self.labels >= 0, prefix=order(self.labels)[:, :-1])

    def begin(self, result: BeamSearchResult, ranks: Tensor) -> BeamSearchResult:
        """A search's result with what is confirmed on every path, in the order of ranks (C,)."""
        if self.labels is None or not self.enters:
            return result
        confirmed = labels_to_paths(self.labels, ranks, result.paths.shape[-1])
        return begin_with(result, confirmed, self.labels)

    def barred(self, walked: Tensor) -> Tensor:
        """Which labels (B, T, C) no rule lets come next, after those walked (B, T, C) and what is confirmed."""
        if self.rules is None:
            return torch.zeros_like(walked)
        return self.rules.barred(walked if self.labels is None else walked | (self.labels > 0)[:, None])

    def obey(self, logits: Tensor | None, labels: Tensor | None = None) -> Tensor | None:
        """Label logits (B, C) that obey the rules; with targets (B, C), as these are judged by."""
        return logits if logits is None or self.rules is None else self.rules.constrain(logits, labels)

    def settle(self, logits: Tensor) -> Tensor:
        """Label logits (B, C) that agree with what is known: certain there, as they were where labels are open."""
        if self.labels is None:
            return logits
        return torch.where(self.labels != 0, LARGEST_LOGIT * self.labels.sign().to(logits), logits)

    def open(self, labels: Tensor | None) -> Tensor | None:
        """Multi-hot labels (B, C) of which the loss is: those that are open, with all that the rules decide."""
        if labels is not None and self.rules is not None:
            labels = self.rules.targets(labels)
        return labels if labels is None or self.labels is None else open_labels(labels, self.labels)


class KnownLabelState(nn.Module):
    """The recurrent state that a walk starts from: zeros where nothing is known, whatever the order of confirmation.

    Args:
        embedding_size: E, of the labels.
        hidden_size: H, of the recurrent layer.
    """

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.confirmed = nn.Linear(embedding_size, hidden_size, bias=False)
        self.ruled_out = nn.Linear(embedding_size, hidden_size, bias=False)

    def forward(self, known: Tensor, embeddings: Tensor) -> Tensor:
        """State (B, H) from what is known (B, C) and the label embeddings (C, E)."""
        confirmed = (known > 0).to(embeddings.dtype) @ embeddings
        ruled_out = (known < 0).to(embeddings.dtype) @ embeddings
        return torch.tanh(self.confirmed(confirmed) + self.ruled_out(ruled_out))


def begin_with(result: BeamSearchResult, confirmed: Tensor, known: Tensor) -> BeamSearchResult:
    """The result of a walk over the open labels, with what was known before it: it is on every path, and certain.

    Args:
        result: Paths (B, K, T) that hold none of the known labels.
        confirmed: The confirmed labels (B, T + 1) in walking order, END-padded.
        known: What is known (B, C).
    """
    end = known.shape[-1]
    lengths = (confirmed < end).sum(dim=-1)[:, None, None]
    shape = result.step_scores.shape
    steps = torch.arange(shape[-1], device=known.device).expand(shape)
    # The walk's own steps move back by as many as are confirmed, and what then lies beyond the end is cut off.
    before, places = steps < lengths, (steps - lengths).clamp(min=0)
    paths = torch.nn.functional.pad(result.paths, (0, 1), value=end).gather(-1, places)
    exists = result.path_scores > -torch.inf
    paths = torch.where(before & exists[..., None], confirmed[:, None].expand(shape), paths)[..., :-1]
    # The walk never asked for what is known, so its own scores of that mean nothing.
    scores = torch.where(known > 0, 1.0, torch.where(known < 0, 0.0, result.label_scores))
    step_scores = torch.where(before, 0.0, result.step_scores.gather(-1, places))
    return BeamSearchResult(paths, result.path_scores, step_scores, scores)


def open_labels(labels: Tensor, known: Tensor) -> Tensor:
    """Multi-hot labels (B, C) with what is known left out: neither path nor loss asks for it again."""
    return torch.where(known != 0, LEFT_OUT, labels.float())


def sample_known(labels: Tensor) -> Tensor:
    """What is known (B, C) in a step of training of images with these multi-hot labels (B, C).

    Of one half of the images nothing is known. (Seeing every image twice, with and without, was no better on held-out
    parts of Corel5k, and twice the work.) The others have a random share of their labels confirmed. Ruled out is what
    a model might well have suggested: labels of up to eight other images of the batch that this one lacks. What is left
    out of the labels stays open.
    """
    batch = len(labels)
    # (B, 1): whether anything is told of an image, and how much of it.
    told = torch.rand(batch, 1, device=labels.device) < SHARE_TOLD
    share = torch.rand(batch, 1, device=labels.device)
    confirmed = (labels > 0) & (torch.rand(labels.shape, device=labels.device) < share)
    # What other images show is a likely mistake here: more to learn from than from labels that nobody would suggest.
    others = torch.randint(batch, (batch, MOST_OTHERS), device=labels.device)
    asked = torch.arange(MOST_OTHERS, device=labels.device) < torch.randint(
        MOST_OTHERS + 1, (batch, 1), device=labels.device
    )
    suggested = ((labels > 0)[others] & asked[..., None]).any(dim=1)
    return (confirmed.long() - (suggested & (labels == 0)).long()) * told


def sample_known_share(labels: Tensor, most: float) -> Tensor:
    """What is known (B, C) of images with these multi-hot labels (B, C): a random share, present and absent alike.

    The share of each image is drawn between 0 and `most` (C-Tran, Lanchantin et al., CVPR 2021, has at most 0.75). What
    is left out of the labels stays open.
    """
    share = most * torch.rand(len(labels), 1, device=labels.device)
    told = (torch.rand(labels.shape, device=labels.device) < share) & (labels >= 0)
    return torch.where(labels > 0, 1, -1) * told
