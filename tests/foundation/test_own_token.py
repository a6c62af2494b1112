"""Other machines are let in by a token, in the address, a cookie or a header; this machine needs none."""

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from cnn_rnn.foundation.own_token import AskedToken, is_of_this_machine

TOKEN = "a; secret = of the house"  # noqa: S105 - of nobody
Client = Callable[[str], TestClient]


@pytest.fixture
def come_from() -> Client:
    """A browser at an address, in front of a page that answers with what it was asked."""

    async def connect(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("open")

    routes = [Route("/", lambda request: PlainTextResponse(request.url.query)), WebSocketRoute("/live", connect)]
    return lambda host: TestClient(AskedToken(Starlette(routes=routes), TOKEN), client=(host, 50_000))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "testserver"])
def test_this_machine_needs_none(host: str, come_from: Client) -> None:
    assert come_from(host).get("/").status_code == 200


@pytest.mark.parametrize("host", ["10.0.0.9", "172.17.0.1", "2001:db8::1", ""])
def test_others_tell_it_once(host: str, come_from: Client) -> None:
    browser = come_from(host)
    for asked in ("/", "/?token=", f"/?token={TOKEN}x", "/?other=1"):
        refused = browser.get(asked)
        assert refused.status_code == 401
        assert "?token=" in refused.text
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/live"):
        pass
    told = browser.get("/", params={"token": TOKEN, "dark": "1"})
    assert (told.status_code, told.text) == (200, "dark=1")  # the token is out of the address and of the history
    assert TOKEN not in str(told.history[0].headers)
    assert browser.get("/").status_code == 200
    with browser.websocket_connect("/live") as live:
        assert live.receive_text() == "open"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200), ({"Authorization": f"bearer  {TOKEN} "}, 200),
        ({"Authorization": f"Basic {TOKEN}"}, 401), ({"Authorization": "Bearer \xfc"}, 401),
        ({"Cookie": f"cnn_rnn_token={TOKEN}"}, 401), ({"Cookie": 'cnn_rnn_token="\\303\\251"'}, 401),
        ({"Cookie": "\xfc=;;;=,\x7f"}, 401),
    ],
)  # fmt: skip
def test_programs_tell_it_in_a_header(headers: dict[str, str], status: int, come_from: Client) -> None:
    given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert come_from("10.0.0.9").get("/", headers=given).status_code == status


def test_who_cannot_be_told_from_others_is_one_of_them() -> None:
    assert not is_of_this_machine({"client": None, "server": None})
    assert not is_of_this_machine({"client": ["", 0], "server": ["", 0]})
    assert is_of_this_machine({"client": ["192.168.1.7", 5], "server": ["192.168.1.7", 7860]})
