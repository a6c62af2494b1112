"""The model: a CNN sees the image once, a path decoder walks from label to label, a head scores each label alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .beam_search import BeamSearchResult
from .configuration_checks import HEADS_OF_PLACES
from .configuration_cnn_rnn import CnnRnnConfig
from .cooccurrence import CooccurrencePrior
from .fusion import fuse_parts
from .image_backbone import ImageBackbone, config_on, features_of, mean_of_places, see
from .known_labels import Conditions, Known, check_multi_hot, known_labels_of
from .label_answers import NO_SET_WEIGHTS, check_whole
from .label_rules import LabelRules
from .losses import training_loss
from .model_outputs import CnnRnnGenerateOutput, CnnRnnOutput
from .nearest_names import naming_nearest
from .neighbours import NeighbourMemory
from .path_decoder import PathDecoder
from .relevance_head import head_of_config
from .timm_backed_model import TimmBackedModel, of_instances
from .walking import Walker
from .whole_sets import WeighedSets, weigh_sets

if TYPE_CHECKING:  # never run: whoever saves the model saves what it imports, and the config names this file too
    from .pipeline_cnn_rnn import MultiLabelImageClassificationPipeline  # noqa: F401


class CnnRnnForImageClassification(TimmBackedModel):
    """Multi-label image classifier that reads the labels of an image as a path (Wang et al., CVPR 2016).

    A saved one comes from `from_pretrained`, a new one on a timm backbone from `from_backbone`. `forward` gives label
    logits, whose sigmoid is each label's probability, and `generate` the paths.

    Args:
        config: What it is, see `CnnRnnConfig`; all weights are random.
    """

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
        config.validate()  # transformers sets arguments of `from_pretrained` after the config's own check
        self.num_labels = len(config.label_names)
        self.weights_left_random: list[str] = []  # that a checkpoint did not hold
        self.rules = LabelRules.of_config(config)
        self.backbone = ImageBackbone(
            config.backbone, config.pooling, config.backbone_args, class_tokens=config.class_tokens
        )
        feature_size = self.backbone.num_features
        self.path_decoder = PathDecoder.of_config(config, feature_size) if config.has_path_decoder else None
        self.relevance_head = head_of_config(config, feature_size)
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
        model = cls(config_on(name, id2label, label_counts, config_kwargs))
        if weights is not None:
            model.backbone.load_weights(weights, getattr(model.relevance_head, "classifier", None))
        return model

    @naming_nearest(*sorted(Conditions.__optional_keys__))
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
        known_labels = known_labels_of(conditions)
        image = self.see(pixel_values, image_features, output_hidden_states)  # I of section 3.1
        features = features_of(image, self.config.pooling)
        known = Known.of(known_labels, self.config, features, self.rules)
        check_multi_hot(labels, features.shape[0], self.num_labels)
        labels = known.open(labels)
        alone = self.relevance(features, known)  # beside the paper, as all that is known
        relevance = known.obey(alone)  # by the rules between labels: what walks and answers go by
        paths, steps = self.walker.follow(labels, features, relevance, known)  # 3.2's order; s(t) of 3.1
        # In training the search is left out where nothing hangs on it.
        searched = not self.training or (labels is None and relevance is None)
        scores = None
        if searched and self.config.fusion != "relevance":
            scores = self.walker.search(features, relevance, known).label_scores  # of 3.4's whole beam
        # What the loss judges: with rules, a label that is present by those below it that are present too.
        judged = relevance if labels is None else known.obey(alone, labels)
        logits = known.settle(self.fuse(scores, relevance)) if searched else judged
        # Section 3.3: the cross-entropy of every step, with the loss of each label by itself.
        loss = None if labels is None else training_loss(self.config, labels, judged, steps, paths, known=known)
        told = judged if self.training else relevance
        output = CnnRnnOutput(loss, logits, image.hidden_states, told, steps, scores)
        if not self.training:
            output.last_hidden_state, output.pooler_output = image.last_hidden_state, image.pooler_output
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def see(
        self,
        pixel_values: Tensor | None,
        image_features: Tensor | BaseModelOutputWithPooling | None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """What the backbone sees, or the features that are given in its place."""
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return see(self.backbone, pixel_values, image_features, output_hidden_states=asked, dtype=self.dtype)

    def relevance(self, features: Tensor, known: Known) -> Tensor | None:
        """Logits (B, C) of each label by itself, given what is known: the head's, neighbours' and prior's together."""
        if self.relevance_head is None:
            return None
        logits = self.score_alone(features)
        if self.neighbours is not None and not self.training:
            logits = self.neighbours(mean_of_places(features), logits, known.labels)
        if self.cooccurrence is not None and known.labels is not None:
            logits = logits + self.cooccurrence(known.labels, "relevance")
        return logits

    @property
    def walker(self) -> Walker:
        """What walks from label to label."""
        return Walker(self.config, self.path_decoder, self.cooccurrence, self.rules)

    def fuse(self, label_scores: Tensor | None, relevance_logits: Tensor | None) -> Tensor:
        """Label logits (B, C) that obey the rules, from the path's label scores and the relevance logits."""
        return fuse_parts(self.config, label_scores, relevance_logits, self.rules)

    @of_instances
    @torch.no_grad()
    @naming_nearest()
    def generate(
        self,
        pixel_values: Tensor | None = None,
        beam_width: int | None = None,
        max_path_length: int | None = None,
        min_path_length: int = 0,
        known_labels: Tensor | None = None,
        *,
        image_features: Tensor | BaseModelOutputWithPooling | None = None,
        sets: bool = False,
    ) -> CnnRnnGenerateOutput:
        """The most probable label paths of each image, and the label scores of the whole beam.

        Args:
            pixel_values: Images (B, 3, h, w), preprocessed.
            beam_width: K, paths to keep and return; the config's where None.
            max_path_length: T, the most labels on a path; the config's where None.
            min_path_length: The fewest labels on a path while any label is left, such as k for a top-k protocol.
            known_labels: What a person knows (B, C): 1 confirmed, the first on every path; -1 ruled out, on none; 0
                open. Paths and label scores are given what is known.
            image_features: What `encode_images` or `get_image_features` returned, in place of `pixel_values`.
            sets: Whether to weigh whole sets, too, by the config's `set_weights`, and return the best of each image.

        Raises:
            ValueError: The model has no path decoder, sets are to be weighed and no weights were fitted, or an
                argument is out of its range or contradicts another.
        """
        lengths = {"max_path_length": max_path_length, "min_path_length": min_path_length}
        for argument, value in ({"beam_width": beam_width} | lengths).items():
            check_whole(argument, value)
        if self.path_decoder is None:
            raise ValueError(
                "this model has no path decoder (path_loss='none'): use forward, whose logits score each label"
            )
        weights = self.config.set_weights
        if sets and weights is None:
            raise ValueError(NO_SET_WEIGHTS)
        image = self.see(pixel_values, image_features)
        features = features_of(image, self.config.pooling)
        known = Known.of(known_labels, self.config, features, self.rules)
        relevance = known.obey(self.relevance(features, known))
        result = self.walker.search(
            features,
            relevance,
            known,
            beam_width=beam_width,
            max_path_length=max_path_length,
            min_path_length=min_path_length,
        )
        logits = known.settle(self.fuse(result.label_scores, relevance))
        output = CnnRnnGenerateOutput(**result._asdict(), relevance_logits=relevance, logits=logits)
        if sets and weights is not None:
            output.sets = self.weigh_sets(features, relevance, known, result, logits).best(weights)
        return output

    @torch.no_grad()
    def weigh_sets(
        self, features: Tensor, relevance: Tensor | None, known: Known, result: BeamSearchResult, logits: Tensor
    ) -> WeighedSets:
        """Candidates for the set of each image and what is to be said of them, where a search has been.

        Args:
            features: Image features as `encode_images` returns them.
            relevance: Logits (B, C) of each label by itself, or None.
            known: What is known of the images.
            result: What the search gave.
            logits: Label logits (B, C) given what is known.
        """
        least = self.config.thresholds
        return weigh_sets(self.walker, features, relevance, known, result=result, logits=logits, thresholds=least)

    @naming_nearest()
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
        image = self.see(pixel_values, None, output_hidden_states)
        return image if (self.config.return_dict if return_dict is None else return_dict) else image.to_tuple()

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Image features as the heads take them: (B, D), or places (B, P, D) with attention pooling."""
        return features_of(self.see(pixel_values, None), self.config.pooling)

    def score_alone(self, image_features: Tensor) -> Tensor:
        """What the relevance head says by itself: logits (B, C) of image features as `encode_images` returns them."""
        assert self.relevance_head is not None
        of_places = self.config.relevance_head in HEADS_OF_PLACES
        logits: Tensor = self.relevance_head(image_features if of_places else mean_of_places(image_features))
        return logits


CnnRnnForImageClassification.register_for_auto_class("AutoModelForImageClassification")
