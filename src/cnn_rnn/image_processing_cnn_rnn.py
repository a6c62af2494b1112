"""The backbone's own preprocessing, saved with the model."""

import math
from typing import Any, Self

from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling

from .configuration_cnn_rnn import CnnRnnConfig


class CnnRnnImageProcessor(TorchvisionBackend):
    """Image to pixel values (B, 3, h, w): RGB, shorter side resized, centre crop, scaled to 0..1, normalised."""

    do_convert_rgb = True
    do_resize = True
    do_center_crop = True
    do_rescale = True
    do_normalize = True
    default_to_square = False

    @classmethod
    def from_config(cls, config: CnnRnnConfig) -> Self:
        """The preprocessing that a model's config names."""
        return cls(
            size={"shortest_edge": math.floor(config.image_size / config.crop_pct)},
            crop_size={"height": config.image_size, "width": config.image_size},
            resample=PILImageResampling[config.interpolation.upper()],
            image_mean=list(config.image_mean),
            image_std=list(config.image_std),
        )

    def center_crop(self, image: Tensor, size: Any, **kwargs: Any) -> Tensor:
        """The centre of images (..., h, w) as torchvision and timm round it; the base class is off by one pixel."""
        del kwargs
        cropped: Tensor = tvf.center_crop(image, [size.height, size.width])
        return cropped

    def to_dict(self) -> dict[str, Any]:
        """The saved settings, without the name of this class: the model's config tells it to `AutoImageProcessor`.

        Where this file named it, the stock image-classification pipeline would look for a video processor of a like
        name and ask whether to run its code.
        """
        settings: dict[str, Any] = super().to_dict()
        return {key: value for key, value in settings.items() if key not in ("auto_map", "image_processor_type")}


CnnRnnImageProcessor.register_for_auto_class()
