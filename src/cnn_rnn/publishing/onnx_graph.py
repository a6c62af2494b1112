"""The whole model as one ONNX graph: backbone, beam search and fusion, for any batch size.

The search is unrolled over as many steps as a path can have, so the graph holds no loop. An int8 copy keeps the
weights of matrix products in 8 bits, which changes scores a little: measure it before you rely on it.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnn_rnn.whole_files import whole_file

OPSET = 20
OUTPUTS = ("logits", "paths", "path_scores")


class ExportedModel(nn.Module):
    """What the graph computes: `logits` (B, C), `paths` (B, K, T) and `path_scores` (B, K) of `pixel_values`.

    A model without a path decoder has `logits` alone.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out."""
        return OUTPUTS if self.model.config.has_path_decoder else OUTPUTS[:1]

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of their names."""
        model = self.model
        output = model.generate(pixel_values) if model.config.has_path_decoder else model(pixel_values)
        return tuple(output[name] for name in self.outputs)


def export_onnx(model: Any, path: str | Path) -> Path:
    """Write the model as an ONNX file, whole or not at all; its labels and thresholds are in the file's metadata.

    Args:
        model: A `CnnRnnForImageClassification`.
        path: The file; its folder is made where it is missing.
    """
    import onnx

    path = Path(path)
    exported = ExportedModel(model).eval()
    size = model.config.image_size
    example = torch.zeros(3, 3, size, size)  # a batch of one would become a constant of the graph
    with warnings.catch_warnings():
        # torch warns of its own exporter's use of what will change, of which nobody here can mend anything.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exported,
            (example,),
            input_names=["pixel_values"],
            output_names=list(exported.outputs),
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
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
        "image_size": config.image_size,
        "crop_pct": config.crop_pct,
        "crop_mode": config.crop_mode,
        "interpolation": config.interpolation,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
    }
    return {name: json.dumps(value) for name, value in told.items()}


def quantize_onnx(source: str | Path, path: str | Path) -> Path:
    """Write a copy of an exported model with the weights of its matrix products in 8 bits, whole or not at all.

    That shrinks backbones of matrix products (VGG's fc layers, vision transformers) and costs them little. Convolutions
    and recurrent cells keep their precision, because quantized without calibration they ruin the model: on the digits
    test split, an EfficientNet's convolutions in 8 bits took mAP from 90.9 to 33.8, the LSTM's took CF1 by path from
    83.2 to 62.5, while the matrix products left them at 90.9 and 83.1.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = Path(path)
    with tempfile.TemporaryDirectory() as folder, whole_file(path) as temporary:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)  # folds constants, so weights are seen
        quantize_dynamic(
            str(prepared), str(temporary), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
        )
    return path


class OnnxModel:
    """An exported model in onnxruntime.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(metadata["labels"])

    def __call__(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """The outputs by name for images (B, 3, h, w)."""
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(names, {"pixel_values": pixel_values.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
