"""A model at work for those who ask: what one asks is checked, many are seen at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from cnn_rnn.foundation.nearest_names import did_you_mean
from cnn_rnn.foundation.provenance import digest_tensors
from cnn_rnn.prediction.onnx_engine import Engine, set_engine
from cnn_rnn.prediction.worker import open_pipeline

from .decoding import PixelValues
from .questions import next_question
from .refusals import RefusedError

PARAMETERS = ("known", "threshold", "top_k", "decision")


@dataclass(frozen=True)
class Wish:
    """What is asked about one photo, checked.

    Attributes:
        known: 1 confirmed, -1 ruled out, 0 open (1, C).
        choosing: How the pipeline chooses labels.
    """

    known: torch.Tensor
    choosing: Mapping[str, Any]


class ModelAtWork:
    """A saved model behind a server.

    Args:
        classify: Its pipeline.
        name: The folder or Hub name.
        engine: A sentence on what runs it.
        version: What tells its weights from others.
    """

    def __init__(self, classify: Any, name: str, engine: str, version: str) -> None:
        self.classify, self.name, self.engine, self.version = classify, name, engine, version
        self.label_names: list[str] = classify.model.config.label_names
        self.has_path: bool = classify.model.config.has_path_decoder
        self.familiar_from: float = classify.model.config.familiar_from
        thresholds = classify.model.config.thresholds or [0.5] * len(self.label_names)
        self.thresholds: dict[str, float] = dict(zip(self.label_names, thresholds, strict=True))
        self.ids = {label.casefold(): label for label in reversed(self.label_names)}  # other programs write Cat for cat

    def by_torch(self) -> Any:
        """The model itself, for its features."""
        return self.classify.model

    @property
    def told(self) -> str:
        """A sentence on the model."""
        return f"The model {Path(self.name).name} knows {len(self.label_names)} labels."

    @classmethod
    def load(cls, name: str | Path, engine: Engine = "auto") -> Self:
        """The model of a folder or a Hub name, by the engine that `cnn-rnn predict` takes.

        Raises:
            OSError: There is no such model.
            ValueError: It is another kind of model, or cannot run as asked.
            ImportError: "onnx" was asked for, and something is not installed.
        """
        classify = open_pipeline(str(name), "cpu")
        version = f"cnn-rnn-{digest_tensors(classify.model.state_dict())[:8]}"
        told = set_engine(classify.model, str(name), engine, classify.device, shares_cores=True)
        return cls(classify, str(name), told, version)

    def wish(self, parameters: Mapping[str, Any]) -> Wish:
        """What is asked, checked as the pipeline checks it.

        Raises:
            RefusedError: There is no such parameter, label or value; the message names the nearest.
        """
        for name in parameters:
            if name not in PARAMETERS:
                meant = did_you_mean(name, PARAMETERS) or f"there are {', '.join(PARAMETERS)}"
                raise RefusedError(422, f"there is no parameter {name[:60]!r}; {meant}")
        try:
            _, forward, choosing = self.classify._sanitize_parameters(**parameters)  # noqa: SLF001 - its one check
        except (ValueError, TypeError) as error:
            raise RefusedError(422, str(error)) from error
        known = forward.get("known_labels")
        if known is None:
            known = torch.zeros(1, len(self.label_names), dtype=torch.long)
        return Wish(known, choosing)

    def see(self, asked: Sequence[tuple[PixelValues, Wish]]) -> list[dict[str, Any]]:
        """What the pipeline gives for each of some photos, and the next question."""
        known = torch.cat([wish.known for _, wish in asked])
        outputs = self.classify.forward(
            {"pixel_values": torch.from_numpy(np.stack([values for values, _ in asked]))},
            return_path=self.has_path,
            known_labels=known if bool(known.any()) else None,
        )
        return [
            self._answer({name: values[place : place + 1] for name, values in outputs.items()}, wish)
            for place, (_, wish) in enumerate(asked)
        ]

    def _answer(self, outputs: Mapping[str, torch.Tensor], wish: Wish) -> dict[str, Any]:
        """What is said of one photo."""
        found = self.classify.postprocess(outputs, **dict(wish.choosing) | {"return_path": self.has_path})
        answer = found if self.has_path else {"labels": found, "path": [], "path_score": None}
        probabilities = outputs["logits"][0].float().sigmoid().numpy()
        return answer | {"question": next_question(probabilities, wish.known[0].numpy(), self.label_names)}
