"""One HTML page of photos whose labels a person should look at again. It opens offline."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from cnn_rnn.data import decode_image
from cnn_rnn.prediction.doubtful_labels import Doubt

from .embedded_images import image_address, thumbnail
from .page import Section, render_page


def write_review(file: Path, doubts: Sequence[Doubt], rows: Dataset, *, title: str, subtitle: str) -> None:
    """Write the page, whole or not at all.

    Args:
        file: Where to.
        doubts: The photos, the most doubtful first.
        rows: Their rows.
        title: Its heading.
        subtitle: What stands below it.

    Raises:
        ImportError: jinja2 is not installed.
    """
    suspects = [
        {
            "name": row["image_id"],
            "picture": image_address(thumbnail(decode_image(row["image"], row["image_id"]))),
            "given": doubt.given,
            "wrong": doubt.wrong,
            "missing": doubt.missing,
        }
        for doubt, row in zip(doubts, rows, strict=True)
    ]
    text = (
        "Each photo was judged by a model that was not trained on it. Red: given, but less probable than without a "
        "look at the photo; orange: not given, but probable. The rest are the other labels that are given. The most "
        "doubtful stands first; review.csv has all."
    )
    render_page(file, title, subtitle, [Section("review", "Probably wrong or missing", text, suspects=suspects)])
