"""A server answers to its own names, and to nobody else's."""

import asyncio
from typing import Any

import pytest

from cnn_rnn.foundation.own_names import OwnNames, own_names


def ask(names: frozenset[str], host: str | None, origin: str | None = None, kind: str = "http") -> Any:
    """What a server of these names answers: True where the application was asked, else the status or code."""
    sent: list[Any] = []
    headers = [(b"host", host.encode())] if host is not None else []
    headers += [(b"origin", origin.encode())] if origin is not None else []

    async def application(*_: Any) -> None:
        sent.append(True)

    async def send(message: Any) -> None:
        sent.append(message.get("status") or message.get("code"))

    async def receive() -> Any:
        return {}

    asyncio.run(OwnNames(application, names)({"type": kind, "headers": headers}, receive, send))
    return sent[0]


@pytest.mark.parametrize(
    ("host", "root_path", "asked"),
    [
        ("127.0.0.1", None, ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "LOCALHOST", "localhost."]),
        ("photos.lan", None, ["photos.lan:80", "localhost"]),
        ("127.0.0.1", "https://example.org/label", ["example.org", "example.org:443"]),
        ("0.0.0.0", None, ["192.168.1.7:7860", "[fe80::1]:7860", "localhost"]),  # noqa: S104
    ],
)
def test_its_own_names_are_answered(host: str, root_path: str | None, asked: list[str]) -> None:
    names = own_names(host, root_path)
    assert [ask(names, one) for one in asked] == [True] * len(asked)
    assert [ask(names, one, f"http://{one}") for one in asked] == [True] * len(asked)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
@pytest.mark.parametrize(
    "asked",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7860", "", None, "[::1", "a@b", "evil:x"],
)
def test_others_are_not(asked: str | None, host: str) -> None:
    assert ask(own_names(host), asked) == 403
    assert ask(own_names(host), asked, kind="websocket") == 1008


def test_a_page_of_another_place_is_not_answered_either() -> None:
    assert ask(own_names("127.0.0.1"), "localhost:7860", "https://evil.example") == 403
    assert ask(own_names("127.0.0.1"), "localhost:7860", "null") == 403
    assert ask(own_names("127.0.0.1"), "192.168.1.7:7860") == 403


def test_a_space_knows_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_HOST", "me-labels.hf.space")
    assert ask(own_names("0.0.0.0"), "me-labels.hf.space", "https://me-labels.hf.space") is True  # noqa: S104
