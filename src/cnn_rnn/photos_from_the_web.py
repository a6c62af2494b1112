"""A photo from the web, at a bounded cost of bytes and of time, whatever the other side does."""

import ipaddress
import socket
import time
from contextlib import suppress
from threading import Thread
from typing import Any

from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError

LONGEST_WAIT = 60.0  # seconds for an image from the web
LARGEST_DOWNLOAD = 2**28  # bytes of an image from the web
# What the client's HTTP library raises, of whichever name and version that library is.
CLIENT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


def fetch(url: str, timeout: float) -> bytes:
    """What the web answers, of bounded size and within bounded time.

    Raises:
        ValueError: It is no address; what lies there is too large, or compressed once more, so that its size is not
            known before it is paid for; or the public net sends us on into a private one.
        TimeoutError: It takes longer.
        OSError: The connection fails, or the server refuses. The HTTP library has errors of its own for that.
    """
    transfer = Transfer(url, timeout)
    # Neither looking up a name nor a header that comes by the byte knows of a deadline; so a thread waits beside it.
    worker = Thread(target=transfer.run, daemon=True)
    worker.start()
    worker.join(timeout)
    if worker.is_alive():
        transfer.give_up()
        raise TimeoutError(f"it takes longer than {timeout:g} seconds")
    if transfer.error is not None:
        raise transfer.error
    return bytes(transfer.content)


class Transfer:
    """One photo on its way.

    Args:
        url: Where it lies.
        timeout: Seconds that it may take in all.

    Attributes:
        content: What has come.
        error: Why it did not come, once it is known.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url, self.timeout = url, timeout
        self.end = time.monotonic() + timeout
        self.content = bytearray()
        self.error: Exception | None = None
        self._sockets: list[socket.socket] = []
        self._began_in_public: bool | None = None

    def run(self) -> None:
        """Fetch it; whatever goes wrong is `error`."""
        try:
            self._receive()
        except (OSError, ValueError, CLIENT_ERROR) as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - such as an address that no library can read
            self.error = ValueError(f"{type(error).__name__}: {error}")

    def give_up(self) -> None:
        """Close the connections, so that whoever waits for them stops."""
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> None:
        """Fetch it, or raise."""
        plain = {"Accept-Encoding": "identity", "Connection": "close"}  # a connection that nobody else uses
        with get_session().stream(
            "GET",
            self.url,
            timeout=self.timeout,
            follow_redirects=True,
            headers=plain,
            extensions={"trace": self._look_at_connection},
        ) as response:
            response.raise_for_status()
            packed = response.headers.get("content-encoding", "identity")
            if packed != "identity":
                raise ValueError(f"it comes as {packed}, which was not asked for")
            for chunk in response.iter_raw():
                self.content += chunk
                if len(self.content) > LARGEST_DOWNLOAD:
                    raise ValueError(f"it has more than {LARGEST_DOWNLOAD:,} bytes")
                if time.monotonic() > self.end:
                    raise TimeoutError(f"it takes longer than {self.timeout:g} seconds")

    def _look_at_connection(self, event: str, info: dict[str, Any]) -> None:
        """Keep the connections at hand; refuse to be sent from the public net into a private one."""
        stream = info.get("return_value")
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")) or stream is None:
            return
        self._sockets.append(stream.get_extra_info("socket"))
        if event.endswith("connect_tcp.complete"):
            address = str(stream.get_extra_info("server_addr")[0])
            public = is_public(address)
            if self._began_in_public and not public:
                raise ValueError(f"it leads on to {address}, which is no address of the public net")
            self._began_in_public = public if self._began_in_public is None else self._began_in_public


def is_public(address: str) -> bool:
    """Whether an address is one of the public net."""
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_global
