"""The page where other machines may reach it: they need the token, and nothing stays behind when it ends."""

import atexit
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from cnn_rnn.app import page_server
from cnn_rnn.app.page_server import serve
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.app.tagging_page import Desk
from cnn_rnn.commands.app import main
from cnn_rnn.commands.console import TOKEN

SECRET = "a secret of the house"  # noqa: S105 - of nobody
EVERYWHERE = "0.0.0.0"  # noqa: S104 - for the length of a test


def test_other_machines_need_the_token(
    tagger: Tagger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is again what it was
    app, _, _ = serve(Desk(tagger), host=EVERYWHERE, token=SECRET, wait=False)
    try:
        told = capsys.readouterr().out
        assert "/?token=TOKEN" in told
        assert SECRET not in told
        others = TestClient(app, base_url="http://192.168.0.7", client=("192.168.0.9", 50_000))
        for place in ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data"):
            assert others.get(place).status_code == 401
        assert others.post("/gradio_api/queue/join", json={}).status_code == 401
        assert others.get("/", params={"token": SECRET}).status_code == 200
        assert others.get("/config").status_code == 200
        assert TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)).get("/").status_code == 200
    finally:
        app.blocks.close(verbose=False)


@pytest.mark.parametrize(
    ("options", "asked"), [([], False), (["--host", EVERYWHERE], True), (["--host", "::1"], False)]
)
def test_the_command_asks_for_one_where_others_may_come(
    options: list[str], asked: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert main(["--model", "/nowhere", *options]) == 2
    assert ("with the token" in capsys.readouterr().err) is asked


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_no_folder_stays_behind(ended_by: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Page:
        """Instead of Gradio's, which takes either for Ctrl-C."""

        def launch(self, **_: Any) -> tuple[None, str, None]:
            return None, "here", None

        def block_thread(self) -> None:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(ended_by)

    at_exit: list[Callable[[], Any]] = []
    monkeypatch.setattr(
        atexit, "register", lambda does, *given, **named: at_exit.append(partial(does, *given, **named))
    )
    monkeypatch.setattr(page_server, "build_page", lambda _: Page())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is again what it was
    before = signal.getsignal(signal.SIGTERM)
    try:
        serve(cast("Desk", None))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(list(tmp_path.glob("cnn-rnn-app-*"))) == 1
    for does in at_exit:
        does()
    assert not list(tmp_path.iterdir())
