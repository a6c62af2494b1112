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
from cnn_rnn.prediction.kept_graphs import Engine
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
        saved, seeing, _ = load_seeing(bundled_model() if boxed else start)
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
        logits: Floats = np.zeros(0, np.float32)
        if self.label_names:
            said, _ = ask_model(self.saved.model, features, known or {})
            logits = said.logits[0].float().numpy()
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


def load_seeing(name: str | Path, engine: Engine = "auto") -> tuple[SavedModel, Any, str]:
    """A model on the CPU, the model that sees for it, and a sentence on what runs that one's backbone.

    In another engine than torch's that is a second one: the first keeps its own backbone, whose gradients explain what
    was looked at and by whose weights features are known.

    Args:
        name: Folder of a run, or name on the Hub.
        engine: "auto" takes onnxruntime where it is installed.

    Raises:
        OSError: There is no such model.
        ValueError: It is another kind of model, or cannot run as asked.
        ImportError: "onnx" was asked for, and something is not installed.
    """
    saved = SavedModel.load(name)
    if choose_engine(engine, CPU) == "torch":
        return saved, saved.model, f"engine torch on {CPU}"
    seeing = SavedModel.load(name).model
    return saved, seeing, set_engine(seeing, saved.name, engine, CPU)


def ask_model(model: Any, features: Tensor, known: Mapping[str, bool]) -> tuple[Any, Tensor]:
    """What a model says of image features (1, ...) given what is known of a photo, and that (1, C): 1, -1, 0.

    What follows from it by the model's rules is known too; labels that the model does not know count for nothing. A
    path may hold as many labels as are confirmed.
    """
    config = model.config
    told = torch.zeros(1, config.num_labels)
    for label, there in complete(model.rules, known).items():
        if label in config.label2id:
            told[0, config.label2id[label]] = 1 if there else -1
    given = told if told.any() else None
    if not config.has_path_decoder:
        return model(image_features=features, known_labels=given), told
    longest = min(max(config.max_path_length, int((told > 0).sum())), LONGEST_PATH)
    return model.generate(image_features=features, known_labels=given, max_path_length=longest), told
