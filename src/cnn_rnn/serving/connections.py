"""Connections that may not be held open for nothing, and a server that ends gracefully."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from .gate import Limits

HALF_A_BODY = 2.0  # seconds that the rest of a body may take once the server ends
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedConnection(H11Protocol):
    """A connection that is closed when it asks nothing for a while, or one request takes too long in all.

    Attributes:
        limits: How long; the same for all connections of a class.
    """

    limits: ClassVar[Limits]

    def connection_made(self, transport: Any) -> None:
        """Begin to watch it; refuse it where there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()  # the last answer, or the beginning
        if len(self.connections) > self.limits.connections:
            transport.write(FULL)
            transport.close()
        self._watch()

    def on_response_complete(self) -> None:
        """An answer was given: from now on it is quiet."""
        self.since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """The server ends: what is at work is answered, half a body is not waited for."""
        super().shutdown()
        if self.is_at_work and self.cycle.more_body:
            self.loop.call_later(HALF_A_BODY, self._abort_half)

    @property
    def is_at_work(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Look at it now and then, as long as it is there."""
        if self not in self.connections:
            return
        most = self.limits.request_seconds if self.is_at_work else self.limits.quiet_seconds
        if self.loop.time() - self.since > most:
            self.transport.abort()
        else:
            self.loop.call_later(max(0.05, min(self.limits.quiet_seconds / 4, 5.0)), self._watch)

    def _abort_half(self) -> None:
        """Close it where its body still has not come."""
        if self.is_at_work and self.cycle.more_body:
            self.transport.abort()


class GracefulServer(Server):
    """A server that ends by returning, whichever signal told it to."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class, but signals are not raised once more."""
        with super().capture_signals():
            yield
            self.ended_by = list(self._captured_signals)
            self._captured_signals.clear()


def make_server(app: ASGIApp, limits: Limits) -> GracefulServer:
    """A server for an application, not started yet."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bounded = Limits(**(vars(limits) | {"connections": min(limits.connections, files // 2)}))
    protocol = type("Connection", (BoundedConnection,), {"limits": bounded})
    config = Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(limits.quiet_seconds) or 1,
        timeout_graceful_shutdown=int(limits.end_seconds) or 1,
    )
    return GracefulServer(config)
