"""Beam search over any step function, and label scores from the whole beam (section 3.4 of the paper).

A step function tells how likely each next label is; this file knows nothing else of the model. B images, K walks each,
T labels at most, C labels and END = C, which closes a path. Every image and every walk is handled in one tensor.

What a walk may not do (walk a label twice, end too early, leave a given prefix) is masked before the softmax, so each
step is a proper distribution over what is allowed, and a path's score is the logarithm of its probability under it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .ruled_tensors import RuledTensors

SearchState = tuple[Tensor, ...]
"""What a step function remembers of each walk: tensors (B, K, ...)."""

StepFunction = Callable[[Tensor, SearchState], tuple[Tensor, SearchState]]
"""Takes the labels (B, W) walked last and the state; returns logits (B, W, C + 1) of the next and the new state.

W is 1 at the first step, where all walks of an image are one, and K from then on.
"""


class BeamSearchResult(NamedTuple):
    """The K most probable paths found for each image, best first, and what the search says of every label.

    Attributes:
        paths: Label ids (B, K, T), END-padded.
        path_scores: Natural log probability (B, K) of each path; -inf where fewer than K paths exist.
        step_scores: Natural log probability (B, K, T + 1) of each step, END included; 0 after it.
        label_scores: Probability (B, C) that a path holds the label, see `_share`.
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

    def of(self, images: Tensor) -> "Constraints":
        """The same for rows (N,) of the images, in any order and number."""
        parts = {name: getattr(self, name) for name in ("allowed", "prefix", "taken", "held")}
        return replace(self, **{name: value[images] for name, value in parts.items() if value is not None})

    def barred(self, step: int | Tensor, walked: Tensor) -> Tensor:
        """Whether each label and END (B, K, C + 1) may not come at this step after the `walked` ones (B, K, C + 1)."""
        within = isinstance(step, int) and self.min_path_length <= step < self.max_path_length
        if within and self.allowed is None and self.prefix is None and self.taken is None:
            if self.rules is None:
                return walked  # nothing else is barred, and END never is
            return walked | F.pad(self.rules.barred(walked[..., :-1]), (0, 1))
        return ~self.choices(step, walked[..., :-1])

    def choices(self, step: int | Tensor, walked: Tensor) -> Tensor:
        """Whether each label and END (B, K, C + 1) may come at this step after the `walked` labels (B, K, C)."""
        labels = ~walked if self.allowed is None else ~walked & self.allowed[:, None]
        if self.rules is not None:
            labels = labels & ~self.rules.barred(walked if self.held is None else walked | self.held[:, None])
        made = torch.as_tensor(step, device=walked.device) if self.taken is None else (self.taken + step)[:, None, None]
        labels = labels & (made < self.max_path_length)
        # Where no label is left END alone remains, however short the path: a softmax over nothing would be NaN.
        may_end = ~labels.any(dim=-1, keepdim=True) | (made >= self.min_path_length)
        choices = torch.cat([labels, may_end], dim=-1)
        if self.prefix is None or step >= self.prefix.shape[1]:
            return choices
        given = self.prefix[:, step]
        forced = F.one_hot(given, self.num_labels + 1).bool()
        # END only pads a prefix: from there on the walk is free.
        return torch.where((given < self.num_labels)[:, None, None], forced[:, None], choices)


class _Walks(NamedTuple):
    """What goes from one step of the search to the next: W open walks of each image, and what was found so far."""

    step: int | Tensor  # made so far
    labels: Tensor  # (B, W) walked last; `start` again where nothing more can come of a walk
    scores: Tensor  # (B, W) log probability, -inf where nothing more can come of it
    walked: Tensor  # (B, W, C + 1) labels on it; END is on none
    paths: Tensor  # (B, W, T) its labels in order, END-padded
    step_scores: Tensor  # (B, W, T + 1) log probability of each of its steps
    shares: Tensor  # (B, W, C + 1) how far each label's score hangs on what comes of this walk
    label_scores: Tensor  # (B, C + 1) what is certain of each label's score by now
    best_scores: Tensor  # (B, K) log probability of the best paths that ended
    best_paths: Tensor  # (B, K, T)
    best_step_scores: Tensor  # (B, K, T + 1)

    def go_on(self) -> Tensor:
        """Whether any walk does."""
        return (self.scores > -torch.inf).any()


def beam_search(
    step_function: StepFunction, state: SearchState, start: Tensor, constraints: Constraints, beam_width: int
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
        ValueError: There are no images, `min_path_length` exceeds `max_path_length` or is negative, or a width or
            length is not positive.
    """
    longest = constraints.max_path_length
    if not torch.compiler.is_compiling() and not len(start):
        raise ValueError("a batch of no images has no paths: give at least one")
    if beam_width < 1 or longest < 1:
        raise ValueError(f"beam_width and max_path_length must be at least 1, got {beam_width} and {longest}")
    if constraints.min_path_length < 0:
        raise ValueError(f"min_path_length must be at least 0, got {constraints.min_path_length}")
    if constraints.min_path_length > longest:
        raise ValueError(f"min_path_length {constraints.min_path_length} exceeds max_path_length {longest}")

    def advance(walks: _Walks, state: SearchState) -> tuple[_Walks, SearchState]:
        logits, state = step_function(walks.labels, state)
        walks, parents = _extend(walks, logits, start, constraints)
        return walks, tuple(_pick(tensor, parents) for tensor in state)

    if torch.compiler.is_exporting():  # a graph has no other way to leave a loop, and in it nothing changes its shape
        walks = _begin(start, constraints, beam_width, beam_width)
        state = tuple(tensor.expand(-1, beam_width, *tensor.shape[2:]).clone() for tensor in state)
        walks, _ = torch.while_loop(lambda walks, _: walks.go_on(), advance, (walks, state))
    else:
        # All walks of an image are one and the same before the first step, so it is made for one of them.
        walks, state = _begin(start, constraints, 1, beam_width), tuple(tensor[:, :1] for tensor in state)
        # END is a step as well: one more than there may be labels.
        for step in range(longest + 1):
            walks, state = advance(walks._replace(step=step), state)
            if not torch.compiler.is_compiling() and not walks.go_on():  # a look at values would break a compiled graph
                break

    # A place without a path holds whatever stood beside the score of -inf.
    exists = (walks.best_scores > -torch.inf)[..., None]
    return BeamSearchResult(
        torch.where(exists, walks.best_paths, constraints.num_labels),
        walks.best_scores,
        torch.where(exists, walks.best_step_scores, 0.0),
        walks.label_scores[:, :-1].clamp(max=1.0),  # a sum of probabilities rounds to a little more
    )


def _begin(start: Tensor, constraints: Constraints, walks: int, width: int) -> _Walks:
    """So many walks of each image, of which one is open, and no path that ended."""
    # A `len` of a tensor would fix the batch of an exported model, its shape does not.
    batch, longest, ids = start.shape[0], constraints.max_path_length, constraints.num_labels + 1
    # All hangs on the first walk; the logarithm of that leaves the others closed from the start.
    shares = F.one_hot(start.new_zeros(batch), walks).float()
    labels = start[:, None].expand(-1, walks).clone()
    return _Walks(
        step=start.new_zeros(()),
        labels=labels,
        scores=shares.log(),
        walked=labels.new_zeros(batch, walks, ids, dtype=torch.bool),
        paths=labels.new_full((batch, walks, longest), ids - 1),
        step_scores=shares.new_zeros(batch, walks, longest + 1),
        shares=shares[..., None].expand(-1, -1, ids).clone(),
        label_scores=shares.new_zeros(batch, ids),
        best_scores=shares.new_full((batch, width), -torch.inf),
        best_paths=labels.new_full((batch, width, longest), ids - 1),
        best_step_scores=shares.new_zeros(batch, width, longest + 1),
    )


def _extend(walks: _Walks, logits: Tensor, start: Tensor, constraints: Constraints) -> tuple[_Walks, Tensor]:
    """The walks after one more step, K of each image, and which (B, K) of the walks before each comes of.

    Args:
        walks: Those before.
        logits: Of the next label or END (B, W, C + 1).
        start: Id (B,) that a walk is fed of which nothing more can come.
        constraints: What every walk must obey.
    """
    step, width, ids = walks.step, walks.best_scores.shape[1], logits.shape[-1]
    barred = constraints.barred(step, walks.walked)
    log_probabilities = logits.float().masked_fill(barred, -torch.inf).log_softmax(dim=-1)
    probabilities = log_probabilities.exp()  # by these alone a gradient reaches the label scores
    log_probabilities = log_probabilities.detach()
    totals = (walks.scores[..., None] + log_probabilities).flatten(1)  # (B, W * (C + 1))
    # 2K extensions are enough to find K that go on, since each walk can end in one way only.
    totals, flat = _best(totals, 2 * width)
    parents, labels = flat // ids, flat % ids  # (B, 2K) each
    ends = labels == ids - 1

    def at_step(tensor: Tensor, values: Tensor) -> Tensor:
        """What the walks (B, W, T) hold, handed on to their extensions, with these values (B, 2K) of this step."""
        here = torch.arange(tensor.shape[-1], device=tensor.device) == step
        return torch.where(here, values[..., None], _pick(tensor, parents))

    paths = at_step(walks.paths, labels)
    step_scores = at_step(walks.step_scores, log_probabilities.flatten(1).gather(1, flat))

    # Candidates are the paths that have ended; an end that is not among the K best extensions can be none of them.
    ended = totals[:, :width].masked_fill(~ends[:, :width], -torch.inf)
    best_scores, rank = torch.cat([walks.best_scores, ended], dim=1).topk(width, dim=-1)
    best_paths = _pick(torch.cat([walks.best_paths, paths[:, :width]], dim=1), rank)
    best_step_scores = _pick(torch.cat([walks.best_step_scores, step_scores[:, :width]], dim=1), rank)

    scores, rank = totals.masked_fill(ends, -torch.inf).topk(width, dim=-1)
    # Probabilities only fall on the way: an open path below the worst candidate never becomes one.
    finished = best_scores[:, -1:] >= scores[:, :1]
    scores = scores.masked_fill(finished, -torch.inf)
    kept = scores > -torch.inf
    flat, parents, labels = flat.gather(1, rank), parents.gather(1, rank), labels.gather(1, rank)
    shares, said = _share(walks, probabilities, kept, flat, rules=constraints.rules)
    return _Walks(
        step=step + 1,
        labels=torch.where(kept, labels, start[:, None]),
        scores=scores,
        walked=_pick(walks.walked, parents).scatter(2, labels[..., None], kept[..., None]),
        paths=_pick(paths, rank),
        step_scores=_pick(step_scores, rank),
        shares=shares,
        label_scores=walks.label_scores + said,
        best_scores=best_scores,
        best_paths=best_paths,
        best_step_scores=best_step_scores,
    ), parents


def _share(
    walks: _Walks, probabilities: Tensor, kept: Tensor, flat: Tensor, *, rules: RuledTensors | None
) -> tuple[Tensor, Tensor]:
    """How far label scores hang on each of the K kept walks (B, K, C + 1), and what this step says of them (B, C + 1).

    A label's score is the probability that a path holds it, from every walk that the beam ever opened. These form a
    tree. A walk that ends is known exactly; a kept extension is looked into; of an extension that was not kept only its
    own label is known, and the rest is assumed to be as among the kept ones. With V the score below a walk, V' its mean
    over the end and the kept extensions, and p the probability of a label not kept,

        V = V' + p (1 - V')

    for every label. If the beam keeps everything, this is the exact probability. V grows with V' in a straight line, so
    from the first step on it is known by how much each walk will count.

    Under rules a label that was not kept, with probability x in all, may exclude the one in question, of which nothing
    is then left to assume: V = V' (1 - p - x) + p. So no label is more probable than what it implies, as a walk comes
    to that first, and exclusive ones never exceed one in sum.

    Args:
        walks: Before the step.
        probabilities: Of the next label or END (B, W, C + 1).
        kept: Where an extension was kept (B, K).
        flat: Place of each among the W * (C + 1).
        rules: Rules between labels that the walks obey.
    """
    every, parents = probabilities.flatten(1), flat // probabilities.shape[-1]  # the walk that each extends
    chosen = torch.where(kept, every.gather(1, flat), 0.0)
    ended = probabilities[..., -1]
    known = ended.scatter_add(1, parents, chosen)
    # Where nothing is known, the labels walked so far are; the gradient of what `where` leaves out must be finite.
    nothing = known <= 0
    known = torch.where(nothing, 1.0, known)
    # p is what the beam did not keep: the kept extensions are in V' already.
    others = every.scatter_add(1, flat, -chosen).view_as(probabilities)
    here = walks.walked * (torch.where(nothing, 1.0, ended) / known)[..., None]
    left = 1 - others
    if rules is not None:
        left = (left - F.pad(rules.mass_of_excluding(others[..., :-1]), (0, 1))).clamp(min=0)
    within = walks.shares * left
    said = (within * here + walks.shares * others).sum(dim=1)
    return _pick(within, parents) * (chosen / known.gather(1, parents))[..., None], said


def _best(totals: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The `number` greatest (B, number) of totals (B, N) and their places, -inf at place 0 where there are fewer."""
    there = min(number, totals.shape[1])
    best, flat = totals.topk(there, dim=-1)
    missing = (0, number - there)
    return F.pad(best, missing, value=-torch.inf), F.pad(flat, missing)


def _pick(tensor: Tensor, index: Tensor) -> Tensor:
    """(B, N, ...) -> (B, M, ...): the entries of the second dimension that `index` (B, M) names."""
    shaped = index.reshape(index.shape + (1,) * (tensor.dim() - 2))
    return tensor.gather(1, shaped.expand(index.shape + tensor.shape[2:]))
