"""What Label Studio's projects learn from: a photo's features and logits, which labels alone do not show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .decoding import PixelValues


@dataclass(frozen=True)
class Sight:
    """One photo as the model sees it.

    Attributes:
        logits: Of the labels (C), given what is known.
        features: Of the image (D).
    """

    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]


class StudioEyes:
    """A model that sees photos for the projects of Label Studio.

    Args:
        model: Gives the `CnnRnnForImageClassification` when the first photo comes.
    """

    def __init__(self, model: Callable[[], Any]) -> None:
        self.model = model

    def see(self, asked: Sequence[tuple[PixelValues, Mapping[str, bool]]]) -> list[Sight]:
        """Each of some photos, given what is known of it: labels of the model that are there or not."""
        import torch

        from cnn_rnn.image_backbone import mean_of_places

        model = self.model()
        known = torch.zeros(len(asked), model.config.num_labels, dtype=torch.long)
        for row, (_, told) in enumerate(asked):
            for name, there in told.items():
                known[row, model.config.label2id[name]] = 1 if there else -1
        with torch.inference_mode():
            features = model.encode_images(torch.from_numpy(np.stack([values for values, _ in asked])))
            ask = model.generate if model.config.has_path_decoder else model
            logits = ask(image_features=features, known_labels=known if bool(known.any()) else None).logits
        vectors = mean_of_places(features).float().numpy()
        return [Sight(*one) for one in zip(logits.float().numpy(), vectors, strict=True)]
