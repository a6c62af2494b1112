"""The graph of a saved model, made once by torch, that predicts without it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnn_rnn.foundation.hub_errors import first_line
from cnn_rnn.foundation.provenance import settings_of
from cnn_rnn.image_backbone import mean_of_places
from cnn_rnn.pixel_values import PixelValues

from .exported_model import OUTPUTS, ExportedModel
from .graph_model import PREFIX, GraphModel, find_graph, folder_of
from .kept_graphs import WEIGHTS, digest_of_folder, graph_name, keep_graph, key_of_graph
from .onnx_engine import UnfitGraphError, choose_engine
from .saved_model import SavedModel, checked_processor
from .stored_weights import stored_weights

logger = logging.getLogger(__name__)

PROBABILITY_TOLERANCE = 1e-4  # of probabilities, on noise: what rounding alone explains


def made_graph(name: str) -> bytes:
    """The graph of a saved model that has none yet, made by torch and kept with its others.

    Args:
        name: The folder or the Hub name.

    Raises:
        ImportError: Something that exports is not installed.
        UnfitGraphError: It cannot be exported, or the graph answers something else.
        ValueError: It is no such model.
        OSError: There is none.
    """
    choose_engine("onnx", torch.device("cpu"))
    return graph_of(SavedModel.load(name).model, name)


def write_shipped_graph(folder: Path) -> Path:
    """The file of the graph of a model that is to ship with the package, written beside it in place of earlier ones.

    Raises:
        UnfitGraphError: It cannot be exported, or the graph answers something else.
    """
    content = weightless_graph(SavedModel.load(folder).model, folder)
    path = folder / graph_name(digest_of_folder(folder))
    for earlier in folder.glob(graph_name("*")):
        earlier.unlink()
    path.write_bytes(content)
    return path


def graph_of(model: Any, name: str) -> bytes:
    """The graph of a saved model, made and kept if there is none.

    Args:
        model: A `CnnRnnForImageClassification` in evaluation mode, on the CPU, as it was loaded from there.
        name: The folder or the Hub name that it came from.

    Raises:
        UnfitGraphError: It cannot be exported, or the graph answers something else.
    """
    folder = folder_of(name)
    if folder is None:
        raise UnfitGraphError(f"{name} has no single {WEIGHTS} for a graph to read weights from")
    found = find_graph(name, folder)
    if found is not None:
        return found
    logger.warning("%s is exported to onnxruntime, once: that takes half a minute", name)
    content = weightless_graph(model, folder)
    keep_graph(content, name, *key_of_graph(digest_of_folder(folder)))
    return content


def weightless_graph(model: Any, folder: Path) -> bytes:
    """The graph of a saved model without its weights, which `GraphModel` reads from the model's own file.

    Raises:
        UnfitGraphError: It cannot be exported, or the graph answers something else.
    """
    config = model.config
    known = config.known_labels == "state" or not config.has_path_decoder
    exported = ExportedModel(model, outputs=(*OUTPUTS, "step_scores", "features")).eval()
    try:
        preprocessing = settings_of(checked_processor(folder))
        PixelValues(preprocessing)  # refuses steps that torch alone does
        fields = config.to_dict() | {"_name_or_path": ""}  # a graph may travel: where the model lay is no one's concern
        told = {"config": json.dumps(fields), "preprocessing": json.dumps(preprocessing)}
        program = exported.export(known_labels=known, optimize=False)
        stored = {f"{PREFIX}{key}": value for key, value in stored_weights(folder / WEIGHTS)}
        content = _without_weights(program.model, stored, told)
        _refuse_other_answers(GraphModel(content, folder), model)
    except UnfitGraphError:
        raise
    except Exception as error:  # the exporter raises many kinds
        raise UnfitGraphError(f"{config.backbone} cannot be exported: {first_line(error)}") from error
    return content


def _without_weights(graph: Any, stored: Mapping[str, Any], told: Mapping[str, str]) -> bytes:
    """A graph (of onnx_ir) as bytes, with a word on itself, in which the weights that are stored elsewhere are open."""
    import onnx
    import onnx_ir
    from onnx_ir.passes import common
    from onnxscript import optimizer

    # Functions are taken apart first: the passes below look at the nodes of the graph itself.
    optimizer.inline(graph)
    # Of weights nothing is worked out beforehand: that would be other weights, to be stored once more.
    optimizer.fold_constants(
        graph,
        should_fold=lambda node: (
            None if not any(one is not None and one.name in stored for one in node.inputs) else False
        ),
    )
    for each in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        each(graph)
    made = onnx_ir.to_proto(graph)
    onnx.helper.set_model_props(made, dict(told))
    del made.graph.value_info[:]  # shapes in between, which onnxruntime works out itself
    for tensor in made.graph.initializer:
        if tensor.name not in stored:
            continue
        value = onnx.numpy_helper.to_array(tensor)
        if not np.array_equal(stored[tensor.name].astype(value.dtype), value):
            raise UnfitGraphError(f"{tensor.name} is not what {WEIGHTS} holds")
        kept = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        kept.data_location = onnx.TensorProto.EXTERNAL
        kept.external_data.add(key="location", value=WEIGHTS)
        tensor.CopyFrom(kept)
    content: bytes = made.SerializeToString()
    return content


@torch.no_grad()
def _refuse_other_answers(graph: GraphModel, model: Any) -> None:
    """Refuse a graph that answers something else than the model."""
    size = model.config.image_size
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    # Several and one: a graph that holds on to the batch of its example would show it.
    for batch in (pixels, pixels[:1]):
        expected = model(batch).logits.sigmoid()
        difference = float((torch.from_numpy(graph(batch.numpy())["logits"]).sigmoid() - expected).abs().max())
        if not difference < PROBABILITY_TOLERANCE:  # so that NaN is refused too
            raise UnfitGraphError(f"{model.config.backbone} by onnxruntime differs from torch by {difference:.1e}")


@torch.no_grad()
def outputs_by_torch(
    model: Any, pixel_values: Any, known: Any, beam_width: int | None, *, sets: bool = False
) -> dict[str, Any]:
    """What a graph gives, by the model itself: `logits`, `features` and, with a path decoder, paths and `sets`."""
    given = None if known is None else torch.from_numpy(known)
    features = model.encode_images(torch.from_numpy(pixel_values))
    found = {"features": mean_of_places(features).numpy()}
    if not model.config.has_path_decoder:
        return found | {"logits": model(image_features=features, known_labels=given).logits.numpy()}
    output = model.generate(image_features=features, beam_width=beam_width, known_labels=given, sets=sets)
    names = (*OUTPUTS, "step_scores", *(("sets",) if sets else ()))
    return found | {name: output[name].numpy() for name in names}
