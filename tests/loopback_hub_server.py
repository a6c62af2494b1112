"""The Hub on this machine as a server on a free port."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from .loopback_hub import CUT, HALF, LoopbackHub
from .loopback_hub_routes import Answer, answer_request


def point_clients_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Make the clients of this process ask this Hub; what they read from the environment is read already."""
    path = "/{repo_id}/resolve/{revision}/"
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + path + "{filename}")
    patch.setattr("datasets.config.HF_ENDPOINT", url)
    patch.setattr("datasets.config.HUB_DATASETS_URL", f"{url}/datasets{path}{{path}}")


def part_of(answer: Answer, asked: str | None) -> Answer:
    """The bytes `first-last` or `first-` of a success, as a header Range asks for them."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if found is None or answer.status != 200:
        return answer
    size = len(answer.body)
    first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first >= size:
        return Answer(status=416, headers={"Content-Range": f"bytes */{size}"})
    told = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Answer(answer.body[first : last + 1], 206, answer.headers | told)


@contextmanager
def serve_hub() -> Iterator[LoopbackHub]:
    """An empty Hub on a free port, until the block ends."""
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Says nothing."""

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def answer(self) -> None:
            asked = f"{self.command} {self.path}"
            hub.seen.append(asked)
            fault = hub.fault(asked)
            if fault == CUT:
                self.close_connection = True
                return
            body = self.read_body()
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            answer = (
                Answer(b'{"error": "planned"}', fault)
                if fault and fault != HALF
                else answer_request(hub, self.command, self.path, body, token)
            )
            answer = part_of(answer, self.headers.get("Range"))
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: len(answer.body) // 2] if fault == HALF else answer.body)
            self.close_connection |= fault == HALF

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - names that the base class looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
