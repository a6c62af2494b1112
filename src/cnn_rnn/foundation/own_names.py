"""A server that answers to its own names alone, so that no page on the web can reach it under a name of its own.

A name on the web may be made to point at this machine (DNS rebinding); the browser then takes the server for that
page's own and hands it what it answers. An address in numbers points nowhere else.
"""

import ipaddress
import json
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

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
    """An application (ASGI) for requests to the server's own names; others get 403 and one line that says why.

    Args:
        app: The application.
        names: The names, of `own_names`.
    """

    def __init__(self, app: Application, names: frozenset[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        origins = [value.decode("latin-1") for key, value in scope["headers"] if key == b"origin"]
        asked = [f"//{host}" for host in hosts] or [""]
        other = next((one for one in (*asked, *origins) if not self.knows(one)), None)
        if other is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            told = (
                f"this server answers to {', '.join(sorted(self.names))} alone, not to {other.strip('/')!r}; started "
                "with --root_path http://NAME:PORT it answers to that name too"
            )
            headers = [(b"content-type", b"application/json")]  # as every other refusal of a server
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps({"error": told}).encode()})

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
