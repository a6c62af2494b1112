"""From rows to tensors: training augmentation, evaluation preprocessing, multi-hot labels, batches.

Everything that the backbone expects (size, mean, standard deviation, interpolation) is read from the image processor
that is saved with the model. Evaluation calls that very processor, so it cannot differ from what users run.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from datasets import Dataset, Image, IterableDataset
from PIL.Image import Image as Picture
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from transformers.image_utils import pil_torch_interpolation_mapping

from .photos.images import UnreadableImageError, decode_image, image_name
from .photos.pixels import decode_pixels
from .schema import LABEL_COLUMNS, label_names, targets

CROP_DRAWS = 10  # how often a crop is drawn until one fits

Transform = Callable[[Any], Tensor]  # of a Pillow picture, or of what the transform's own `decode` returns
SeedOf = Callable[[str], int]
Example = dict[str, Any]
D = TypeVar("D", Dataset, IterableDataset)


class EvalTransform:
    """One picture to pixel values (3, h, w) exactly as `processor` makes them."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, picture: Picture) -> Tensor:
        """Pixel values (3, h, w)."""
        pixel_values: Tensor = self.processor(picture, return_tensors="pt")["pixel_values"]
        return pixel_values[0]


class TrainTransform:
    """One picture to randomly cropped, flipped and coloured pixel values (3, h, w).

    Args:
        processor: The model's image processor; its `crop_size` (or `size`), `resample`, `image_mean` and
            `image_std` are used.
        scale: The share of the picture's area that a crop keeps, drawn from this range. Many labels are small: a
            range that starts low crops them away while they still count as present.
        ratio: Width over height of a crop, drawn from this range.
        horizontal_flip: How often a picture is mirrored, 0..1; 0 where left and right matter, as in digits.
        color_jitter: How strongly brightness, contrast and saturation vary, 0 for not at all.
        rand_augment: Magnitude 0..30 of two random operations (RandAugment), 0 for none.
        random_erasing: How often a rectangle is filled with the mean colour, 0..1.
        as_bytes: Give pixels of 0..255 as bytes, and let `to_pixel_values` normalise each whole batch on the device:
            a quarter of the traffic between workers and training.
    """

    def __init__(
        self,
        processor: Any,
        *,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (0.75, 4 / 3),
        horizontal_flip: float = 0.5,
        color_jitter: float = 0.0,
        rand_augment: int = 0,
        random_erasing: float = 0.0,
        as_bytes: bool = False,
    ) -> None:
        self.processor = processor
        self.size = input_size(processor)
        self.interpolation = pil_torch_interpolation_mapping[processor.resample]
        self.crop_scale, self.crop_ratio = scale, ratio
        self.horizontal_flip = horizontal_flip
        steps: list[torch.nn.Module] = []
        if rand_augment:
            steps.append(v2.RandAugment(magnitude=rand_augment, interpolation=v2.InterpolationMode.BILINEAR))
        if color_jitter:
            steps.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter))
        if random_erasing:
            steps.append(v2.RandomErasing(random_erasing, value=[round(255 * mean) for mean in processor.image_mean]))
        self.changes = v2.Compose(steps) if steps else None
        self.as_bytes = as_bytes
        self.mean = 255 * torch.tensor(processor.image_mean).view(3, 1, 1)
        self.scale = 1 / (255 * torch.tensor(processor.image_std).view(3, 1, 1))
        # the smallest crop of an image of this size still has as many pixels as it will be resized to
        self.least_size = math.ceil(max(self.size) / math.sqrt(scale[0] * min(ratio[0], 1 / ratio[1])))

    def decode(self, image: Any, name: str) -> Tensor:
        """Pixels (3, H, W) of 0..255; a JPEG far larger than needed is read at a fraction of its size."""
        return decode_pixels(image, name, least_size=self.least_size)

    def __call__(self, picture: Picture | Tensor) -> Tensor:
        """Pixel values (3, h, w) of a picture or of its pixels (3, H, W); bytes where `as_bytes` says so."""
        pixels: Tensor = picture if isinstance(picture, Tensor) else functional.pil_to_tensor(picture)
        # one call of the generator: beside a photo's decoding many small ones are felt
        (mirror, *_), *draws = torch.rand(1 + CROP_DRAWS, 4).tolist()
        _, height, width = pixels.shape
        top, left, height, width = random_crop(height, width, self.crop_scale, self.crop_ratio, draws)
        # decoders write channels last: whole rows are copied, and the resize need not turn them
        rows = pixels.permute(1, 2, 0).numpy()[top : top + height, left : left + width]
        part = torch.from_numpy(np.ascontiguousarray(rows)).permute(2, 0, 1)
        pixels = functional.resize(part, list(self.size), interpolation=self.interpolation, antialias=True)
        if mirror < self.horizontal_flip:
            pixels = pixels.flip(-1)
        if self.changes:
            pixels = self.changes(pixels)
        return pixels if self.as_bytes else self.to_pixel_values(pixels)

    def to_pixel_values(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """Pixels of 0..255 (..., 3, h, w), normalised as the processor does it.

        Args:
            pixels: One image or a batch, on any device.
            out: Where to write, if the memory of an earlier batch may be used again.
        """
        # of the same layout in memory, channels last for instance
        values = torch.empty_like(pixels, dtype=torch.float32) if out is None else out[: len(pixels)]
        return values.copy_(pixels).sub_(self.mean.to(pixels.device)).mul_(self.scale.to(pixels.device))


def random_crop(
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draws: Iterable[Sequence[float]],
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop.

    The share of the area is drawn evenly from `scale`, the logarithm of width over height evenly from that of
    `ratio`, as torchvision's `RandomResizedCrop` does (Szegedy et al., "Going deeper with convolutions", section
    6). The first of `draws` that fits into the picture counts, each of them four chances in 0..1.
    """
    narrowest, widest = math.log(ratio[0]), math.log(ratio[1])
    for share, shape, down, right in draws:
        area = height * width * (scale[0] + share * (scale[1] - scale[0]))
        aspect = math.exp(narrowest + shape * (widest - narrowest))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            return (
                int(down * (height - crop_height + 1)),
                int(right * (width - crop_width + 1)),
                crop_height,
                crop_width,
            )
    # no draw fits into so long a picture: the largest crop of an allowed shape, from the middle
    crop_height = min(height, max(1, round(width / ratio[0])))
    crop_width = min(width, max(1, round(height * ratio[1])))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def input_size(processor: Any) -> tuple[int, int]:
    """Height and width of the pixel values that an image processor makes."""
    for size in (getattr(processor, "crop_size", None), processor.size):
        if size is None:
            continue
        height, width = (size.get(key) or size.get("shortest_edge") for key in ("height", "width"))
        if height and width:
            return int(height), int(width)
    raise ValueError(f"the image processor's size {processor.size} holds neither height and width nor shortest_edge")


def multi_hot(labels: Iterable[int], num_labels: int, left_out: Iterable[int] = ()) -> Tensor:
    """One row's targets (C,): 1 for its labels, `LEFT_OUT` for those left out, else 0; see `targets`."""
    return torch.from_numpy(targets({"labels": [list(labels)], "unknown": [list(left_out)]}, num_labels)[0])


class _ToExamples:
    """A batch of rows to tensors; a class so that data loader workers can be spawned with it."""

    def __init__(self, transform: Transform, num_labels: int, seed_of: SeedOf | None) -> None:
        self.transform = transform
        self.num_labels = num_labels
        self.seed_of = seed_of

    def __call__(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        check_columns(rows, self.seed_of)
        ids = {"image_id": list(rows["image_id"])} if "image_id" in rows else {}
        image_ids = ids.get("image_id") or [None] * len(rows["image"])
        labels = list(torch.from_numpy(targets(rows, self.num_labels)))
        return {"pixel_values": self.pixel_values(rows["image"], image_ids), "labels": labels, **ids}

    def pixel_values(self, images: Sequence[Any], image_ids: Sequence[Any]) -> list[Tensor]:
        """Pixel values (3, h, w) of each image; where there are seeds, torch's random state is left as it was."""
        decode = getattr(self.transform, "decode", decode_image)
        with torch.random.fork_rng(devices=[], enabled=self.seed_of is not None):
            pixel_values = []
            for image, image_id in zip(images, image_ids, strict=True):
                decoded = decode(image, image_name(image, image_id))
                if self.seed_of is not None:
                    torch.default_generator.manual_seed(self.seed_of(image_id))  # of the CPU alone, far cheaper
                try:
                    pixel_values.append(self.transform(decoded))
                except ValueError as error:  # of a shape that would cost too much
                    named = image_name(image, image_id)
                    raise UnreadableImageError(f"{named}: cannot be used ({error}); leave it out") from error
            return pixel_values


class Examples(Dataset):
    """Rows that become examples when they are read."""

    def remove_columns(self, column_names: str | list[str], new_fingerprint: str | None = None) -> Dataset:
        """The rows without these columns, but for those that the examples are made of.

        The stock Trainer removes what the model's `forward` does not name: the image before it has become pixel values.
        """
        names = [column_names] if isinstance(column_names, str) else list(column_names)
        others = [name for name in names if name not in ("image", "image_id", *LABEL_COLUMNS)]
        return super().remove_columns(others, new_fingerprint=new_fingerprint)


def check_columns(columns: Collection[str], seed_of: SeedOf | None) -> None:
    """Refuse rows that hold too little.

    Raises:
        ValueError: A column is missing.
    """
    needed = ["image", "labels", *(["image_id"] if seed_of is not None else [])]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(
            f"rows with {', '.join(needed)} are expected, {', '.join(missing)} is missing here; see "
            "`cnn_rnn.data.to_schema`, and where a Trainer has removed columns, set remove_unused_columns=False"
        )


def prepare_examples(dataset: D, transform: Transform, seed_of: SeedOf | None = None) -> D:
    """The dataset with rows `{pixel_values (3, h, w), labels (C,), image_id}`, decoded when they are read.

    Args:
        dataset: Rows of the one schema; without `image_id` the examples have none, and an unreadable image no name.
        transform: What makes pixel values of a picture.
        seed_of: Gives for an image's id the seed of all chance in its transform; by default torch's random state goes
            on from image to image.

    Raises:
        ValueError: A column is missing.
        UnreadableImageError: On reading a row whose image cannot be decoded; see `drop_unreadable`.
    """
    if dataset.column_names is not None:  # a stream may not know them
        check_columns(dataset.column_names, seed_of)
    names = label_names(dataset)
    to_examples = _ToExamples(transform, len(names), seed_of)
    undecoded = dataset.cast_column("image", Image(decode=False))
    if isinstance(undecoded, IterableDataset):
        return undecoded.map(to_examples, batched=True, batch_size=8, remove_columns=undecoded.column_names)
    examples = undecoded.with_transform(to_examples)
    examples.__class__ = Examples
    return examples


def collate(examples: Sequence[Example]) -> dict[str, Any]:
    """A batch `{pixel_values (B, 3, h, w), labels (B, C), image_id: list of B}`, laid out in memory as its images.

    Without ids in the examples it has none; of cached features it has `image_features` (B, ...) in place of images.
    """
    batch = {name: default_collate([one[name] for one in examples]) for name in examples[0] if name != "pixel_values"}
    if "pixel_values" not in examples[0]:
        return batch
    images = [example["pixel_values"].movedim(0, -1) for example in examples]
    channels_last = images[0].is_contiguous()
    # default_collate writes a worker's batch straight into the memory that it shares with the loop
    stacked = default_collate(images if channels_last else [image.movedim(-1, 0) for image in images])
    return {"pixel_values": stacked.movedim(-1, 1) if channels_last else stacked, **batch}
