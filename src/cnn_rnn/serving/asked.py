"""What a request asks: a photo as bytes, and what is known of it; never a path or an address."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from cnn_rnn.foundation.broken_files import reason
from cnn_rnn.foundation.json_lines import read_json

from .at_work import PARAMETER_NAMES
from .refusals import RefusedError

JSON, FORM, PHOTO_FIELD = "application/json", "multipart/form-data", "photo"
HOW = "send the photo's bytes as the body, a form with the file 'photo', or JSON {\"inputs\": base64}"

STARTS, MOST_VALUES = (b",", b"[", b"{"), 1_000_000  # of JSON's values, none of which base64 holds


@dataclass(frozen=True)
class Asked:
    """One photo, and the parameters as they were given."""

    photo: bytes
    parameters: Mapping[str, Any] = field(default_factory=dict)


def body_kind(request: Request) -> str:
    """What a request's body is, in small letters and without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        RefusedError: It holds none, or far too many values: what is read at once keeps all others waiting.
    """
    if sum(map(body.count, STARTS)) > MOST_VALUES:
        raise RefusedError(413, f"the body holds more than {MOST_VALUES:,} values")
    try:
        found = read_json(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON: {reason(error)}") from error
    if not isinstance(found, dict):
        raise RefusedError(400, f"the body must be a JSON object, not {type(found).__name__}")
    return found


async def read_asked(request: Request) -> Asked:
    """What a request that is no JSON asks: its body is the photo, or a form with one.

    Raises:
        RefusedError: There is no photo in it.
    """
    if body_kind(request) != FORM:
        return Asked(has_photo(await request.body()), _texts(request.query_params.multi_items()))
    try:
        form = await request.form(max_files=1, max_fields=len(PARAMETER_NAMES))
    except Exception as error:  # of the parser, of many kinds
        raise RefusedError(400, f"the form cannot be read: {getattr(error, 'detail', error)}; {HOW}") from error
    try:
        photo = form.get(PHOTO_FIELD)
        if photo is None or isinstance(photo, str):
            raise RefusedError(400, f"the form has no file {PHOTO_FIELD!r}; {HOW}")
        texts = [(name, value) for name, value in form.multi_items() if name != PHOTO_FIELD]
        return Asked(has_photo(await photo.read()), _texts(texts))
    finally:
        await form.close()


def asked_in(content: Mapping[str, Any]) -> Asked:
    """What a JSON object asks, as Inference Endpoints take it: `{"inputs": base64, "parameters": {...}}`.

    Raises:
        RefusedError: There is no photo in it.
    """
    text, parameters = content.get("inputs"), content.get("parameters") or {}
    if not isinstance(text, str):
        raise RefusedError(422, f"inputs must be a photo as base64 text; {HOW}")
    if not isinstance(parameters, dict) or content.keys() - {"inputs", "parameters"}:
        raise RefusedError(422, f'expected {{"inputs": base64, "parameters": {{...}}}}, got {", ".join(content)[:200]}')
    return Asked(from_base64(text), parameters)


def from_base64(text: str) -> bytes:
    """The bytes of a photo that base64 text holds, with `data:image/...,` before it or without.

    Raises:
        RefusedError: It is no base64.
    """
    try:
        encoded = text.partition(",")[2] if text.startswith("data:image/") else text
        return has_photo(base64.b64decode(encoded, validate=True))
    except ValueError as error:
        told = f"{text[:60]!r} is no base64 of a photo; files and addresses are not read: {HOW}"
        raise RefusedError(422, told) from error


def has_photo(content: bytes) -> bytes:
    """The bytes; refused where there are none."""
    if not content:
        raise RefusedError(422, f"there is no photo; {HOW}")
    return content


def _texts(given: list[tuple[str, Any]]) -> dict[str, Any]:
    """Parameters that came as text, each once: JSON, or the text itself where it is none."""
    found: dict[str, Any] = {}
    for name, text in given:
        if name in found:
            raise RefusedError(422, f"{name[:60]!r} is given twice")
        try:
            found[name] = read_json(text)
        except json.JSONDecodeError:
            found[name] = text
        except (ValueError, RecursionError) as error:
            raise RefusedError(422, f"{name[:60]!r}: {error}") from error
    return found
