"""The whole model as one ONNX graph: backbone, beam search and fusion, for any batch size.

The search is one loop that is left where all walks have ended, and no weight stands in the file twice. Images come
normalised or as bytes. An int8 copy changes scores a little: measure it before you rely on it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnn_rnn.foundation.heeded_interrupts import heeding_interrupts
from cnn_rnn.foundation.silent_onnxruntime import load_onnxruntime
from cnn_rnn.foundation.whole_files import whole_file
from cnn_rnn.prediction.exported_model import ExportedModel

AMONG_CONVOLUTIONS = ["Conv", "Clip", "Relu", "Add"]  # what computes in 8 bits: less would go back and forth
LARGE_WEIGHTS = 1 << 12  # entries from which on a tensor is worth halving
LARGEST_HALF = float(np.finfo(np.float16).max)


@heeding_interrupts()
def export_onnx(model: Any, path: str | Path, *, known_labels: bool = False, uint8: bool = False) -> Path:
    """Write the model as an ONNX file, whole or not at all; its labels and thresholds are in the file's metadata.

    Args:
        model: A `CnnRnnForImageClassification`.
        path: The file; its folder is made where it is missing.
        known_labels: Whether the graph has a second input, `known_labels` (B, C) int64, zero where nothing is known.
        uint8: Whether `pixel_values` are bytes (B, 3, h, w), resized and cropped; else they are normalised, too.

    Raises:
        ValueError: The model was not trained to take in known labels.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    if known_labels and model.config.known_labels != "state":
        raise ValueError(
            "this model was not trained to take in known labels (known_labels='prefix'): export it without them, or "
            "train with model.known_labels=state"
        )

    path = Path(path)
    program = ExportedModel(model, uint8=uint8).eval().export(known_labels=known_labels)
    ClearMetadataAndDocStringPass()(program.model)  # where in the source each node comes from, longer than most weights
    graph = program.model_proto
    onnx.helper.set_model_props(graph, metadata_of(model.config))
    onnx.checker.check_model(graph, full_check=True)
    with whole_file(path) as temporary:
        onnx.save(graph, temporary)
    return path


def metadata_of(config: Any) -> dict[str, str]:
    """What whoever runs the graph without this package must know: labels, thresholds and preprocessing, as JSON."""
    told = {
        "labels": config.label_names,
        "thresholds": config.thresholds or [0.5] * config.num_labels,
        "label_rules": config.label_rules,
        "image_size": config.image_size,
        "crop_pct": config.crop_pct,
        "crop_mode": config.crop_mode,
        "interpolation": config.interpolation,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
    }
    return {name: json.dumps(value) for name, value in told.items()}


@heeding_interrupts()
def quantize_onnx(source: str | Path, path: str | Path, calibration: Tensor | None = None) -> Path:
    """Write a copy of an exported model with weights in 8 bits, whole or not at all.

    With images to calibrate on, convolutions, and what stands between them, compute in 8 bits, a scale for each
    channel; the weights of all else are kept in 16 bits, and compute in 32. Without them, the weights of matrix
    products alone are kept in 8 bits, which shrinks backbones of such (VGG's fc layers, vision transformers):
    convolutions without calibration ruin the model (on the digits test split they took an EfficientNet's mAP from 90.9
    to 33.8). The recurrent layer never computes in 8 bits: that took CF1 by path from 83.2 to 62.5.

    Args:
        source: What `export_onnx` wrote.
        path: The file.
        calibration: Images (N, 3, h, w) as the graph takes them, some dozens like those to come; None for none.

    Raises:
        ValueError: The copy is no smaller; none is written then.
    """
    load_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = Path(path)
    with tempfile.TemporaryDirectory() as folder, whole_file(path) as temporary:
        prepared = Path(folder) / "prepared.onnx"
        # Constants are folded already; folding more would lay a weight down in several forms.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True, skip_optimization=True)
        if calibration is None:
            quantize_dynamic(
                str(prepared), str(temporary), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
            )
        else:
            with np.errstate(invalid="ignore"):  # ranges are taken of the search's scores of -inf too, for nothing
                quantize_static(
                    str(prepared),
                    str(temporary),
                    _Calibration(prepared, calibration),
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    op_types_to_quantize=AMONG_CONVOLUTIONS,
                    nodes_to_exclude=_after_convolutions(prepared),
                )
        _halve_weights(Path(temporary))
        size, whole = (Path(file).stat().st_size for file in (temporary, source))
        if size >= whole:
            raise ValueError(
                f"{path.name} would have {size:,} bytes and {Path(source).name} has {whole:,}: a copy in 8 bits saves "
                "nothing here; leave --int8 out"
            )
    return path


def _after_convolutions(path: Path) -> list[str]:
    """Names of the nodes that no convolution follows from: heads, search and fusion."""
    import onnx

    nodes = onnx.load(path).graph.node
    makers = {output: node for node in nodes for output in node.output}
    before: set[str] = set()
    open_names = [name for node in nodes if node.op_type == "Conv" for name in node.output]
    while open_names:
        maker = makers.get(open_names.pop())
        if maker is not None and maker.name not in before:
            before.add(maker.name)
            open_names += maker.input
    return [node.name for node in nodes if node.name not in before]


def _halve_weights(path: Path) -> None:
    """Keep large weights in 16 bits; onnxruntime makes 32 of them once, when it loads the graph."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= LARGE_WEIGHTS and np.abs(values).max() < LARGEST_HALF:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.save(model, path)


class _Calibration:
    """Images for onnxruntime's calibration, some at a time, of which nothing is known.

    Args:
        graph: The file that is calibrated.
        images: As `quantize_onnx` takes them.
    """

    def __init__(self, graph: Path, images: Tensor) -> None:
        import onnx

        self.batches = iter(images.split(8))
        self.known = [entry for entry in onnx.load(graph).graph.input if entry.name == "known_labels"]

    def get_next(self) -> dict[str, Any] | None:
        """The next inputs; None after the last."""
        batch = next(self.batches, None)
        if batch is None:
            return None
        nothing = {
            entry.name: torch.zeros(len(batch), entry.type.tensor_type.shape.dim[1].dim_value, dtype=torch.long).numpy()
            for entry in self.known
        }
        return {"pixel_values": batch.numpy(), **nothing}


class OnnxModel:
    """An exported model in onnxruntime."""

    def __init__(self, path: str | Path) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of how it optimises its own graph, of which nobody can mend anything
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(metadata["labels"])
        self.takes_bytes = self.session.get_inputs()[0].type == "tensor(uint8)"
        self.mean, self.std = (
            255 * torch.tensor(json.loads(metadata[name]))[:, None, None] for name in ("image_mean", "image_std")
        )

    def __call__(self, pixel_values: Tensor, known_labels: Tensor | None = None) -> dict[str, Tensor]:
        """The outputs by name for images (B, 3, h, w), given what is known (B, C) where the graph takes that in.

        Images are bytes, resized and cropped, or normalised, too: a graph that takes bytes is given them again.
        """
        if self.takes_bytes and pixel_values.is_floating_point():
            pixel_values = (pixel_values * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)
        names = [output.name for output in self.session.get_outputs()]
        inputs = {"pixel_values": pixel_values.numpy()}
        if len(self.session.get_inputs()) > 1:
            nothing = torch.zeros(len(pixel_values), len(self.labels), dtype=torch.long)
            inputs["known_labels"] = (nothing if known_labels is None else known_labels.long()).numpy()
        values = self.session.run(names, inputs)
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
