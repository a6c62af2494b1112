"""Pixel values by numpy beside the image processor's own: equal to the last bit."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_rnn import CnnRnnConfig, CnnRnnImageProcessor
from cnn_rnn.foundation.provenance import settings_of
from cnn_rnn.pixel_values import PixelValues

CONFIGS: dict[str, dict[str, Any]] = {
    "centre": {"image_size": 224, "crop_pct": 0.875},
    "odd": {"image_size": 51, "crop_pct": 0.9, "interpolation": "bilinear"},
    "squash": {
        "image_size": 64,
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    },
}


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise).convert(mode)


@pytest.mark.parametrize("size", [(300, 200), (201, 333), (30, 31), (224, 224), (1000, 90)], ids=str)
@pytest.mark.parametrize("fields", CONFIGS.values(), ids=CONFIGS)
def test_they_are_the_processors(fields: dict[str, Any], size: tuple[int, int]) -> None:
    processor = CnnRnnImageProcessor.from_config(CnnRnnConfig(**fields))
    prepare = PixelValues(settings_of(processor))
    for mode in ("RGB", "L", "RGBA", "P"):
        image = picture(*size, mode)
        np.testing.assert_array_equal(prepare(image), processor(image, return_tensors="np")["pixel_values"][0])


def test_a_crop_larger_than_the_photo_has_black_around_it_as_the_processors_has() -> None:
    processor = CnnRnnImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 61, "width": 90})
    image = picture(50, 47)
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(PixelValues(settings_of(processor))(image), expected)


def test_arrays_and_pictures_become_the_same_pixels() -> None:
    processor, image = CnnRnnImageProcessor(), picture(400, 300)
    by_array = processor(np.array(image), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(by_array, processor(image, return_tensors="np")["pixel_values"])


def test_other_steps_are_refused() -> None:
    settings = settings_of(CnnRnnImageProcessor())
    with pytest.raises(ValueError, match=r"other steps \(do_normalize\)"):
        PixelValues(settings | {"do_normalize": False})
    with pytest.raises(ValueError, match="longest_edge"):
        PixelValues(settings | {"size": {"longest_edge": 20}})
