"""What Inference Endpoints of the Hub run: photos in, labels out, given what is known of them.

This file is published beside the model and loaded by itself; all that it needs is the model's own folder.
"""

import base64
import inspect
import json
from typing import Any

from transformers import pipeline

TASK = "multi-label-image-classification"
MOST_PHOTOS = 256  # of one request
LARGEST_PHOTO = 2**26  # bytes
NOT_ASKED = ("timeout",)  # of photos from the web, which are not fetched here


class EndpointHandler:
    """The model of a folder, as the Hub's inference toolkit calls it."""

    def __init__(self, path: str = "") -> None:
        self.classify = pipeline(TASK, model=path or ".", trust_remote_code=True)  # the code in this very folder
        taken = inspect.signature(self.classify._sanitize_parameters).parameters  # noqa: SLF001 - their one list
        self.parameters = [name for name in taken if name not in NOT_ASKED]

    def __call__(self, data: dict[str, Any]) -> Any:
        """Labels of a photo, or a list of them for a list of photos, as the pipeline gives them.

        Args:
            data: `inputs`, a photo (encoded bytes, base64 text of them, or a Pillow image) or a list of photos, and
                `parameters`, those of the pipeline, such as `{"known": {"boat": true, "car": false}}`.

        Raises:
            ValueError: There is no photo, it cannot be read, or a parameter is wrong; the message says which.
        """
        if not isinstance(data, dict) or data.get("inputs") is None:
            raise ValueError('expected {"inputs": PHOTO, "parameters": {...}}, the photo as bytes or base64 text')
        parameters = self.checked(data.get("parameters") or {})
        inputs = data["inputs"]
        if not isinstance(inputs, list):
            return self.classify(as_photo(inputs), **parameters)
        if len(inputs) > MOST_PHOTOS:
            raise ValueError(f"{len(inputs)} photos at once; at most {MOST_PHOTOS}")
        return self.classify([as_photo(one) for one in inputs], **parameters)

    def checked(self, parameters: Any) -> dict[str, Any]:
        """The parameters of a call; what stood in an address, as text, is read as JSON where it is JSON.

        Raises:
            ValueError: They are no object, or one of them is not known.
        """
        if not isinstance(parameters, dict):
            raise ValueError(f'parameters must be an object such as {{"known": {{"boat": true}}}}, got {parameters!r}')  # noqa: TRY004
        wrong = [name for name in parameters if name not in self.parameters]
        if wrong:
            raise ValueError(f"there is no parameter {wrong[0]!r}; there are {', '.join(self.parameters)}")
        return {name: from_text(value) if isinstance(value, str) else value for name, value in parameters.items()}


def as_photo(given: Any) -> Any:
    """A photo as the pipeline takes it; text is base64 and nothing else, neither a file of this machine nor an address.

    Raises:
        ValueError: It is no base64, or too large.
    """
    if isinstance(given, str):
        text = given.partition(",")[2] if given.startswith("data:image/") else given
        try:
            given = base64.b64decode(text, validate=True)
        except ValueError as error:
            told = f"{given[:60]!r} is no base64 of a photo ({error}); files and addresses are not fetched: send bytes"
            raise ValueError(told) from error
    if isinstance(given, bytes | bytearray) and not 0 < len(given) <= LARGEST_PHOTO:
        raise ValueError(f"a photo of {len(given):,} bytes; expected 1 to {LARGEST_PHOTO:,}")
    if not (isinstance(given, bytes | bytearray) or hasattr(given, "convert")):
        raise ValueError(f"{type(given).__name__} is no photo: send encoded bytes, or base64 text of them")
    return bytes(given) if isinstance(given, bytearray) else given


def from_text(text: str) -> Any:
    """What JSON says; text that is none as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
