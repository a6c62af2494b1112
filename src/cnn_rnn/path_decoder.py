"""The joint embedding of image and labels: which label follows, given the labels before and the image (section 3.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from transformers import initialization

from .beam_search import BeamSearchResult, Constraints, StepFunction, beam_search
from .cooccurrence import CooccurrencePrior
from .known_labels import KnownLabelState
from .walk_states import NOTHING_KNOWN, WalkStates, is_plain, shareable_weights

State = tuple[Tensor, ...]
"""What a recurrent cell remembers of N sequences: tensors (N, H)."""


FIRST_RELEVANCE_WEIGHT = 0.3


@dataclass(frozen=True)
class Given:
    """What a walk over the labels of B images is given beside the images; None for nothing.

    Attributes:
        relevance_logits: Logits (B, C) of each label by itself; their own loss alone trains them, not the path's.
        known: What a person knows (B, C): 1 confirmed, -1 ruled out, 0 open.
        prior: What known and walked labels say of the others.
    """

    relevance_logits: Tensor | None = None
    known: Tensor | None = None
    prior: CooccurrencePrior | None = None


NOTHING = Given()


class ReluLstm(nn.Module):
    """The paper's recurrent layer (section 3.1): an LSTM, ReLU for all non-linearities, no bias, output r(t) * o."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_gates = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.hidden_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (N, T, H) for inputs (N, T, E), and the state: memory r and output, (N, H) each."""
        memory, output = state
        outputs = []
        for gates in self.input_gates(inputs).unbind(dim=1):
            candidate, enter, forget, leave = F.relu(gates + self.hidden_gates(output)).chunk(4, dim=-1)
            memory = forget * memory + enter * candidate
            output = memory * leave
            outputs.append(output)
        return torch.stack(outputs, dim=1), (memory, output)


class RecurrentLayer(nn.Module):
    """A recurrent layer over label embeddings, the same face for every cell."""

    def __init__(self, cell: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_states = 1 if cell == "gru" else 2
        self.batched = cell != "relu_lstm"  # torch's own layers keep a leading dimension of layers in their state
        layers = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.layer: nn.Module = (
            layers[cell](input_size, hidden_size, batch_first=True)
            if self.batched
            else ReluLstm(input_size, hidden_size)
        )

    def initial_state(self, like: Tensor) -> State:
        """State of all zeros, of the dtype and device of `like` (N, ...)."""
        return (like.new_zeros(like.shape[0], self.hidden_size),) * self.num_states

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (N, T, H) for inputs (N, T, E), and the state behind the last step."""
        if not self.batched:
            return cast("tuple[Tensor, State]", self.layer(inputs, state))
        given = tuple(tensor[None].contiguous() for tensor in state)
        outputs, new = self.layer(inputs, given if len(given) > 1 else given[0])
        return outputs, tuple(tensor[0] for tensor in (new if isinstance(new, tuple) else (new,)))

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Output (N, H) and state behind one input (N, E), as `forward` gives it.

        torch's layers prepare their weights for whole sequences at every call, which costs more than a single step.
        """
        layer = self.layer
        if not is_plain(layer):
            outputs, new = self(inputs[:, None], state)
            return outputs[:, 0], new
        if isinstance(layer, nn.LSTM):
            hidden, memory = torch.lstm_cell(inputs, state, *layer.all_weights[0])
            return hidden, (hidden, memory)
        assert isinstance(layer, nn.GRU)
        hidden = torch.gru_cell(inputs, state[0], *layer.all_weights[0])
        return hidden, (hidden,)

    def leaves(self) -> list[nn.Module]:
        """The modules that hold the weights."""
        return [self.layer] if self.batched else list(self.layer.children())


class StepAttention(nn.Module):
    """The part of the image that matters at each step: additive attention over the places of the feature map."""

    def __init__(self, hidden_size: int, embedding_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, embedding_size)
        self.score = nn.Linear(embedding_size, 1, bias=False)

    def forward(self, hidden: Tensor, places: Tensor) -> Tensor:
        """Image embedding (N, T, E) of each step from hidden (N, T, H) and embedded places (N, P, E)."""
        return self.attend(self.query(hidden), places)

    def attend(self, queries: Tensor, places: Tensor) -> Tensor:
        """Image embedding (N, T, E) of each step from its query (N, T, E) and embedded places (N, P, E)."""
        scores = self.score(torch.tanh(queries[:, :, None] + places[:, None]))  # (N, T, P, 1)
        return torch.sum(scores.softmax(dim=2) * places[:, None], dim=2)


class LearnedWeight(nn.Module):
    """One number that multiplies; a module of its own, so that it is there also where weights are offloaded."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.first = first
        self.weight = nn.Parameter(torch.tensor([first]))  # no scalar: FSDP shards none

    def forward(self, values: Tensor) -> Tensor:
        """The values, multiplied."""
        return self.weight * values

    @torch.no_grad()
    def initialize(self) -> None:
        """Give the weight its first value."""
        initialization.constant_(self.weight, self.first)


class PathDecoder(nn.Module):
    """Scores of the next label from the labels walked so far and the image.

    The label embedding U_l is input and output embedding alike (one parameter); the recurrent layer sees labels only;
    its output and the image meet in the joint embedding (section 3.1).
    Rows of the embedding: labels 0..C-1, END = C, START = C + 1. END opens no step, START closes none.

    Args:
        num_labels: C.
        feature_size: D, size of the image features.
        embedding_size: E.
        hidden_size: H.
        cell: "lstm", "gru" or "relu_lstm".
        dropout: Share of the joint embedding's parts that is dropped in training.
        attention: Whether image features come as places (N, P, D) to attend over, not as one vector (N, D).
        known_state: Whether what is known enters as the initial state of the walk.
        hears_relevance: Whether relevance logits are added to the logits of every step, with a learned weight.
    """

    def __init__(
        self,
        num_labels: int,
        feature_size: int,
        embedding_size: int,
        hidden_size: int,
        *,
        cell: str,
        dropout: float,
        attention: bool,
        known_state: bool = False,
        hears_relevance: bool = False,
    ) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.label_embedding = nn.Embedding(num_labels + 2, embedding_size)
        self.recurrent = RecurrentLayer(cell, embedding_size, hidden_size)
        self.recurrent_projection = nn.Linear(hidden_size, embedding_size)
        self.image_projection = nn.Linear(feature_size, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.attention = StepAttention(hidden_size, embedding_size) if attention else None
        self.walk_states = WalkStates(start=num_labels + 1)
        self.known_state = KnownLabelState(embedding_size, hidden_size) if known_state else None
        self.relevance_weight = LearnedWeight(FIRST_RELEVANCE_WEIGHT) if hears_relevance else None

    def embed_image(self, features: Tensor) -> Tensor:
        """Image in the joint embedding: (N, D) -> (N, 1, E), or places (N, P, D) -> (N, P, E)."""
        embedded: Tensor = self.image_projection(features)
        return embedded if self.attention is not None else embedded[:, None]

    def forward(self, labels: Tensor, image_embedding: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits (N, T, C + 1) behind each of the labels (N, T), and the recurrent state behind the last.

        Args:
            labels: Ids that were walked, the first of them START where `state` is None.
            image_embedding: What `embed_image` returned.
            state: Recurrent state before the first of the labels.
        """
        hidden, state = self.walk(labels, state)
        return self.score(hidden, image_embedding), state

    def walk(self, labels: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """What is remembered (N, T, H) behind each of the labels (N, T), and the state behind the last.

        The image has no part in it: equal prefixes give equal outputs, whatever the image, the walk or the batch.
        """
        inputs = self.label_embedding(labels)
        return self.recurrent(inputs, self.recurrent.initial_state(inputs) if state is None else state)

    def score(self, hidden: Tensor, image_embedding: Tensor) -> Tensor:
        """Logits (N, T, C + 1) of the next label, from the walk (N, T, H) and what `embed_image` returned."""
        return self.score_views(self.views(hidden), image_embedding, self.embed_outputs(hidden.device))

    def views(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """What a step takes of the walk (..., H), (..., E) each: its projection and, for attention, its query."""
        projected: Tensor = self.recurrent_projection(hidden)
        return (projected,) if self.attention is None else (projected, self.attention.query(hidden))

    def embed_outputs(self, device: torch.device) -> Tensor:
        """Embedding (C + 1, E) of all that can follow.

        The module is called, its weight not read: so offloaded, sharded, adapted and quantised weights count too.
        """
        outputs: Tensor = self.label_embedding(torch.arange(self.num_labels + 1, device=device))
        return outputs

    def score_views(self, views: Sequence[Tensor], image_embedding: Tensor, outputs: Tensor) -> Tensor:
        """Logits (N, T, C + 1) from the `views` of a walk (N, T, E), `embed_image` and `embed_outputs`."""
        image = image_embedding if self.attention is None else self.attention.attend(views[1], image_embedding)
        joint = torch.tanh(views[0] + image)
        return F.linear(self.dropout(joint), outputs)

    def score_paths(self, features: Tensor, paths: Tensor, given: Given = NOTHING) -> Tensor:
        """Logits (B, T, C + 1) of every step of the given paths (B, T), teacher forced."""
        walked = F.pad(paths[:, :-1], (1, 0), value=self.num_labels + 1)
        bias = self._label_bias(given)
        logits, _ = self(walked, self.embed_image(features), self._start_state(given.known))
        if bias is not None:
            logits = logits + F.pad(bias, (0, 1))[:, None]
        if given.prior is not None:
            said = given.prior(walked, "path", ids=True).cumsum(dim=1)
            logits = logits + F.pad(said, (0, 1))
        return logits

    def search(
        self, features: Tensor, constraints: Constraints, beam_width: int, given: Given = NOTHING
    ) -> BeamSearchResult:
        """The most probable paths of each image: K walks each, taken without dropout.

        Args:
            features: Image features (B, D) or (B, P, D).
            constraints: What every walk must obey.
            beam_width: K.
            given: What the walks are given beside the image.
        """
        if self.training:
            self.eval()
            try:
                return self._search_alone(features, constraints, beam_width, given)
            finally:
                self.train()
        weights = shareable_weights(self._walked_by())
        if weights:
            with self.walk_states.opened(weights) as tree:
                if tree is not None:
                    return self._search_tree(tree, features, constraints, beam_width, given)
        return self._search_alone(features, constraints, beam_width, given)

    def _search_alone(
        self, features: Tensor, constraints: Constraints, beam_width: int, given: Given
    ) -> BeamSearchResult:
        """The search with a step of the recurrent layer for every walk."""

        def walk(labels: Tensor, state: State) -> tuple[Sequence[Tensor], State]:
            width = labels.shape[1]
            inputs = self.label_embedding(_flatten(labels))
            hidden, state = self.recurrent.step(inputs, tuple(_flatten(tensor) for tensor in state))
            return self.views(_unflatten(hidden, width)), tuple(_unflatten(tensor, width) for tensor in state)

        embedded = self.embed_image(features)
        state = self._start_state(given.known)
        state = self.recurrent.initial_state(embedded) if state is None else state
        step, more = self._step_function(walk, len(state), embedded, given)
        first = tuple(tensor[:, None] for tensor in state) + more
        return beam_search(step, first, self._start(features), constraints, beam_width)

    def _search_tree(
        self, tree: WalkStates, features: Tensor, constraints: Constraints, beam_width: int, given: Given
    ) -> BeamSearchResult:
        """The search with a step of the recurrent layer for every prefix that the tree does not hold yet."""
        known = None if self.known_state is None else given.known
        number = 1 if self.attention is None else 2  # of the views, behind which a node keeps the recurrent state

        def extend(labels: Tensor, state: State) -> tuple[Tensor, ...]:
            hidden, state = self.recurrent.step(self.label_embedding(labels), state)
            return (*self.views(hidden), *state)

        def begin(rows: Tensor) -> tuple[Tensor, ...]:
            start = torch.full_like(rows, self.num_labels + 1)
            state = self._start_state(None if known is None else known[rows])
            return extend(start, self.recurrent.initial_state(self.label_embedding(start)) if state is None else state)

        def walk(labels: Tensor, state: State) -> tuple[Sequence[Tensor], State]:
            nodes = tree.follow(state[0], labels, lambda last, before: extend(last, tuple(before[number:])))
            return tree.at(nodes, number), (nodes,)

        beginnings = [NOTHING_KNOWN] * features.shape[0]
        if known is not None:
            beginnings = [row.tobytes() if row.any() else NOTHING_KNOWN for row in known.sign().to(torch.int8).numpy()]
        nodes = tree.begin(beginnings, begin)
        step, more = self._step_function(walk, 1, self.embed_image(features), given)
        return beam_search(step, (nodes[:, None], *more), self._start(features), constraints, beam_width)

    def _step_function(
        self,
        walk: Callable[[Tensor, State], tuple[Sequence[Tensor], State]],
        num_states: int,
        image_embedding: Tensor,
        given: Given,
    ) -> tuple[StepFunction, State]:
        """The step of a search, and what a walk remembers beside the `num_states` tensors that `walk` takes."""
        outputs, bias, prior = self.embed_outputs(image_embedding.device), self._label_bias(given), given.prior
        bias = None if bias is None else F.pad(bias, (0, 1))[:, None]

        def step(labels: Tensor, state: State) -> tuple[Tensor, State]:
            views, walked = walk(labels, state[:num_states])
            logits, said = self.score_views(views, image_embedding, outputs), state[num_states:]
            if bias is not None:
                logits = logits + bias
            if prior is not None:
                said = (said[0] + prior(labels, "path", ids=True),)
                logits = logits + F.pad(said[0], (0, 1))
            return logits, walked + said

        # What its labels say of the next is part of a walk's state.
        nothing = image_embedding.new_zeros(image_embedding.shape[0], 1, self.num_labels)
        return step, (() if prior is None else (nothing,))

    def _start(self, features: Tensor) -> Tensor:
        """The id of START for each image (B,)."""
        return torch.full((features.shape[0],), self.num_labels + 1, device=features.device)

    def _walked_by(self) -> list[nn.Module]:
        """The modules that make what the tree of walks keeps."""
        query = [] if self.attention is None else [self.attention.query]
        known = [] if self.known_state is None else [self.known_state.confirmed, self.known_state.ruled_out]
        return [self.label_embedding, *self.recurrent.leaves(), self.recurrent_projection, *query, *known]

    def _start_state(self, known: Tensor | None) -> State | None:
        """The recurrent state (B, H) before START; None for all zeros, where what is known does not enter it."""
        if self.known_state is None or known is None:
            return None
        embeddings = self.label_embedding(torch.arange(self.num_labels, device=known.device))
        return (self.known_state(known, embeddings),) * self.recurrent.num_states

    def _label_bias(self, given: Given) -> Tensor | None:
        """What is added to the labels' logits (B, C) at every step of an image's walk; None for nothing."""
        terms = []
        if self.relevance_weight is not None and given.relevance_logits is not None:
            # The loss of the walk does not train the head; an explanation follows the image through it.
            relevance = given.relevance_logits.detach() if self.training else given.relevance_logits
            terms.append(self.relevance_weight(relevance))
        if given.prior is not None and given.known is not None:
            terms.append(given.prior(given.known, "path"))
        return torch.stack(terms).sum(dim=0) if terms else None


def _flatten(tensor: Tensor) -> Tensor:
    """(B, K, ...) -> (B * K, ...)."""
    return tensor.flatten(0, 1)


def _unflatten(tensor: Tensor, beam_width: int) -> Tensor:
    """(B * K, ...) -> (B, K, ...)."""
    return tensor.unflatten(0, (-1, beam_width))
