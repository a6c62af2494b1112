"""A page of images with their labels and the paths that were walked, for people who would rather look than read."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from PIL import Image, ImageDraw, ImageFont

from cnn_rnn.data.photos.found_files import JOB_PICTURE
from cnn_rnn.data.photos.images import UnreadableImageError, decode_image
from cnn_rnn.foundation.whole_files import whole_file

from .job_folder import JobFolder

PICTURED = 24  # images on the page
TILE = 220  # pixels, image and its margins
LINE = 17  # pixels, one line of text
FOUND, EXTRA, MISSED, PLAIN, WALKED = "#157f3b", "#b3261e", "#8a6d00", "#202124", "#70757a"


@dataclass
class Caption:
    """What stands below an image.

    Attributes:
        labels: Labels that are expected, each with its probability.
        path: Labels in the order they were walked, each with the probability of its step.
        truth: Labels that are there, or None where nobody knows.
    """

    labels: Sequence[tuple[str, float]]
    path: Sequence[tuple[str, float]] = ()
    truth: Sequence[str] | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Text and colour of each line: one label per line, what was missed, then the path, one step per line."""
        known = self.truth is not None
        expected = [
            (f"{label}  {probability:.2f}", (FOUND if label in (self.truth or ()) else EXTRA) if known else PLAIN)
            for label, probability in self.labels
        ] or [("(no label)", PLAIN)]
        named = {label for label, _ in self.labels}
        missed = [(f"missed: {label}", MISSED) for label in self.truth or () if label not in named]
        steps = enumerate(self.path, start=1)
        return (
            expected + missed + [(f"path {n}. {label}  {probability:.2f}", WALKED) for n, (label, probability) in steps]
        )


def draw_page(images: Sequence[Image.Image], captions: Sequence[Caption], columns: int = 6) -> Image.Image:
    """One picture of every image, its labels and path: green what is there, red what is not, ochre what was missed."""
    columns = max(1, min(columns, len(images)))
    height = TILE + LINE * max((len(caption.lines()) for caption in captions), default=1) + 8
    rows = -(-len(images) // columns)
    page = Image.new("RGB", (columns * TILE, max(1, rows) * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = index % columns * TILE, index // columns * height
        tile = image.convert("RGB")
        scale = (TILE - 16) / max(tile.size)
        tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))))
        page.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        for number, (text, colour) in enumerate(caption.lines()):
            draw.text((left + 10, top + TILE + number * LINE), text, fill=colour, font=font)
    return page


def draw_job(folder: JobFolder) -> None:
    """Draw the first images of a finished job with their labels and paths, as far as they can still be read."""
    pictured: list[Image.Image] = []
    captions = []
    images = chain.from_iterable(map(folder.inputs.part, range(folder.inputs.parts)))
    try:
        for image, row in zip(images, folder.rows(), strict=False):
            if len(pictured) == PICTURED:
                break
            if row["error"] is not None:
                continue
            pictured.append(decode_image(image.image, image.name))
            labels, path = ([(one["label"], one["score"]) for one in row[name] or ()] for name in ("labels", "path"))
            captions.append(Caption(labels, path, image.truth))
    except (UnreadableImageError, OSError) as error:
        print(f"{JOB_PICTURE} is not complete: {error}", file=sys.stderr)
    if pictured:
        with whole_file(folder.folder / JOB_PICTURE) as temporary:
            draw_page(pictured, captions).save(temporary, format="png")
