"""Which rows a set holds, told by a digest of each, which photos are the same, and which cannot be read."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, Image
from tqdm.auto import tqdm

from cnn_rnn.data.schema import LEFT_OUT_COLUMNS, label_lists, label_names

from .disk_layout import abbreviate
from .images import UnreadableImageError, decode_image, image_name

logger = logging.getLogger(__name__)
ROWS_A_BATCH = 256


def drop_unreadable(dataset: Dataset, workers: int = 2) -> tuple[Dataset, dict[str, str]]:
    """The rows whose images decode, and for each other image its id and the reason; every image is read once."""
    rows = dataset.select_columns(["image", "image_id"]).cast_column("image", Image(decode=False))
    reasons: dict[str, str] = {}
    kept: list[int] = []
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(rows), desc="checking images", unit="image") as bar:
        for start in range(0, len(rows), ROWS_A_BATCH):
            batch = rows[start : start + ROWS_A_BATCH]
            found = pool.map(_reason, batch["image"], batch["image_id"])
            for index, (image_id, reason) in enumerate(zip(batch["image_id"], found, strict=True), start=start):
                if reason:
                    reasons[image_id] = reason
                else:
                    kept.append(index)
            bar.update(len(batch["image_id"]))
    if reasons:
        named = abbreviate(list(reasons.values()))
        logger.warning("%s of %s images are unreadable and left out: %s", len(reasons), len(rows), named)
    return (dataset.select(kept) if reasons else dataset), reasons


def _reason(image: Mapping[str, Any] | None, image_id: str) -> str | None:
    """Why an image cannot be decoded; None where it can."""
    try:
        decode_image(image, image_name(image, image_id), least_size=1)
    except UnreadableImageError as error:
        return str(error)
    return None


def row_digests(rows: Dataset) -> npt.NDArray[np.uint64]:
    """A digest of the labels, by name, of each row; (N,)."""
    names = [name.encode("utf-8", "surrogatepass") for name in label_names(rows)]
    digests = [blake2b(digest_size=8) for _ in range(len(rows))]
    for column in ("labels", *LEFT_OUT_COLUMNS):
        if column in rows.column_names:
            lists = label_lists(rows, column)
            ids, ends = lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy()
            for digest, start, end in zip(digests, ends[:-1], ends[1:], strict=True):
                digest.update(column.encode() + b"\0".join(sorted(names[one] for one in ids[start:end])))
    return np.array([int.from_bytes(digest.digest()) for digest in digests], dtype=np.uint64)


def identical_photos(splits: Mapping[str, Dataset]) -> list[tuple[str, str]]:
    """Pairs of photos with the same bytes in two splits, each as `split image_id`; one pair a photo of the later split.

    Only files of the same size are read.
    """
    by_size: dict[int, list[tuple[str, str, Mapping[str, Any]]]] = defaultdict(list)
    for name, rows in splits.items():
        undecoded = rows.select_columns(["image", "image_id"]).cast_column("image", Image(decode=False))
        columns = undecoded.with_format("arrow")[:]
        for image, image_id in zip(columns["image"], columns["image_id"].to_pylist(), strict=True):
            if size := _size(image):
                by_size[size].append((name, image_id, image))
    pairs = []
    for group in by_size.values():
        first: dict[bytes, tuple[str, str]] = {}
        for split, image_id, image in group if len({split for split, _, _ in group}) > 1 else ():
            with suppress(OSError):  # what cannot be read stays out
                content = image["bytes"].as_py() or Path(image["path"].as_py()).read_bytes()
                other = first.setdefault(blake2b(content, digest_size=16).digest(), (split, image_id))
                if other[0] != split:
                    pairs.append((" ".join(other), f"{split} {image_id}"))
    return pairs


def _size(image: pa.StructScalar) -> int:
    """How many bytes an image has; 0 of addresses, of what cannot be read and where there is none."""
    path = image["path"].as_py()
    if image["bytes"].is_valid:
        return len(image["bytes"].as_buffer())
    try:
        return Path(path).stat().st_size if path and "://" not in path else 0
    except OSError:
        return 0
