"""Heads that score every label by itself, from the image alone."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.layers.ml_decoder import MLDecoder
from torch import Tensor, nn

from .configuration_cnn_rnn import CnnRnnConfig
from .image_backbone import DOUBT, number_of_classes
from .path_decoder import LearnedWeight

FIRST_EVIDENCE = 4.0  # log odds of a label that the classifier is certain of
FIRST_OF_REGIONS = 8.0  # the same at the region that shows it best: what held-out photos make of it after training
LEAST_CERTAIN = 1e-4  # probability of classes below which nothing is made of it
SHARE_OF_BEST = 0.5  # of the place that shows a label best, beside the mean


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


class ResidualAttention(MlpHead):
    """An mlp on the mean, and beside it what the place says that shows a label best (Zhu and Wu, ICCV 2021).

    Theirs adds a share of the greatest score over the places to a linear layer's mean score; a small object that the
    mean drowns is so found. Here the mean goes through the mlp, which is better than a layer (measured on VOC 2012).
    """

    def __init__(self, feature_size: int, hidden_size: int, num_labels: int, dropout: float) -> None:
        super().__init__(feature_size, hidden_size, num_labels, dropout)
        self.place_scores = nn.Linear(feature_size, num_labels)

    def forward(self, places: Tensor) -> Tensor:
        """Logits (B, C) of the places (B, P, D) of a feature map."""
        best: Tensor = self.place_scores(places).amax(dim=1)
        return super().forward(places.mean(dim=1)) + SHARE_OF_BEST * best


class EvidenceHead(MlpHead):
    """An mlp that also reads what a classifier says of its classes, such as ImageNet's thousand.

    A label that some of the classes imply is the more probable by their joint probability, with a learned weight: what
    a million photos have taught the classifier, a handful of photos of the label need not teach again.

    Args:
        feature_size: Image features and classes that the mlp reads.
        hidden_size: Units of the hidden layer.
        num_labels: C.
        dropout: Of the mlp.
        implied: Which classes (C, K) imply each label.
    """

    first_evidence: ClassVar[float]  # the weight before training
    implied: Tensor

    def __init__(self, feature_size: int, hidden_size: int, num_labels: int, dropout: float, implied: Tensor) -> None:
        super().__init__(feature_size, hidden_size, num_labels, dropout)
        self.register_buffer("implied", implied.to(torch.uint8))
        self.evidence = LearnedWeight(self.first_evidence, num_labels)

    def judge(self, features: Tensor, classes: Tensor, probabilities: Tensor) -> Tensor:
        """Logits (B, C) of image features (B, D), of classes (B, K), and of what implies each label (B, C)."""
        seen = torch.cat([features, F.layer_norm(classes, classes.shape[-1:])], dim=-1)
        logits: Tensor = super().forward(seen) + self.evidence(evidence_of(probabilities))
        return logits


class ClassesHead(EvidenceHead):
    """The backbone's own classifier, asked once of the whole image; `feature_size` is that of the image's features."""

    first_evidence = FIRST_EVIDENCE

    def __init__(self, feature_size: int, hidden_size: int, num_labels: int, dropout: float, implied: Tensor) -> None:
        classes = implied.shape[1]
        super().__init__(feature_size + classes, hidden_size, num_labels, dropout, implied)
        self.classifier = nn.Linear(feature_size, classes).requires_grad_(requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of image features (B, D)."""
        classes = self.classifier(features)
        return self.judge(features, classes, classes.softmax(dim=-1) @ self.implied.to(classes.dtype).T)


class RegionClassesHead(EvidenceHead):
    """The same of image features (D) that end in the certainties of the classes by regions (`pooling` classes)."""

    first_evidence = FIRST_OF_REGIONS

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of image features (B, D)."""
        classes = features[:, -self.implied.shape[1] :]
        # each class at a region of its own: together they may come to more than one
        joint = F.linear((DOUBT * (classes - 1)).exp(), self.implied.to(classes.dtype))
        return self.judge(features[:, : -classes.shape[1]], classes, joint.clamp(max=1))


def evidence_of(probabilities: Tensor) -> Tensor:
    """Probabilities on a scale of logarithms: 0 of what the classifier gives no thought, 1 of what it is certain of."""
    return torch.log1p(probabilities / LEAST_CERTAIN) / -math.log(LEAST_CERTAIN)


class CalledAttention(nn.Module):
    """torch's attention, but its output projection is called, not read: so offloaded and adapted weights count too.

    Args:
        attention: Where the weights come from; their names stay.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.dropout = attention.num_heads, attention.dropout
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None]:
        """Queries (Q, B, E) after they attended over keys and values (P, B, E)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        parts = map(F.linear, (query, key, value), weights, biases)
        queries, keys, values = (part.unflatten(-1, (self.num_heads, -1)).permute(1, 2, 0, 3) for part in parts)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return self.out_proj(attended.permute(2, 0, 1, 3).flatten(-2)), None


class LabelQueries(MLDecoder):
    """Label queries that attend over the feature map (Ridnik et al., WACV 2023): timm's weights, each called."""

    def __init__(self, num_labels: int, query_size: int, feature_size: int) -> None:
        super().__init__(num_labels, decoder_embedding=query_size, initial_num_features=feature_size)
        (layer,) = self.decoder.layers
        layer.multihead_attn = CalledAttention(layer.multihead_attn)

    def forward(self, places: Tensor) -> Tensor:
        """Logits (B, C) of the places (B, P, D) of a feature map."""
        places = F.relu(self.embed_standart(places)).transpose(0, 1)
        queries = self.query_embed(torch.arange(self.embed_len_decoder, device=places.device))
        queries = queries[:, None].expand(-1, places.shape[1], -1)
        for layer in self.decoder.layers:
            queries = layer(queries, places)
        # A query speaks for a group of labels, each with weights (E,) of its own.
        logits = torch.einsum("qbe,qeg->bqg", queries, self.duplicate_pooling).flatten(1)
        return logits[:, : self.num_classes] + self.duplicate_pooling_bias


def head_of_config(config: CnnRnnConfig, feature_size: int) -> nn.Module | None:
    """The head that a model's config names, for image features of size D; None for a model without one."""
    if not config.has_relevance_head:
        return None
    hidden_size, dropout = config.relevance_hidden_size, config.relevance_dropout
    if config.relevance_head == "classes":
        head = RegionClassesHead if config.pooling == "classes" else ClassesHead
        return head(feature_size, hidden_size, config.num_labels, dropout, implied_labels(config))
    return build_relevance_head(config.relevance_head, feature_size, config.num_labels, hidden_size, dropout)


def implied_labels(config: CnnRnnConfig) -> Tensor:
    """Which classes (C, K) of the backbone's own classifier imply each label; those of other models' labels count not.

    Raises:
        ValueError: The backbone was trained without a classifier, or has no such class.
    """
    classes = number_of_classes(config.backbone, "relevance_head='classes'")
    implied = torch.zeros(config.num_labels, classes)
    for label, numbers in (config.implied_by or {}).items():
        wrong = [number for number in numbers if not 0 <= number < classes]
        if wrong:
            raise ValueError(f"implied_by: {label!r} names class {wrong[0]}, {config.backbone} has 0..{classes - 1}")
        if label in config.label2id:
            implied[config.label2id[label], numbers] = 1
    return implied


def build_relevance_head(kind: str, feature_size: int, num_labels: int, hidden_size: int, dropout: float) -> nn.Module:
    """A head for image features (B, D) or, for the last two kinds, for the places (B, P, D) of a map.

    Args:
        kind: "linear"; "mlp", one hidden layer; "residual_attention", an mlp and the best place's score; or
            "ml_decoder", label queries that attend over the map (Ridnik et al., WACV 2023).
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
    if kind == "residual_attention":
        return ResidualAttention(feature_size, hidden_size, num_labels, dropout)
    if kind == "ml_decoder":
        return LabelQueries(num_labels, hidden_size, feature_size)
    raise ValueError(f"unknown relevance head {kind!r}, expected 'linear', 'mlp', 'residual_attention' or 'ml_decoder'")
