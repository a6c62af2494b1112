"""Any timm model as the CNN that sees the image once."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .backbone_weights import classifier_weights, find_weights, fit_weights, published_weights, read_weights
from .configuration_cnn_rnn import CnnRnnConfig, labels_by_id, whole_counts
from .nearest_names import did_you_mean

logger = logging.getLogger(__name__)
POOLED_BY = ("avg", "max")  # timm's own names for them
TRAINED_POOLING = ("token", "map")  # timm's names for a class token, and for attention over the places
DOUBT = math.log(1e4)  # log probabilities over it are of the size of the features beside them
REGIONS = 5  # at most so many in a row of a square map: of ten a quarter of the work, and as good on held-out photos


class ImageBackbone(nn.Module):
    """Image features of a timm model: a vector (B, D), or places (B, P, D) where a decoder attends over the map.

    Args:
        name: Name of a timm model.
        pooling: "avg" or "max" for a vector, with whatever layers the model has after its pooling (VGG's fc7, say);
            "own" for the vector that the model was trained to give, be it of a class token (DINOv2) or of a pooling
            that attends (SigLIP 2); "attention" for the places of the last feature map; "classes" for their mean and,
            beside it, how certain the model's own classifier is of each of its classes (K) at the region that shows it
            best: of a whole image it is certain of one thing, and region by region it finds the others.
        backbone_args: Further arguments for `timm.create_model`.
        class_tokens: Whether a transformer's class tokens and registers, which see all of the image, are among the
            places.

    Raises:
        ValueError: timm has no such model, it cannot be built as asked, or was trained without a classifier.
    """

    def __init__(
        self,
        name: str,
        pooling: str = "avg",
        backbone_args: Mapping[str, Any] | None = None,
        *,
        class_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.class_tokens = class_tokens
        self.pooled = pooling != "attention"
        self.timm_arguments = {
            "num_classes": 0,
            **({"global_pool": pooling} if pooling in POOLED_BY else {}),
            **(backbone_args or {}),
        }
        self.timm_model = self._create()
        self.channels_innermost = False
        pooled_size = getattr(self.timm_model, "head_hidden_size", None) or self.timm_model.num_features
        self.num_features = int(pooled_size if self.pooled else self.timm_model.num_features)
        # Built on the meta device a model holds no values; else timm has given it its own, and they must stay.
        self.holds_values = not any(tensor.is_meta for tensor in self.timm_model.parameters())
        if self.holds_values:
            for module in self.modules():
                setattr(module, "_is_hf_initialized", True)  # noqa: B010 - transformers' mark for "leave this as it is"
        self.classifier: nn.Linear | None = None
        self.num_certainties = number_of_classes(name, "pooling='classes'") if pooling == "classes" else 0
        if self.num_certainties:  # K, the last of the features
            self.classifier = nn.Linear(self.num_features, self.num_certainties).requires_grad_(requires_grad=False)
            self.num_features += self.num_certainties

    @property
    def supports_gradient_checkpointing(self) -> bool:
        """Whether timm can compute this model's activations again in the backward pass."""
        try:
            self.timm_model.set_grad_checkpointing(enable=True)
            self.timm_model.set_grad_checkpointing(enable=False)
        except (AttributeError, AssertionError):  # some models have the method, and refuse when asked
            return False
        return True

    def _create(self) -> Any:
        """A new timm model with timm's own random weights; nothing is fetched."""
        if not timm.is_model(self.name):
            known = timm.list_models()
            hint = did_you_mean(self.name, known, most=3, cutoff=0.4, otherwise="timm.list_models() names all of them")
            raise ValueError(f"timm {timm.__version__} has no model {self.name!r}; {hint}")
        try:
            return timm.create_model(self.name, pretrained=False, **self.timm_arguments)
        except (TypeError, AssertionError, RuntimeError) as error:
            arguments = {key: value for key, value in self.timm_arguments.items() if key != "num_classes"}
            raise ValueError(f"timm cannot build {self.name!r} with {arguments}: {error}") from error

    def forward(self, pixel_values: Tensor, *, output_hidden_states: bool = False) -> BaseModelOutputWithPooling:
        """What the CNN sees in pixel values (B, 3, h, w), taken in the type of its weights.

        Args:
            pixel_values: Images, preprocessed.
            output_hidden_states: Whether to return `hidden_states`, the feature maps on the way, as timm lists them.

        Returns:
            `last_hidden_state`, the places (B, P, D) of the last feature map, and `pooler_output` (B, D): what the
            model makes of them, or their mean for attention.

        Raises:
            ValueError: They are no preprocessed images, or this backbone has not what was asked for: hidden states, or
                places to attend over.
        """
        if not isinstance(pixel_values, Tensor):
            raise TypeError(
                f"pixel_values must be preprocessed images (B, 3, h, w), got {type(pixel_values).__name__}: "
                "take what the image processor returns with return_tensors='pt'"
            )
        if not pixel_values.is_floating_point() or pixel_values.dim() != 4:
            raise ValueError(
                f"pixel_values must be preprocessed images, fractions of shape (B, 3, h, w), got "
                f"{tuple(pixel_values.shape)} of {pixel_values.dtype}: take what the image processor returns"
            )
        pixel_values = pixel_values.to(next(self.timm_model.parameters()).dtype)
        if pixel_values.is_cpu and not (self.training or torch.compiler.is_compiling()):
            # On a CPU convolutions are faster with the channels innermost; a single image's only if weights are so too.
            innermost = self.channels_innermost or len(pixel_values) > 1
            layout = torch.channels_last if innermost else torch.contiguous_format
            pixel_values = pixel_values.contiguous(memory_format=layout)
        hidden_states = None
        if output_hidden_states:
            if not hasattr(self.timm_model, "forward_intermediates"):
                raise ValueError(f"timm's {self.name} does not offer its hidden states: leave output_hidden_states out")
            feature_map, maps = self.timm_model.forward_intermediates(pixel_values)
            hidden_states = tuple(maps)
        else:
            feature_map = self.timm_model.forward_features(pixel_values)
        places = self._places(feature_map) if isinstance(feature_map, Tensor) else None
        if places is None and (self.classifier is not None or not self.pooled):  # CrossViT, say, keeps two
            raise ValueError(f"timm's {self.name} has no single feature map to attend over: set pooling='avg'")
        if self.pooled:
            pooled = self.timm_model.forward_head(feature_map, pre_logits=True)
        else:
            assert places is not None
            pooled = places.mean(dim=1)
        if self.classifier is not None and places is not None:
            pooled = torch.cat([pooled, self._best_of_regions(places)], dim=-1)
        return BaseModelOutputWithPooling(places, pooled, hidden_states)

    def _best_of_regions(self, places: Tensor) -> Tensor:
        """The certainty (B, K) of each class, 0 for one in 10,000, at the best region of the places (B, P, D)."""
        assert self.classifier is not None
        regions = regions_of(places)
        # In two dimensions a graph takes the weights as they are stored; in three it keeps them turned as well.
        classes = self.classifier(regions.flatten(0, 1)).log_softmax(dim=-1)
        return 1 + classes.unflatten(0, (-1, regions.shape[1])).amax(dim=1) / DOUBT

    def put_channels_innermost(self) -> None:
        """Lay out the weights of convolutions as a CPU reads them fastest; their values stay.

        A ResNet-50 sees one image in 7 % less time, a VGG-11 in half. Adapted, offloaded and sharded weights stay.
        """
        if all(type(weight) is nn.Parameter and weight.is_cpu for weight in self.timm_model.parameters()):
            self.timm_model.to(memory_format=torch.channels_last)
            self.channels_innermost = True

    def _places(self, feature_map: Tensor) -> Tensor:
        """(B, D, h, w), (B, h, w, D) or (B, P, D), as timm's families have it -> (B, P, D).

        Class tokens and registers stand before the places.
        """
        if feature_map.dim() == 3:
            return feature_map[:, 0 if self.class_tokens else getattr(self.timm_model, "num_prefix_tokens", 0) :]
        channels_first = feature_map.shape[1] == self.timm_model.num_features
        return feature_map.flatten(2).mT if channels_first else feature_map.flatten(1, -2)

    def initialize_missing(self) -> None:
        """Give timm's own initial values to what a checkpoint did not hold, buffers that are never saved among them."""
        if self.holds_values:
            return
        tensors = [*self.timm_model.named_parameters(), *self.timm_model.named_buffers()]
        missing = {name: tensor for name, tensor in tensors if not getattr(tensor, "_is_hf_initialized", False)}
        if missing:
            fresh = self._create()
            values = dict(fresh.named_parameters()) | dict(fresh.named_buffers())
            with torch.no_grad():
                for name, tensor in missing.items():
                    tensor.copy_(values[name])
        self.holds_values = True

    def load_weights(self, weights: str | Path, classifier: nn.Linear | None = None) -> None:
        """Load ImageNet weights, all of them or none.

        Args:
            weights: "imagenet" for those that timm names (fetched from the hub or its cache), "pip:NAME" for the
                weights file inside an installed package, else the path of a `.safetensors` file or of a published
                PyTorch file, which is read without unpickling objects.
            classifier: What is to have the weights of the classifier that follows the features too, if not the
                backbone's own.

        Raises:
            ValueError: The file's tensors do not fit this backbone, or it holds no classifier.
            FileNotFoundError: There is no such file or package, or the hub cannot be reached.
        """
        classifier = self.classifier if classifier is None else classifier
        if weights == "imagenet":
            own = {key: value for key, value in self.timm_arguments.items() if key != "num_classes" or not classifier}
            state = published_weights(self.name, self.timm_model.pretrained_cfg.get("hf_hub_id"), own)
        else:
            state = read_weights(find_weights(str(weights)))
        wanted = self.timm_model.state_dict()
        if classifier is not None:
            weight, bias = classifier_weights(state, wanted, str(weights))
            classifier.load_state_dict({"weight": weight, "bias": bias})
        self.timm_model.load_state_dict(fit_weights(state, wanted, str(weights)))


def see(
    backbone: nn.Module,
    pixel_values: Tensor | None,
    image_features: Tensor | BaseModelOutputWithPooling | None = None,
    *,
    output_hidden_states: bool = False,
    dtype: torch.dtype = torch.float32,
) -> BaseModelOutputWithPooling:
    """What a backbone sees in pixel values (B, 3, h, w), or what it has seen in them before.

    Args:
        backbone: An `ImageBackbone`, or what does its work in another engine.
        pixel_values: Images, preprocessed; None where `image_features` are given.
        image_features: What this returned before, or the features that `features_of` took of it.
        output_hidden_states: As `ImageBackbone` takes it.
        dtype: Of what works on: given features are cast to it.

    Raises:
        ValueError: Both are given, or neither.
    """
    if (pixel_values is None) == (image_features is None):
        raise ValueError("give either pixel_values or image_features")
    if image_features is None:
        return backbone(pixel_values, output_hidden_states=output_hidden_states)
    if not isinstance(image_features, Tensor):
        return image_features
    features = image_features.to(dtype)
    return BaseModelOutputWithPooling(features if features.dim() == 3 else None, mean_of_places(features))


def number_of_classes(backbone: str, wanted_by: str) -> int:
    """K, of the classifier that a timm model was trained with.

    Args:
        backbone: Name of the model.
        wanted_by: The setting that needs it.

    Raises:
        ValueError: It was trained without one.
    """
    pretrained = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    classes = 0 if pretrained is None else pretrained.num_classes
    if not classes:
        raise ValueError(f"{wanted_by} needs a classifier, but {backbone} was trained without one")
    return int(classes)


def regions_of(places: Tensor) -> Tensor:
    """Means (B, R, D) of neighbouring places (B, P, D) of a square map; the places themselves of any other."""
    side = math.isqrt(places.shape[1])
    if side * side != places.shape[1] or side <= REGIONS:
        return places
    return F.avg_pool2d(places.mT.unflatten(-1, (side, side)), -(-side // REGIONS), ceil_mode=True).flatten(2).mT


def features_of(image: BaseModelOutputWithPooling, pooling: str) -> Tensor:
    """Image features as heads and decoder take them: (B, D), or places (B, P, D) for attention."""
    features: Tensor = image.last_hidden_state if pooling == "attention" else image.pooler_output
    return features


def mean_of_places(features: Tensor) -> Tensor:
    """Image features (B, D) of the places (B, P, D) of a feature map, or as they are."""
    return features.mean(dim=1) if features.dim() == 3 else features


def preprocessing_of(backbone: str) -> dict[str, Any]:
    """Config fields of the preprocessing that a timm model was trained with."""
    timm_config = timm.get_pretrained_cfg(backbone)
    settings = timm.data.resolve_data_config(pretrained_cfg=timm_config.to_dict() if timm_config else {})
    crop_mode = settings["crop_mode"]
    if crop_mode == "border":
        logger.warning("%s was trained on whole images inside a border; here they are squashed", backbone)
        crop_mode = "squash"
    return {
        "image_size": int(settings["input_size"][-1]),
        "crop_pct": float(settings["crop_pct"]),
        "crop_mode": crop_mode,
        "interpolation": settings["interpolation"],
        "image_mean": [float(value) for value in settings["mean"]],
        "image_std": [float(value) for value in settings["std"]],
    }


def config_on(
    backbone: str,
    id2label: Mapping[int, str] | Sequence[str],
    label_counts: Sequence[int] | None,
    fields: Mapping[str, Any],
) -> CnnRnnConfig:
    """The config of a new model on a timm model: with that one's preprocessing, and its pooling where none is given.

    Args:
        backbone: Name of a timm model.
        id2label: Names of the labels, by id or in order.
        label_counts: Training images of each label (C), for the frequency orders.
        fields: Further fields of the config.
    """
    names = labels_by_id(id2label)
    own: dict[str, Any] = {
        "backbone": backbone,
        "id2label": names,
        "class_tokens": False,
        "label_counts": None if label_counts is None else whole_counts(label_counts),
    }
    if timm.is_model(backbone):  # else the backbone's construction says what is wrong with the name
        own |= preprocessing_of(backbone)
        if "pooling" not in fields:
            own["pooling"] = pooling_of(backbone, fields.get("backbone_args"))
    return CnnRnnConfig(**(own | dict(fields)))


def pooling_of(backbone: str, backbone_args: Mapping[str, Any] | None = None) -> str:
    """How a timm model's places become one vector: their mean; "own" where the model's trained weights allow none.

    Of a class token, or where the model attends over its places itself, the last layers have other weights than the
    mean would need, which nobody has trained.
    """
    with torch.device("meta"):  # nothing is computed
        own = ImageBackbone(backbone, "own", backbone_args).timm_model
        if getattr(own, "global_pool", None) not in TRAINED_POOLING:
            return "avg"
        mean = ImageBackbone(backbone, "avg", backbone_args).timm_model
    return "avg" if own.state_dict().keys() == mean.state_dict().keys() else "own"
