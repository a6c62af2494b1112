"""Rows to tensors: evaluation is the image processor itself, training only adds chance."""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from transformers import CLIPImageProcessor, Trainer, TrainingArguments, ViTImageProcessor

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.data import (
    EvalTransform,
    TrainTransform,
    collate,
    label_names,
    load_digits,
    multi_hot,
    prepare_examples,
)
from cnn_rnn.data.transforms import input_size, random_crop

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def processors() -> list[Any]:
    """One that crops and one that squeezes, both with an uncommon mean and standard deviation."""
    crop = CLIPImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 24}, image_mean=MEAN, image_std=STD
    )
    return [crop, ViTImageProcessor(size={"height": 32, "width": 24}, image_mean=MEAN, image_std=STD)]


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8))


@pytest.mark.parametrize("processor", processors())
def test_evaluation_is_the_processor_bit_for_bit(processor: Any) -> None:
    expected = processor([picture()], return_tensors="pt")["pixel_values"][0]
    assert torch.equal(EvalTransform(processor)(picture()), expected)


@pytest.mark.parametrize("processor", processors())
def test_training_has_the_processors_size_and_normalisation(processor: Any) -> None:
    assert input_size(processor) == (32, 24)
    plain = Image.new("RGB", (50, 70), (102, 51, 204))
    pixel_values = TrainTransform(processor, horizontal_flip=0.5)(plain)
    expected = torch.tensor([(c / 255 - m) / s for c, m, s in zip((102, 51, 204), MEAN, STD, strict=True)])
    torch.testing.assert_close(pixel_values, expected[:, None, None].expand(3, 32, 24))


def test_without_chance_training_equals_a_plain_resize() -> None:
    processor = ViTImageProcessor(size={"height": 35, "width": 25}, image_mean=MEAN, image_std=STD)
    image = picture()
    still = TrainTransform(processor, scale=(1.0, 1.0), ratio=(1.4, 1.4), horizontal_flip=0.0)
    torch.testing.assert_close(still(image), EvalTransform(processor)(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(480, 640), (100, 30), (7, 900), (1, 1), (1, 2000)])
def test_crops_are_drawn_as_torchvision_draws_them(size: tuple[int, int]) -> None:
    scale, ratio = (0.3, 1.0), (0.75, 4 / 3)
    torch.manual_seed(0)
    ours = torch.tensor(
        [random_crop(*size, scale, ratio, draws) for draws in torch.rand(3000, 10, 4).tolist()], dtype=torch.float64
    )
    top, left, height, width = ours.unbind(1)
    assert (ours >= torch.tensor([0, 0, 1, 1])).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()
    reference = v2.RandomResizedCrop(8, scale, ratio)
    picture = torch.empty(3, *size)
    boxes = [reference.make_params([picture]) for _ in range(3000)]
    theirs = torch.tensor([[box[key] for key in ("top", "left", "height", "width")] for box in boxes]).double()
    error = 4 * (ours.std(0) ** 2 + theirs.std(0) ** 2).div(len(boxes)).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() <= error + 0.5).all()
    for level in (0.1, 0.5, 0.9):
        torch.testing.assert_close(ours.quantile(level, 0), theirs.quantile(level, 0), atol=0.04 * max(size), rtol=0)


def test_batches_keep_the_layout_of_their_images() -> None:
    planar = torch.arange(24.0).view(3, 2, 4)
    channels_last = planar.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for image in (planar, channels_last):
        example = {"pixel_values": image, "labels": torch.zeros(2), "image_id": "a"}
        batch = collate([example, example])["pixel_values"]
        assert torch.equal(batch, torch.stack([planar, planar]))
        layout = torch.contiguous_format if image is planar else torch.channels_last
        assert batch.is_contiguous(memory_format=layout)


def test_drawing_with_seeds_leaves_the_random_state_alone(scenes: Dataset) -> None:
    transform = TrainTransform(ViTImageProcessor(size={"height": 16, "width": 16}))
    examples = prepare_examples(scenes, transform, len)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = examples[0]["pixel_values"]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(examples[:4]["pixel_values"][0], first)


def test_flips_can_be_switched_off_and_chance_follows_the_seed() -> None:
    processor = ViTImageProcessor(size={"height": 50, "width": 70}, image_mean=MEAN, image_std=STD)
    whole: dict[str, Any] = {"scale": (1.0, 1.0), "ratio": (1.4, 1.4)}
    image, still = picture(), EvalTransform(processor)(picture())
    for _ in range(5):
        torch.testing.assert_close(TrainTransform(processor, horizontal_flip=0.0, **whole)(image), still)
    torch.testing.assert_close(TrainTransform(processor, horizontal_flip=1.0, **whole)(image), still.flip(2))
    strong = TrainTransform(processor, color_jitter=0.4, rand_augment=9, random_erasing=0.5)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(strong(image))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_bytes_normalised_by_the_batch_are_the_same_pixel_values() -> None:
    processor = ViTImageProcessor(size={"height": 32, "width": 24}, image_mean=MEAN, image_std=STD)
    options: dict[str, Any] = {"color_jitter": 0.3, "random_erasing": 0.5}
    floats, octets = TrainTransform(processor, **options), TrainTransform(processor, as_bytes=True, **options)
    batches = []
    for transform in (floats, octets):
        torch.manual_seed(0)
        batches.append(torch.stack([transform(picture()) for _ in range(4)]))
    assert batches[1].dtype == torch.uint8
    assert torch.equal(octets.to_pixel_values(batches[1]), batches[0])
    room = torch.empty(6, 3, 32, 24)
    assert torch.equal(octets.to_pixel_values(batches[1], out=room), batches[0])
    assert torch.equal(room[:4], batches[0])


def test_a_large_photo_is_read_no_larger_than_the_smallest_crop_needs() -> None:
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    transform = TrainTransform(processor, scale=(0.5, 1.0), ratio=(0.75, 4 / 3))
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 3000), "red").save(buffer, "JPEG")
    pixels = transform.decode(buffer.getvalue(), "photo")
    assert pixels.shape == (3, 375, 500)
    assert transform.least_size >= 32 / (0.5 * 0.75) ** 0.5


def test_multi_hot_marks_present_absent_and_left_out() -> None:
    assert multi_hot([0, 3], 5, left_out=[3, 4]).tolist() == [1.0, 0.0, 0.0, 1.0, -100.0]
    assert multi_hot([], 2).tolist() == [0.0, 0.0]


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return load_digits(size=48, counts={"train": 10}, split="train")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_batches_in_order(scenes: Dataset, workers: int) -> None:
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    examples = prepare_examples(scenes, EvalTransform(processor))
    batches = list(DataLoader(examples, batch_size=4, collate_fn=collate, num_workers=workers))
    assert [tuple(batch["pixel_values"].shape) for batch in batches] == [(4, 3, 16, 16), (4, 3, 16, 16), (2, 3, 16, 16)]
    assert [i for batch in batches for i in batch["image_id"]] == scenes["image_id"][:]
    labels = torch.cat([batch["labels"] for batch in batches])
    assert [row.nonzero().flatten().tolist() for row in labels] == scenes["labels"][:]
    single = processor(scenes[3]["image"].convert("RGB"), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(batches[0]["pixel_values"][3], single)


def test_difficult_labels_are_left_out_and_a_stream_gives_the_same(scenes: Dataset) -> None:
    rows = scenes.add_column("difficult", [[9]] * len(scenes)).cast_column("difficult", scenes.features["labels"])
    transform = EvalTransform(ViTImageProcessor(size={"height": 16, "width": 16}))
    examples = prepare_examples(rows, transform)
    for row, example in zip(rows, examples, strict=True):
        assert example["labels"][9] == (1.0 if 9 in row["labels"] else -100.0)
    streamed = list(prepare_examples(rows.to_iterable_dataset(num_shards=2), transform))
    for here, there in zip(examples, streamed, strict=True):
        assert torch.equal(torch.as_tensor(there["pixel_values"]), here["pixel_values"])
        assert torch.equal(torch.as_tensor(there["labels"]), here["labels"])
        assert there["image_id"] == here["image_id"]


def test_prepared_examples_travel_to_spawned_workers(scenes: Dataset) -> None:
    transform = TrainTransform(CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}))
    copy = pickle.loads(pickle.dumps(prepare_examples(scenes, transform)))  # noqa: S301  # our own bytes
    assert copy[0]["pixel_values"].shape == (3, 8, 8)


def test_rows_need_no_ids_where_no_seed_hangs_on_them(scenes: Dataset) -> None:
    transform = EvalTransform(ViTImageProcessor(size={"height": 16, "width": 16}))
    named, nameless = (
        prepare_examples(scenes, transform),
        prepare_examples(scenes.remove_columns("image_id"), transform),
    )
    batch = collate([nameless[index] for index in range(4)])
    expected = collate([named[index] for index in range(4)])
    assert set(batch) == set(expected) - {"image_id"}
    assert all(torch.equal(batch[name], expected[name]) for name in batch)
    with pytest.raises(ValueError, match="image_id is missing here"):
        prepare_examples(scenes.remove_columns("image_id"), transform, len)
    with pytest.raises(ValueError, match="image is missing here"):
        prepare_examples(scenes.remove_columns("image"), transform)


@pytest.mark.parametrize("column", ["labels", "difficult"])
def test_a_row_without_labels_is_asked_about_by_name(scenes: Dataset, column: str) -> None:
    missing = [None, *scenes["labels"][1:]]
    rows = scenes.remove_columns(["labels"] if column == "labels" else []).add_column(column, missing)
    examples = prepare_examples(rows.cast_column(column, scenes.features["labels"]), v2.functional.pil_to_tensor)
    with pytest.raises(ValueError, match=rf"{scenes['image_id'][0]}: its {column} are missing; give an empty list"):
        examples[0]
    assert set(examples[1]) == {"pixel_values", "labels", "image_id"}


def test_the_stock_trainer_needs_no_settings_of_its_own(scenes: Dataset, tmp_path: Path) -> None:
    rows = scenes.add_column("difficult", [[9]] * len(scenes)).cast_column("difficult", scenes.features["labels"])
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=label_names(scenes), hidden_size=8)
    examples = prepare_examples(rows, EvalTransform(ViTImageProcessor(size={"height": 32, "width": 32})))
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    trainer = Trainer(model, arguments, train_dataset=examples, eval_dataset=examples)
    (batch,) = list(trainer.get_eval_dataloader())[:1]
    assert set(batch) == {"pixel_values", "labels"}
    assert batch["labels"].eq(-100).any()  # what is left out is still left out
    trainer.train()
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    with pytest.raises(ValueError, match="remove_unused_columns=False"):  # a selection is a plain data set again
        examples.select(range(2)).remove_columns(["image", "image_id"])[0]
