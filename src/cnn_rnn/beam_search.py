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
from torch.nn import functional

from .ruled_tensors import RuledTensors

State = tuple[Tensor, ...]
"""What a step function remembers of each walk: tensors (B, K, ...)."""

StepFunction = Callable[[Tensor, State], tuple[Tensor, State]]
"""Takes the labels (B, W) walked last and the state; returns logits (B, W, C + 1) of the next and the new state.

W is 1 at the first step, where all walks of an image are one, and K from then on.
"""


EXITS = (2, 3, 4, 5, 6, 8, 11, 15)  # steps after which an exported search may end: each makes the graph larger


class BeamSearchResult(NamedTuple):
    """The K most probable paths found for each image, best first, and what the search says of every label.

    Attributes:
        paths: Label ids (B, K, T), END-padded.
        path_scores: Natural log probability (B, K) of each path; -inf where fewer than K paths exist.
        step_scores: Natural log probability (B, K, T + 1) of each step, END included; 0 after it.
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
        held: Which these are (B, C), as bool; rules count them as walked.
        rules: Rules between labels: no walk leaves what they allow; None for none.
    """

    num_labels: int
    max_path_length: int
    min_path_length: int = 0
    allowed: Tensor | None = None
    prefix: Tensor | None = None
    taken: Tensor | None = None
    held: Tensor | None = None
    rules: RuledTensors | None = None

    def barred(self, step: int, walked: Tensor) -> Tensor:
        """Whether each label and END (B, K, C + 1) may not come at this step after the `walked` ones (B, K, C + 1)."""
        within = self.min_path_length <= step < self.max_path_length
        if within and self.allowed is None and self.prefix is None and self.taken is None:
            if self.rules is None:
                return walked  # nothing else is barred, and END never is
            return walked | functional.pad(self.rules.barred(walked[..., :-1]), (0, 1))
        return ~self.choices(step, walked[..., :-1])

    def choices(self, step: int, walked: Tensor) -> Tensor:
        """Whether each label and END (B, K, C + 1) may come at this step after the `walked` labels (B, K, C)."""
        labels = ~walked if self.allowed is None else ~walked & self.allowed[:, None]
        if self.rules is not None:
            labels = labels & ~self.rules.barred(walked if self.held is None else walked | self.held[:, None])
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


class _Step(NamedTuple):
    """One step of the search: what each of W open walks could do next, and which of that the beam kept."""

    walked: Tensor  # (B, W, C + 1) labels on each open walk; END is on none
    probabilities: Tensor  # (B, W, C + 1) of the next label or END
    end_scores: Tensor  # (B, W) log probability of END
    kept: Tensor  # (B, K) True where such an extension exists
    flat: Tensor  # (B, K) place of each kept extension among the W * (C + 1)
    parents: Tensor  # (B, K) walk that it extends
    labels: Tensor  # (B, K) label that it adds
    label_scores: Tensor  # (B, K) log probability of that label


def beam_search(
    step_function: StepFunction, state: State, start: Tensor, constraints: Constraints, beam_width: int
) -> BeamSearchResult:
    """The most probable label paths of each image.

    As in the paper, the N most probable open paths are extended, the N best extensions go on, those that end join the
    candidates, and an image is finished when no open path is more probable than its N candidates. Whether an image is
    finished is decided for it alone, so its result does not depend on the rest of the batch.

    Args:
        step_function: Logits of the next label. A walk that nothing more can come of is fed `start` again.
        state: What it remembers before the first step, (B, K, ...) with the same value in all K walks, or (B, 1, ...).
        start: Id (B,) fed at the first step.
        constraints: What every walk must obey.
        beam_width: K; with 1 the search is greedy.

    Raises:
        ValueError: There are no images, `min_path_length` exceeds `max_path_length`, or a width or length is not
            positive.
    """
    longest = constraints.max_path_length
    if not torch.compiler.is_compiling() and not len(start):
        raise ValueError("a batch of no images has no paths: give at least one")
    if beam_width < 1 or longest < 1:
        raise ValueError(f"beam_width and max_path_length must be at least 1, got {beam_width} and {longest}")
    if constraints.min_path_length > longest:
        raise ValueError(f"min_path_length {constraints.min_path_length} exceeds max_path_length {longest}")
    # A `len` of a tensor would fix the batch of an exported model, its shape does not.
    batch, width, end = start.shape[0], beam_width, constraints.num_labels

    # All walks of an image are one and the same before the first step, so it is made for one of them.
    state = tuple(tensor[:, :1] for tensor in state)
    labels = start[:, None]
    scores = torch.zeros(batch, 1, device=start.device)
    walked = torch.zeros(batch, 1, end + 1, dtype=torch.bool, device=start.device)
    best_scores = torch.full((batch, width), -torch.inf, device=start.device)
    best_ends = torch.zeros(batch, width, dtype=torch.long, device=start.device)  # step * K + walk that ended there
    history: list[_Step] = []
    early: list[tuple[Tensor, BeamSearchResult]] = []

    for step in range(longest + 1):
        logits, state = step_function(labels, state)
        barred = constraints.barred(step, walked)
        log_probabilities = logits.float().masked_fill(barred, -torch.inf).log_softmax(dim=-1)
        probabilities = log_probabilities.exp()  # by these alone a gradient reaches the label scores
        log_probabilities = log_probabilities.detach()
        totals = (scores[..., None] + log_probabilities).flatten(1)  # (B, W * (C + 1))
        # 2K extensions are enough to find K that go on, since each walk can end in one way only.
        totals, flat = _best(totals, 2 * width)
        ends = flat % (end + 1) == end

        # Candidates are the paths that have ended; an end that is not among the K best extensions can be none of them.
        ended = totals[:, :width].masked_fill(~ends[:, :width], -torch.inf)
        best_scores, rank = torch.cat([best_scores, ended], dim=1).topk(width, dim=-1)
        own_ends = flat[:, :width] // (end + 1) + step * width
        best_ends = torch.cat([best_ends, own_ends], dim=1).gather(1, rank)

        scores, rank = totals.masked_fill_(ends, -torch.inf).topk(width, dim=-1)
        # Probabilities only fall on the way: an open path below the worst candidate never becomes one.
        finished = best_scores[:, -1:] >= scores[:, :1]
        scores = scores.masked_fill(finished, -torch.inf)
        kept, flat = scores > -torch.inf, flat.gather(1, rank)
        parents, labels = flat // (end + 1), flat % (end + 1)
        chosen = log_probabilities.flatten(1).gather(1, flat)
        history.append(_Step(walked, probabilities, log_probabilities[..., end], kept, flat, parents, labels, chosen))
        if step == longest or (not torch.compiler.is_compiling() and not kept.any()):
            break
        if step in EXITS and torch.compiler.is_exporting():
            early.append((~kept.any(), _finish(history, best_ends, best_scores, constraints)))

        state = tuple(_pick(tensor, parents) for tensor in state)
        walked = _pick(walked, parents).scatter(2, labels[..., None], kept[..., None])
        labels = torch.where(kept, labels, start[:, None])

    result = _finish(history, best_ends, best_scores, constraints)
    # An exported search cannot break. It chooses between what it has, and a graph may leave undone what is not chosen.
    for ended, so_far in reversed(early):
        result = BeamSearchResult(*(torch.where(ended, *pair) for pair in zip(so_far, result, strict=True)))
    return result


def _best(totals: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The `number` greatest (B, number) of totals (B, N) and their places, -inf at place 0 where there are fewer."""
    there = min(number, totals.shape[1])
    best, flat = totals.topk(there, dim=-1)
    missing = (0, number - there)
    return functional.pad(best, missing, value=-torch.inf), functional.pad(flat, missing)


def _finish(history: list[_Step], best_ends: Tensor, best_scores: Tensor, constraints: Constraints) -> BeamSearchResult:
    """What the steps so far have found."""
    exists = best_scores > -torch.inf
    paths, step_scores = _trace_back(history, best_ends, exists, constraints.max_path_length)
    return BeamSearchResult(paths, best_scores, step_scores, score_labels(history, constraints.rules))


def _trace_back(history: list[_Step], ends: Tensor, exists: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Paths (B, K, T) and their step scores (B, K, T + 1), from where they ended (B, K) back to the start."""
    batch, width = ends.shape
    end = history[0].walked.shape[-1] - 1
    last, walk = ends // width, ends % width
    paths = torch.full((batch, width, longest), end, device=ends.device)
    scores = torch.zeros(batch, width, longest + 1, device=ends.device)
    for step in reversed(range(len(history))):
        made = history[step]
        beyond, here = exists & (last > step), exists & (last == step)  # the path goes on, or ends, at this step
        back = torch.where(beyond, walk, 0)  # any place will do where nothing is to be read
        if step < longest:
            paths[..., step] = torch.where(beyond, made.labels.gather(1, back), end)
        at_end = torch.where(here, walk, 0)
        scored = torch.where(beyond, made.label_scores.gather(1, back), made.end_scores.gather(1, at_end))
        scores[..., step] = torch.where(beyond | here, scored, 0.0)
        walk = torch.where(beyond, made.parents.gather(1, back), walk)
    return paths, scores


def score_labels(history: list[_Step], rules: RuledTensors | None = None) -> Tensor:
    """Probability (B, C) that a path holds each label, from every walk that the beam ever opened.

    The walks of a beam form a tree. A walk that ends is known exactly; a kept extension is looked into; of an extension
    that was not kept only its own label is known, and the rest is assumed to be as among the kept ones. With V the
    score below a walk, V' its mean over the end and the kept extensions, and p the probability of a label not kept,

        V = V' + p (1 - V')

    for every label, from the last step back to the first. If the beam keeps everything, this is the exact probability.

    Under rules a label that was not kept, with probability x in all, may exclude the one in question, of which nothing
    is then left to assume: V = V' (1 - p - x) + p. So no label is more probable than what it implies, as a walk comes
    to that first, and exclusive ones never exceed one in sum.

    Args:
        history: The steps of the search.
        rules: Rules between labels that the walks obeyed.
    """
    below: Tensor | None = None  # (B, K, C + 1); nothing was kept at the last step
    for walked, probabilities, _, kept, flat, parents, *_ in reversed(history):
        every = probabilities.flatten(1)
        chosen = torch.where(kept, every.gather(1, flat), 0.0)
        # links (B, W, K): probability with which a walk (row) goes on as each of the kept extensions (column).
        # A matrix, as several of the kept extensions may go on from one walk.
        links = chosen.new_zeros(kept.shape[0], walked.shape[1], kept.shape[1])
        links = links.scatter(1, parents[:, None], chosen[:, None])
        ended = probabilities[..., -1:]
        known = links.sum(-1, keepdim=True) + ended
        # Where nothing is known, the labels walked so far are; the gradient of what `where` leaves out must be finite.
        nothing = known <= 0
        mean = torch.where(nothing, 1.0, ended) * walked
        if below is not None:
            mean = mean + links @ below
        mean = (mean / torch.where(nothing, 1.0, known)).clamp(max=1.0)  # divided last, so that certain stays certain
        # p is what the beam did not keep: the kept extensions are in V' already.
        others = every.scatter_add(1, flat, -chosen).view_as(probabilities)
        if rules is None:
            below = torch.addcmul(mean, others, 1 - mean)
        else:
            excluding = functional.pad(rules.mass_of_excluding(others[..., :-1]), (0, 1))
            below = mean * (1 - others - excluding).clamp(min=0) + others
    assert below is not None
    return below[:, 0, :-1]


def _pick(tensor: Tensor, index: Tensor) -> Tensor:
    """(B, N, ...) -> (B, M, ...): the entries of the second dimension that `index` (B, M) names."""
    shaped = index.reshape(index.shape + (1,) * (tensor.dim() - 2))
    return tensor.gather(1, shaped.expand(index.shape + tensor.shape[2:]))
