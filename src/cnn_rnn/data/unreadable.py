"""Finding the images that cannot be decoded before a long run meets them."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from datasets import Dataset, Image
from tqdm.auto import tqdm

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
