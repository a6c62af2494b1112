"""The pipeline for a few photos whose labels are printed, loaded as quickly as can be."""

import importlib.util
from typing import Any, Literal

from .graph_model import GraphModel
from .onnx_pipeline import CnnRnnOnnx


def pipeline_for_few(model: str, engine: Literal["auto", "torch", "onnx"], threshold: float | None) -> tuple[Any, str]:
    """The pipeline for a few photos: by the model's graph where there is one, else by torch; and what to say of it.

    With "auto" none is made: exporting takes longer than a few photos.

    Raises:
        ImportError, ValueError, OSError: As `CnnRnnOnnx.from_pretrained` and `open_pipeline` raise them.
    """
    if engine == "onnx":
        return CnnRnnOnnx.from_pretrained(model, few=True, threshold=threshold), "engine onnx on cpu"
    if engine == "auto" and importlib.util.find_spec("onnxruntime") is not None:
        found = GraphModel.find(model, few=True)
        if found is not None:
            return CnnRnnOnnx(found, model, threshold=threshold), ""
    from .worker import open_pipeline

    return open_pipeline(model, threshold=threshold), ""
