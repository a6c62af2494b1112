"""A photo from the web costs at most so many bytes and seconds, whatever the other side does."""

import gzip
import io
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from PIL import Image

from cnn_rnn import pipeline_cnn_rnn
from cnn_rnn.pipeline_cnn_rnn import fetch, read_image


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "PNG")
    return content.getvalue()


class Hostile(BaseHTTPRequestHandler):
    """Answers each path in a way of its own."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        if self.path == "/bomb":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if self.path == "/bomb":
                self.wfile.write(gzip.compress(bytes(10_000_000)))
            elif self.path == "/endless":
                while True:
                    self.wfile.write(bytes(100_000))
            elif self.path == "/slow":
                for _ in range(600):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            else:
                assert self.headers["Accept-Encoding"] == "identity"
                self.wfile.write(png())
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that answers."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_photo_comes_whole(web: str) -> None:
    assert fetch(f"{web}/photo", 30) == png()
    assert read_image(f"{web}/photo").size == (8, 8)


def test_what_is_packed_once_more_is_not_unpacked(web: str) -> None:
    with pytest.raises(ValueError, match="comes as gzip"):
        fetch(f"{web}/bomb", 30)


def test_what_has_no_end_is_left(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cnn_rnn, "LARGEST_FILE", 1_000_000)
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        fetch(f"{web}/endless", 30)


def test_a_byte_now_and_then_does_not_keep_us_waiting(web: str) -> None:
    with pytest.raises(TimeoutError, match=r"longer than 0\.5 seconds"):
        fetch(f"{web}/slow", 0.5)
