"""The model: a CNN sees the image once, a path decoder walks from label to label, a head scores each label alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel, initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from .beam_search import BeamSearchResult, Constraints
from .configuration_cnn_rnn import HEADS_OF_PLACES, WIDEST_BEAM, CnnRnnConfig
from .cooccurrence import CooccurrencePrior
from .decisions import not_finite
from .image_backbone import ImageBackbone, pooling_of, preprocessing_of
from .instance_methods import of_instances
from .known_labels import (
    SMALLEST_SCORE,
    Conditions,
    begin_with,
    check_known,
    known_labels_of,
    open_labels,
    settle,
)
from .label_paths import labels_to_paths, rank_labels
from .losses import training_loss
from .model_outputs import CnnRnnGenerateOutput, CnnRnnOutput
from .neighbours import NeighbourMemory
from .path_decoder import Given, LearnedWeight, PathDecoder, ReluLstm
from .relevance_head import build_relevance_head

if TYPE_CHECKING:  # never run: whoever saves the model saves what it imports, and the config names this file too
    from .pipeline_cnn_rnn import MultiLabelImageClassificationPipeline  # noqa: F401

logger = logging.get_logger(__name__)


class CnnRnnForImageClassification(PreTrainedModel):
    """Multi-label image classifier that reads the labels of an image as a path (Wang et al., CVPR 2016)."""

    config: CnnRnnConfig
    config_class = CnnRnnConfig
    base_model_prefix = "cnn_rnn"  # no part is a checkpoint of its own; what `base_model` means is said below
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_missing = (r"^neighbours\.outside$",)  # newer than the rest of the memory
    _no_split_modules = ("ImageBackbone", "PathDecoder")  # each on one device: their parts meet in sums

    def __init__(self, config: CnnRnnConfig) -> None:
        super().__init__(config)
        config.validate()  # transformers sets arguments of `from_pretrained` behind the config's own check
        self.num_labels = len(config.label_names)
        self.weights_left_random: list[str] = []  # that a checkpoint did not hold
        self.backbone = ImageBackbone(config.backbone, config.pooling, config.backbone_args)
        feature_size = self.backbone.num_features
        self.path_decoder = (
            PathDecoder(
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
            if config.has_path_decoder
            else None
        )
        self.relevance_head = (
            build_relevance_head(
                config.relevance_head,
                feature_size,
                config.num_labels,
                config.relevance_hidden_size,
                config.relevance_dropout,
            )
            if config.has_relevance_head
            else None
        )
        self.cooccurrence = CooccurrencePrior(config.num_labels) if config.cooccurrence else None
        self.neighbours = (
            NeighbourMemory(config.neighbours, feature_size, config.num_labels) if config.neighbours else None
        )
        self.supports_gradient_checkpointing = self.backbone.supports_gradient_checkpointing
        self.post_init()

    @classmethod
    def from_backbone(
        cls,
        name: str,
        weights: str | Path | None = None,
        *,
        id2label: Mapping[int, str] | Sequence[str],
        label_counts: Sequence[int] | None = None,
        **config_kwargs: Any,
    ) -> Self:
        """A new model on a timm backbone, with the backbone's own preprocessing, and pooling where none is given.

        Args:
            name: Name of a timm model.
            weights: ImageNet weights for it, see `ImageBackbone.load_weights`; None leaves it random.
            id2label: Names of the labels, by id or in order.
            label_counts: Training images of each label (C), for the frequency orders.
            **config_kwargs: Further fields of `CnnRnnConfig`.

        Raises:
            ValueError: timm has no such model, the weights do not fit it, or a field is misspelt.
            StrictDataclassError: A field has a wrong value, see `CnnRnnConfig`.
        """
        names = dict(id2label) if isinstance(id2label, Mapping) else dict(enumerate(id2label))
        fields: dict[str, Any] = {
            "backbone": name,
            "id2label": names,
            "label2id": {label: index for index, label in names.items()},
            "label_counts": None if label_counts is None else [int(count) for count in label_counts],
            **(preprocessing_of(name) if timm.is_model(name) else {}),
        }
        if "pooling" not in config_kwargs and timm.is_model(name):
            fields["pooling"] = pooling_of(name, config_kwargs.get("backbone_args"))
        model = cls(CnnRnnConfig(**(fields | config_kwargs)))
        if weights is not None:
            model.backbone.load_weights(weights)
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """The model of a saved folder or Hub name, as in transformers, but of safetensors alone: nothing is unpickled.

        Raises:
            OSError: There are no such weights, or the file is no safetensors.
            ValueError: Some of them are not finite.
        """
        name = args[0] if args else "this model"
        try:
            asked = {"use_safetensors": True, "weights_only": True, "output_loading_info": True}
            model, found = super().from_pretrained(*args, **(kwargs | asked))
        except SafetensorError as error:
            raise OSError(f"the weights of {name} are no safetensors: {error}") from error
        broken = not_finite(model)
        if broken:
            raise ValueError(
                f"{name}: weights are not finite numbers ({', '.join(broken[:3])}), so every label would be a guess; "
                f"take an earlier checkpoint, or dtype=torch.float32 where {model.dtype} is too narrow"
            )
        if model.neighbours is not None and model.neighbours.mend():
            logger.warning(
                "%s remembers %d photos as an earlier version did, which compared them by rounding errors: they are "
                "compared anew; train again to have fitted how much they say",
                name,
                len(model.neighbours.keys),
            )
        model.weights_left_random = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
        return (model, found) if kwargs.get("output_loading_info") else model

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        image_features: Tensor | BaseModelOutputWithPooling | None = None,
        *,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **conditions: Unpack[Conditions],
    ) -> CnnRnnOutput | tuple[Tensor, ...]:
        """Label logits, and the loss where `labels` are given.

        Args:
            pixel_values: Images (B, 3, h, w), preprocessed.
            labels: Multi-hot labels (B, C); a negative value (-100) leaves a label out of the loss.
            image_features: What `encode_images` or `get_image_features` returned, in place of `pixel_values`.
            output_hidden_states: Whether to return the backbone's feature maps; the config's own setting where None.
            return_dict: Whether to return a `CnnRnnOutput`, not a tuple of what it holds; the config's where None.
            **conditions: `known_labels` (B, C), what a person knows: 1 confirmed, -1 ruled out, 0 open. The logits are
                given what is known, and the loss is of the open labels.
        """
        if return_dict is None:
            return_dict = self.config.return_dict
        known_labels = known_labels_of(conditions)
        image = self._look(pixel_values, image_features, output_hidden_states)
        features = self._features(image)
        for given in (labels, known_labels):
            self._check_labels(given, features.shape[0])  # a `len` would fix the batch of an exported model
        check_known(known_labels)
        if labels is not None and known_labels is not None:
            labels = open_labels(labels, known_labels)
        relevance_logits = self._relevance_logits(features, known_labels)
        paths, path_logits = self._follow_labels(features, labels, relevance_logits, known_labels)
        # In training the search is left out where nothing hangs on it.
        training = self.training and (labels is not None or relevance_logits is not None)
        label_scores = None if training else self._label_scores(features, relevance_logits, known_labels)
        logits = relevance_logits if training else settle(self.fuse(label_scores, relevance_logits), known_labels)
        loss = None if labels is None else training_loss(self.config, labels, relevance_logits, path_logits, paths)
        output = CnnRnnOutput(loss, logits, image.hidden_states, relevance_logits, path_logits, label_scores)
        if not self.training:
            output.last_hidden_state, output.pooler_output = image.last_hidden_state, image.pooler_output
        return output if return_dict else output.to_tuple()

    @of_instances
    @torch.no_grad()
    def generate(
        self,
        pixel_values: Tensor | None = None,
        beam_width: int | None = None,
        max_path_length: int | None = None,
        min_path_length: int = 0,
        known_labels: Tensor | None = None,
        *,
        image_features: Tensor | BaseModelOutputWithPooling | None = None,
    ) -> CnnRnnGenerateOutput:
        """The most probable label paths of each image, and the label scores of the whole beam.

        Args:
            pixel_values: Images (B, 3, h, w), preprocessed.
            beam_width: K, paths to keep and return; the config's where None.
            max_path_length: T, the most labels on a path; the config's where None.
            min_path_length: The fewest labels on a path, such as k for a top-k protocol.
            known_labels: What a person knows (B, C): 1 confirmed, on every path, in front; -1 ruled out, on none; 0
                open. Paths and label scores are given what is known.
            image_features: What `encode_images` or `get_image_features` returned, in place of `pixel_values`.

        Raises:
            ValueError: The model has no path decoder, or the arguments contradict each other.
        """
        if self.path_decoder is None:
            raise ValueError(
                "this model has no path decoder (path_loss='none'): use forward, whose logits score each label"
            )
        beam_width = self.config.beam_width if beam_width is None else beam_width
        if beam_width > WIDEST_BEAM:
            raise ValueError(f"beam_width must lie in 1..{WIDEST_BEAM}, got {beam_width}")
        features = self._features(self._look(pixel_values, image_features))
        self._check_labels(known_labels, features.shape[0])
        check_known(known_labels)
        constraints = self._constraints(max_path_length, min_path_length)
        relevance_logits = self._relevance_logits(features, known_labels)
        given = Given(relevance_logits, known_labels, self.cooccurrence)
        result = self._walk(features, given, constraints, beam_width)
        logits = settle(self.fuse(result.label_scores, relevance_logits), known_labels)
        return CnnRnnGenerateOutput(**result._asdict(), relevance_logits=relevance_logits, logits=logits)

    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        *,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Tensor, ...]:
        """The image as the backbone sees it, from pixel values (B, 3, h, w).

        Args:
            pixel_values: Images, preprocessed.
            output_hidden_states: Whether to return `hidden_states` too, the feature maps as timm lists them.
            return_dict: Whether to return an output with names, not a tuple of what it holds.

        Returns:
            `last_hidden_state`, the places (B, P, D) of the last feature map, and `pooler_output`, the image features
            (B, D): what the backbone makes of them, or their mean with attention pooling.
        """
        image = self._look(pixel_values, None, output_hidden_states)
        return image if (self.config.return_dict if return_dict is None else return_dict) else image.to_tuple()

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Image features as the heads take them: (B, D), or places (B, P, D) with attention pooling."""
        return self._features(self._look(pixel_values, None))

    def score_alone(self, image_features: Tensor) -> Tensor:
        """What the relevance head says by itself: logits (B, C) of image features as `encode_images` returns them."""
        assert self.relevance_head is not None
        of_places = self.config.relevance_head in HEADS_OF_PLACES
        logits: Tensor = self.relevance_head(image_features if of_places else mean_of_places(image_features))
        return logits

    @property
    def base_model(self) -> nn.Module:
        """The backbone, which those freeze who freeze the base model."""
        return self.backbone

    def get_input_embeddings(self) -> None:
        """None: the model takes images, there is no embedding of tokens."""

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refused: the model takes images.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"the model takes images: it has no token embeddings for {type(value).__name__}")

    def _set_gradient_checkpointing(self, enable: bool = True, **kwargs: Any) -> None:
        """Let timm compute the backbone's activations again in the backward pass, in its own way."""
        del kwargs
        self.backbone.timm_model.set_grad_checkpointing(enable)

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether the backbone computes its activations again; timm marks the part that does, each family another."""
        return any(getattr(part, "grad_checkpointing", False) for part in self.backbone.modules())

    def freeze_backbone(self) -> None:
        """Keep the backbone as it is, its batch statistics included, whatever `train` is told."""
        self.backbone.requires_grad_(requires_grad=False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but leave a frozen backbone in evaluation mode."""
        super().train(mode)
        self.weights_left_random = [] if mode else self.weights_left_random  # they are learned now
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def _look(
        self,
        pixel_values: Tensor | None,
        image_features: Tensor | BaseModelOutputWithPooling | None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """What the backbone sees, or the features that are given in its place."""
        if (pixel_values is None) == (image_features is None):
            raise ValueError("give either pixel_values or image_features")
        if isinstance(image_features, Tensor):
            features = image_features.to(self.dtype)
            places = features if features.dim() == 3 else None
            return BaseModelOutputWithPooling(places, mean_of_places(features))
        if image_features is not None:
            return image_features
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return self.backbone(pixel_values, output_hidden_states=output_hidden_states)

    def _features(self, image: BaseModelOutputWithPooling) -> Tensor:
        """Image features (B, D), or places (B, P, D) for attention."""
        features: Tensor = image.last_hidden_state if self.config.pooling == "attention" else image.pooler_output
        return features

    def _check_labels(self, labels: Tensor | None, batch: int) -> None:
        """Refuse labels of another shape than (B, C)."""
        if labels is not None and labels.shape != (batch, self.num_labels):
            raise ValueError(
                f"labels must be multi-hot of shape ({batch}, {self.num_labels}), a row an image and a column a label, "
                f"got {tuple(labels.shape)}"
            )

    def _relevance_logits(self, features: Tensor, known: Tensor | None) -> Tensor | None:
        """Logits (B, C) of each label by itself, given what is known: the head's, neighbours' and prior's together."""
        if known is not None and self.path_decoder is not None and self.config.known_labels == "prefix":
            logger.warning_once(
                "This model was not trained with known labels (known_labels='prefix'): its walks begin with the "
                "confirmed ones and leave out what is ruled out, but what they say of the other labels may be worse "
                "than without. Train with model.known_labels=state to condition on them."
            )
        if known is not None and all(part is None for part in (self.path_decoder, self.cooccurrence, self.neighbours)):
            logger.warning_once(
                "This model scores every label by itself: what is known changes nothing but its own labels. Train with "
                "model.cooccurrence=true, or with a path, for the others to follow."
            )
        if self.relevance_head is None:
            return None
        logits = self.score_alone(features)
        if self.neighbours is not None and not self.training:
            logits = self.neighbours(mean_of_places(features), logits, known)
        if self.cooccurrence is not None and known is not None:
            logits = logits + self.cooccurrence(known, "relevance")
        return logits

    def _follow_labels(
        self, features: Tensor, labels: Tensor | None, relevance_logits: Tensor | None, known: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The true paths (B, T) and the logits (B, T, C + 1) of their steps; None without `labels` or path decoder."""
        if labels is None or self.path_decoder is None:
            return None, None
        paths = self._target_paths(features, labels)
        given = Given(relevance_logits, known, self.cooccurrence)
        return paths, self.path_decoder.score_paths(features, paths, given)

    def _label_scores(self, features: Tensor, relevance_logits: Tensor | None, known: Tensor | None) -> Tensor | None:
        """Probability (B, C) that the image's path holds each label; None where it is not fused."""
        if self.config.fusion == "relevance":
            return None
        given = Given(relevance_logits, known, self.cooccurrence)
        return self._walk(features, given, self._constraints(), self.config.beam_width).label_scores

    def _walk(self, features: Tensor, given: Given, constraints: Constraints, beam_width: int) -> BeamSearchResult:
        """The most probable paths, on each of them what is confirmed.

        Raises:
            ValueError: More labels are confirmed than a path can hold.
        """
        known = given.known
        assert self.path_decoder is not None
        if known is None:
            return self.path_decoder.search(features, constraints, beam_width, given)
        taken, longest = (known > 0).sum(dim=-1), constraints.max_path_length
        if not torch.compiler.is_compiling() and int(taken.max()) > longest:
            raise ValueError(
                f"{int(taken.max())} labels are confirmed, but a path holds at most {longest}: raise max_path_length"
            )
        if self.config.known_labels == "prefix":
            constraints.allowed, constraints.prefix = known >= 0, self._target_paths(features, known)[:, :-1]
            return self.path_decoder.search(features, constraints, beam_width, replace(given, known=None))
        constraints.allowed, constraints.taken = known == 0, taken
        result = self.path_decoder.search(features, constraints, beam_width, given)
        return begin_with(result, labels_to_paths(known, self._ranks(), longest), known)

    def _ranks(self) -> Tensor:
        """Position (C,) of every label in the configured order, 0 for the first."""
        return rank_labels(self.config.label_order, self.config.label_counts, self.num_labels)

    @torch.no_grad()
    def _target_paths(self, features: Tensor, labels: Tensor) -> Tensor:
        """Paths (B, T + 1) of the labels in the configured order, END-padded."""
        if self.config.label_order != "aligned":
            return labels_to_paths(labels, self._ranks())
        # The order that the model prefers: its own greedy walk over the labels, which may end only when none is left.
        longest = int((labels > 0).sum(-1).max())
        paths = labels.new_full((len(labels), longest + 1), self.num_labels, dtype=torch.long)
        if longest:
            assert self.path_decoder is not None
            walk = Constraints(self.num_labels, longest, min_path_length=longest, allowed=labels > 0)
            paths[:, :-1] = self.path_decoder.search(features, walk, beam_width=1).paths[:, 0]
        return paths

    def _constraints(self, max_path_length: int | None = None, min_path_length: int = 0) -> Constraints:
        """What holds of a path: its least and greatest length, neither beyond the number of labels."""
        longest = self.config.max_path_length if max_path_length is None else max_path_length
        # No path is longer than the labels there are.
        longest = min(longest, self.num_labels)
        return Constraints(self.num_labels, longest, min_path_length=min(min_path_length, self.num_labels))

    def fuse(self, label_scores: Tensor | None, relevance_logits: Tensor | None) -> Tensor:
        """Label logits (B, C) from the path's label scores and the relevance logits."""
        assert self.config.fusion_weights is not None
        path_weight, relevance_weight, bias = self.config.fusion_weights
        terms = []
        if self.config.fusion != "relevance":
            assert label_scores is not None
            terms.append(path_weight * path_log_odds(label_scores))
        if self.config.fusion != "path":
            assert relevance_logits is not None
            # Half precision would be coarser than the path's part, and is no type of numpy's.
            exact = torch.promote_types(relevance_logits.dtype, torch.float32)
            terms.append(relevance_weight * relevance_logits.to(exact))
        return torch.stack(terms).sum(dim=0) + bias

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Give fresh values to one module; values loaded from a checkpoint stay (`transformers.initialization`)."""
        if isinstance(module, nn.LSTM | nn.GRU | ReluLstm):
            for name, parameter in module.named_parameters():
                if "bias" in name:
                    initialization.zeros_(parameter)
                elif "hidden_gates" in name or "weight_hh" in name:
                    initialization.orthogonal_(parameter)
                else:
                    initialization.xavier_uniform_(parameter)
        elif isinstance(module, nn.Embedding):
            initialization.normal_(module.weight, std=module.embedding_dim**-0.5)
        elif isinstance(module, nn.Linear):
            initialization.xavier_uniform_(module.weight)
            if module.bias is not None:
                initialization.zeros_(module.bias)
        elif isinstance(module, CooccurrencePrior | NeighbourMemory | LearnedWeight):
            module.initialize()

    def initialize_weights(self) -> None:
        """Give fresh values to all that has none yet; the backbone's are timm's own."""
        super().initialize_weights()
        self.backbone.initialize_missing()


def mean_of_places(features: Tensor) -> Tensor:
    """Image features (B, D) of the places (B, P, D) of a feature map, or as they are."""
    return features.mean(dim=1) if features.dim() == 3 else features


def path_log_odds(label_scores: Tensor) -> Tensor:
    """Log odds of the path's label scores, finite also for certain ones."""
    return torch.logit(label_scores, eps=SMALLEST_SCORE)


CnnRnnForImageClassification.register_for_auto_class("AutoModelForImageClassification")
