"""Holding out by label at full size: seconds, and memory beyond the labels themselves."""

import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from row import Row

from cnn_rnn.data.batching.splits import choose_rows

SPLIT_SIZES = (
    (20_000, 9_083, 5, "<= 5"),
    (1_000_000, 10_000, 30, "<= 60"),
)  # photos, labels, labels per photo, seconds
FRACTION = 0.1


def measure(_: Path) -> list[Row]:
    """All figures of this section."""
    rows = []
    for photos, labels, each, limit in SPLIT_SIZES:
        offsets, drawn = draw_label_rows(photos, labels, each)
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # whose peak is that of the split alone
            seconds, held = pool.apply(_choose_timed, (offsets, drawn, labels, round(photos * FRACTION)))
        given = (drawn.nbytes + offsets.nbytes) / (1 << 20)
        name = f"hold out a tenth of {photos:,} photos by {labels:,} labels, {each} a photo"
        rows.append(Row(name, seconds, "s", wanted=limit))
        rows.append(Row(f"peak memory of it, {photos:,} photos", held, "MB; the labels given", given))
    return rows


def draw_label_rows(photos: int, labels: int, each: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Offsets and labels of photos whose labels are as unevenly frequent as words are (Zipf)."""
    shares = 1 / np.arange(1, labels + 1)
    random = np.random.default_rng(0)
    drawn = np.searchsorted(np.cumsum(shares / shares.sum()), random.random(photos * each)).clip(max=labels - 1)
    pairs = np.unique(np.repeat(np.arange(photos, dtype=np.int64), each) * labels + drawn)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs // labels, minlength=photos))])
    return offsets, (pairs % labels).astype(np.int32)


def _choose_timed(
    offsets: npt.NDArray[np.int64], drawn: npt.NDArray[np.int32], labels: int, size: int
) -> tuple[float, float]:
    """Seconds, and megabytes at the peak beyond what is held before."""
    before = _resident_now()
    start = time.perf_counter()
    choose_rows(offsets, drawn, labels, size)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def _resident_now() -> float:
    """Megabytes of this process's own memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a path of the kernel's
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)
