"""The frozen model behind a learner: what it sees of a photo, and what it says of the labels that it knows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnn_rnn.configuration_checks import LONGEST_PATH
from cnn_rnn.foundation.provenance import Provenance, digest
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.image_backbone import mean_of_places
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.onnx_engine import choose_engine, set_engine

from .learner import Seen
from .ridge import Floats


class Eyes:
    """A saved model whose backbone sees photos; its own labels count unless it starts from nothing.

    Args:
        saved: The model and its preprocessing.
        knows: Whether its labels count.
        encode: Image features of pixel values; the model's own where None.
    """

    def __init__(
        self, saved: SavedModel, *, knows: bool = True, encode: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.saved, self.encode = saved, encode or saved.model.encode_images
        self.label_names: list[str] = list(saved.model.config.label_names) if knows else []
        self.size: int = saved.model.backbone.num_features

    @classmethod
    def load(cls, start: str | Path) -> "Eyes":
        """The eyes of a start: `none`, which sees by the backbone of the model in the box, `bundled`, or a run.

        Raises:
            OSError: There is no such model.
            ValueError: It is another kind of model.
        """
        boxed = str(start) in {"none", "bundled"}
        saved = SavedModel.load(bundled_model() if boxed else start)
        if choose_engine("auto", torch.device("cpu")) == "onnx":
            set_engine(saved.model, saved.name, "auto", torch.device("cpu"))
        return cls(saved, knows=str(start) != "none")

    @property
    def digest(self) -> str:
        """A digest of all that features and logits depend on beside the photo."""
        provenance = Provenance.of_model if self.label_names else Provenance.of_features
        return digest(provenance(self.saved.model, self.saved.processor).__dict__)[:32]

    @torch.inference_mode()
    def look(self, photo: Any) -> Seen:
        """A photo as the model sees it."""
        pixel_values = self.saved.processor(images=photo, return_tensors="pt")["pixel_values"]
        return self.seen(self.encode(pixel_values))

    @torch.inference_mode()
    def seen(self, features: Tensor, known: Mapping[str, bool] | None = None) -> Seen:
        """What image features (1, ...) say, with the logits given what is known of the model's own labels."""
        vector = mean_of_places(features)[0].float().numpy()
        logits = self._logits(features, known or {}) if self.label_names else np.zeros(0, np.float32)
        return Seen(vector, logits)

    def given(self, seen: Seen, known: Mapping[str, bool]) -> Floats | None:
        """The logits given what is known of the model's own labels; None where that needs the places of the photo."""
        own = {label: there for label, there in known.items() if label in self.label_names}
        if not own or self.saved.model.config.pooling == "attention":
            return None
        return self.seen(torch.from_numpy(seen.features.copy())[None], own).logits

    def _logits(self, features: Tensor, known: Mapping[str, bool]) -> Floats:
        """Logits (S) of the model's own labels."""
        model = self.saved.model
        told = None
        if known:
            told = torch.zeros(1, len(self.label_names))
            for label, there in known.items():
                if label in self.label_names:
                    told[0, self.label_names.index(label)] = 1 if there else -1
        if model.config.has_path_decoder:
            confirmed = 0 if told is None else int((told > 0).sum())
            longest = min(max(model.config.max_path_length, confirmed), LONGEST_PATH)
            found = model.generate(image_features=features, known_labels=told, max_path_length=longest)
        else:
            found = model(image_features=features, known_labels=told)
        logits: Floats = found.logits[0].float().numpy()
        return logits
