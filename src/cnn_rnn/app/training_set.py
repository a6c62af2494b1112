"""From the photos that a person accepted to a folder that training reads, and the command that does."""

import json
import shlex
from collections.abc import Collection
from itertools import count
from pathlib import Path

from cnn_rnn.data.photos.found_files import OWN_FOLDER
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.foundation.whole_files import whole_file, write_text
from cnn_rnn.learning.known_photos import KnownPhotos

from .saved_labels import METADATA, why_not_text

PLACE, CLASSES = "to_train", "labels.json"


def write_training_set(folder: Path, photos: Collection[str], known: KnownPhotos, start: str) -> str:
    """Write the labels of all accepted photos, with those that were unknown at the time; the command that trains.

    The classes are the labels that an accepted photo shows. The photos stay where they are; of those that were
    accepted once and are not there any more nothing is written. The run goes on from the model by which the page sees
    them, so that it finds what the page saw.

    Args:
        folder: Of the photos.
        photos: Those that are there, by name.
        known: What is known of them.
        start: The folder or Hub name of that model.
    """
    root = folder / OWN_FOLDER / PLACE
    taken = {
        name: known.answers(name)
        for name, photo in known.photos.items()
        if photo.accepted and name in photos and not why_not_text(name)
    }
    shown = sorted({label for answers in taken.values() for label, there in answers.items() if there})
    if shown:  # told, so that a label such as "none" is not taken for none
        write_text(root / CLASSES, json.dumps(shown, ensure_ascii=False) + "\n")
    else:
        (root / CLASSES).unlink(missing_ok=True)
    with (
        whole_file(root / "train" / METADATA) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for name, answers in taken.items():
            labels = [label for label, there in answers.items() if there]
            unknown = [label for label in known.label_names if label not in answers and label in shown]
            row = {"file_name": name, "labels": labels, "unknown": unknown}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    weights = "bundled" if start == str(bundled_model()) else Path(start).absolute() if Path(start).exists() else start
    runs = (folder / OWN_FOLDER / f"run{number}" for number in count(1))  # one that is there stays as it is
    given = {
        "data.root": root,
        "data.image_root": "../../..",
        "train.output_dir": next(run for run in runs if not run.exists()),
        "model.weights": weights,
        "train.cached_views": 1,
    }
    settings = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in given.items())
    return f"cnn-rnn train --config image_folder {settings}"
