"""Scenes of real handwritten digits that occur together by rules: an example that needs no download.

Ten classes, "zero" to "nine"; a scene's labels are the digits on it. The glyphs are scikit-learn's scanned digits, and
no scan serves two splits. The rules, in the order in which a scene is drawn:

1. Two families, each with two sides that never meet: {one, four} against {seven, nine}, and {three, five} against
   {eight, six}. A scene takes no side of a family with probability 0.3, else either side with equal probability.
2. A side appears with both its digits (0.85) or with one of them.
3. "zero" appears with probability 0.35; "two" never appears beside "zero", and with probability 0.4 without it.
4. With probability `hard` a digit of a family is drawn hard to read: small, faint and with its lower or upper half
   covered, so that it looks much like its opposite on the other side (one/seven, four/nine, three/eight, five/six).

A hard digit alone can only be guessed. Its partner tells it: whoever knows that "seven" is there knows that the smudge
is "nine" and not "four", and that "one" is not there. About one scene in thirty is empty.
"""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict
from PIL import Image

from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.schema import build_dataset, image_bytes, label_lists_from_matrix

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FAMILIES = (((1, 4), (7, 9)), ((3, 5), (8, 6)))
SOURCE_SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
DEFAULT_COUNTS = {"train": 2000, "validation": 400, "test": 600}
GRID = 3  # a scene holds at most six digits, each in a cell of its own

Scans = list[npt.NDArray[np.float32]]  # for each of the ten digits its scans (n, 8, 8), 0..1


def load_digits(
    size: int = 96, counts: Mapping[str, int] | None = None, seed: int = 0, split: str | None = None, hard: float = 0.5
) -> Dataset | DatasetDict:
    """Scenes of digits in the splits train, validation and test, or the one named by `split`.

    Args:
        size: Height and width of a scene in pixels, at least 48.
        counts: How many scenes each split has; 2,000 / 400 / 600 by default.
        seed: The same seed gives the same scenes, byte for byte.
        split: train, validation or test.
        hard: How often a digit of a family is hard to read, 0..1.
    """
    counts = DEFAULT_COUNTS if counts is None else counts
    unknown = [name for name in counts if name not in SOURCE_SHARES]
    if unknown or size < 48:
        raise ValueError(f"splits {unknown} or size {size} not possible; use {', '.join(SOURCE_SHARES)} and size >= 48")
    scans = split_scans()

    def draw(name: str) -> Dataset:
        return _draw_split(name, scans[name], counts[name], size=size, seed=seed, hard=hard)

    return load_splits([name for name in SOURCE_SHARES if counts.get(name)], split, "digits", draw)


def draw_labels(random: np.random.Generator) -> list[int]:
    """The digits of one scene by rules 1 to 3."""
    digits: list[int] = []
    for sides in FAMILIES:
        if random.random() < 0.3:
            continue
        side = sides[random.integers(2)]
        digits += side if random.random() < 0.85 else [side[random.integers(2)]]
    if random.random() < 0.35:
        digits.append(0)
    elif random.random() < 0.4:
        digits.append(2)
    return digits


def split_scans() -> dict[str, Scans]:
    """Each split's own scans of the ten digits; none occurs in two splits."""
    try:
        from sklearn.datasets import load_digits as load_scans
    except ImportError as error:
        raise ImportError("the digit scenes need scikit-learn: pip install 'cnn-rnn[demo]'") from error
    source = load_scans()
    images = (source.images / 16).astype(np.float32)
    parts: dict[str, Scans] = {name: [] for name in SOURCE_SHARES}
    for digit in range(10):
        own = images[source.target == digit]
        ends = np.rint(np.cumsum(list(SOURCE_SHARES.values())) * len(own)).astype(int)
        for name, part in zip(SOURCE_SHARES, np.split(own, ends[:-1]), strict=True):
            parts[name].append(part)
    return parts


def _draw_split(split: str, scans: Scans, count: int, *, size: int, seed: int, hard: float) -> Dataset:
    """The scenes of one split, drawn anew from the seed, with their digits as labels."""
    random = np.random.default_rng([seed, list(SOURCE_SHARES).index(split)])
    present = np.zeros((count, len(DIGIT_NAMES)), dtype=bool)
    scenes = []
    for row in range(count):
        digits = draw_labels(random)
        present[row, digits] = True
        scenes.append(_encode(_draw_scene(digits, scans, size, hard, random)))
    ids = [f"{split}-{row:05d}" for row in range(count)]
    return build_dataset(image_bytes(scenes), ids, label_lists_from_matrix(present), DIGIT_NAMES, split=split)


def _draw_scene(
    digits: list[int], scans: Scans, size: int, hard: float, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """One scene (size, size) in 0..1: light ink on a dark, noisy ground."""
    scene = random.normal(0.12, 0.04, (size, size)).astype(np.float32)
    cell = size // GRID
    for digit, place in zip(digits, random.permutation(GRID * GRID), strict=False):
        is_hard = digit not in {0, 2} and random.random() < hard
        side = int(cell * (random.uniform(0.6, 0.7) if is_hard else random.uniform(0.75, 1.0)))
        scan = scans[digit][random.integers(len(scans[digit]))]
        glyph = np.asarray(Image.fromarray(scan).resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)
        if is_hard:
            glyph = 0.55 * glyph
            covered = slice(side // 2, None) if random.random() < 0.5 else slice(None, side // 2)
            glyph[covered] = 0.35
        top, left = (cell * np.array(divmod(int(place), GRID)) + random.integers(0, cell - side + 1, 2)).tolist()
        window = scene[top : top + side, left : left + side]
        np.maximum(window, glyph * random.uniform(0.85, 1.0), out=window)
    return scene


def _encode(scene: npt.NDArray[np.float32]) -> bytes:
    """A scene as an 8-bit PNG."""
    buffer = io.BytesIO()
    Image.fromarray((scene.clip(0, 1) * 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
