"""A small model behind a server in this process; its photos are decoded by a process that starts in no time."""

import asyncio
import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.finished_runs import write_run

pytest.importorskip("fastapi", reason="serving needs FastAPI: pip install 'cnn-rnn[serve]'")

from cnn_rnn.foundation.own_names import OwnNames, own_names
from cnn_rnn.serving.application import make_application
from cnn_rnn.serving.at_work import ModelAtWork
from cnn_rnn.serving.connections import make_server
from cnn_rnn.serving.counts import Counts
from cnn_rnn.serving.decoders import Decoders
from cnn_rnn.serving.gate import Gate, Limits
from cnn_rnn.serving.label_studio import LabelStudio
from cnn_rnn.serving.server import listen
from cnn_rnn.serving.service import Service

STUB = Path(__file__).with_name("stub_decoder.py")
COMMAND = (sys.executable, str(STUB), "model")


@dataclass
class Served:
    """A server at work in this process.

    Attributes:
        port: Where it listens.
        service: What it asks.
        studio: What answers Label Studio.
    """

    port: int
    service: Service
    studio: LabelStudio

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, content (JSON as what it holds) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            found = dict(answer.getheaders())
            is_json = found.get("content-type", "").startswith("application/json")
            return answer.status, json.loads(content) if is_json else content.decode(), found
        finally:
            connection.close()

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """Status and content of an answer to JSON."""
        status, answer, _ = self.ask("POST", path, json.dumps(content).encode(), {"Content-Type": "application/json"})
        return status, answer

    def connect(self) -> socket.socket:
        """A connection on which anything may be said."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@pytest.fixture(scope="session")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> ModelAtWork:
    """A model of random weights that expects other labels of other photos."""
    run = write_run(tmp_path_factory.mktemp("served") / "run", thresholds=[0.437, 0.488, 0.437, 0.427])
    return ModelAtWork.load(run, "torch")


@contextmanager
def serving(
    model: ModelAtWork,
    limits: Limits,
    token: str | None = None,
    folder: Path | None = None,
    kept: Path | None = None,
) -> Iterator[Served]:
    """A server, as long as the block lasts."""
    counts = Counts()
    service = Service(model, Decoders(("", ""), 2, limits.decode_seconds, counts.replace, COMMAND), limits, counts)
    studio = LabelStudio(service, counts, [folder] if folder else [], kept)
    app = OwnNames(Gate(make_application(service, counts, studio), limits, counts, token), own_names("127.0.0.1"))
    with listen("127.0.0.1", 0) as bound:
        server = make_server(app, limits)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Served(bound.getsockname()[1], service, studio)
        finally:
            server.should_exit = True
            thread.join(30)
            service.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def start(at_work: ModelAtWork) -> Callable[..., Any]:
    """What starts a server for the length of a block, with limits of its own."""

    def started(token: str | None = None, folder: Path | None = None, **limits: Any) -> Any:
        return serving(at_work, Limits(**limits), token, folder)

    return started


@pytest.fixture(scope="session")
def served(at_work: ModelAtWork) -> Iterator[Served]:
    """A server that tests share."""
    with serving(at_work, Limits()) as one:
        yield one
