"""A file server on this machine that can break lines, ignore ranges and lie about lengths."""

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Loopback:
    """What the server serves and how.

    Attributes:
        files: Contents by path.
        break_after: After how many bytes each of the next answers ends, one number an answer.
        ranges: Whether it honours Range headers.
        status: A status to answer with instead, each once.
        seen: The Range headers it was asked with.
    """

    files: dict[str, bytes]
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: list[int] = field(default_factory=list)
    seen: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Loopback]:
    """A server of these files on a free port, until the block ends."""
    plan = Loopback(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            plan.seen.append(asked)
            content = plan.files.get(self.path)
            if content is None or plan.status:
                self.send_error(plan.status.pop(0) if plan.status else 404)
                return
            start = int(found[1]) if plan.ranges and (found := re.match(r"bytes=(\d+)-", asked or "")) else None
            if start is not None and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            body = content[start or 0 :]
            self.send_response(200 if start is None else 206)
            self.send_header("Content-Length", str(len(body)))
            if start is not None:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may have seen enough
                self.wfile.write(body[: plan.break_after.pop(0)] if plan.break_after else body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    plan.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield plan
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
