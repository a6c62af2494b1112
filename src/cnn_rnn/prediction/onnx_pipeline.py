"""The pipeline of a saved model by its graph: it takes and gives what the one by torch does, without torch.

What a graph cannot do (whole sets, another beam width, known labels of a model that was not trained with them) torch
does, which is loaded for it then.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.given_images import AT_ONCE, images_of, read_image
from cnn_rnn.label_answers import Decision, LabelAnswers, Threshold, check_whole
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.nearest_names import arguments_of, check_arguments, naming_nearest
from cnn_rnn.pixel_values import PixelValues

from .graph_model import GraphModel
from .kept_graphs import Engine


class OneByOne:
    """Images of a sequence that are read when their turn comes."""

    def __init__(self, images: Sequence[Any]) -> None:
        self.images = images


class CnnRnnOnnx:
    """The pipeline of a saved model in onnxruntime; it takes what the pipeline takes, and gives the same rows.

    Args:
        model: The model's graph.
        name: The folder or the Hub name that it came from.
        batch_size: As the pipeline takes it.
        **arguments: Of the pipeline, such as `threshold`, `top_k` and `return_path`.

    Raises:
        ValueError: An argument is wrong.
        TypeError: There is no such argument; the message names the nearest.
    """

    free = True  # a batch needs no other thread: any number of them is worked on side by side

    def __init__(self, model: GraphModel, name: str, *, batch_size: int | None = None, **arguments: Any) -> None:
        check_batch_size(batch_size)
        self.model, self.name, self.batch_size = model, name, batch_size
        self.prepare = PixelValues(model.preprocessing)
        self.config = model.config
        ruled = model.config.fields.get("label_rules")  # newer than some configs
        self.answers = LabelAnswers(model.config, LabelRules.of_config(model.config) if ruled else None)
        self.arguments = CallArguments(self.answers, **arguments).given
        self.torch: Any = None

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, few: bool = False, threads: int | None = None, **arguments: Any
    ) -> Self:
        """The pipeline of a folder or a Hub name, on the CPU; its graph is made by torch where there is none yet.

        Args:
            name: The folder or the name.
            few: As `GraphModel` takes it.
            threads: As `GraphModel` takes it.
            **arguments: Of the pipeline, such as `threshold`, `top_k`, `return_path` and `batch_size`.

        Raises:
            ImportError: onnxruntime, or what exports to it, is not installed.
            UnfitGraphError: The model cannot be exported.
            ValueError: An argument is wrong, or it is another kind of model.
            TypeError: There is no such argument; the message names the nearest.
            OSError: There is no such model.
        """
        check_arguments(arguments, [*arguments_of(CallArguments), "batch_size", "few", "threads"])
        options: dict[str, Any] = {"few": few, "threads": threads}
        model = GraphModel.find(name, **options)
        if model is None:
            from .graph_making import made_graph

            model = GraphModel.of(made_graph(str(name)), name, **options)
        return cls(model, str(name), **arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """How a copy is made, here or in another process: from the same folder, as a session cannot be copied."""
        start = {"batch_size": self.batch_size, **self.arguments, "few": self.model.few, "threads": self.model.threads}
        return partial(CnnRnnOnnx.from_pretrained, self.name, **start), ()

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **arguments: Any) -> Any:
        """The labels of an image; a list of them for many, an iterator for a generator.

        Args:
            inputs: One or many, as the pipeline takes them.
            batch_size: Images that the model sees at once; where not given 16 of what can be counted, 1 of a stream.
            **arguments: As `MultiLabelImageClassificationPipeline` takes them, such as `threshold`, `top_k`, `known`,
                `decision`, `ask` and `return_path`; others than those of the start for this call alone.

        Raises:
            ValueError: An argument is wrong, or an image cannot be read.
            TypeError: There is no such argument; the message names the nearest.
        """
        asked = CallArguments(self.answers, **(self.arguments | arguments))
        inputs = images_of(inputs, OneByOne)
        many = isinstance(inputs, list | OneByOne | Iterator) and not hasattr(inputs, "read")
        images = inputs.images if isinstance(inputs, OneByOne) else inputs if many else [inputs]
        check_batch_size(batch_size)
        at_once = batch_size or self.batch_size or (1 if isinstance(inputs, Iterator) else AT_ONCE)
        rows = self._rows(images, at_once, asked)
        if not many:
            return next(rows)
        return rows if isinstance(inputs, Iterator) else list(rows)

    def _rows(self, images: Any, at_once: int, asked: "CallArguments") -> Iterator[Any]:
        """What is answered for each image, as it is asked for."""
        images = iter(images)
        while some := list(islice(images, at_once)):
            pixels = np.stack([self.prepare(read_image(image, asked.timeout)) for image in some])
            known = None if asked.known is None else np.repeat(asked.known[None], len(pixels), axis=0)
            outputs = self.forward(pixels, known, beam_width=asked.beam_width, sets=asked.choice["decision"] == "set")
            yield from (self.postprocess(outputs, row, **asked.choice) for row in range(len(pixels)))

    def forward(
        self,
        pixel_values: NDArray[np.float32],
        known: NDArray[np.int64] | None,
        *,
        beam_width: int | None = None,
        sets: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """`logits` (B, C) of pixel values (B, 3, h, w), given what is known (B, C), their features and paths.

        Whole `sets` are weighed where asked for.
        """
        config = self.config
        other_width = beam_width not in {None, config.beam_width}
        takes = self.model.takes_known or known is None or not known.any()
        by_graph = takes and not other_width and not sets
        outputs = self.model(pixel_values, known) if by_graph else self._by_torch(pixel_values, known, beam_width, sets)
        if not np.isfinite(outputs["logits"]).all():
            raise ValueError("the model's logits are no finite numbers: its weights, or its preprocessing, are broken")
        return outputs

    @property
    def certainties(self) -> int:
        """How many of the features, the last of them, are certainties of a classifier's classes."""
        return self.model.certainties

    def look(
        self, pixel_values: NDArray[np.float32], known: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (B, D) and `logits` (B, C), given what is known (B, C)."""
        outputs = self.forward(pixel_values, known if known.any() else None)
        return outputs["features"], outputs["logits"]

    def postprocess(self, outputs: Mapping[str, NDArray[Any]], row: int, **choice: Any) -> Any:
        """The labels that are chosen of one image of a batch, as the pipeline gives them."""
        scores = 1 / (1 + np.exp(-outputs["logits"][row].astype(np.float32)))
        walk = {name: values[row] for name, values in outputs.items() if name != "logits"}
        return self.answers.choose(scores, walk, **choice)

    def _by_torch(
        self, pixel_values: NDArray[np.float32], known: NDArray[np.int64] | None, beam_width: int | None, sets: bool
    ) -> Any:
        """What the model says by torch; ImportError, which says what asked for it, where that is not installed."""
        try:
            from .graph_making import outputs_by_torch
        except ModuleNotFoundError as error:
            asked = "decision='set'" if sets else "another beam_width" if beam_width else "known, of this model,"
            raise ImportError(f"{asked} is not in a graph, but in torch: pip install torch, or leave it out") from error

        if self.torch is None:
            from .saved_model import SavedModel

            self.torch = SavedModel.load(self.name).model
        return outputs_by_torch(self.torch, pixel_values, known, beam_width, sets=sets)


def check_batch_size(batch_size: int | None) -> None:
    """Refuse a number of images that is none.

    Raises:
        ValueError: It is no whole number, or below 1.
    """
    check_whole("batch_size", batch_size)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


class CallArguments:
    """The arguments of a call of the pipeline, checked by what the model answers, and sorted.

    Raises:
        ValueError: One is wrong.
        TypeError: There is no such argument; the message names the nearest.
    """

    @naming_nearest("batch_size")
    def __init__(
        self,
        answers: LabelAnswers,
        /,
        *,
        timeout: float | None = None,
        known: Mapping[str, bool] | None = None,
        beam_width: int | None = None,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        return_path: bool | None = None,
        decision: Decision | None = None,
        ask: bool | None = None,
    ) -> None:
        answers.check(threshold, top_k, beam_width, decision, timeout, return_path=return_path, ask=ask)
        self.timeout, self.beam_width = timeout, beam_width
        self.known = None if known is None else answers.known(known)
        self.choice: dict[str, Any] = {
            "threshold": threshold,
            "top_k": top_k,
            "return_path": bool(return_path),
            "decision": decision,
            "ask": bool(ask),
        }
        self.given = {"timeout": timeout, "beam_width": beam_width, **self.choice, "known": known}
        self.choice["known"] = self.known


def pipeline_for_few(model: str, engine: Engine, threshold: float | None) -> tuple[Any, str]:
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
