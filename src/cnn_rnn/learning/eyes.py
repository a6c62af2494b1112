"""The frozen model that a learner builds on: what it sees of a photo, and what it says of the labels that it knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnn_rnn.configuration_checks import LONGEST_PATH
from cnn_rnn.foundation.provenance import Provenance
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.image_backbone import mean_of_places
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.onnx_engine import choose_engine, engine_of, set_engine
from cnn_rnn.ruled_answers import complete

from .feature_store import seen_by
from .learner import Seen
from .ridge import Floats

CPU = torch.device("cpu")


class Eyes:
    """A saved model whose backbone sees photos; its own labels count unless it starts from nothing.

    Args:
        saved: The model and its preprocessing.
        knows: Whether its labels count.
        seeing: The same model with its backbone in another engine; where None the saved one sees.

    Attributes:
        rules: The model's rules between its labels; None without any, and where it starts from nothing.
        size: D, of its features.
        certainties: How many of them `Seen` leaves out.
        sees: What its features are known by, as `seen_by` has it.
        says: What its logits are known by.
    """

    def __init__(self, saved: SavedModel, *, knows: bool = True, seeing: Any = None) -> None:
        self.saved, self.seeing = saved, seeing or saved.model
        self.label_names: list[str] = list(saved.model.config.label_names) if knows else []
        self.rules: LabelRules | None = saved.model.rules if knows else None
        backbone = saved.model.backbone
        self.size: int = backbone.num_features
        self.certainties: int = backbone.num_certainties
        of_features, of_model = (
            of(saved.model, saved.processor) for of in (Provenance.of_features, Provenance.of_model)
        )
        engine = engine_of(self.seeing)
        self.sees, self.says = seen_by(of_features, engine), seen_by(of_model, engine)

    @classmethod
    def load(cls, start: str | Path) -> "Eyes":
        """The eyes of a start: `none`, which sees by the backbone of the model in the box, `bundled`, or a run.

        Raises:
            OSError: There is no such model.
            ValueError: It is another kind of model.
        """
        boxed = str(start) in {"none", "bundled"}
        name = bundled_model() if boxed else start
        saved, seeing = SavedModel.load(name), None
        if choose_engine("auto", CPU) == "onnx":
            seeing = SavedModel.load(name).model  # what features are known by is told by torch's own backbone
            set_engine(seeing, saved.name, "auto", CPU)
        return cls(saved, knows=str(start) != "none", seeing=seeing)

    @torch.inference_mode()
    def look(self, photo: Any) -> Seen:
        """A photo as the model sees it."""
        pixel_values = self.saved.processor(images=photo, return_tensors="pt")["pixel_values"]
        return self.seen(self.seeing.encode_images(pixel_values))

    @torch.inference_mode()
    def seen(self, features: Tensor, known: Mapping[str, bool] | None = None) -> Seen:
        """What image features (1, ...) say, with the logits given what is known of the model's own labels."""
        vector = mean_of_places(features)[0].float().numpy()
        logits = self._logits(features, known or {}) if self.label_names else np.zeros(0, np.float32)
        return Seen(vector, logits, certainties=self.certainties)

    def given(self, seen: Seen, known: Mapping[str, bool]) -> Floats | None:
        """The logits given what is known of the model's own labels; None where that needs the places of the photo."""
        own = {label: there for label, there in known.items() if label in self.label_names}
        return self.of_features(seen.features, own).logits if own and not self.needs_places else None

    def of_features(self, features: Floats, known: Mapping[str, bool] | None = None) -> Seen:
        """What features (D) say that were kept, where the model needs no places."""
        return self.seen(torch.from_numpy(features.copy())[None], known)

    @property
    def needs_places(self) -> bool:
        """Whether logits need more of a photo than its features (D)."""
        return bool(self.label_names) and self.saved.model.config.pooling == "attention"

    def _logits(self, features: Tensor, known: Mapping[str, bool]) -> Floats:
        """Logits (S) of the model's own labels."""
        model = self.saved.model
        told = None
        if known:
            told = torch.zeros(1, len(self.label_names))
            for label, there in complete(self.rules, known).items():
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
