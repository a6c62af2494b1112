"""A model beside a person who labels photos: what it sees, and what it expects given what the person knows."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from cnn_rnn.closed_sets import obeying
from cnn_rnn.data import UnreadableImageError, decode_image
from cnn_rnn.data.photos.photo_suffixes import way_to_read
from cnn_rnn.decisions import probabilities_of
from cnn_rnn.foundation.provenance import file_identity
from cnn_rnn.label_answers import is_unfamiliar
from cnn_rnn.learning.eyes import ask_model, load_seeing
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.kept_graphs import Engine
from cnn_rnn.report.embedded_images import overlay
from cnn_rnn.report.saliency import explain_label, show_pixels
from cnn_rnn.ruled_answers import agreeing
from cnn_rnn.upright_rgb import FORMATS

from .beam_tree import Branch, grow_tree

SHOWN_SIDE = 1024  # pixels of the longer side of a photo as the page shows it
MOST_PIXELS = 50_000_000  # of a photo that cannot be read at a fraction of its size, as a JPEG can
PHOTOS_KEPT = 32  # photos whose features stay in memory, for all persons together


@dataclass(frozen=True)
class Sight:
    """One photo as the model sees it.

    Attributes:
        photo: The photo, small enough to show.
        pixel_values: Preprocessed (1, 3, h, w).
        features: Image features (1, ...).
    """

    photo: Image.Image
    pixel_values: Tensor
    features: Tensor


@dataclass(frozen=True)
class Expectation:
    """What the model expects of one photo, given what a person knows.

    Attributes:
        probabilities: Of every label, by name, in the model's order.
        tree: The walks of the beam, joined where they begin alike; empty without a path decoder.
    """

    probabilities: dict[str, float]
    tree: list[Branch]


class Tagger:
    """A saved model that several persons ask at once; it answers one after the other.

    Args:
        saved: The model and its preprocessing.
        seeing: The same model with its backbone in another engine; where None the saved one sees.
        engine: A sentence on what that is.
    """

    def __init__(self, saved: SavedModel, seeing: Any = None, engine: str = "") -> None:
        self.saved, self.seeing, self.engine = saved, seeing or saved.model, engine
        self.label_names: list[str] = saved.model.config.label_names
        thresholds = saved.model.config.thresholds or [0.5] * len(self.label_names)
        self.thresholds: dict[str, float] = dict(zip(self.label_names, thresholds, strict=True))
        self._seen: OrderedDict[str, Sight] = OrderedDict()  # by the identity of their files
        self._lock = threading.Lock()

    @classmethod
    def load(cls, name: str | Path, engine: Engine = "auto") -> Self:
        """A model beside a person: `load_seeing` says where it is found, what sees for it, and what is refused."""
        return cls(*load_seeing(name, engine))

    def look(self, path: Path) -> Sight:
        """The photo of a file as the model sees it; looked at once, as long as it is among the last few.

        Raises:
            UnreadableImageError: It cannot be read, or is too large.
        """
        file = file_identity(str(path))
        with self._lock:
            if file in self._seen:
                self._seen.move_to_end(file)
                return self._seen[file]
        photo = read_photo(path)
        pixel_values = self.saved.processor(images=photo, return_tensors="pt")["pixel_values"]
        photo.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        with self._lock, torch.inference_mode():
            sight = Sight(photo, pixel_values, self.seeing.encode_images(pixel_values))
            self._seen[file] = sight
            if len(self._seen) > PHOTOS_KEPT:
                self._seen.popitem(last=False)
        return sight

    def expect(self, sight: Sight, known: Mapping[str, bool]) -> Expectation:
        """What the model expects of a photo.

        Args:
            sight: The photo.
            known: Labels that are confirmed (True) or ruled out (False); those the model does not know count for
                nothing.
        """
        model, tree = self.saved.model, []
        with self._lock, torch.inference_mode():
            found, told = ask_model(model, sight.features, known)
            if model.config.has_path_decoder:
                tree = grow_tree(found.paths[0], found.step_scores[0], found.path_scores[0], self.label_names)
        said = probabilities_of(found.logits[0], model)
        probabilities = torch.where(told[0] == 0, said, (told[0] > 0).float()).tolist()
        return Expectation(dict(zip(self.label_names, probabilities, strict=True)), tree)

    def agreeing(self, known: Mapping[str, bool]) -> dict[str, bool]:
        """What is known of a photo, without answers that later ones contradict by the model's rules between labels."""
        return agreeing(self.saved.model.rules, known)

    def chosen(self, probabilities: Mapping[str, float]) -> set[str]:
        """The labels at or above their thresholds, a set that obeys the model's rules; none of what is unfamiliar."""
        if self.is_unfamiliar(probabilities):
            return set()
        wanted = {name for name in self.label_names if probabilities[name] >= self.thresholds[name]}
        return obeying(self.saved.model.rules, probabilities, wanted)

    def is_unfamiliar(self, probabilities: Mapping[str, float]) -> bool:
        """Whether a photo is like nothing that the model was trained on."""
        return is_unfamiliar(torch.tensor([*probabilities.values()]), self.saved.model.config.familiar_from)

    def explain(self, sight: Sight, label: str) -> Image.Image:
        """The photo as the network saw it, bright where the evidence for a label lies.

        Raises:
            ImportError: captum is not installed.
        """
        processor = self.saved.processor
        with self._lock:
            found = explain_label(self.saved.model, sight.pixel_values.clone(), self.saved.model.config.label2id[label])
        seen = show_pixels(sight.pixel_values[0], processor.image_mean, processor.image_std)
        return overlay(seen.resize(sight.photo.size), found.maps[0])


def read_photo(path: Path) -> Image.Image:
    """The photo of a file, a JPEG at a fraction of its size where that is enough.

    Raises:
        UnreadableImageError: It cannot be read, or is too large.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:  # its head alone
            kind, (width, height) = opened.format, opened.size
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path.name}: too many pixels; save it smaller") from error
    except Exception as error:  # of the parser, of many kinds
        lacking = way_to_read(path.name)
        why = f"{lacking} may read it" if lacking else "it is no photo"
        raise UnreadableImageError(f"{path.name}: cannot be read ({type(error).__name__}); {why}") from error
    if kind != "JPEG" and width * height > MOST_PIXELS:
        raise UnreadableImageError(
            f"{path.name}: {width} x {height} pixels are more than the {MOST_PIXELS // 1_000_000} million that are "
            "read; save it smaller, or as JPEG"
        )
    return decode_image(path, path.name, least_size=SHOWN_SIDE)
