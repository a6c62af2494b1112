"""Heads that score every label by itself, from the image alone."""

from timm.layers.ml_decoder import MLDecoder
from torch import Tensor, nn


class MlpHead(nn.Module):
    """Logits (B, C) of image features (B, D) through one hidden layer.

    Args:
        feature_size: D.
        hidden_size: Units of the hidden layer.
        num_labels: C.
        dropout: Share of the features, and of the hidden units, that is dropped in training.
    """

    def __init__(self, feature_size: int, hidden_size: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(feature_size, hidden_size)
        self.activation = nn.ReLU()
        self.output = nn.Linear(hidden_size, num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of image features (B, D)."""
        hidden = self.activation(self.hidden(self.dropout(features)))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


class QueryLayers(nn.Module):
    """Decoder layers one after the other: torch's own hands them arguments that timm's layer does not take.

    Args:
        layers: The layers, each of queries (Q, B, E) and places (P, B, E).
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, queries: Tensor, places: Tensor) -> Tensor:
        """Queries (Q, B, E) after they attended over the places (P, B, E)."""
        for layer in self.layers:
            queries = layer(queries, places)
        return queries


def build_relevance_head(kind: str, feature_size: int, num_labels: int, hidden_size: int, dropout: float) -> nn.Module:
    """A head for image features (B, D) or, for `ml_decoder`, for the places (B, P, D) of a feature map.

    Args:
        kind: "linear"; "mlp", one hidden layer; or "ml_decoder", label queries that attend over the map (Ridnik et al.,
            WACV 2023), timm's own.
        feature_size: D.
        num_labels: C.
        hidden_size: Units of the hidden layer, or the size of the label queries.
        dropout: Of the mlp.

    Raises:
        ValueError: An unknown kind.
    """
    if kind == "linear":
        return nn.Linear(feature_size, num_labels)
    if kind == "mlp":
        return MlpHead(feature_size, hidden_size, num_labels, dropout)
    if kind == "ml_decoder":
        head = MLDecoder(num_labels, decoder_embedding=hidden_size, initial_num_features=feature_size)
        head.decoder = QueryLayers(head.decoder.layers)
        return head
    raise ValueError(f"unknown relevance head {kind!r}, expected 'linear', 'mlp' or 'ml_decoder'")
