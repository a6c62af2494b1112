"""What is asked of the server by HTTP: labels of a photo, how the server is, and Label Studio's part."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .asked import JSON, Asked, asked_in, body_kind, read_asked, read_object
from .counts import Counts
from .gate import SenderGoneError, as_json
from .label_studio import LabelStudio
from .refusals import RefusedError
from .service import Service

PAGE = Path(__file__).with_name("serving_page.html")
TEXT = "text/plain; version=0.0.4; charset=utf-8"  # as Prometheus names its format
# The page fetches nothing from elsewhere, and nobody may put it in a frame.
POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
PARAMETERS: dict[str, dict[str, Any]] = {
    "known": {
        "type": "object",
        "additionalProperties": {"type": "boolean"},
        "description": "Labels that are confirmed (true) or ruled out (false); all answers are given these.",
        "example": {"boat": True, "car": False},
    },
    "threshold": {"description": "Least probability of a label: one for all, one by name, or `calibrated`."},
    "top_k": {"type": "integer", "minimum": 1, "description": "So many labels, whatever their probability."},
    "decision": {
        "enum": ["threshold", "expected_f1", "path", "set"],
        "description": "How the set of labels is chosen.",
    },
}
LABEL = {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "labels": {"type": "array", "items": LABEL, "description": "Best first, with their probabilities."},
        "path": {"type": "array", "items": LABEL, "description": "Labels of the best path, each with its step's."},
        "path_score": {"type": "number", "nullable": True, "description": "Probability of that path."},
        "unfamiliar": {"type": "boolean", "description": "Whether the photo is like nothing that the model knows."},
        "question": LABEL | {"nullable": True, "description": "The label whose yes or no would tell most."},
    },
}
PHOTO = {"schema": {"type": "string", "format": "binary"}}
PREDICT = {
    "requestBody": {
        "required": True,
        "description": "A photo: as it is, in a form, or as base64. Label Studio sends its tasks here, too.",
        "content": {
            "image/*": PHOTO,
            "application/octet-stream": PHOTO,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": PHOTO["schema"]} | {name: {"type": "string"} for name in PARAMETERS},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {"type": "string", "format": "byte"},
                        "parameters": {"type": "object", "properties": PARAMETERS},
                    },
                }
            },
        },
    },
    "parameters": [
        {
            "name": name,
            "in": "query",
            "description": f"{what.get('description')} As JSON.",
            "schema": {"type": "string"},
        }
        for name, what in PARAMETERS.items()
    ],
    "responses": {
        "200": {"description": "What the pipeline gives.", "content": {JSON: {"schema": ANSWER_SCHEMA}}},
        "422": {"description": "No photo, or a label or parameter that there is not: `error` says which."},
        "503": {"description": "Too much to do; `Retry-After` says when to ask again."},
    },
}


def make_application(service: Service, counts: Counts, studio: LabelStudio) -> FastAPI:
    """The application, without its limits.

    Args:
        service: What labels photos.
        counts: What is told as metrics.
        studio: What answers Label Studio.
    """
    told = f"Labels of photos, found as a path, given what is known. {service.model.told}"
    app = FastAPI(title="cnn-rnn", description=told, docs_url=None, redoc_url=None)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _refused)

    async def predict(request: Request) -> Response:
        """Labels of a photo with their probabilities, its best path, and the next question, given what is known."""
        content = read_object(await request.body()) if body_kind(request) == JSON else None
        if content is not None and "tasks" in content:
            return as_json(await while_asked(request, studio.predict(content)))
        asked: Asked = await read_asked(request) if content is None else asked_in(content)
        return as_json(await while_asked(request, service.label(asked.photo, asked.parameters)))

    async def setup(request: Request) -> Response:
        """Label Studio tells how a project is labelled, and is told the model's version."""
        return as_json(studio.setup(read_object(await request.body())))

    async def webhook(request: Request) -> Response:
        """Label Studio tells what a person annotated, which is learnt from."""
        return as_json(await studio.webhook(read_object(await request.body())))

    async def versions() -> Response:
        """The model's version, as Label Studio asks for it."""
        return as_json({"versions": studio.versions()})

    async def health() -> Response:
        """Whether the server runs."""
        return as_json({"status": "UP", "model_class": "cnn-rnn"})

    async def ready() -> Response:
        """Whether a photo would be labelled now; 503 while the queue is full."""
        free = service.limits.waiting - service.waiting
        return as_json({"ready": free > 0, "waiting": service.waiting}, 200 if free > 0 else 503)

    async def metrics() -> Response:
        """What has happened, in Prometheus' text."""
        return Response(counts.text(service.waiting), media_type=TEXT)

    async def page() -> Response:
        """This description as a page, with a form to try it."""
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": POLICY})

    add: Callable[..., None] = app.add_api_route
    add("/predict", predict, methods=["POST"], response_model=None, openapi_extra=PREDICT)
    add("/setup", setup, methods=["POST"], response_model=None, tags=["Label Studio"])
    add("/webhook", webhook, methods=["POST"], response_model=None, tags=["Label Studio"])
    add("/versions", versions, methods=["GET"], response_model=None, tags=["Label Studio"])
    add("/health", health, methods=["GET"], response_model=None)
    add("/ready", ready, methods=["GET"], response_model=None)
    add("/metrics", metrics, methods=["GET"], response_model=None)
    add("/docs", page, methods=["GET"], response_model=None, include_in_schema=False)
    add("/", lambda: RedirectResponse("docs"), methods=["GET"], response_model=None, include_in_schema=False)
    return app


async def while_asked(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """What the work gives; it is given up where whoever asked has gone.

    Raises:
        SenderGoneError: They have.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise SenderGoneError
        return working.result()
    finally:
        gone.cancel()
        working.cancel()


async def _until_gone(request: Request) -> None:
    """Wait until nobody waits for the answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    """What is said of a request that is not answered."""
    if isinstance(error, RefusedError):
        return as_json({"error": str(error)}, error.status, error.headers)
    assert isinstance(error, HTTPException)
    return as_json({"error": f"{error.detail}; /docs says what is answered"}, error.status_code, error.headers)
