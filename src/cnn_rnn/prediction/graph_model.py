"""A saved model as a graph that onnxruntime runs, with numpy alone: backbone, search, fusion and what is known.

The graph holds no weights: they are read from the model's own file, so they lie on the disk once.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.foundation.silent_onnxruntime import load_onnxruntime

from .kept_graphs import (
    SETTINGS,
    WEIGHTS,
    cores,
    digest_of_folder,
    graph_name,
    key_of_graph,
    own_graph,
    shipped_graph,
)
from .stored_weights import stored_weights

logger = logging.getLogger(__name__)

NEW_GRAPH = "install the package again, or make the graph by scripts/bundled/make_graph.py"
PREFIX = "model."  # of the weights' names in the graph
OF_CLASSES = f"{PREFIX}backbone.classifier.bias"  # a number for each class of which features hold the certainty
FOR_FEW = {"session.disable_prepacking": "1"}


class NeedsTorchError(ValueError):
    """What was asked for the graph cannot do; the message says what."""


@dataclass(frozen=True)
class GraphConfig:
    """What of a model's config whoever asks its graph must know, under the same names."""

    fields: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        """A field as the config holds it."""
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"the config of this graph has no {name}") from None

    @cached_property
    def label_names(self) -> list[str]:
        """Names of the labels, in order."""
        return list(self.id2label.values())

    @cached_property
    def id2label(self) -> dict[int, str]:
        """Names of the labels by id."""
        return {index: name for index, (_, name) in enumerate(sorted(self._names(), key=lambda one: one[0]))}

    @cached_property
    def label2id(self) -> dict[str, int]:
        """Ids of the labels by name."""
        return {name: index for index, name in self.id2label.items()}

    def _names(self) -> list[tuple[int, str]]:
        """Ids and names as the config holds them."""
        return [(int(index), name) for index, name in self.fields["id2label"].items()]

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return len(self.id2label)

    @property
    def has_path_decoder(self) -> bool:
        """Whether the model walks from label to label."""
        return bool(self.fields["path_loss"] != "none")


class GraphModel:
    """A saved model in onnxruntime.

    Args:
        graph: What `export_model_graph` made.
        folder: Of the model, where its weights lie.
        few: Whether few images come, for which nothing is prepared that costs time and memory before the first.
        threads: That work on a batch; as many as there are cores where None.

    Raises:
        NeedsTorchError: The graph is of other weights, or this version of onnxruntime does not take it.
    """

    def __init__(self, graph: bytes, folder: Path, *, few: bool = False, threads: int | None = None) -> None:
        onnxruntime = load_onnxruntime()
        self.few, self.threads = few, threads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of how it optimises its own graph, of which nobody can mend anything
        options.intra_op_num_threads = threads or cores()
        if few:
            options.enable_cpu_mem_arena = False
            for name, value in FOR_FEW.items():
                options.add_session_config_entry(name, value)
        # Held as long as the session, which reads them where they are.
        self.weights = _weights_in(graph, folder)
        options.add_external_initializers(list(self.weights), list(self.weights.values()))
        disabled = {"disabled_optimizers": ["ConstantFolding"]} if few else {}
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(graph, options, providers=providers, **disabled)
        told = self.session.get_modelmeta().custom_metadata_map
        self.config = GraphConfig(json.loads(told["config"]))
        self.folder, self.preprocessing = folder, json.loads(told["preprocessing"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.takes_known = len(self.session.get_inputs()) > 1

    @property
    def certainties(self) -> int:
        """How many of the features, the last of them, are certainties of a classifier's classes."""
        return int(self.weights[OF_CLASSES].shape()[0]) if self.config.pooling == "classes" else 0

    @classmethod
    def find(cls, name: str | Path, **options: Any) -> Self | None:
        """The model of a folder or a Hub name, if there is a graph of it that may be run; None where there is none.

        Args:
            name: The folder or the name.
            **options: As the class takes them.
        """
        folder = folder_of(name)
        graph = None if folder is None else find_graph(str(name), folder)
        return None if folder is None or graph is None else cls(graph, folder, **options)

    @classmethod
    def of(cls, graph: bytes, name: str | Path, **options: Any) -> Self:
        """The model of a folder or a Hub name that was loaded before, by its graph; options as the class takes them."""
        folder = folder_of(name)
        assert folder is not None
        return cls(graph, folder, **options)

    def __call__(
        self, pixel_values: NDArray[np.float32], known_labels: NDArray[np.int64] | None = None
    ) -> dict[str, NDArray[Any]]:
        """`logits` (B, C), `features` (B, D) and, with a path decoder, paths and their scores as of `generate`.

        Args:
            pixel_values: Images (B, 3, h, w), preprocessed.
            known_labels: What is known (B, C): 1 confirmed, -1 ruled out, 0 open; None for nothing.

        Raises:
            NeedsTorchError: Something is known, and the graph does not take that in.
        """
        inputs: dict[str, Any] = {"pixel_values": np.ascontiguousarray(pixel_values, np.float32)}
        if self.takes_known:
            nothing = (len(pixel_values), self.config.num_labels)
            inputs["known_labels"] = np.zeros(nothing, np.int64) if known_labels is None else known_labels
        elif known_labels is not None and known_labels.any():
            raise NeedsTorchError("the graph of a model that was not trained with known labels takes none in")
        return dict(zip(self.outputs, self.session.run(self.outputs, inputs), strict=True))


def find_graph(name: str, folder: Path) -> bytes | None:
    """The graph that may be run of the model of a name, whose files lie in the folder."""
    digest = digest_of_folder(folder)
    shipped = shipped_graph(digest)
    if shipped is not None:
        return shipped
    found = own_graph(name, *key_of_graph(digest))
    if found is not None:
        return found[1]
    for stale in folder.glob(graph_name("*")):
        logger.warning(
            "%s is of other weights or settings than %s has now: it is not run; %s", stale, folder, NEW_GRAPH
        )
    return None


def folder_of(name: str | Path) -> Path | None:
    """The folder of a saved model with all that a graph of it follows from; None where it is not there or not whole."""
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            kept = try_to_load_from_cache(str(name), SETTINGS[0])
        except HFValidationError:
            return None
        if not isinstance(kept, str):
            return None
        folder = Path(kept).parent
    return folder if all((folder / file).is_file() for file in (*SETTINGS, WEIGHTS)) else None


def _weights_in(graph: bytes, folder: Path) -> dict[str, Any]:
    """The weights of a model's file that a graph leaves open, by their names there, in the type that it computes in."""
    onnxruntime = load_onnxruntime()
    # By their names in the bytes: to parse the graph would take the package onnx, which labelling does without.
    named = set(re.findall(rb"model\.[\w.]+", graph))
    return {
        f"{PREFIX}{key}": onnxruntime.OrtValue.ortvalue_from_numpy(value)
        for key, value in stored_weights(folder / WEIGHTS)
        if f"{PREFIX}{key}".encode() in named
    }
