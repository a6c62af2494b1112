"""What a CNN-RNN model is: typed fields, checked on construction, when a model is built, and on saving."""

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields
from numbers import Integral
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_checks import check_config
from .nearest_names import did_you_mean

logger = logging.getLogger(__name__)

# What transformers' text generators call a field of ours; transformers would take it, and drop it without a word.
ELSEWHERE = {"num_beams": "beam_width"}

# Fusion weights before any are fitted.
UNFITTED_WEIGHTS = {"path": (1.0, 0.0, 0.0), "relevance": (0.0, 1.0, 0.0), "both": (0.5, 0.5, 0.0)}

# What was counted or fitted for the labels that a model has, and means nothing for others.
OF_THE_LABELS = {
    "label_counts": None,
    "counted_images": None,
    "thresholds": None,
    "familiar_from": 0.0,
    "fusion_weights": None,
    "set_weights": None,
    "cooccurrence": False,
    "neighbours": 0,
    "label_rules": None,
}


@strict
class CnnRnnConfig(PreTrainedConfig):
    """Configuration of a `CnnRnnForImageClassification`.

    The defaults are a modern model's; the paper's own setting (Wang et al., CVPR 2016) is `CnnRnnConfig.paper()`.

    Args:
        backbone: Name of a timm model that returns features.
        backbone_args: Further arguments for `timm.create_model`, such as `drop_path_rate`.
        pooling: How the feature map becomes image features: its mean, its maximum, as the backbone itself was trained
            to pool (`own`: SigLIP 2, DINOv2), attention over it at every step, or its mean and, beside it, what the
            backbone's own classifier says of each of its classes at the region that shows it best (`classes`).
        class_tokens: Whether attention also sees a transformer's class tokens and registers, as in checkpoints of
            earlier versions; they are no places, and a new model of `from_backbone` leaves them out.
        embedding_size: E, the joint embedding of image and labels.
        hidden_size: H, the recurrent layer.
        cell: Recurrent cell: the textbook LSTM, a GRU, or the paper's LSTM with ReLU in place of its non-linearities.
        projection_dropout: Dropout on the joint embedding, where the two projections meet.
        label_order: Order in which training walks the labels of an image: by `label_counts`, as their ids are given,
            or `aligned`: the order that the model itself prefers at that moment (order-free).
        label_counts: How many training images show each label (C), for the two frequency orders and balanced losses.
        counted_images: Training images on which these were looked for: one number, or one for each label (C).
        path_loss: Loss of the path: `cross_entropy` of the next label, `remaining_labels` (any label still to come is
            right; it needs the `aligned` order), or `none` for a model without a path decoder, the plain baseline.
        relevance_loss: Loss of the relevance head, or `none` for a model without one, as in the paper; `partial_asl`
            where most labels of a photo are unknown; `db`, the distribution-balanced one, for long tails.
        class_weights: How that loss weighs labels: alike (`none`), or the rare ones more, by one over their training
            images (`inv_freq`) or over the effective number of these (`effective_num`).
        relevance_head: What scores every label by itself: one linear layer, an mlp with one hidden layer, the mlp and
            beside it what the backbone's own classifier says (classes), or the place that shows a label best
            (residual_attention), or timm's ml_decoder, whose label queries attend over the feature map; the last two
            need `pooling` attention.
        implied_by: With `classes`, by label the numbers of the classes that imply it, such as 281 to 285 of ImageNet's
            for a cat; labels that the model has not count for nothing.
        relevance_hidden_size: Units of that hidden layer, or size of the label queries.
        relevance_dropout: Dropout of the mlp, on its features and on its hidden units.
        relevance_in_path: Whether the relevance logits, with a learned weight, are added to the logits of every step.
        known_labels: How a walk takes in what a person knows: as its initial state (`state`, for which training tells
            a random part of the labels of half of the images), or as the labels it begins with (`prefix`,
            without training for it: the other labels may then score worse than before).
        label_rules: What labels imply (`implies`, by label) and which exclude each other (`excludes`, a list of
            groups), by name; in a run's settings also the path of a YAML or JSON file that says so. Targets, scores,
            paths and sets obey them.
        cooccurrence: Whether what labels say of each other by the counts of the training set is added, with learned
            weights, to the step logits and, for known labels, to the relevance logits.
        neighbours: Training images that the model remembers, to carry their labels over to images like them; 0 for
            none. Their features and labels are part of the saved model.
        path_loss_weight: Weight of the path loss in the sum.
        relevance_loss_weight: Weight of the relevance loss in the sum.
        fusion: What `logits` are in evaluation: the path's label scores, the relevance logits, or both, weighted.
        fusion_weights: Slope of the path's log odds, slope of the relevance logits and bias, fitted on held-out data so
            that `logits` are calibrated (a slope is one over a temperature); where None, what is there counts alike.
        beam_width: K, walks kept by the beam search.
        max_path_length: T, the most labels on a path.
        thresholds: Probability from which each label counts as present (C), fitted on held-out data; 0.5 where None.
        set_weights: What counts for a whole set (decision "set"): the log probability of its walks, that of its labels
            taken as independent, and each label in it; fitted on held-out data.
        familiar_from: Probability that the best label of an image must reach; below it an image is like nothing that
            the model was trained on, and no label is named. Fitted on held-out data; 0 says it of no image.
        image_size: Height and width of what the backbone sees, in pixels.
        crop_pct: Share of the resized image's side that the centre crop keeps; above 1 it adds a black border.
        crop_mode: What is resized to `image_size / crop_pct` before the centre crop: the shorter side (center, the ends
            of the longer one are cut off) or both (squash, all of the image is seen, out of shape).
        interpolation: How images are resized.
        image_mean: Mean of each channel, or one number for all, for values in 0..1.
        image_std: Standard deviation of each channel, or one number for all, for values in 0..1.

    Raises:
        ValueError: There is no such field, but one of nearly that name.
        StrictDataclassError: A field has a value that no model can be built from; the message says which and what is
            expected (this class is in huggingface_hub.errors).
    """

    model_type: ClassVar[str] = "cnn_rnn"
    keys_to_ignore_at_inference: ClassVar[list[str]] = [  # all but the logits, which are what the Trainer measures
        *("hidden_states", "relevance_logits", "path_logits", "label_scores", "last_hidden_state", "pooler_output")
    ]
    # The package sets this when it registers its pipeline: then a folder's own copy of that code is not asked for.
    pipeline_registered: ClassVar[bool] = False

    backbone: str = "resnet50"
    backbone_args: dict[str, Any] | None = None
    pooling: Literal["avg", "max", "own", "attention", "classes"] = "avg"
    class_tokens: bool = True
    embedding_size: int = 64
    hidden_size: int = 512
    cell: Literal["lstm", "gru", "relu_lstm"] = "lstm"
    projection_dropout: float | int = 0.5
    label_order: Literal["frequent_first", "rare_first", "given", "aligned"] = "frequent_first"
    label_counts: list[int] | None = None
    counted_images: int | list[int] | None = None
    path_loss: Literal["cross_entropy", "remaining_labels", "none"] = "cross_entropy"
    relevance_loss: Literal["bce", "asl", "db", "partial_asl", "none"] = "bce"
    class_weights: Literal["none", "inv_freq", "effective_num"] = "none"
    relevance_head: Literal["linear", "mlp", "classes", "residual_attention", "ml_decoder"] = "linear"
    implied_by: dict[str, list[int]] | None = None
    relevance_hidden_size: int = 1024
    relevance_dropout: float | int = 0.4
    relevance_in_path: bool = False
    known_labels: Literal["prefix", "state"] = "prefix"
    label_rules: dict[str, Any] | None = None
    cooccurrence: bool = False
    neighbours: int = 0
    path_loss_weight: float | int = 1.0
    relevance_loss_weight: float | int = 1.0
    fusion: Literal["path", "relevance", "both"] = "both"
    fusion_weights: list[float | int] | tuple[float | int, ...] | None = None
    beam_width: int = 4
    max_path_length: int = 20
    thresholds: list[float | int] | None = None
    set_weights: list[float | int] | tuple[float | int, ...] | None = None
    familiar_from: float | int = 0.0
    image_size: int = 224
    crop_pct: float | int = 0.875
    crop_mode: Literal["center", "squash"] = "center"
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bicubic"
    image_mean: list[float | int] | tuple[float | int, ...] | float = (0.485, 0.456, 0.406)
    image_std: list[float | int] | tuple[float | int, ...] | float = (0.229, 0.224, 0.225)
    auto_map: dict[str, str] | None = None

    @classmethod
    def paper(cls, **kwargs: Any) -> "CnnRnnConfig":
        """The paper's own setting (section 4): VGG-16, 64/512, no relevance head, frequent labels first."""
        paper = {"backbone": "vgg16", "cell": "relu_lstm", "relevance_loss": "none", "fusion": "path"}
        return cls(**{**paper, **kwargs})

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse a misspelt field, and fill in what follows from the given ones."""
        # transformers keeps its own and others' keys in the same place, so only what is nearly a field is refused.
        names = [field.name for field in fields(self)]
        for key in kwargs:
            near = did_you_mean(ELSEWHERE.get(key, key), names, cutoff=0.8, shown=repr)
            if near:
                raise ValueError(f"{type(self).__name__} has no field {key!r}; {near}")
        named: Any = self.__dict__.get("id2label")
        if named is None and self.label2id:
            self.id2label = named = {index: label for label, index in self.label2id.items()}
        if named is not None and kwargs.get("num_labels") not in (None, len(named)):
            raise ValueError(f"num_labels is {kwargs['num_labels']}, but {len(named)} labels are named")
        self.problem_type = "multi_label_classification"
        if self.fusion_weights is None:
            self.fusion_weights = UNFITTED_WEIGHTS.get(self.fusion)
        if self.pipeline_registered:
            kwargs.pop("custom_pipelines", None)
        # One class serves both auto classes; `register_for_auto_class` would keep only the last of them.
        self.auto_map = {
            "AutoConfig": "configuration_cnn_rnn.CnnRnnConfig",
            "AutoImageProcessor": "image_processing_cnn_rnn.CnnRnnImageProcessor",
            "AutoModel": "modeling_cnn_rnn.CnnRnnForImageClassification",
            "AutoModelForImageClassification": "modeling_cnn_rnn.CnnRnnForImageClassification",
            **(self.auto_map or {}),
        }
        super().__post_init__(**kwargs)
        self.label2id: dict[str, int] = self.label2id or {label: index for index, label in self.id2label.items()}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The config of a saved one's fields, with changes; labels change first, then what is given for the new ones.

        Raises:
            ValueError: `num_labels` and the names that are given contradict each other.
        """
        id2label, label2id = kwargs.pop("id2label", None), kwargs.pop("label2id", None)
        num_labels = kwargs.pop("num_labels", None)
        if id2label is None and label2id is not None:
            id2label = {index: label for label, index in label2id.items()}
        if id2label is None and num_labels not in (None, len(config_dict.get("id2label") or ())):
            id2label = {index: f"LABEL_{index}" for index in range(num_labels)}
        if id2label is None:
            return super().from_dict(config_dict, **kwargs)
        if num_labels not in (None, len(id2label)):
            raise ValueError(f"num_labels is {num_labels}, but {len(id2label)} labels are named")
        names = {"id2label": id2label} if label2id is None else {"id2label": id2label, "label2id": label2id}
        return super().from_dict(config_dict, **names, **kwargs)

    def __setattr__(self, key: str, value: Any) -> None:
        """Set a field; other labels take away what belonged to the old ones, see `OF_THE_LABELS`."""
        if key in ("image_mean", "image_std") and isinstance(value, int | float):
            value = (value,) * 3
        if key == "label2id" and isinstance(value, Mapping):
            value = {name: _whole(index) for name, index in value.items()}
        if key != "id2label" or value is None:
            super().__setattr__(key, value)
            return
        before = self.__dict__.get("id2label")
        labels = labels_by_id(value)
        super().__setattr__(key, labels)
        if before is not None and before != labels:
            self.label2id = {name: index for index, name in labels.items()}
            self._forget_old_labels()

    def _forget_old_labels(self) -> None:
        """Set what belonged to the old labels back to its initial value, and say so."""
        initial = OF_THE_LABELS | {"fusion_weights": list(UNFITTED_WEIGHTS[self.fusion])}
        old = [name for name, value in initial.items() if getattr(self, name) not in (None, value)]
        for name in old:
            setattr(self, name, initial[name])
        if old:
            logger.warning(
                "the labels changed: %s described the old ones and %s removed; give them again where they still hold",
                ", ".join(old),
                "is" if len(old) == 1 else "are",
            )

    @property
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of their ids."""
        return [self.id2label[index] for index in range(len(self.id2label))]

    @property
    def end_id(self) -> int:
        """Id of END, the sign that closes a path; the labels are 0..end_id-1."""
        return len(self.id2label)

    @property
    def start_id(self) -> int:
        """Id of START, the sign that every path begins with."""
        return len(self.id2label) + 1

    @property
    def has_path_decoder(self) -> bool:
        """Whether the model walks label paths."""
        return self.path_loss != "none"

    @property
    def has_relevance_head(self) -> bool:
        """Whether the model scores every label by itself."""
        return self.relevance_loss != "none"

    def validate_fields(self) -> None:
        """Refuse what no model can be built from."""
        check_config(self)


def labels_by_id(labels: Any) -> dict[int, str]:
    """Names of labels by their ids, of a mapping or of the names in order.

    Raises:
        ValueError: It is neither; a set, say, has no order, and a text would be a label for each letter.
    """
    if isinstance(labels, str | bytes | AbstractSet) or not isinstance(labels, Iterable):
        raise ValueError(  # noqa: TRY004
            f"id2label is {{0: 'cat', 1: 'dog'}}, or the names in order, got {str(labels)[:60]!r}"
        )
    named = labels if isinstance(labels, Mapping) else dict(enumerate(labels))
    by_id = {_whole(index): name for index, name in named.items()}
    for index in by_id:
        if not isinstance(index, int):
            raise ValueError(f"id2label maps ids to names, such as {{0: 'cat'}}, got the id {index!r}")  # noqa: TRY004
    return by_id


def whole_counts(label_counts: Iterable[Any]) -> list[int]:
    """Training images of each label (C) as Python's own numbers, of numbers of any library.

    Raises:
        TypeError: They are by name, not in the order of the labels.
        ValueError: One is no whole number.
    """
    if isinstance(label_counts, Mapping):
        raise TypeError("label_counts are numbers in the order of the labels: give [counts[name] for name in names]")
    for count in (label_counts := list(label_counts)):
        if int(count) != count:
            raise ValueError(f"label_counts are whole numbers of images, got {count!r}")
    return [int(count) for count in label_counts]


def _whole(index: Any) -> Any:
    """Python's own number for one of numpy or a text such as "3", since the keys of JSON are texts; else as it is."""
    return int(index) if isinstance(index, Integral) or (isinstance(index, str) and index.isdecimal()) else index


CnnRnnConfig.register_for_auto_class()
