"""A token by which other machines are let in: whoever asks from this machine needs none."""

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from .own_names import LOCAL, Application, Message, Receive, Send

COOKIE = "cnn_rnn_token"
PARAMETER = "token"


class AskedToken:
    """An application (ASGI) for this machine, and for others that told its token once; the rest get 401 and a line.

    A browser tells it in the address, `?token=...`, and from then on in a cookie; programs in `Authorization: Bearer`.

    Args:
        app: The application.
        token: What others must know.
    """

    def __init__(self, app: Application, token: str) -> None:
        self.app, self.token = app, token
        self.kept = hashlib.sha256(token.encode()).hexdigest()  # in a cookie, which takes few signs

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, take its token, or refuse it."""
        if scope["type"] not in {"http", "websocket"} or is_of_this_machine(scope) or self._is_known(scope):
            await self.app(scope, receive, send)
            return
        asked = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif any(name == PARAMETER and self._is_token(value) for name, value in asked):
            rest = urlencode([(name, value) for name, value in asked if name != PARAMETER])
            kept = f"{COOKIE}={self.kept}; Path=/; HttpOnly; SameSite=Lax"
            headers = [(b"location", f"./?{rest}".rstrip("?").encode()), (b"set-cookie", kept.encode())]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            told = "from another machine this asks for a token: open the address that its start printed, ?token=...\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": told.encode()})

    def _is_known(self, scope: Message) -> bool:
        """Whether a request carries the token in a header."""
        found = {key: value.decode("latin-1") for key, value in scope["headers"]}
        scheme, _, secret = found.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(secret.strip()):
            return True
        try:
            kept = SimpleCookie(found.get(b"cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return kept is not None and hmac.compare_digest(kept.value.encode(), self.kept.encode())

    def _is_token(self, text: str) -> bool:
        """Whether a text is the token, in a time that tells nothing of where they differ."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())


def is_of_this_machine(scope: Message) -> bool:
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
