"""A model at work for those who ask: what one asks is checked, many are seen at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cnn_rnn.foundation.provenance import digest_file
from cnn_rnn.learning.feature_store import seen_by
from cnn_rnn.learning.learner import Seen
from cnn_rnn.learning.ridge import Floats
from cnn_rnn.nearest_names import did_you_mean
from cnn_rnn.prediction.bulk_prediction import labeller_of
from cnn_rnn.prediction.graph_model import folder_of
from cnn_rnn.prediction.kept_graphs import WEIGHTS, Engine, cores, onnxruntime_version
from cnn_rnn.prediction.onnx_pipeline import CallArguments, CnnRnnOnnx
from cnn_rnn.prediction.worker import JobSettings, opened_by_torch, opened_without_torch
from cnn_rnn.ruled_answers import agreeing

from .decoding import Pixels
from .refusals import RefusedError

PARAMETER_NAMES = ("known", "threshold", "top_k", "decision")


@dataclass(frozen=True)
class Wish:
    """What is asked about one photo, checked.

    Attributes:
        known: 1 confirmed, -1 ruled out, 0 open (C,).
        choosing: How the pipeline chooses labels.
    """

    known: npt.NDArray[np.int64]
    choosing: Mapping[str, Any]


class ModelAtWork:
    """A saved model behind a server, by torch or in onnxruntime.

    Args:
        classify: Its pipeline.
        name: The folder or Hub name.
        engine: A sentence on what runs it.
        known_by: What features and logits of photos are kept by.
    """

    def __init__(self, classify: Any, name: str, engine: str, known_by: str) -> None:
        self.labeller, self.name, self.engine = labeller_of(classify), name, engine
        self.known_by = known_by
        config = self.labeller.config
        self.label_names: list[str] = config.label_names
        self.has_path: bool = config.has_path_decoder
        self.familiar_from: float = config.familiar_from
        thresholds = config.thresholds or [0.5] * len(self.label_names)
        self.thresholds: dict[str, float] = dict(zip(self.label_names, thresholds, strict=True))
        self.ids = {label.casefold(): label for label in reversed(self.label_names)}  # other programs write Cat for cat
        folder = folder_of(name)
        self.version = f"cnn-rnn-{digest_file(folder / WEIGHTS)[:8] if folder else 'model'}"

    @classmethod
    def load(cls, name: str | Path, engine: Engine = "auto") -> Self:
        """The model of a folder or a Hub name, by the engine that `cnn-rnn predict` takes for many photos.

        Raises:
            OSError: There is no such model.
            ValueError: It is another kind of model, or cannot run as asked.
            ImportError: "onnx" was asked for, and something is not installed.
        """
        settings = JobSettings(str(name), "", Path(), engine=engine)
        opened = opened_without_torch(settings) or opened_by_torch(settings, "cpu")
        by = onnxruntime_version() if isinstance(opened.classify, CnnRnnOnnx) else "torch"
        return cls(opened.classify, str(name), opened.engine, seen_by(opened.provenance, by))

    @property
    def preprocessing(self) -> str:
        """The settings of its preprocessing as JSON."""
        if isinstance(self.labeller, CnnRnnOnnx):
            return json.dumps(self.labeller.model.preprocessing)
        from cnn_rnn.foundation.provenance import settings_of

        return json.dumps(settings_of(self.labeller.classify.image_processor))

    @property
    def threads(self) -> int:
        """Batches that can be seen side by side."""
        return cores() if self.labeller.free else 1

    @property
    def told(self) -> str:
        """A sentence on the model."""
        return f"The model {Path(self.name).name} knows {len(self.label_names)} labels."

    def wish(self, parameters: Mapping[str, Any]) -> Wish:
        """What is asked, checked as the pipeline checks it.

        Raises:
            RefusedError: There is no such parameter, label or value; the message names the nearest.
        """
        for name in parameters:
            if name not in PARAMETER_NAMES:
                meant = did_you_mean(name, PARAMETER_NAMES) or f"there are {', '.join(PARAMETER_NAMES)}"
                raise RefusedError(422, f"there is no parameter {name[:60]!r}; {meant}")
        try:
            asked = CallArguments(self.labeller.answers, return_path=self.has_path, ask=True, **parameters)
        except (ValueError, TypeError) as error:
            raise RefusedError(422, str(error)) from error
        known = np.zeros(len(self.label_names), np.int64) if asked.known is None else asked.known
        return Wish(known, asked.choice)

    def see(self, asked: Sequence[tuple[Pixels, Wish]]) -> list[dict[str, Any]]:
        """What the pipeline gives for each of some photos, and the next question."""
        known = np.stack([wish.known for _, wish in asked])
        pixels, told = np.stack([values for values, _ in asked]), known if known.any() else None
        sets = any(wish.choosing["decision"] == "set" for _, wish in asked)
        outputs = self.labeller.forward(pixels, told, sets=sets)
        return [self._answer(outputs, place, wish) for place, (_, wish) in enumerate(asked)]

    def look(self, asked: Sequence[tuple[Pixels, Mapping[str, bool]]]) -> list[Seen]:
        """Features and logits of each of some photos, given which labels of the model are there or not.

        Of answers that the model's rules do not allow together the latest count.
        """
        answers = self.labeller.answers
        known = np.stack([answers.known(agreeing(answers.rules, told)) for _, told in asked])
        features, logits = self.labeller.look(np.stack([values for values, _ in asked]), known)
        return [self.seen(*one) for one in zip(features, logits, strict=True)]

    def seen(self, features: Floats, logits: Floats) -> Seen:
        """What a learner takes of the features (D) and logits (C) of a photo."""
        return Seen(features, logits, certainties=self.labeller.certainties)

    def _answer(self, outputs: Mapping[str, Any], place: int, wish: Wish) -> dict[str, Any]:
        """What is said of one photo of a batch."""
        found: dict[str, Any] = self.labeller.postprocess(outputs, place, **wish.choosing)
        return found if self.has_path else {**found, "path": [], "path_score": None}
