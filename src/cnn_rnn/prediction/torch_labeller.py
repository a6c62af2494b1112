"""The pipeline by torch as a bulk job asks it: arrays in, arrays out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_rnn.foundation.provenance import settings_of
from cnn_rnn.image_backbone import mean_of_places
from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.pixel_values import PixelValues


def preparing(image_processor: Any) -> Callable[[Any], NDArray[np.float32]]:
    """What makes pixel values (3, h, w) of a picture as an image processor does, by numpy where that is so."""
    try:
        return PixelValues(settings_of(image_processor))
    except ValueError:
        return lambda picture: image_processor(picture, return_tensors="np")["pixel_values"][0]


class TorchLabeller:
    """What `CnnRnnOnnx` offers a bulk job, by torch."""

    free = False  # one batch after the other: torch's own threads share each out

    def __init__(self, classify: MultiLabelImageClassificationPipeline) -> None:
        self.classify, self.config = classify, classify.model.config
        self.answers = classify.answers  # under the model's rules
        self.prepare = preparing(classify.image_processor)  # of a picture, to pixel values (3, h, w)

    def forward(
        self, pixel_values: NDArray[np.float32], known: NDArray[np.int64] | None, *, sets: bool = False
    ) -> dict[str, torch.Tensor]:
        """`logits` (B, C), with a path decoder the paths, and whole sets where asked for, given what is known."""
        inputs = {"pixel_values": torch.from_numpy(pixel_values).to(self.classify.dtype)}
        state = None if known is None else torch.from_numpy(known)
        outputs: dict[str, torch.Tensor] = self.classify.forward(
            inputs, return_path=self.config.has_path_decoder, known_labels=state, sets=sets
        )
        return outputs

    def postprocess(self, outputs: Mapping[str, torch.Tensor], row: int, **choice: Any) -> Any:
        """The labels that are chosen of one image of a batch, as the pipeline gives them."""
        own = {name: values[row : row + 1] for name, values in outputs.items()}
        return self.classify.postprocess(own, **choice)

    @property
    def certainties(self) -> int:
        """How many of the features, the last of them, are certainties of a classifier's classes."""
        found: int = self.classify.model.backbone.num_certainties
        return found

    @torch.inference_mode()
    def look(
        self, pixel_values: NDArray[np.float32], known: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (B, D) and `logits` (B, C), given what is known (B, C)."""
        model = self.classify.model
        told = torch.from_numpy(known).to(model.device) if known.any() else None
        features = model.encode_images(torch.from_numpy(pixel_values).to(model.device, self.classify.dtype))
        ask = model.generate if self.config.has_path_decoder else model
        logits = ask(image_features=features, known_labels=told).logits
        return mean_of_places(features).float().cpu().numpy(), logits.float().cpu().numpy()
