"""What people know of images, as a file of JSON lines.

A line is `{"image_id": "1.jpg", "known": {"boat": true, "car": false}}`: an image, and labels that it shows or not.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from cnn_rnn.foundation.json_lines import read_json_lines
from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.label_answers import unknown_label
from cnn_rnn.nearest_names import did_you_mean

Answers = Mapping[str, Mapping[str, bool]]
"""By image id, what is known: labels that it shows (True) or does not show (False)."""

ANSWER_LINE = '{"image_id": "...", "known": {"label": true or false, ...}}'


@told_in_one_line()
def read_answers(
    path: Path,
    image_ids: Iterable[str],
    label_names: Collection[str],
    check: Callable[[Mapping[str, bool]], object] = bool,
) -> dict[str, dict[str, bool]]:
    """What is known of each image that a line names.

    Args:
        path: JSON lines.
        image_ids: The images there are; gone through one by one, again to name the nearest one.
        label_names: The model's labels.
        check: Raises ValueError where the model takes no such answers together.

    Raises:
        ValueError: A line is none of these, names an image or a label that there is not, or says what `check` refuses;
            the message says which.
        OSError: The file cannot be read.
    """
    found: dict[str, dict[str, bool]] = {}
    places: dict[str, str] = {}
    for number, entry in read_json_lines(path, ANSWER_LINE):
        where = f"{path}, line {number}"
        if set(entry) != {"image_id", "known"} or not isinstance(entry["known"], dict):
            raise ValueError(f"{where} must be {ANSWER_LINE}")
        image_id, known = entry["image_id"], entry["known"]
        if not isinstance(image_id, str):
            raise ValueError(f"{where}: image_id must be an image's name, got {image_id!r}")  # noqa: TRY004
        if image_id in found:
            raise ValueError(f"{where}: image {image_id!r} was named before; write all that is known of it in one line")
        for label, present in known.items():
            if label not in label_names:
                raise ValueError(f"{where}: {unknown_label(label, label_names)}")
            if present is not True and present is not False:
                raise ValueError(f"{where}: {label!r} must be true or false, got {present!r}")
        try:
            check(known)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        found[image_id], places[image_id] = known, where
    _check_images(places, image_ids)
    return found


def _check_images(places: Mapping[str, str], image_ids: Iterable[str]) -> None:
    """Refuse what is said of images that there are not; `places` says where each is named."""
    unseen = set(places)
    for name in image_ids if unseen else ():
        unseen.discard(name)
        if not unseen:
            return
    if unseen:
        image_id = next(name for name in places if name in unseen)
        whole = next((name for name in image_ids if name.endswith(f"/{image_id}")), None)  # named without its folder
        near = f"; did you mean {whole!r}?" if whole else did_you_mean(image_id, image_ids, shown=repr, front="; ")
        raise ValueError(f"{places[image_id]}: there is no image {image_id!r}{near}")


def digest_answers(answers: Answers) -> str | None:
    """A digest of what is known; None of nothing."""
    if not answers:
        return None
    return hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()


def answer_rows(known: Mapping[str, bool]) -> list[dict[str, Any]]:
    """What is known of one image as rows of a file."""
    return [{"label": label, "present": present} for label, present in known.items()]
