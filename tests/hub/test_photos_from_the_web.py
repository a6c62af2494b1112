"""A photo from the web costs at most so many bytes and seconds, whatever the other side does."""

import gzip
import io
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from PIL import Image

from cnn_rnn import photos_from_the_web
from cnn_rnn.data import UnreadableImageError, decode_image
from cnn_rnn.data.photos.images import LostImageError
from cnn_rnn.given_images import read_image
from cnn_rnn.photos_from_the_web import fetch, is_public


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "PNG")
    return content.getvalue()


left = Event()  # somebody hung up


class Hostile(BaseHTTPRequestHandler):
    """Answers each path in a way of its own."""

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/slow_header":
            self.say_by_the_byte(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 600)
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
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
                self.say_by_the_byte(b"x" * 600)
            else:
                assert self.headers["Accept-Encoding"] == "identity"
                self.wfile.write(png())
        except OSError:
            return

    def say_by_the_byte(self, words: bytes) -> None:
        """Say it slowly, as long as somebody listens."""
        try:
            for word in words:
                self.wfile.write(bytes([word]))
                time.sleep(0.05)
        except OSError:
            left.set()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that answers."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("0.0.0.0", 0), Hostile) as server:  # noqa: S104
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
    monkeypatch.setattr(photos_from_the_web, "LARGEST_DOWNLOAD", 1_000_000)
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        fetch(f"{web}/endless", 30)


@pytest.mark.parametrize("path", ["slow", "slow_header", "to//slow_header"])
def test_a_byte_now_and_then_does_not_keep_us_waiting_nor_a_connection_open(web: str, path: str) -> None:
    left.clear()
    with pytest.raises(TimeoutError, match=r"longer than 0\.5 seconds"):
        fetch(f"{web}/{path}", 0.5)
    assert left.wait(20)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "/to//to/", "http://[bad"])
def test_nobody_sends_us_to_files_or_round_in_circles(web: str, target: str) -> None:
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        decode_image(f"{web}/to/{target}")


def test_the_public_net_does_not_send_us_into_a_private_one(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = web.replace("127.0.0.1", "127.0.0.2")
    assert fetch(f"{web}/to/{elsewhere}/photo", 30) == png()  # a private address may name another one
    monkeypatch.setattr(photos_from_the_web, "is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(ValueError, match=r"leads on to 127\.0\.0\.2, which is no address of the public net"):
        fetch(f"{web}/to/{elsewhere}/photo", 30)


def test_which_addresses_are_public() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700:4700::1111")
    private = [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
    ]
    assert not any(map(is_public, private))


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("address", ["http://[::1", "http://", "https://a b/c.png", "http://a:99999/", "http://\0/"])
def test_what_is_no_address_is_unreadable_and_nothing_worse(address: str) -> None:
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        decode_image(address)


@pytest.mark.usefixtures("web")
def test_a_server_that_is_not_there_loses_the_photo() -> None:
    with pytest.raises(LostImageError):
        decode_image("http://127.0.0.1:1/a.png")
