"""The joint embedding of image and labels: which label follows, given the labels before and the image (section 3.1)."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from .beam_search import BeamSearchResult, Constraints, beam_search
from .walk_states import WalkStates, is_plain, shareable_weights

State = tuple[Tensor, ...]
"""What a recurrent cell remembers of N sequences: tensors (N, H)."""


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
        return self.score_views(self.views(hidden), image_embedding, self.embed_outputs())

    def views(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """What a step takes of the walk (..., H), (..., E) each: its projection and, for attention, its query."""
        projected: Tensor = self.recurrent_projection(hidden)
        return (projected,) if self.attention is None else (projected, self.attention.query(hidden))

    def embed_outputs(self) -> Tensor:
        """Embedding (C + 1, E) of all that can follow.

        The module is called, its weight not read: so offloaded, sharded, adapted and quantised weights count too.
        """
        device = self.recurrent_projection.bias.device
        outputs: Tensor = self.label_embedding(torch.arange(self.num_labels + 1, device=device))
        return outputs

    def score_views(self, views: Sequence[Tensor], image_embedding: Tensor, outputs: Tensor) -> Tensor:
        """Logits (N, T, C + 1) from the `views` of a walk (N, T, E), `embed_image` and `embed_outputs`."""
        image = image_embedding if self.attention is None else self.attention.attend(views[1], image_embedding)
        joint = torch.tanh(views[0] + image)
        return F.linear(self.dropout(joint), outputs)

    def score_paths(self, features: Tensor, paths: Tensor) -> Tensor:
        """Logits (B, T, C + 1) of every step of the given paths (B, T), teacher forced."""
        walked = F.pad(paths[:, :-1], (1, 0), value=self.num_labels + 1)
        logits, _ = self(walked, self.embed_image(features))
        return logits

    def search(
        self, features: Tensor, constraints: Constraints, beam_width: int, state: State | None = None
    ) -> BeamSearchResult:
        """The most probable paths of each image: K walks each, taken without dropout.

        Args:
            features: Image features (B, D) or (B, P, D).
            constraints: What every walk must obey.
            beam_width: K.
            state: Recurrent state (B, H) before START; of all zeros where None.
        """
        if self.training:
            self.eval()
            try:
                return self._search_alone(features, constraints, beam_width, state)
            finally:
                self.train()
        weights = shareable_weights(self._walked_by()) if state is None else []
        if weights:
            with self.walk_states.opened(weights, self._first_node) as tree:
                if tree is not None:
                    return self._search_tree(tree, features, constraints, beam_width)
        return self._search_alone(features, constraints, beam_width, state)

    def _search_alone(
        self, features: Tensor, constraints: Constraints, beam_width: int, state: State | None
    ) -> BeamSearchResult:
        """The search with a step of the recurrent layer for every walk."""
        embedded, outputs = self.embed_image(features), self.embed_outputs()

        def step(labels: Tensor, state: State) -> tuple[Tensor, State]:
            width = labels.shape[1]
            inputs = self.label_embedding(_flatten(labels))
            hidden, state = self.recurrent.step(inputs, tuple(_flatten(tensor) for tensor in state))
            views = self.views(_unflatten(hidden, width))
            return self.score_views(views, embedded, outputs), tuple(_unflatten(tensor, width) for tensor in state)

        state = self.recurrent.initial_state(embedded) if state is None else state
        return beam_search(
            step, tuple(tensor[:, None] for tensor in state), self._start(features), constraints, beam_width
        )

    def _search_tree(
        self, tree: WalkStates, features: Tensor, constraints: Constraints, beam_width: int
    ) -> BeamSearchResult:
        """The search with a step of the recurrent layer for every prefix that the tree does not hold yet."""
        embedded, outputs = self.embed_image(features), self.embed_outputs()
        num_views = 1 if self.attention is None else 2

        def extend(labels: Tensor, before: Sequence[Tensor]) -> tuple[Tensor, ...]:
            hidden, state = self.recurrent.step(self.label_embedding(labels), tuple(before[num_views:]))
            return (*self.views(hidden), *state)

        def step(labels: Tensor, state: State) -> tuple[Tensor, State]:
            nodes = tree.follow(state[0], labels, extend)
            return self.score_views(tree.at(nodes, num_views), embedded, outputs), (nodes,)

        start = self._start(features)
        return beam_search(step, (torch.zeros_like(start)[:, None],), start, constraints, beam_width)

    def _start(self, features: Tensor) -> Tensor:
        return torch.full((features.shape[0],), self.num_labels + 1, device=features.device)

    def _first_node(self, times: int) -> tuple[Tensor, ...]:
        """What the tree of walks keeps of START, so many times: the views (N, E), then the recurrent state (N, H)."""
        inputs = self.label_embedding(torch.full((times,), self.num_labels + 1))
        hidden, state = self.recurrent.step(inputs, self.recurrent.initial_state(inputs))
        return (*self.views(hidden), *state)

    def _walked_by(self) -> list[nn.Module]:
        """The modules that make what the tree of walks keeps."""
        query = [] if self.attention is None else [self.attention.query]
        return [self.label_embedding, *self.recurrent.leaves(), self.recurrent_projection, *query]


def _flatten(tensor: Tensor) -> Tensor:
    """(B, K, ...) -> (B * K, ...)."""
    return tensor.flatten(0, 1)


def _unflatten(tensor: Tensor, beam_width: int) -> Tensor:
    """(B * K, ...) -> (B, K, ...)."""
    return tensor.unflatten(0, (-1, beam_width))
