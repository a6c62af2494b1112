"""A real Label Studio, in an environment of its own, with our server as its machine learning backend.

The variable `LABEL_STUDIO` names its program, such as one that `python -m venv` and `pip install label-studio` make.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

CONFIG = (
    '<View><Image name="img" value="$image"/><Choices name="what" toName="img" choice="multiple"><Choice value="red"/>'
    '<Choice value="one"/><Choice value="nought"/></Choices><Taxonomy name="tree" toName="img"><Choice value="colour">'
    '<Choice value="red"/><Choice value="green"/></Choice></Taxonomy></View>'
)
PERSON, WORD = "person@example.org", "for-this-test-alone"
LONGEST_START = 600  # seconds: the first start makes its database


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program, as long as the block lasts."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | environment) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def until(asked: Any, process: subprocess.Popen[bytes], log: Path) -> Any:
    """What is asked for again and again, once it is there."""
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            found = asked()
        except httpx.HTTPError:
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise TimeoutError(log.read_text(errors="replace")[-3000:])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Label Studio keeps its database and what is uploaded to it."""
    return tmp_path_factory.mktemp("label-studio")


@pytest.fixture(scope="module")
def studio(data: Path) -> Iterator[httpx.Client]:
    """A person who has signed in at a Label Studio of this machine."""
    program = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
    if not program:
        if os.environ.get("CI") == "true":
            pytest.fail("LABEL_STUDIO names no program")
        pytest.skip("set LABEL_STUDIO to the program of an environment in which label-studio is installed")
    port = free_port()
    command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", PERSON, "--password", WORD, "--data-dir", str(data)]
    log = data / "log.txt"
    # It asks no backend on its own machine unless it is told to.
    allowed = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    with (
        running(command, log, **allowed, COLLECT_ANALYTICS="false", LATEST_VERSION_CHECK="false") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        client.headers["Referer"] = str(client.base_url)
        until(lambda: client.get("/health").is_success and client.get("/user/login/").is_success, process, log)
        form = {"email": PERSON, "password": WORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/user/login/", data=form).status_code == 302
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


@pytest.fixture(scope="module")
def backend(run: Path, data: Path) -> Iterator[str]:
    """The address of our server, which may read what was uploaded."""
    command = [sys.executable, "-m", "cnn_rnn.commands.cli", "serve", "--model", str(run), "--port", "0"]
    (data / "media").mkdir(exist_ok=True)
    log = data / "server.txt"
    with running(
        [*command, "--engine", "torch", "--photos", str(data / "media")], log, OMP_NUM_THREADS="1", PYTHONUNBUFFERED="1"
    ) as process:
        found = until(lambda: re.search(r"at (http://\S+) ", log.read_text()), process, log)
        yield found[1]


def retrieve(studio: httpx.Client, project: int) -> None:
    """Ask for predictions of all tasks, as the menu of the data manager does it."""
    asked = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
    answer = studio.post(asked, json={"selectedItems": {"all": True, "excluded": []}})
    assert answer.is_success, answer.text


def predictions(studio: httpx.Client, task: int) -> list[dict[str, Any]]:
    """What a task's page shows, the latest last."""
    found: list[dict[str, Any]] = studio.get(f"/api/tasks/{task}").json()["predictions"]
    return sorted(found, key=lambda one: one["id"])


def test_predictions_are_shown_and_differ_after_an_annotation(
    studio: httpx.Client, backend: str, data: Path, tmp_path: Path
) -> None:
    project = studio.post("/api/projects", json={"title": "photos", "label_config": CONFIG}).json()["id"]
    for index in range(10):
        path = tmp_path / f"{index}.jpg"
        Image.new("RGB", (80, 60), [(230, 20, 20), (20, 200, 40)][index % 2]).save(path)
        with path.open("rb") as file:
            files = {"file": (path.name, file, "image/jpeg")}
            assert studio.post(f"/api/projects/{project}/import", files=files).is_success
    tasks = [one["id"] for one in studio.get(f"/api/tasks?project={project}").json()["tasks"]]
    assert len(tasks) == 10
    connected = studio.post("/api/ml", json={"url": backend, "project": project, "is_interactive": True})
    assert (connected.status_code, connected.json()["readable_state"]) == (201, "Connected"), connected.text
    retrieve(studio, project)
    first = {task: predictions(studio, task) for task in tasks}
    assert [len(found) for found in first.values()] == [1] * 10
    assert len({found[0]["model_version"] for found in first.values()}) == 1

    # What is chosen on the page at work is known.
    (number,) = [one["id"] for one in studio.get(f"/api/ml?project={project}").json()]
    chosen = {"from_name": "what", "to_name": "img", "type": "choices", "value": {"choices": ["red"]}}
    asked = {"task": tasks[3], "context": {"result": [chosen]}}
    proposed = studio.post(f"/api/ml/{number}/interactive-annotating", json=asked).json()["data"]["result"]
    assert "red" in next(one["value"]["choices"] for one in proposed if one["from_name"] == "what")
    assert ["colour", "red"] in next(one["value"]["taxonomy"] for one in proposed if one["from_name"] == "tree")

    assert studio.post(f"/api/tasks/{tasks[0]}/annotations", json={"result": [chosen]}).status_code == 201
    retrieve(studio, project)
    for place, task in enumerate(tasks[1:], start=1):
        before, after = predictions(studio, task)[0], predictions(studio, task)[-1]
        assert after["model_version"] != before["model_version"]
        if place % 2:
            continue  # of another colour: what is not there may be left out of both
        assert after["score"] != before["score"] or after["result"] != before["result"]
    like_it = predictions(studio, tasks[2])[-1]["result"]
    assert "red" in next((one["value"]["choices"] for one in like_it if one["from_name"] == "what"), [])
    (journal,) = (data / "media" / ".cnn-rnn" / "label_studio").glob("*/steps.jsonl")  # under one name, whoever tells
    assert re.fullmatch(rf"{project}\.\d+", journal.parent.name)
    assert len(journal.read_text().splitlines()) == 1
