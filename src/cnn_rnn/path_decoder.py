"""The joint embedding of image and labels: which label follows, given the labels before and the image (section 3.1)."""

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from transformers import initialization

from .configuration_cnn_rnn import CnnRnnConfig
from .cooccurrence import CooccurrencePrior
from .known_labels import KnownLabelState
from .recurrent_layer import RecurrentLayer, RecurrentState
from .walk_states import WalkStates

FIRST_RELEVANCE_WEIGHT = 0.3

HeldResult = TypeVar("HeldResult")


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
    """One number that multiplies, or one for each column; a module of its own, to be there also where offloaded."""

    def __init__(self, first: float, columns: int = 1) -> None:
        super().__init__()
        self.first = first
        self.weight = nn.Parameter(torch.full((columns,), first))  # no scalar: FSDP shards none

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

    @classmethod
    def of_config(cls, config: CnnRnnConfig, feature_size: int) -> Self:
        """The decoder that a model's config names, for image features of size D."""
        return cls(
            config.num_labels,
            feature_size,
            config.embedding_size,
            config.hidden_size,
            cell=config.cell,
            dropout=config.projection_dropout,
            attention=config.pooling == "attention",
            known_state=config.known_labels == "state",
            hears_relevance=config.relevance_in_path,
        )

    def holding(self, work: Callable[[Tensor], HeldResult], features: Tensor) -> HeldResult:
        """What the work makes of image features, done while weights that are sharded are gathered for this call."""
        return work(features)

    def embed_image(self, features: Tensor) -> Tensor:
        """Image in the joint embedding: (N, D) -> (N, 1, E), or places (N, P, D) -> (N, P, E)."""
        embedded: Tensor = self.image_projection(features)
        return embedded if self.attention is not None else embedded[:, None]

    def forward(
        self, labels: Tensor, image_embedding: Tensor, state: RecurrentState | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """Logits (N, T, C + 1) after each of the labels (N, T), and the recurrent state after the last.

        Args:
            labels: Ids that were walked, the first of them START where `state` is None.
            image_embedding: What `embed_image` returned.
            state: Recurrent state before the first of the labels.
        """
        hidden, state = self.walk(labels, state)
        return self.score(hidden, image_embedding), state

    def walk(self, labels: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """What is remembered (N, T, H) after each of the labels (N, T), and the state after the last.

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
        joint = torch.tanh(views[0] + image)  # path and image meet in one space
        return F.linear(self.dropout(joint), outputs)

    def walked_by(self) -> list[nn.Module]:
        """The modules that make what the tree of walks keeps."""
        query = [] if self.attention is None else [self.attention.query]
        known = [] if self.known_state is None else [self.known_state.confirmed, self.known_state.ruled_out]
        return [self.label_embedding, *self.recurrent.leaves(), self.recurrent_projection, *query, *known]

    def start_state(self, known: Tensor | None) -> RecurrentState | None:
        """The recurrent state (B, H) before START; None for all zeros, where what is known does not enter it."""
        if self.known_state is None or known is None:
            return None
        embeddings = self.label_embedding(torch.arange(self.num_labels, device=known.device))
        return (self.known_state(known, embeddings),) * self.recurrent.num_states

    def label_bias(
        self, relevance_logits: Tensor | None, known: Tensor | None, prior: CooccurrencePrior | None
    ) -> Tensor | None:
        """What is added to the labels' logits (B, C) at every step of an image's walk; None for nothing."""
        terms = []
        if self.relevance_weight is not None and relevance_logits is not None:
            # The loss of the walk does not train the head; an explanation follows the image through it.
            relevance = relevance_logits.detach() if self.training else relevance_logits
            terms.append(self.relevance_weight(relevance))
        if prior is not None and known is not None:
            terms.append(prior(known, "path"))
        return torch.stack(terms).sum(dim=0) if terms else None
