"""A token by which other machines are let in: whoever asks from this machine needs none."""

import hashlib
import hmac
import ipaddress
from urllib.parse import urlencode

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from .own_names import LOCAL

COOKIE = "cnn_rnn_token"
PARAMETER = "token"


class AskedToken:
    """An application (ASGI) for this machine, and for others that told its token once; the rest get 401 and a line.

    A browser tells it in the address, `?token=...`, and from then on in a cookie; programs in `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token
        self.kept = hashlib.sha256(token.encode()).hexdigest()  # in a cookie, which takes few signs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, take its token, or refuse it."""
        if scope["type"] not in {"http", "websocket"} or is_of_this_machine(scope) or self._is_known(scope):
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope).query_params
        if scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        elif any(map(self._is_token, asked.getlist(PARAMETER))):
            rest = urlencode([(name, value) for name, value in asked.multi_items() if name != PARAMETER])
            opened = RedirectResponse(f"./?{rest}".rstrip("?"), 303)
            opened.set_cookie(COOKIE, self.kept, httponly=True)
            await opened(scope, receive, send)
        else:
            told = "from another machine this asks for a token: open the address that its start printed, ?token=...\n"
            await PlainTextResponse(told, 401)(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        """Whether a request carries the token in a header."""
        asked = HTTPConnection(scope)
        scheme, _, secret = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(secret.strip()):
            return True
        return hmac.compare_digest(asked.cookies.get(COOKIE, "").encode(), self.kept.encode())

    def _is_token(self, text: str) -> bool:
        """Whether a text is the token, in a time that tells nothing of where they differ."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())


def is_of_this_machine(scope: Scope) -> bool:
    """Whether a request comes from the machine that answers it."""
    client, server = (scope.get(name) or ("", 0) for name in ("client", "server"))
    return client[0] == server[0] != "" or is_local(client[0])


def is_local(host: str) -> bool:
    """Whether nobody but this machine can reach what listens at an address."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in LOCAL
