"""The preprocessing against timm's own evaluation transform, of which it is a copy that saves with the model."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from transformers import AutoImageProcessor

from cnn_rnn import CnnRnnConfig, CnnRnnImageProcessor
from cnn_rnn.image_backbone import preprocessing_of

BACKBONES = ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "test_vit", "volo_d5_512"]
SQUASHED = ["coat_lite_medium_384", "dm_nfnet_f0"]


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture with no symmetry, so that any shift or flip of it shows."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def processor_of(backbone: str) -> CnnRnnImageProcessor:
    return CnnRnnImageProcessor.from_config(CnnRnnConfig(backbone=backbone, **preprocessing_of(backbone)))


@pytest.mark.parametrize("size", [(320, 240), (240, 321), (100, 100), (63, 200), (500, 375)])
@pytest.mark.parametrize("backbone", [*BACKBONES, *SQUASHED])
def test_the_pixel_values_are_timms(backbone: str, size: tuple[int, int]) -> None:
    settings = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(backbone).to_dict())
    image = photo(*size)
    expected = create_transform(**settings)(image)
    actual = processor_of(backbone)(image, return_tensors="pt")["pixel_values"][0]
    assert actual.shape == expected.shape
    # PIL and torchvision round to 8 bits in different places; a crop off by one pixel would differ by over 0.009.
    assert (actual - expected).abs().mean() < 0.001 * expected.std()


def test_a_border_becomes_a_squash_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert preprocessing_of("deepseek_vit_412m")["crop_mode"] == "squash"
    assert "deepseek_vit_412m was trained on whole images inside a border" in caplog.text


def test_saving_and_loading_gives_the_same_pixel_values(tmp_path: Path) -> None:
    processor = processor_of("tf_efficientnet_lite0")
    CnnRnnConfig().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, CnnRnnImageProcessor)
    assert loaded.to_dict() == processor.to_dict()
    image = photo(320, 240)
    assert torch.equal(
        loaded(image, return_tensors="pt")["pixel_values"], processor(image, return_tensors="pt")["pixel_values"]
    )


def test_an_image_alone_gives_what_it_gives_in_a_batch() -> None:
    processor = processor_of("resnet18")
    images = [photo(320, 240, 0), photo(240, 321, 1), photo(100, 100, 2), photo(320, 240, 3)]
    together = processor(images, return_tensors="pt")["pixel_values"]
    assert together.shape == (4, 3, 224, 224)
    for image, pixel_values in zip(images, together, strict=True):
        torch.testing.assert_close(processor(image, return_tensors="pt")["pixel_values"][0], pixel_values)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_every_kind_of_image_becomes_rgb(mode: str) -> None:
    image = photo(100, 80).convert("L").convert(mode)
    processor = processor_of("test_resnet")
    actual = processor(image, return_tensors="pt")["pixel_values"]
    assert actual.shape == (1, 3, 160, 160)
    torch.testing.assert_close(actual, processor(image.convert("RGB"), return_tensors="pt")["pixel_values"])


def test_arrays_and_tensors_are_read_as_images_are() -> None:
    image = photo(100, 80)
    processor = processor_of("test_resnet")
    expected = processor(image, return_tensors="pt")["pixel_values"]
    array = np.array(image)
    for given in (array, torch.from_numpy(array).permute(2, 0, 1)):
        torch.testing.assert_close(processor(given, return_tensors="pt")["pixel_values"], expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_every_interpolation_of_the_config_works(interpolation: str) -> None:
    config = CnnRnnConfig(interpolation=interpolation, image_size=32)
    pixel_values = CnnRnnImageProcessor.from_config(config)(photo(50, 40), return_tensors="pt")["pixel_values"]
    assert pixel_values.shape == (1, 3, 32, 32)


def test_the_values_are_normalised_as_the_config_says() -> None:
    config = CnnRnnConfig(image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.25, 0.125], image_size=16)
    image = Image.new("RGB", (20, 30), (255, 0, 51))
    pixel_values = CnnRnnImageProcessor.from_config(config)(image, return_tensors="pt")["pixel_values"]
    expected = torch.tensor([(1 - 0.1) / 0.5, (0 - 0.2) / 0.25, (0.2 - 0.3) / 0.125])
    torch.testing.assert_close(pixel_values, expected[None, :, None, None].expand(1, 3, 16, 16))


def test_bytes_are_not_taken_for_fractions_nor_fractions_for_bytes() -> None:
    processor = processor_of("test_resnet")
    with pytest.raises(ValueError, match=r"bytes of 0\.\.255, not fractions of 0\.\.1: leave do_rescale=False out"):
        processor(photo(50, 40), do_rescale=False, return_tensors="pt")
    fractions = np.array(photo(50, 40), np.float32) / 255
    with pytest.raises(ValueError, match=r"fractions of 0\.\.1, not of 0\.\.255"):
        processor(fractions, return_tensors="pt")
    assert processor(fractions, do_rescale=False, return_tensors="pt")["pixel_values"].abs().max() < 5
    raw = processor(photo(50, 40), do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    assert raw.max() > 5
