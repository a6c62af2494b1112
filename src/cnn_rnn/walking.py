"""Walks from label to label over images: along given paths in training, else by a beam search (sections 3.3, 3.4)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .beam_search import BeamSearchResult, Constraints, beam_search
from .configuration_checks import WIDEST_BEAM
from .configuration_cnn_rnn import CnnRnnConfig
from .cooccurrence import CooccurrencePrior
from .known_labels import Known
from .label_order import positions_of
from .label_paths import labels_to_paths, sets_to_paths
from .label_rules import LabelRules
from .path_decoder import HeldResult, PathDecoder
from .recurrent_layer import RecurrentState
from .walk_states import NO_KNOWLEDGE, WalkStates, shareable_weights


class Steps(Protocol):
    """One way to take the steps of a search, which know the labels and not the image."""

    def begin(self, known: Tensor | None, image: Tensor) -> RecurrentState:
        """What is remembered (B, 1, ...) before START, where so much is known (B, C) of embedded images (B, ...)."""

    def walk(self, labels: Tensor, state: RecurrentState) -> tuple[Sequence[Tensor], RecurrentState]:
        """The views (B, W, E) of `PathDecoder.views` after the labels (B, W) walked last, and what is remembered."""


ImageSteps = Callable[..., tuple[Tensor, RecurrentState]]
"""Takes what `beam_search.StepFunction` takes, and of which images (B,) the rows are where not in order; gives that."""


class OwnSteps:
    """A step of the recurrent layer for every walk."""

    def __init__(self, decoder: PathDecoder) -> None:
        self.decoder = decoder

    def begin(self, known: Tensor | None, image: Tensor) -> RecurrentState:
        """The recurrent states (B, 1, H)."""
        state = self.decoder.start_state(known)
        state = self.decoder.recurrent.initial_state(image) if state is None else state
        return tuple(tensor[:, None] for tensor in state)

    def walk(self, labels: Tensor, state: RecurrentState) -> tuple[Sequence[Tensor], RecurrentState]:
        """As `Steps` has it."""
        width = labels.shape[1]
        inputs = self.decoder.label_embedding(labels.flatten(0, 1))
        hidden, state = self.decoder.recurrent.step(inputs, tuple(tensor.flatten(0, 1) for tensor in state))
        views = self.decoder.views(hidden.unflatten(0, (-1, width)))
        return views, tuple(tensor.unflatten(0, (-1, width)) for tensor in state)


class SharedSteps:
    """A step of the recurrent layer for every prefix that the tree of prefixes does not hold yet; a state is a node."""

    def __init__(self, decoder: PathDecoder, tree: WalkStates) -> None:
        self.decoder, self.tree = decoder, tree
        self.views = 1 if decoder.attention is None else 2  # of a node's tensors, before its recurrent state

    def begin(self, known: Tensor | None, image: Tensor) -> RecurrentState:
        """The nodes (B, 1) of the prefixes that hold START alone."""
        known = None if self.decoder.known_state is None else known
        beginnings = [NO_KNOWLEDGE] * image.shape[0]
        if known is not None:
            # What is known decides the state before START, so its bytes are the key of a root of the tree.
            beginnings = [row.tobytes() if row.any() else NO_KNOWLEDGE for row in known.sign().to(torch.int8).numpy()]

        def first(rows: Tensor) -> tuple[Tensor, ...]:
            start = torch.full_like(rows, self.decoder.num_labels + 1)
            state = self.decoder.start_state(None if known is None else known[rows])
            inputs = self.decoder.label_embedding(start)
            return self._extend(start, self.decoder.recurrent.initial_state(inputs) if state is None else state)

        return (self.tree.begin(beginnings, first)[:, None],)

    def walk(self, labels: Tensor, state: RecurrentState) -> tuple[Sequence[Tensor], RecurrentState]:
        """As `Steps` has it."""
        nodes = self.tree.follow(state[0], labels, lambda last, before: self._extend(last, tuple(before[self.views :])))
        return self.tree.at(nodes, self.views), (nodes,)

    def _extend(self, labels: Tensor, state: RecurrentState) -> tuple[Tensor, ...]:
        """What the nodes after these labels (N,) hold: views, then recurrent state."""
        hidden, state = self.decoder.recurrent.step(self.decoder.label_embedding(labels), state)
        return (*self.decoder.views(hidden), *state)


class Walk:
    """Walks over the labels of B images.

    Args:
        decoder: What scores the next label.
        features: Image features (B, D) or, for attention, (B, P, D).
        relevance_logits: Logits (B, C) of each label by itself; their own loss alone trains them, not the path's.
        known: What a person knows (B, C): 1 confirmed, -1 ruled out, 0 open.
        prior: What known and walked labels say of the others.
    """

    def __init__(
        self,
        decoder: PathDecoder,
        features: Tensor,
        relevance_logits: Tensor | None = None,
        known: Tensor | None = None,
        prior: CooccurrencePrior | None = None,
    ) -> None:
        self.decoder, self.known, self.prior = decoder, known, prior
        self.image = decoder.embed_image(features)
        bias = decoder.label_bias(relevance_logits, known, prior)
        self.bias = None if bias is None else F.pad(bias, (0, 1))[:, None]  # (B, 1, C + 1), nothing for END

    def follow(self, paths: Tensor) -> Tensor:
        """Logits (B, T, C + 1) of every step of the given paths (B, T), teacher forced."""
        # The step that predicts a label is fed the one before it; the first is fed START.
        walked = F.pad(paths[:, :-1], (1, 0), value=self.decoder.num_labels + 1)
        logits: Tensor = self.decoder(walked, self.image, self.decoder.start_state(self.known))[0]
        if self.bias is not None:
            logits = logits + self.bias
        if self.prior is not None:
            # Before each step all labels up to it have their say; START has none.
            logits = logits + F.pad(self.prior(walked, "path", ids=True).cumsum(dim=1), (0, 1))
        return logits

    def search(self, constraints: Constraints, beam_width: int) -> BeamSearchResult:
        """The most probable paths of each image: K walks each, taken without dropout.

        Args:
            constraints: What every walk must obey.
            beam_width: K.
        """
        return self._taking_steps(lambda steps: self._search(steps, constraints, beam_width))

    def weigh(self, paths: Tensor, constraints: Constraints) -> Tensor:
        """Natural log probability (B, M) of given paths (B, M, T), END-padded, as the search would have it.

        What several paths of an image begin with is walked once. Without dropout, like the search.

        Args:
            paths: Each of them obeys.
            constraints: What every walk must obey.
        """
        return self._taking_steps(lambda steps: self._weigh(steps, paths, constraints))

    def _taking_steps(self, work: Callable[[Steps], HeldResult]) -> HeldResult:
        """What is made of the best way to take steps: shared ones where these can be."""
        decoder = self.decoder
        if decoder.training:
            # Without dropout; and no tree of walks outlives a step of training, which changes the weights.
            decoder.eval()
            try:
                return work(OwnSteps(decoder))
            finally:
                decoder.train()
        weights = shareable_weights(decoder.walked_by())
        if weights:
            with decoder.walk_states.opened(weights) as tree:
                if tree is not None:
                    return work(SharedSteps(decoder, tree))
        return work(OwnSteps(decoder))

    def _search(self, steps: Steps, constraints: Constraints, beam_width: int) -> BeamSearchResult:
        """The search by one way to take its steps."""
        state, step = self._stepping(steps)
        start = torch.full((self.image.shape[0],), self.decoder.num_labels + 1, device=self.image.device)
        return beam_search(step, state, start, constraints, beam_width)

    def _weigh(self, steps: Steps, paths: Tensor, constraints: Constraints) -> Tensor:
        """The probabilities by one way to take steps; U walks go on, of which each belongs to one image."""
        batch, number, longest = paths.shape
        end = self.decoder.num_labels
        state, step = self._stepping(steps)
        images = torch.arange(batch, device=paths.device)  # (U,)
        place = images[:, None].repeat(1, number)  # (B, M) of the walk that a path begins with
        last, walked = torch.full_like(images, end + 1), paths.new_zeros(batch, end + 1, dtype=torch.bool)
        total, goes_on = self.image.new_zeros(batch, number), torch.ones_like(place, dtype=torch.bool)  # (B, M) each
        for made in range(longest + 1):
            logits, state = step(last[:, None], state, images)
            barred = constraints.of(images).barred(made, walked[:, None])[:, 0]
            likely = logits[:, 0].float().masked_fill(barred, -torch.inf).log_softmax(dim=-1)
            # A path that is as long as can be has no END of its own to pad it.
            following = paths[..., made] if made < longest else torch.full_like(place, end)
            total = total + torch.where(goes_on, likely[place, following], 0.0)
            goes_on = goes_on & (following != end)
            if not goes_on.any():
                break
            # Paths that were alike so far and go on alike are one walk; place and label in one number tell them apart.
            extended, new = torch.unique((place * end + following)[goes_on], return_inverse=True)
            place = torch.zeros_like(place).masked_scatter(goes_on, new)
            parents, last = extended // end, extended % end
            images, state = images[parents], tuple(tensor[parents] for tensor in state)
            walked = walked[parents].scatter(1, last[:, None], value=True)
        return total

    def _stepping(self, steps: Steps) -> tuple[RecurrentState, ImageSteps]:
        """What is remembered (B, 1, ...) before the first step, and what takes one."""
        outputs, first = self.decoder.embed_outputs(self.image.device), steps.begin(self.known, self.image)
        # What its labels say of the next is part of a walk's state.
        more = () if self.prior is None else (self.image.new_zeros(self.image.shape[0], 1, self.decoder.num_labels),)

        def step(labels: Tensor, state: RecurrentState, images: Tensor | None = None) -> tuple[Tensor, RecurrentState]:
            views, walked = steps.walk(labels, state[: len(first)])
            image, bias, said = self.image, self.bias, state[len(first) :]
            if images is not None:
                image, bias = image[images], None if bias is None else bias[images]
            logits = self.decoder.score_views(views, image, outputs)
            if bias is not None:
                logits = logits + bias
            if self.prior is not None:
                said = (said[0] + self.prior(labels, "path", ids=True),)
                logits = logits + F.pad(said[0], (0, 1))
            return logits, walked + said

        return (*first, *more), step


class Walker:
    """Walks as a model's config orders and limits them.

    Args:
        config: The model's.
        decoder: Its path decoder; None where it has none, and nothing to walk by.
        prior: Its co-occurrence prior, or None.
        rules: Its rules between labels, or None.
    """

    def __init__(
        self,
        config: CnnRnnConfig,
        decoder: PathDecoder | None,
        prior: CooccurrencePrior | None,
        rules: LabelRules | None = None,
    ) -> None:
        self.config, self.decoder, self.prior, self.rules = config, decoder, prior, rules
        self.num_labels = config.num_labels

    def follow(
        self, labels: Tensor | None, features: Tensor, relevance: Tensor | None, known: Known
    ) -> tuple[Tensor | None, Tensor | None]:
        """The true paths (B, T) and the logits (B, T, C + 1) of their steps; None without labels or decoder."""
        if labels is None or self.decoder is None:
            return None, None
        paths, decoder = self.order(labels, features, known), self.decoder

        def follow(seen: Tensor) -> Tensor:
            return Walk(decoder, seen, relevance, known.labels, self.prior).follow(paths)

        return paths, decoder.holding(follow, features)

    def search(
        self,
        features: Tensor,
        relevance: Tensor | None,
        known: Known,
        *,
        beam_width: int | None = None,
        max_path_length: int | None = None,
        min_path_length: int = 0,
    ) -> BeamSearchResult:
        """The most probable paths, on each of them what is confirmed; numbers as `generate` takes them.

        Raises:
            ValueError: The beam is wider than any that there is.
        """
        decoder = self.decoder
        assert decoder is not None
        width = self.config.beam_width if beam_width is None else beam_width
        if width > WIDEST_BEAM:
            raise ValueError(f"beam_width must lie in 1..{WIDEST_BEAM}, got {width}")
        longest = self.config.max_path_length if max_path_length is None else max_path_length
        limits = self._limits(features, known, longest, min_path_length)

        def search(seen: Tensor) -> BeamSearchResult:
            return Walk(decoder, seen, relevance, known.entering, self.prior).search(limits, width)

        return known.begin(decoder.holding(search, features), self._ranks())

    @torch.no_grad()
    def weigh(
        self, sets: Tensor, features: Tensor, relevance: Tensor | None, known: Known, longest: int
    ) -> tuple[Tensor, Tensor]:
        """Paths (B, M, T) of sets of labels, END-padded, and the natural log probability (B, M) of each in a search.

        Args:
            sets: Multi-hot labels (B, M, C) as bool, all that is confirmed among them; a path begins with that.
            features: Image features (B, ...).
            relevance: Logits (B, C) of each label by itself, or None.
            known: What is known of the images.
            longest: T, the most labels on a path; larger sets have no path that counts.
        """
        decoder = self.decoder
        assert decoder is not None
        limits = self._limits(features, known, longest)
        confirmed = torch.zeros_like(sets[:, 0]) if known.labels is None else known.labels > 0
        first = self._paths(confirmed[:, None], features, known).expand(-1, sets.shape[1], -1)
        rest = self._paths(sets & ~confirmed[:, None], features, known)
        whole = torch.cat([first, rest], dim=-1)
        # The END that pads the confirmed labels goes after the rest; a stable order leaves labels as they are walked.
        whole = whole.gather(-1, (whole == self.num_labels).long().argsort(dim=-1, stable=True))
        walked = rest if known.enters else whole  # what enters as the state is not walked again

        def weigh(seen: Tensor) -> Tensor:
            return Walk(decoder, seen, relevance, known.entering, self.prior).weigh(walked, limits)

        weighed = decoder.holding(weigh, features)
        return F.pad(whole, (0, longest), value=self.num_labels)[..., :longest], weighed

    def _limits(self, features: Tensor, known: Known, longest: int, fewest: int = 0) -> Constraints:
        """What every walk must obey that holds from `fewest` to `longest` labels."""
        longest, fewest = min(longest, self.num_labels), min(fewest, self.num_labels)
        limits = Constraints(self.num_labels, longest, min_path_length=fewest)
        return known.limit(limits, lambda labels: self.order(labels, features, replace(known, labels=None)))

    def _paths(self, sets: Tensor, features: Tensor, known: Known) -> Tensor:
        """Paths (B, M, T) of sets (B, M, C) in the configured order, as long as the largest."""
        number = sets.shape[1]
        if self.config.label_order != "aligned":
            return sets_to_paths(sets.flatten(0, 1), self._ranks()).unflatten(0, (-1, number))
        many = None if known.labels is None else known.labels.repeat_interleave(number, dim=0)
        seen = features.repeat_interleave(number, dim=0)
        ordered = self.order(sets.flatten(0, 1).to(features.dtype), seen, replace(known, labels=many))
        return ordered[:, :-1].unflatten(0, (-1, number))

    @torch.no_grad()
    def order(self, labels: Tensor, features: Tensor, known: Known) -> Tensor:
        """Paths (B, T + 1) of multi-hot labels (B, C) in the configured order, END-padded, after what is known."""
        if self.config.label_order != "aligned":
            return labels_to_paths(labels, self._ranks())
        # The order that the model prefers: its own greedy walk over the labels, which may end only when none is left.
        longest = int((labels > 0).sum(-1).max())
        paths = labels.new_full((len(labels), longest + 1), self.num_labels, dtype=torch.long)
        if longest:
            decoder = self.decoder
            assert decoder is not None
            held = None if known.labels is None else known.labels > 0
            limits = Constraints(
                self.num_labels, longest, min_path_length=longest, allowed=labels > 0, held=held, rules=known.rules
            )
            walked = decoder.holding(lambda seen: Walk(decoder, seen).search(limits, beam_width=1), features)
            paths[:, :-1] = walked.paths[:, 0]
        return paths

    def _ranks(self) -> Tensor:
        """Position (C,) of every label in the configured order, 0 for the first."""
        asked = self.config.label_order, self.config.label_counts
        return torch.from_numpy(self.rules.order_of(*asked) if self.rules else positions_of(*asked, self.num_labels))
