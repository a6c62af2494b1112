"""The backbone's own preprocessing, saved with the model."""

import math
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling

from .configuration_cnn_rnn import CnnRnnConfig
from .pixel_values import SIMPLE_SIZES, check_crop, check_resized, resized_by_pillow, resized_sides
from .upright_rgb import to_rgb

RESIZED_SIDES = {"center": ["shortest_edge"], "squash": ["height", "width"]}


class CnnRnnImageProcessor(TorchvisionBackend):
    """Image to pixel values (B, 3, h, w): RGB, resized, centre crop, scaled to 0..1, normalised.

    `from_config` makes the one of a model's config, `from_pretrained` that of a saved folder or Hub name; called with
    one image or a list (of Pillow, arrays, tensors, paths) and `return_tensors="pt"` it gives `pixel_values`.
    """

    # The defaults are the config's own.
    size: ClassVar[dict[str, int]] = {"shortest_edge": 256}
    crop_size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    resample = PILImageResampling.BICUBIC
    image_mean = CnnRnnConfig.image_mean
    image_std = CnnRnnConfig.image_std
    do_convert_rgb = True
    do_resize = True
    do_center_crop = True
    do_rescale = True
    do_normalize = True
    default_to_square = False

    @classmethod
    def from_config(cls, config: CnnRnnConfig) -> Self:
        """The preprocessing that a model's config names."""
        side = math.floor(config.image_size / config.crop_pct)
        mean, std = (np.broadcast_to(values, 3).tolist() for values in (config.image_mean, config.image_std))
        return cls(
            size=dict.fromkeys(RESIZED_SIDES[config.crop_mode], side),
            crop_size={"height": config.image_size, "width": config.image_size},
            resample=PILImageResampling[config.interpolation.upper()],
            image_mean=mean,
            image_std=std,
        )

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """The preprocessing of a saved folder or Hub name.

        Raises:
            ValueError: The stock feature-extraction pipeline asks where the package is not installed, which teaches it
                to ask the model for features: it would take the label logits for them.
        """
        if kwargs.get("_from_pipeline") == "image-feature-extraction" and not CnnRnnConfig.pipeline_registered:
            raise ValueError(
                "this pipeline takes a model's first output for its features, and here those are label logits; use "
                "model.get_image_features(pixel_values), whose pooler_output and last_hidden_state are the features"
            )
        return super().from_pretrained(*args, **kwargs)

    def process_image(self, image: Any, do_convert_rgb: bool | None = None, **kwargs: Any) -> Tensor:
        """Pixels (3, H, W) of 0..255; a Pillow image, of whatever kind, becomes RGB as in training."""
        if do_convert_rgb and isinstance(image, Image.Image):
            image = to_rgb(image)
        pixels: Tensor = super().process_image(image, do_convert_rgb, **kwargs)
        return pixels

    def _preprocess(self, images: list[Tensor], do_rescale: bool, **kwargs: Any) -> Any:
        """The batch of the pixels of images (3, H, W).

        Raises:
            ValueError: They are fractions already; scaled once more they would be of a nearly black image. Or they are
                bytes that nothing scales before they are normalised.
        """
        for pixels in images if do_rescale else ():
            if pixels.is_floating_point() and 0 < pixels.max() <= 1:
                raise ValueError(
                    "the pixels are fractions of 0..1, not of 0..255: give do_rescale=False, or (255 * pixels).round()"
                )
        if not do_rescale and kwargs.get("do_normalize") and any(pixels.dtype == torch.uint8 for pixels in images):
            raise ValueError("the pixels are bytes of 0..255, not fractions of 0..1: leave do_rescale=False out")
        return super()._preprocess(images, do_rescale=do_rescale, **kwargs)

    def resize(self, image: Tensor, size: Any, **kwargs: Any) -> Tensor:
        """Images (..., h, w) resized.

        Raises:
            ValueError: So long an image would need far more memory than a photo.
        """
        height, width = image.shape[-2:]
        asked = {name: side for name, side in dict(size).items() if side}
        check_resized(width, height, asked)
        resample: Any = kwargs.get("resample")
        plain = image.dtype == torch.uint8 and image.is_cpu and image.shape[-3] == 3 and isinstance(resample, int)
        if plain and set(asked) in SIMPLE_SIZES:
            # By Pillow, as timm does it, and as where there is no torch; torchvision rounds in other places.
            sides = resized_sides(width, height, asked)
            pixels = image.reshape(-1, 3, height, width).movedim(1, -1).numpy()
            done = np.stack([resized_by_pillow(Image.fromarray(one), sides, resample) for one in pixels])
            return torch.from_numpy(done).movedim(-1, 1).reshape(*image.shape[:-2], *sides[::-1])
        resized: Tensor = super().resize(image, size, **kwargs)
        return resized

    def center_crop(self, image: Tensor, size: Any, **kwargs: Any) -> Tensor:
        """The centre of images (..., h, w) as torchvision and timm round it; the base class is off by one pixel.

        Raises:
            ValueError: It would need far more memory than a photo.
        """
        del kwargs
        check_crop(size.width, size.height)
        cropped: Tensor = tvf.center_crop(image, [size.height, size.width])
        return cropped

    def to_dict(self) -> dict[str, Any]:
        """The saved settings, and that there is no video processor.

        Else the stock image-classification pipeline would look for one of a like name, and ask whether to run its code.
        """
        return super().to_dict() | {"video_processor_type": "none"}


CnnRnnImageProcessor.register_for_auto_class()
