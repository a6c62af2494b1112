"""A saved model whose backbone runs in onnxruntime: on a CPU the same labels in a fraction of the time.

The backbone is nearly all of the work. What comes after it stays as it is, with the walk states that it shares, so
nothing is unrolled. The graph is exported once and kept beside the weights, under a digest of all that it follows from;
other weights have another digest, so an old graph is never taken for theirs. One that no process of this user wrote, as
it may come with a model from elsewhere, is never run: it could say anything.
"""

import importlib.util
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from cnn_rnn.foundation.hub_errors import first_line
from cnn_rnn.foundation.provenance import digest as digest_settings
from cnn_rnn.foundation.provenance import digest_tensors
from cnn_rnn.foundation.silent_onnxruntime import load_onnxruntime
from cnn_rnn.image_backbone import ImageBackbone

from .exported_model import OPSET, export_program
from .kept_graphs import Engine, keep_graph, onnxruntime_version, own_graph
from .torch_engine import PiecewiseBackbone

NEEDED = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4  # of the spread of the features, on noise: what rounding alone explains


class UnfitGraphError(ValueError):
    """The backbone cannot be exported, or its graph does not see what it sees; the message says which."""


class OnnxBackbone(nn.Module):
    """An exported backbone in place of an `ImageBackbone`, in as many threads as torch has.

    Args:
        graph: What `export_backbone` gave.
        backbone: What it was exported from.
        shares_cores: Whether other processes, such as those that read images, have work for the cores meanwhile.
            Otherwise threads wait for each other awake, which sees a single image in less time.
    """

    def __init__(self, graph: bytes, backbone: ImageBackbone, *, shares_cores: bool = False) -> None:
        super().__init__()
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        if shares_cores:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        else:  # awake within a run alone: after it torch has work
            options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.name, self.pooled, self.num_features = backbone.name, backbone.pooled, backbone.num_features
        self.num_certainties = backbone.num_certainties

    def forward(self, pixel_values: Tensor, *, output_hidden_states: bool = False) -> BaseModelOutputWithPooling:
        """The features of pixel values (B, 3, h, w), (B, D) or for attention the places (B, P, D) and their mean.

        Raises:
            ValueError: Hidden states were asked for, which the graph does not hand out.
        """
        if output_hidden_states:
            raise ValueError("a backbone in onnxruntime has no hidden states: load the model by torch for them")
        (values,) = self.session.run(None, {"pixel_values": pixel_values.float().contiguous().numpy()})
        features = torch.from_numpy(values)
        if self.pooled:
            return BaseModelOutputWithPooling(pooler_output=features)
        return BaseModelOutputWithPooling(features, features.mean(dim=1))


class _Features(nn.Module):
    """What the graph computes: the features that the heads take."""

    def __init__(self, backbone: ImageBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pooled features (B, D), or those of places (B, P, D)."""
        seen = self.backbone(pixel_values)
        features: Tensor = seen.pooler_output if self.backbone.pooled else seen.last_hidden_state
        return features


def choose_engine(engine: Engine, device: torch.device) -> Literal["torch", "onnx"]:
    """What runs the backbone: with "auto" onnxruntime where the device is a CPU and all that it needs is installed.

    Raises:
        ImportError: "onnx" was asked for, and something is not installed.
        ValueError: "onnx" was asked for on another device.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if engine == "onnx":
        if missing:
            raise ImportError(f"engine 'onnx' needs {', '.join(missing)}: pip install 'cnn-rnn[export]'")
        if device.type != "cpu":
            raise ValueError(f"engine 'onnx' is for the CPU, the device is {device}: take engine 'torch' there")
        return "onnx"
    return "onnx" if engine == "auto" and device.type == "cpu" and not missing else "torch"


def engine_of(model: Any) -> str:
    """What runs a model's backbone, as what it computes is known by: `torch`, or onnxruntime with its version."""
    return onnxruntime_version() if isinstance(model.backbone, OnnxBackbone) else "torch"


def set_engine(model: Any, name: str, engine: Engine, device: torch.device, *, shares_cores: bool = False) -> str:
    """Let onnxruntime run the model's backbone where that is asked for and can be; returns a sentence that says so.

    With "auto" a backbone that cannot be exported stays in torch, and the sentence says why. By torch on a CPU it sees
    the pieces of a batch side by side. `shares_cores` as `OnnxBackbone` takes it.

    Raises:
        ImportError, ValueError: "onnx" was asked for, and cannot be had.
    """
    reason = ""
    if choose_engine(engine, device) == "onnx":
        try:
            path = use_onnxruntime(model, name, shares_cores=shares_cores)
        except UnfitGraphError as error:
            if engine == "onnx":
                raise
            reason = f": {error}"
        else:
            return f"engine onnx on {device}: {path or 'its graph is not kept'}"
    if device.type == "cpu":
        model.backbone = PiecewiseBackbone(model.backbone)
    return f"engine torch on {device}{reason}"


def use_onnxruntime(model: Any, name: str, *, shares_cores: bool = False) -> Path | None:
    """Put the graph of the model's backbone in the backbone's place, made where it is not there yet.

    Returns the file that keeps it; None where no folder for it can be written to.

    Args:
        model: A `CnnRnnForImageClassification` in evaluation mode, on the CPU.
        name: The folder or the Hub name that it came from.
        shares_cores: As `OnnxBackbone` takes it.

    Raises:
        ImportError: Something is not installed.
        UnfitGraphError: The backbone cannot be exported.
    """
    choose_engine("onnx", torch.device("cpu"))
    digest = digest_of(model)
    file = f"backbone-{digest[:16]}.onnx"
    found = own_graph(name, file, digest)
    if found is None:
        graph = export_backbone(model)
        path = keep_graph(graph, name, file, digest)
    else:
        path, graph = found
    model.backbone = OnnxBackbone(graph, model.backbone, shares_cores=shares_cores)
    return path


def digest_of(model: Any) -> str:
    """A digest of all that the graph of a model's backbone follows from."""
    config = model.config
    told = {name: getattr(config, name) for name in ("backbone", "backbone_args", "pooling", "image_size")}
    return digest_settings(told | {"opset": OPSET, "weights": digest_tensors(model.backbone.state_dict())})


def export_backbone(model: Any) -> bytes:
    """The graph of a model's backbone, which sees what the backbone sees.

    Raises:
        UnfitGraphError: torch cannot export it, or what the graph sees differs.
    """
    import onnx

    size = model.config.image_size
    features = _Features(model.backbone).eval()
    example = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        graph = export_program(features, {"pixel_values": example}, ["features"]).model_proto
        onnx.checker.check_model(graph)
    except Exception as error:  # the exporter raises many kinds
        raise UnfitGraphError(f"{model.config.backbone} cannot be exported: {first_line(error)}") from error
    content: bytes = graph.SerializeToString()
    _refuse_other_features(OnnxBackbone(content, model.backbone), features, example)
    return content


@torch.no_grad()
def _refuse_other_features(graph: OnnxBackbone, features: _Features, example: Tensor) -> None:
    """Refuse a graph that sees something else than the backbone."""
    # Several and one: a graph that holds on to the batch of its example would show it.
    for pixels in (example, example[:1]):
        expected, seen = features(pixels), graph(pixels)
        found = seen.pooler_output if graph.pooled else seen.last_hidden_state
        difference = float((found - expected).abs().max() / expected.std())
        if not difference < TOLERANCE:  # so that NaN is refused too
            raise UnfitGraphError(f"{graph.name} by onnxruntime differs from torch by {difference:.1e} of the spread")
