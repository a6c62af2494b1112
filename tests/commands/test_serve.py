"""`cnn-rnn serve` as a person starts it: it answers as the pipeline does, and ends when it is told to."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.commands_by_name import main_of
from transformers import pipeline

pytest.importorskip("fastapi", reason="serving needs FastAPI: pip install 'cnn-rnn[serve]'")

from cnn_rnn.commands.console import TOKEN, token_for
from cnn_rnn.foundation.own_token import is_local


def test_it_answers_as_the_pipeline_does_and_ends_when_it_is_told_to(run: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((90, 60)).save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "cnn_rnn.commands.cli", "serve", "--model", str(run), "--port", "0"]
    with subprocess.Popen(
        [*command, "--engine", "torch", "--decoders", "1"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+) ", process.stdout.readline())
            assert found is not None, process.stderr.read()
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
            connection.request("POST", "/predict?threshold=0", (tmp_path / "photo.png").read_bytes())
            answer = json.loads(connection.getresponse().read())
            connection.request("POST", "/predict", b"no photo")
            refused = connection.getresponse()
            assert (refused.status, "object at" in refused.read().decode()) == (422, False)
        finally:
            process.send_signal(signal.SIGTERM)
            told = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert "what was at work is answered" in told
    classify = pipeline("multi-label-image-classification", model=str(run))
    wanted = classify(str(tmp_path / "photo.png"), threshold=0.0, return_path=True)
    scores = {one["label"]: one["score"] for one in answer["labels"]}
    assert scores == pytest.approx({one["label"]: one["score"] for one in wanted["labels"]}, abs=1e-5)
    assert answer["path_score"] == pytest.approx(wanted["path_score"], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--photos", "/nowhere"], "--photos /nowhere is no folder"),
        (["--waiting", "0"], "must be at least 1"),
        (["--host", "nowhere.invalid"], "cannot listen at nowhere.invalid"),
        (["--model", "/nowhere"], "/nowhere"),
    ],
    ids=["no folder", "no queue", "no host", "no model"],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("serve")([*arguments, "--port", "0"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error


def test_an_address_that_is_taken_is_refused_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main_of("serve")(["--model", "/nowhere", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port takes another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("127.1.2.3", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.7", False),
        ("photos.lan", False),
        ("", False),
    ],
    ids=[
        *("4", "6", "6 in brackets", "by name", "another of this machine"),
        *("all", "all of 6", "a net", "name", "none"),
    ],
)
def test_only_this_machine_needs_no_token(
    host: str, local: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert is_local(host) is local
    token = token_for(is_local=local)
    shown = capsys.readouterr().err
    assert (token is None) is local
    assert token is None or (len(token) >= 32 and token in shown)
    monkeypatch.setenv(TOKEN, "a secret of the house")
    assert token_for(is_local=local) == "a secret of the house"
    assert "secret" not in capsys.readouterr().err
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(ValueError, match="at least 16"):
        token_for(is_local=local)
    for token in ("\u00fc" * 20, " " + "x" * 20, "x" * 20 + "\n", "a\tb" * 9):
        monkeypatch.setenv(TOKEN, token)
        with pytest.raises(ValueError, match="no header carries"):
            token_for(is_local=local)
