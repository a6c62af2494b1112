"""A server that answers to its own names alone, so that no page on the web can reach it under a name of its own.

A name on the web may be made to point at this machine (DNS rebinding); the browser then takes the server for that
page's own and hands it what it answers. An address in numbers points nowhere else.
"""

import ipaddress
import json
import os
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened at


def own_names(host: str, root_path: str | None = None) -> frozenset[str]:
    """The names that a server was started for.

    Args:
        host: The address that it listens at.
        root_path: Its address as others write it, where there is a proxy in front of it.
    """
    names = {*LOCAL, host.strip("[]").lower()}
    if root_path and (named := _host_of(root_path)):
        names.add(named)
    if host.strip("[]") in EVERYWHERE:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    if space := os.environ.get("SPACE_HOST"):  # of a Space on the Hub, which a proxy serves
        names |= {one.strip().lower() for one in space.split(",")}
    return frozenset(names)


class OwnNames:
    """An application (ASGI) for requests to the server's own names; others get 403 and one line that says why."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = [f"//{host}" for host in headers.getlist("host")] or [""]
        other = next((one for one in (*asked, *headers.getlist("origin")) if not self.knows(one)), None)
        if other is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            told = (
                f"this server answers to {', '.join(sorted(self.names))} alone, not to {other.strip('/')!r}; started "
                "with --root_path http://NAME:PORT it answers to that name too"
            )
            refusal = Response(json.dumps({"error": told}), 403, media_type="application/json")  # as all others are
            await refusal(scope, receive, send)

    def knows(self, address: str) -> bool:
        """Whether an address such as `//localhost:7860` or `https://example.org` is one of the server's own."""
        name = _host_of(address)
        return bool(name) and (name in self.names or (not self.names.isdisjoint(EVERYWHERE) and _is_in_numbers(name)))


def _host_of(address: str) -> str:
    """The name of a machine in an address, in small letters; empty where there is none."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_in_numbers(name: str) -> bool:
    """Whether a machine is named by its address in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
