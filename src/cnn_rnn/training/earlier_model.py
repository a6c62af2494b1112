"""Going on from a model of one's own: backbone, decoder and head as they were, rows of labels matched by name."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.label_rules import LabelRules, rules_among
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction import checked_config

from .run_config import MODEL_KEYS

logger = logging.getLogger(__name__)


@dataclass
class Adoption:
    """What a new model took over from an earlier one.

    Attributes:
        source: The earlier model's folder or Hub name.
        kept: Labels of both.
        new: Labels of the new one alone, which start fresh.
        dropped: Labels of the earlier one alone.
        fresh: Tensors that the earlier model has not, or in another shape.
    """

    source: str
    kept: list[str]
    new: list[str]
    dropped: list[str]
    fresh: list[str] = field(default_factory=list)

    def table(self) -> str:
        """What was taken over, for people."""
        rows = (("kept by name", self.kept), ("new, start fresh", self.new), ("dropped", self.dropped))
        lines = [f"{what:<18} {len(names):>6,}  {abbreviate(names)}" for what, names in rows]
        if self.fresh:
            lines.append(f"{'fresh tensors':<18} {len(self.fresh):>6,}  {abbreviate(self.fresh)}")
        return "\n".join([f"weights of {self.source}: labels", *lines])


def earlier_settings(source: str, label_names: Sequence[str]) -> dict[str, Any]:
    """What an earlier model's config says that a run's `model` block can say, so that only changes need be given.

    Args:
        source: The earlier model's folder or Hub name.
        label_names: The labels of the run, among which its rules hold further.

    Raises:
        OSError: There is no such model.
        ValueError: It is another kind of model.
    """
    config = _config_of(source)
    fields = config.to_dict()
    rules = LabelRules.of(config.label_rules, config.label_names)
    fields |= {} if rules is None else {"label_rules": rules_among(rules, label_names) or None}
    return {key: fields[key] for key in MODEL_KEYS if key in fields and key not in {"weights", "fusion_weights"}}


def adopt_weights(model: CnnRnnForImageClassification, source: str) -> Adoption:
    """Give a new model the weights of an earlier one, as far as both have them.

    Raises:
        OSError: There is no such model.
        ValueError: It is another kind of model, or has another backbone.
    """
    config = _config_of(source)
    if config.backbone != model.config.backbone:
        raise ValueError(
            f"model.weights {source} has the backbone {config.backbone!r}, this run {model.config.backbone!r}: give "
            f"--model.backbone {config.backbone}"
        )
    earlier = CnnRnnForImageClassification.from_pretrained(source)
    before, now = config.label_names, model.config.label_names
    pairs = _same_names(before, now)
    state, given = model.state_dict(), earlier.state_dict()
    axes, fresh = _label_axes(model.config), []
    with torch.no_grad():
        for name, tensor in state.items():
            old = given.get(name)
            if old is None or not _take_over(tensor, old, axes[name], pairs, (len(before), len(now))):
                fresh.append(name)
    if model.config.fusion == config.fusion and not fresh:
        model.config.fusion_weights = config.fusion_weights
    adoption = Adoption(
        source,
        [before[old] for old, _ in pairs],
        [name for name in now if name not in before],
        [name for name in before if name not in now],
        fresh,
    )
    logger.info(adoption.table())
    return adoption


def _config_of(source: str) -> CnnRnnConfig:
    """The configuration of the earlier model; FileNotFoundError where its folder holds no finished one."""
    path = Path(source)
    if path.is_dir() and not (path / "config.json").is_file():
        stopped = (
            " (the run was stopped before its end: --resume auto goes on with it)" * (path / "checkpoints").is_dir()
        )
        raise FileNotFoundError(f"model.weights {source} holds no finished model, no config.json{stopped}")
    return checked_config(source)


def _same_names(before: Sequence[str], now: Sequence[str]) -> list[tuple[int, int]]:
    """The places of labels that are there before and now, as pairs."""
    places = {name: index for index, name in enumerate(now)}
    return [(index, places[name]) for index, name in enumerate(before) if name in places]


def _label_axes(config: CnnRnnConfig) -> dict[str, list[int]]:
    """The axes of each tensor that grow with the number of labels, found by building the model with one label more."""
    shapes = []
    for count in (config.num_labels, config.num_labels + 1):
        names = {index: str(index) for index in range(count)}
        fields = config.to_dict() | {"id2label": names, "label2id": {name: index for index, name in names.items()}}
        fields |= {"label_counts": None, "counted_images": None, "thresholds": None, "label_rules": None}
        with torch.device("meta"):
            model = CnnRnnForImageClassification(CnnRnnConfig(**fields))
        shapes.append({name: tensor.shape for name, tensor in model.state_dict().items()})
    return {
        name: [axis for axis, (one, more) in enumerate(zip(shape, shapes[1][name], strict=True)) if one != more]
        for name, shape in shapes[0].items()
    }


def _take_over(
    new: Tensor, old: Tensor, axes: Sequence[int], pairs: Sequence[tuple[int, int]], counts: tuple[int, int]
) -> bool:
    """Copy a tensor, along the axes of labels by name; what comes after the labels there (END, START) stays after.

    Returns:
        Whether the two fit.
    """
    if new.dim() != old.dim():
        return False
    sources, targets = [], []
    for axis, (size, old_size) in enumerate(zip(new.shape, old.shape, strict=True)):
        places = [(index, index) for index in range(size)]
        if axis in axes:
            # What comes after the labels, as far as the tensor has it: END and START.
            further = size - counts[1]
            places = [*pairs, *((counts[0] + index, counts[1] + index) for index in range(further))]
            if old_size != counts[0] + further:
                return False
        elif size != old_size:
            return False
        sources.append(torch.tensor([here for here, _ in places], dtype=torch.long))
        targets.append(torch.tensor([there for _, there in places], dtype=torch.long))
    if axes:
        new[torch.meshgrid(*targets, indexing="ij")] = old[torch.meshgrid(*sources, indexing="ij")]
    else:
        new.copy_(old)
    return True
