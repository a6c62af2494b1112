"""What every request passes: a token where one is asked for, limits of size and time, and the counting."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .counts import Counts
from .refusals import RefusedError, busy

MIB = 2**20
OPEN = ("/health", "/ready")  # asked by what looks after servers, without a token
PATHS = ("/", "/docs", "/health", "/metrics", "/openapi.json", "/predict", "/ready", "/setup", "/versions", "/webhook")
DRAINED, DRAINING = 64 * MIB, 1.0  # bytes and seconds of a refused body that are read, so that its sender hears why


@dataclass(frozen=True)
class Limits:
    """How much a server takes on.

    Attributes:
        waiting: Photos that wait or are at work.
        body: Bytes of a request.
        held: Bytes of all requests together.
        body_seconds: That a body may take to come.
        decode_seconds: That a photo may take to be decoded.
        request_seconds: That a request may take in all.
        quiet_seconds: That a connection may stay open without a request.
        connections: Open at once.
        end_seconds: That requests may go on after the server was told to end.
    """

    waiting: int = 128
    body: int = 32 * MIB
    held: int = 512 * MIB
    body_seconds: float = 20.0
    decode_seconds: float = 20.0
    request_seconds: float = 120.0
    quiet_seconds: float = 15.0
    connections: int = 1000
    end_seconds: float = 30.0


class SenderGoneError(Exception):
    """Whoever asked has gone."""


class Gate:
    """An application (ASGI) behind its limits.

    Args:
        app: The application; its requests' bodies are whole when it is called.
        limits: How much it takes on.
        counts: Where answers are counted.
        token: What whoever asks must know; None for nothing.
    """

    def __init__(self, app: ASGIApp, limits: Limits, counts: Counts, token: str | None = None) -> None:
        self.app, self.limits, self.counts, self.token = app, limits, counts, token
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, held = time.monotonic(), 499, self.held  # as some servers call it when nobody is there any more

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            self._admit(scope)
            body = await self._read(scope, receive)
            held = len(body)
            try:
                await self.app(scope, replay(body, receive), sending)
            finally:
                self.held -= held
        except SenderGoneError:
            pass
        except RefusedError as error:
            await self._drain(receive)
            # Closed, since what else comes on the connection may be the rest of what was refused.
            refusal = as_json({"error": str(error)}, error.status, {"Connection": "close"} | error.headers)
            await refusal(scope, receive, sending)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self.counts.answered(path, status, time.monotonic() - began)

    def _admit(self, scope: Scope) -> None:
        """Refuse whoever does not know the token."""
        if self.token is None or scope["path"] in OPEN:
            return
        given = [value.decode("latin-1") for key, value in scope["headers"] if key == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(_secret_in(given[0]).encode(), self.token.encode()):
            raise RefusedError(401, "the token is missing or wrong; send it as Authorization: Bearer TOKEN")

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request.

        Raises:
            RefusedError: It is too large or too slow, or there is no room for it.
            SenderGoneError: Its sender has gone.
        """
        length = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
        if int(length) > self.limits.body:
            raise RefusedError(413, f"{int(length):,} bytes; at most {self.limits.body:,}")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                await self._gather(body, receive)
        except BaseException as error:
            self.held -= len(body)
            if isinstance(error, TimeoutError):
                told = f"the body did not come within {self.limits.body_seconds:g} seconds"
                raise RefusedError(408, told) from error
            raise
        return bytes(body)

    async def _gather(self, body: bytearray, receive: Receive) -> None:
        """Put what comes into the body, until it is whole."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise SenderGoneError
            chunk, more = message.get("body", b""), message.get("more_body", False)
            self.held += len(chunk)
            body += chunk
            if len(body) > self.limits.body:
                raise RefusedError(413, f"more than {self.limits.body:,} bytes")
            if self.held > self.limits.held:
                raise busy("there is no room for more photos now")

    async def _drain(self, receive: Receive) -> None:
        """Read what still comes of a refused body, for a while."""
        left = DRAINED
        try:
            async with asyncio.timeout(DRAINING):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
        except TimeoutError:
            pass


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that has come, then what comes after it."""
    begun = False

    async def replayed() -> Message:
        nonlocal begun
        if begun:
            return await receive()
        begun = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _secret_in(authorization: str) -> str:
    """The token in `Bearer TOKEN`, or the password in what Label Studio sends (Basic); empty where there is none."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(secret, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return secret.strip() if scheme.lower() == "bearer" else ""


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON; what is no number is an error, not `NaN`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, headers, "application/json")
