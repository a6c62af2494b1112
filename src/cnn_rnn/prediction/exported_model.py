"""What a whole model's ONNX graph computes: backbone, beam search and fusion, for any batch size."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnn_rnn.foundation.heeded_interrupts import heeding_interrupts
from cnn_rnn.image_backbone import mean_of_places

OPSET = 20
OUTPUTS = ("logits", "paths", "path_scores")
OF_PATHS = frozenset({"paths", "path_scores", "step_scores"})


class ExportedModel(nn.Module):
    """What the graph computes: `logits` (B, C), `paths` (B, K, T) and `path_scores` (B, K) of `pixel_values`.

    A model without a path decoder has no paths. Where asked for, the images' `features` (B, D) come out too, of places
    their mean. What is known (B, C) may come as a second input: 1 confirmed, -1 ruled out, 0 open.

    Args:
        model: A `CnnRnnForImageClassification`.
        uint8: Whether images come as bytes, resized and cropped, and are normalised here.
        outputs: Names of what comes out.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, *, uint8: bool = False, outputs: tuple[str, ...] = OUTPUTS) -> None:
        super().__init__()
        self.model = model
        self.uint8 = uint8
        self.outputs = tuple(name for name in outputs if model.config.has_path_decoder or name not in OF_PATHS)
        self.register_buffer("mean", 255 * torch.tensor(model.config.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(model.config.image_std)[:, None, None], persistent=False)

    def forward(self, pixel_values: Tensor, known_labels: Tensor | None = None) -> tuple[Tensor, ...]:
        """The outputs, in the order of their names."""
        if self.uint8:
            pixel_values = (pixel_values.float() - self.mean) / self.std
        features = self.model.encode_images(pixel_values)
        scores = self.model.generate if self.model.config.has_path_decoder else self.model
        output = {**scores(image_features=features, known_labels=known_labels), "features": mean_of_places(features)}
        return tuple(output[name] for name in self.outputs)

    def export(self, *, known_labels: bool, optimize: bool = True) -> Any:
        """The model as `export_program` gives it; what is known comes as a second input where asked for."""
        size, kind = self.model.config.image_size, torch.uint8 if self.uint8 else torch.float32
        examples = {"pixel_values": torch.zeros(3, 3, size, size, dtype=kind)}
        if known_labels:
            examples["known_labels"] = torch.zeros(3, self.model.config.num_labels, dtype=torch.long)
        return export_program(self, examples, self.outputs, optimize=optimize)


@heeding_interrupts()
def export_program(
    module: nn.Module, examples: Mapping[str, Tensor], outputs: Sequence[str], *, optimize: bool = True
) -> Any:
    """A module as torch's `ONNXProgram`, for any batch size.

    Args:
        module: In evaluation mode.
        examples: Its inputs by name, of some images: a batch of one would become a constant of the graph.
        outputs: Names of what comes out.
        optimize: Whether weights may be folded into others.
    """
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # torch warns of its own exporter's use of what will change, of which nobody here can mend anything.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(examples.values()),
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_shapes={name: {0: batch} for name in examples},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=optimize,
        )
    assert program is not None
    return program
