"""The backbone's own preprocessing, saved with the model."""

import math
from typing import Any, ClassVar, Self

import numpy as np
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling

from .configuration_cnn_rnn import CnnRnnConfig

try:  # HEIC where its plug-in is there
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

RESIZED_SIDES = {"center": ["shortest_edge"], "squash": ["height", "width"]}
Image.init()  # registers every format that this build of Pillow has
NO_PROGRAM = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "HEIF",
)  # none of them runs a program
FORMATS = tuple(name for name in NO_PROGRAM if name in Image.OPEN)  # in which an image may come
TAGS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # where Pillow keeps an image's orientation
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's orientation; 1 is upright
LONGEST_SIDE = 1000  # times the shorter one; a strip of a screenshot has 100
BAND = 256  # rows that are laid on white at once
RESIZED_PIXELS = 2**26  # that an image may have after resizing: 192 MiB


class CnnRnnImageProcessor(TorchvisionBackend):
    """Image to pixel values (B, 3, h, w): RGB, resized, centre crop, scaled to 0..1, normalised."""

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
            ValueError: They are fractions already; scaled once more they would be of a nearly black image.
        """
        for pixels in images if do_rescale else ():
            if pixels.is_floating_point() and 0 < pixels.max() <= 1:
                raise ValueError(
                    "the pixels are fractions of 0..1, not of 0..255: give do_rescale=False, or (255 * pixels).round()"
                )
        return super()._preprocess(images, do_rescale=do_rescale, **kwargs)

    def resize(self, image: Tensor, size: Any, **kwargs: Any) -> Tensor:
        """Images (..., h, w) resized.

        Raises:
            ValueError: So long an image would need far more memory than a photo.
        """
        height, width = image.shape[-2:]
        check_sides(width, height)
        if size.shortest_edge and not size.longest_edge:
            pixels = size.shortest_edge**2 * max(height, width) // min(height, width)
            told = f"a shorter side of {size.shortest_edge}"
        else:
            pixels = (size.height or size.longest_edge or 0) * (size.width or size.longest_edge or 0)
            told = f"{size.width or size.longest_edge} x {size.height or size.longest_edge}"
        if pixels > RESIZED_PIXELS:
            raise ValueError(
                f"{width} x {height} pixels, resized to {told}, would be {pixels:,} (at most {RESIZED_PIXELS:,}); crop "
                "it first, or mend the size in preprocessor_config.json"
            )
        resized: Tensor = super().resize(image, size, **kwargs)
        return resized

    def center_crop(self, image: Tensor, size: Any, **kwargs: Any) -> Tensor:
        """The centre of images (..., h, w) as torchvision and timm round it; the base class is off by one pixel.

        Raises:
            ValueError: It would need far more memory than a photo.
        """
        del kwargs
        if size.height * size.width > RESIZED_PIXELS:
            raise ValueError(f"a crop of {size.width} x {size.height} has too many pixels (at most {RESIZED_PIXELS:,})")
        cropped: Tensor = tvf.center_crop(image, [size.height, size.width])
        return cropped

    def to_dict(self) -> dict[str, Any]:
        """The saved settings, and that there is no video processor.

        Else the stock image-classification pipeline would look for one of a like name, and ask whether to run its code.
        """
        return super().to_dict() | {"video_processor_type": "none"}


def check_sides(width: int, height: int) -> None:
    """Refuse an image without pixels, or so long that resizing its shorter side would cost far more than a photo.

    Raises:
        ValueError: It is either.
    """
    if not width or not height:
        raise ValueError(f"{width} x {height} pixels: there is nothing in it")
    if max(width, height) > LONGEST_SIDE * min(width, height):
        raise ValueError(f"{width} x {height} pixels: a side over {LONGEST_SIDE} times the other is no photo")


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB: camera rotation undone, 16-bit tones kept, transparency laid on white.

    Raises:
        ValueError: It has 32 bits a pixel, of unknown range; no pixels; or the shape of no photo.
    """
    check_sides(*image.size)
    image = upright(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ValueError("32-bit pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def orientation(image: Image.Image) -> Any:
    """EXIF's or else XMP's number of how the image is to be turned, as Pillow reads it; 1 where it cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - tags are anybody's, and parsers fail in many ways; the picture is whole
        return 1


def upright(image: Image.Image) -> Image.Image:
    """A copy of the image, camera rotation undone, without a tag that would turn it once more."""
    image.load()
    turn = UPRIGHT.get(orientation(image))
    if turn is None:
        return image.copy()
    turned = image.transpose(turn)
    for tag in TAGS:
        turned.info.pop(tag, None)
    return turned


def _on_white(image: Image.Image) -> Image.Image:
    """The image, laid on white where it lets light through; band by band, for whole it would be there four times."""
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):
        layer = image.crop((0, top, image.width, min(top + BAND, image.height))).convert("RGBA")
        whole.paste(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), (0, top))
    return whole


CnnRnnImageProcessor.register_for_auto_class()
