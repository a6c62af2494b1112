"""Beam search over any step function, and label scores from the whole beam (section 3.4 of the paper).

A step function tells how likely each next label is; this file knows nothing else of the model. B images, K walks each,
T labels at most, C labels and END = C, which closes a path. Every image and every walk is handled in one tensor.

What a walk may not do (walk a label twice, end too early, leave a given prefix) is masked before the softmax, so each
step is a proper distribution over what is allowed, and a path's score is the logarithm of its probability under it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""What a step function remembers of each walk: tensors (B, K, ...)."""

StepFunction = Callable[[Tensor, State], tuple[Tensor, State]]
"""Takes the labels (B, K) walked last and the state; returns logits (B, K, C + 1) of the next and the new state."""


class BeamSearchResult(NamedTuple):
    """The K most probable paths found for each image, best first, and what the search says of every label.

    Attributes:
        paths: Label ids (B, K, T), END-padded.
        path_scores: Natural log probability (B, K) of each path; -inf where fewer than K paths exist.
        step_scores: Natural log probability (B, K, T + 1) of each step, END included; 0 behind it.
        label_scores: Probability (B, C) that a path holds the label, see `score_labels`.
    """

    paths: Tensor
    path_scores: Tensor
    step_scores: Tensor
    label_scores: Tensor


@dataclass
class Constraints:
    """What every walk must obey.

    Attributes:
        num_labels: C.
        min_path_length: Labels that a path must hold before it may end, while any label is left.
        max_path_length: Labels after which it must end.
        allowed: Labels (B, C) as bool that may be walked at all; None allows all.
        prefix: END-padded labels (B, P) that every walk begins with, whether `allowed` or not.
        taken: Labels (B,) that an image holds before the walk, which count towards both lengths; None for none.
    """

    num_labels: int
    max_path_length: int
    min_path_length: int = 0
    allowed: Tensor | None = None
    prefix: Tensor | None = None
    taken: Tensor | None = None

    def choices(self, step: int, walked: Tensor) -> Tensor:
        """Whether each label and END (B, K, C + 1) may come at this step behind the `walked` labels (B, K, C)."""
        labels = ~walked if self.allowed is None else ~walked & self.allowed[:, None]
        if step >= self.max_path_length:
            labels = torch.zeros_like(labels)
        if self.taken is not None:
            labels = labels & (self.taken + step < self.max_path_length)[:, None, None]
        may_end = ~labels.any(dim=-1, keepdim=True)
        if step >= self.min_path_length:
            may_end = torch.ones_like(may_end)
        elif self.taken is not None:
            may_end = may_end | (self.taken + step >= self.min_path_length)[:, None, None]
        choices = torch.cat([labels, may_end], dim=-1)
        if self.prefix is None or step >= self.prefix.shape[1]:
            return choices
        given = self.prefix[:, step]
        forced = torch.nn.functional.one_hot(given, self.num_labels + 1).bool()
        return torch.where((given < self.num_labels)[:, None, None], forced[:, None], choices)


class _Expansion(NamedTuple):
    """One step of the search: what each open walk could do next, and which of that the beam kept."""

    walked: Tensor  # (B, K, C) labels on each open walk
    probabilities: Tensor  # (B, K, C + 1) of the next label or END
    parents: Tensor  # (B, K) walk that each kept extension extends
    labels: Tensor  # (B, K) label that it adds
    kept: Tensor  # (B, K) False where no such extension exists


def beam_search(
    step_function: StepFunction, state: State, start: Tensor, constraints: Constraints, beam_width: int
) -> BeamSearchResult:
    """The most probable label paths of each image.

    As in the paper, the N most probable open paths are extended, the N best extensions go on, those that end join the
    candidates, and an image is finished when no open path is more probable than its N candidates. Whether an image is
    finished is decided for it alone, so its result does not depend on the rest of the batch.

    Args:
        step_function: Logits of the next label.
        state: What it remembers before the first step, (B, K, ...) with the same value in all K walks.
        start: Id (B,) fed at the first step.
        constraints: What every walk must obey.
        beam_width: K; with 1 the search is greedy.

    Raises:
        ValueError: `min_path_length` exceeds `max_path_length`, or a width or length is not positive.
    """
    longest = constraints.max_path_length
    if beam_width < 1 or longest < 1:
        raise ValueError(f"beam_width and max_path_length must be at least 1, got {beam_width} and {longest}")
    if constraints.min_path_length > longest:
        raise ValueError(f"min_path_length {constraints.min_path_length} exceeds max_path_length {longest}")
    # A `len` of a tensor would fix the batch of an exported model, its shape does not.
    batch, width, end = start.shape[0], beam_width, constraints.num_labels

    # All K walks of an image are one and the same before the first step: only the first of them counts.
    scores = torch.full((batch, width), -torch.inf, device=start.device)
    scores[:, 0] = 0.0
    labels = start[:, None].expand(batch, width)
    paths = torch.full((batch, width, longest), end, device=start.device)
    steps = torch.zeros(batch, width, longest + 1, device=start.device)
    walked = torch.zeros(batch, width, end, dtype=torch.bool, device=start.device)
    best_scores, best_paths, best_steps = torch.full_like(scores, -torch.inf), paths, steps
    history: list[_Expansion] = []

    for step in range(longest + 1):
        logits, state = step_function(labels, state)
        choices = constraints.choices(step, walked)
        log_probabilities = logits.float().masked_fill(~choices, -torch.inf).log_softmax(dim=-1)
        probabilities = log_probabilities.exp()  # by these alone a gradient reaches the label scores
        log_probabilities = log_probabilities.detach()
        totals = (scores[..., None] + log_probabilities).flatten(1)  # (B, K * (C + 1))
        # 2K extensions are enough to find K that go on, since each walk can end in one way only.
        totals, flat = totals.topk(2 * width, dim=-1)
        parents, labels = flat // (end + 1), flat % (end + 1)
        ends = labels == end

        extended_steps = _pick(steps, parents)
        extended_steps[..., step] = _pick(log_probabilities.flatten(1), flat)
        ended = totals[:, :width].masked_fill(~ends[:, :width], -torch.inf)
        best_scores, rank = torch.cat([best_scores, ended], dim=1).topk(width, dim=-1)
        best_paths = _pick(torch.cat([best_paths, _pick(paths, parents[:, :width])], dim=1), rank)
        best_steps = _pick(torch.cat([best_steps, extended_steps[:, :width]], dim=1), rank)

        scores, rank = totals.masked_fill(ends, -torch.inf).topk(width, dim=-1)
        finished = best_scores[:, -1] >= scores[:, 0]
        scores = scores.masked_fill(finished[:, None], -torch.inf)
        parents, labels = _pick(parents, rank), _pick(labels, rank)
        history.append(_Expansion(walked, probabilities, parents, labels, scores > -torch.inf))
        if step == longest or (not torch.compiler.is_compiling() and bool(finished.all())):
            break

        state = tuple(_pick(tensor, parents) for tensor in state)
        steps = _pick(extended_steps, rank)
        paths = _pick(paths, parents)
        paths[..., step] = labels
        walked = _pick(walked, parents) | torch.nn.functional.one_hot(labels, end + 1)[..., :end].bool()

    exists = (best_scores > -torch.inf)[..., None]
    return BeamSearchResult(
        paths=best_paths.masked_fill(~exists, end),
        path_scores=best_scores,
        step_scores=best_steps.masked_fill(~exists, 0.0),
        label_scores=score_labels(history),
    )


def score_labels(history: list[_Expansion]) -> Tensor:
    """Probability (B, C) that a path holds each label, from every walk that the beam ever opened.

    The walks of a beam form a tree. A walk that ends is known exactly; a kept extension is looked into; of an extension
    that was not kept only its own label is known, and the rest is assumed to be as among the kept ones. With V the
    score below a walk, V' its mean over the end and the kept extensions, and p the probability of a label not kept,

        V = V' + p (1 - V')

    for every label, from the last step back to the first. If the beam keeps everything, this is the exact probability.
    """
    below = torch.zeros_like(history[-1].walked, dtype=torch.float)  # (B, K, C); nothing was kept at the last step
    for walked, probabilities, parents, labels, kept in reversed(history):
        end = walked.shape[-1]
        # links (B, K, K): probability with which a walk (row) goes on as each of the kept extensions (column).
        children = torch.nn.functional.one_hot(parents, walked.shape[1]).mT.bool() & kept[:, None]
        chosen = probabilities.gather(-1, labels[:, None].expand_as(children))
        links = torch.where(children, chosen, 0.0)
        ended = probabilities[..., end:]
        known = links.sum(-1, keepdim=True) + ended
        # Divided by 1 where nothing is known: the gradient of what `where` leaves out must be finite too.
        mean = (links @ below + ended * walked) / torch.where(known > 0, known, 1.0)
        mean = torch.where(known > 0, mean, walked.float()).clamp(max=1.0)
        looked_into = torch.zeros_like(probabilities).scatter_add(
            -1, labels[:, None].expand_as(children), children.float()
        )
        others = torch.where(looked_into > 0, 0.0, probabilities)[..., :end]
        below = mean + others * (1 - mean)
    return below[:, 0]


def _pick(tensor: Tensor, index: Tensor) -> Tensor:
    """(B, N, ...) -> (B, M, ...): the entries of the second dimension that `index` (B, M) names."""
    shaped = index.reshape(index.shape + (1,) * (tensor.dim() - 2))
    return tensor.gather(1, shaped.expand(index.shape + tensor.shape[2:]))
