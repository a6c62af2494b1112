"""The server at work: who asks what gets it, whatever others do, and what is wrong is said in one line."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import torch

from cnn_rnn.serving.at_work import ModelAtWork

from .conftest import Served
from .stub_decoder import pixels_of

JSON = {"Content-Type": "application/json"}
LABELS = ["nought", "one", "two|three", "<b>four</b>"]


def expected(at_work: ModelAtWork, photo: bytes, **parameters: Any) -> dict[str, Any]:
    """What the pipeline gives for the photo alone."""
    classify = at_work.labeller.classify
    _, forward, choosing = classify._sanitize_parameters(**parameters, return_path=True)  # noqa: SLF001 - its one check
    outputs = classify.forward({"pixel_values": torch.from_numpy(pixels_of(photo))[None]}, **forward)
    found: dict[str, Any] = classify.postprocess(outputs, **choosing)
    return found


def close(found: Any) -> Any:
    """The same, with its numbers compared as numbers."""
    if isinstance(found, dict):
        return {name: close(value) for name, value in found.items()}
    if isinstance(found, list):
        return [close(one) for one in found]
    return pytest.approx(found, abs=1e-5) if isinstance(found, float) else found


def bare(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without its question."""
    return {name: value for name, value in answer.items() if name != "question"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"known": {"one": True, "nought": False}},
        {"threshold": 0.0},
        {"threshold": {"one": 0.01}, "known": {"two|three": False}},
        {"top_k": 2},
        {"decision": "path"},
        {"decision": "expected_f1"},
    ],
    ids=["nothing", "known", "threshold", "thresholds", "top k", "path", "expected F1"],
)
def test_bytes_forms_and_json_get_what_the_pipeline_gives(
    served: Served, at_work: ModelAtWork, parameters: dict[str, Any]
) -> None:
    photo = b"photo of a boat"
    query = "?" + "&".join(f"{name}={quote(json.dumps(value))}" for name, value in parameters.items())
    query = query.replace("%22path%22", "path")  # text that is no JSON is text
    text = base64.b64encode(photo).decode()
    fields = "".join(
        f'--line\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{json.dumps(value)}\r\n'
        for name, value in parameters.items()
    )
    form = f'{fields}--line\r\nContent-Disposition: form-data; name="photo"; filename="../../x.jpg"\r\n\r\n'
    answers = [
        served.ask("POST", f"/predict{query}", photo, {"Content-Type": "image/jpeg"}),
        served.ask("POST", f"/predict{query}", photo),
        served.ask("POST", "/predict", json.dumps({"inputs": text, "parameters": parameters}).encode(), JSON),
        served.ask(
            "POST",
            "/predict",
            form.encode() + photo + b"\r\n--line--\r\n",
            {"Content-Type": "multipart/form-data; boundary=line"},
        ),
    ]
    assert [status for status, _, _ in answers] == [200] * len(answers)
    for _, answer, _ in answers:
        assert bare(answer) == close(expected(at_work, photo, **parameters))
        assert answer["question"]["label"] not in parameters.get("known", {})


def test_many_at_once_are_seen_together_and_none_gets_anothers(served: Served, at_work: ModelAtWork) -> None:
    asked = [
        (f"photo {index}".encode(), {} if index % 3 else {"known": {LABELS[index % 4]: bool(index % 2)}})
        for index in range(60)
    ]
    batches = sizes(served)

    def ask(one: tuple[bytes, dict[str, Any]]) -> Any:
        photo, parameters = one
        return served.ask("POST", f"/predict?known={quote(json.dumps(parameters.get('known', {})))}", photo)

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(ask, asked))
    for (photo, parameters), (status, answer, _) in zip(asked, answers, strict=True):
        assert status == 200
        assert bare(answer) == close(expected(at_work, photo, **parameters))
    assert sizes(served) - batches < len(asked)


def sizes(served: Served) -> int:
    """How many batches were seen."""
    _, text, _ = served.ask("GET", "/metrics")
    return int(text.partition("cnn_rnn_batch_photos_count ")[2].split()[0])


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        (("", b"", {}), 422, "there is no photo"),
        (("", b"bad", {}), 422, "cannot be decoded"),
        (("?known=%7B%22ome%22:true%7D", b"x", {}), 422, "did you mean 'one'"),
        (("?known=%7B%22one%22:1%7D", b"x", {}), 422, "must be True"),
        (("?known=%7B%22one%22:NaN%7D", b"x", {}), 422, "must be True"),
        (("?known=one", b"x", {}), 422, "known is"),
        (("?known=%7B%7D&known=%7B%7D", b"x", {}), 422, "given twice"),
        (("?treshold=1", b"x", {}), 422, "did you mean threshold"),
        (("?threshold=2", b"x", {}), 422, "probability"),
        (("?threshold=%7B%22one%22:%22a%22%7D", b"x", {}), 422, "probability"),
        (("?top_k=1e9", b"x", {}), 422, "whole number"),
        (("?top_k=0", b"x", {}), 422, "at least 1"),
        (("?decision=set_me", b"x", {}), 422, "decision"),
        (("?beam_width=1000000", b"x", {}), 422, "no parameter"),
        (("?timeout=1", b"x", {}), 422, "no parameter"),
        (("?known=" + "[" * 5000, b"x", {}), 422, "known"),
        (("", b"{", JSON), 400, "no JSON"),
        (("", b"[" * 100_000, JSON), 400, "nested too deep"),
        (("", b'{"tasks": [' + b"[]," * 500_001, JSON), 413, "more than 1,000,000 values"),
        (("", b'{"inputs": "a", "inputs": "b"}', JSON), 400, "stands there twice"),
        (("", b"\xff", JSON), 400, "no JSON"),
        (("", b"[1]", JSON), 400, "must be a JSON object"),
        (("", b'{"inputs": "/etc/passwd"}', JSON), 422, "no base64"),
        (("", b'{"inputs": "http://127.0.0.1/x.jpg"}', JSON), 422, "no base64"),
        (("", b'{"inputs": {"url": "x"}}', JSON), 422, "base64 text"),
        (("", b'{"inputs": "AAAA", "parameters": [1]}', JSON), 422, "expected"),
        (("", b'{"inputs": "AAAA", "path": "/etc/passwd"}', JSON), 422, "expected"),
        (("", b"x", {"Content-Type": "multipart/form-data"}), 400, "form"),
        (("", b"--a\r\n", {"Content-Type": "multipart/form-data; boundary=a"}), 400, "form"),
        (
            (
                "",
                b'--a\r\nContent-Disposition: form-data; name="photo"\r\n\r\n/etc/passwd\r\n--a--\r\n',
                {"Content-Type": "multipart/form-data; boundary=a"},
            ),
            400,
            "no file 'photo'",
        ),
    ],
    ids=[
        *("empty", "no photo", "misspelt label", "no answer", "no number", "known of another kind", "known twice"),
        *("misspelt parameter", "threshold of 2", "threshold of text", "top_k of a fraction", "top_k of 0"),
        *(
            "another decision",
            "a costly search",
            "a parameter of addresses",
            "a deep address",
            "half JSON",
            "deep JSON",
            "much JSON",
        ),
        *("a name twice", "no UTF-8", "a list", "a path", "an address", "an object", "parameters of a list"),
        *("a path beside", "a form without boundary", "an empty form", "a form without file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    served: Served, asked: tuple[str, bytes, dict[str, str]], status: int, told: str
) -> None:
    query, body, headers = asked
    code, answer, _ = served.ask("POST", f"/predict{query}", body, headers)
    assert (code, list(answer)) == (status, ["error"])
    assert told in answer["error"]
    assert "\n" not in answer["error"]
    assert "object at 0x" not in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("GET", "/nowhere", 404), ("POST", "/..%2f..%2fetc/passwd", 404), ("PUT", "/", 405)],
    ids=["another method", "another path", "a path upward", "put"],
)
def test_other_paths_are_not_there(served: Served, method: str, path: str, status: int) -> None:
    code, answer, _ = served.ask(method, path)
    assert (code, list(answer)) == (status, ["error"])


def test_other_names_are_not_answered(served: Served) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        code, answer, _ = served.ask("POST", "/predict", b"photo", headers)
        assert (code, list(answer)) == (403, ["error"])
        assert served.ask("GET", "/metrics", headers=headers)[0] == 403
    assert served.ask("GET", "/health", headers={"Host": "localhost:1"})[0] == 200


def test_it_says_how_it_is_and_what_it_takes(served: Served) -> None:
    assert served.ask("GET", "/health")[:2] == (200, {"status": "UP", "model_class": "cnn-rnn"})
    assert served.ask("GET", "/ready")[:2] == (200, {"ready": True, "waiting": 0})
    _, text, headers = served.ask("GET", "/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert text.startswith("# HELP cnn_rnn_requests_total")
    _, schema, _ = served.ask("GET", "/openapi.json")
    assert {"/predict", "/setup", "/webhook", "/health", "/ready", "/metrics"} <= set(schema["paths"])
    taken = schema["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"image/*", "multipart/form-data", "application/json"} <= set(taken)
    status, page, headers = served.ask("GET", "/docs")
    assert status == 200
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched from elsewhere
    assert "default-src 'self'" in headers["content-security-policy"]


def test_a_token_is_asked_for_where_there_is_one(start: Callable[..., Any]) -> None:
    with start(token="a secret of the house") as served:  # noqa: S106 - of this test alone
        basic = base64.b64encode(b"anybody:a secret of the house").decode()
        right = [{"Authorization": "Bearer a secret of the house"}, {"Authorization": f"Basic {basic}"}]
        wrong = ["", "Bearer", "Bearer a secret of the hous", "Basic AAAA", "Basic \xff", "a secret of the house"]
        for headers in right:
            assert served.ask("POST", "/predict", b"photo", headers)[0] == 200
            assert served.ask("GET", "/metrics", headers=headers)[0] == 200
        for headers in ({}, *({"Authorization": one} for one in wrong)):
            for path in ("/predict", "/metrics", "/docs", "/openapi.json", "/webhook", "/setup", "/nowhere"):
                status, answer, found = served.ask("POST", path, b"photo", headers)
                assert (status, found["www-authenticate"]) == (401, "Bearer")
                assert "secret" not in answer["error"]
        assert served.ask("GET", "/health")[0] == served.ask("GET", "/ready")[0] == 200


def test_more_than_fits_is_told_when_to_come_again_and_what_waits_is_answered(start: Callable[..., Any]) -> None:
    with start(waiting=3) as served, ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(served.ask, "POST", "/predict", b"sleep 0.5") for index in range(3)]
        while served.service.waiting < 3:
            time.sleep(0.01)
        status, answer, headers = served.ask("POST", "/predict", b"photo")
        assert (status, headers["retry-after"]) == (503, "1")
        assert "3 photos wait" in answer["error"]
        assert served.ask("GET", "/ready")[0] == 503
        assert served.ask("GET", "/health")[0] == 200
        assert [one.result()[0] for one in slow] == [200] * 3
        assert served.ask("POST", "/predict", b"photo")[0] == 200


def test_a_body_over_the_limit_is_refused_however_it_is_told(start: Callable[..., Any]) -> None:
    with start(body=1000) as served:
        assert served.ask("POST", "/predict", bytes(1001))[0] == 413
        assert served.ask("POST", "/predict", b"p" * 1000)[0] == 200
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        with served.connect() as connection:
            connection.sendall(head + b"".join(b"64\r\n" + bytes(100) + b"\r\n" for _ in range(11)))
            assert heard(connection)[0] == 413
        with served.connect() as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n")
            assert heard(connection)[0] == 413
        assert served.ask("POST", "/predict", b"photo")[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf",
        b"POST /predict HTTP/1.1\r\nHost: loc",
        b"",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 99\r\n\r\nhalf",
    ],
    ids=["half a body", "half a head", "nothing", "quiet after its answer", "half a body to another name"],
)
def test_whoever_says_half_and_then_nothing_is_closed_and_nobody_notices(
    start: Callable[..., Any], said: bytes
) -> None:
    with start(body_seconds=0.3, quiet_seconds=0.3) as served:
        ill = [served.connect() for _ in range(30)]
        for connection in ill:
            connection.sendall(said)
        assert served.ask("POST", "/predict", b"photo")[0] == 200
        for connection in ill:
            while connection.recv(4096):
                pass
            connection.close()
        assert served.ask("POST", "/predict", b"photo")[0] == 200
        assert served.ask("GET", "/ready")[1]["waiting"] == 0


def test_half_a_body_is_told_that_it_is_late(start: Callable[..., Any]) -> None:
    with start(body_seconds=0.2) as served, served.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf")
        assert heard(connection) == (408, {"error": "the body did not come within 0.2 seconds"})


def test_whoever_goes_away_is_not_worked_for(start: Callable[..., Any]) -> None:
    with start() as served:
        slow = [served.connect() for _ in range(2)]  # as many as decode
        for connection in slow:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsleep 0.5")
        gone = [served.connect() for _ in range(20)]
        for connection in gone:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsleep 0.5")
        while served.service.waiting < 22:
            time.sleep(0.01)
        for connection in gone:
            connection.close()
        for connection in slow:
            assert heard(connection)[0] == 200
            connection.close()
        assert served.ask("POST", "/predict", b"photo")[0] == 200
        _, text, _ = served.ask("GET", "/metrics")
        assert "cnn_rnn_batch_photos_sum 3\n" in text


def test_too_many_connections_are_refused_and_those_there_are_served(start: Callable[..., Any]) -> None:
    with start(connections=5) as served:
        own = served.connect()
        own.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert heard(own)[0] == 200
        others = [served.connect() for _ in range(8)]
        refused = [one for one in others if answered(one)]
        assert len(refused) == 4
        own.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert heard(own)[0] == 200
        for one in (own, *others):
            one.close()


def heard(connection: socket.socket) -> tuple[int, Any]:
    """Status and content of the next answer on a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read() or b"null")


def answered(connection: socket.socket) -> bool:
    """Whether a connection that said nothing is told that there are too many."""
    connection.settimeout(0.2)
    try:
        return connection.recv(4096).split()[1] == b"503"
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    "said",
    [b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
     b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
    ids=["zeros", "another version", "two hosts", "a negative length", "two lengths", "a long head", "packed twice"],
)  # fmt: skip
def test_what_is_no_http_is_refused(served: Served, said: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(said)
        assert connection.recv(4096).split()[1][:1] in {b"4", b"5"}
    assert served.ask("GET", "/health")[0] == 200


def test_what_is_at_work_is_answered_before_the_end_and_half_a_body_does_not_hold_it(start: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(4) as pool:
        with start(body_seconds=600, end_seconds=600) as served:  # ends within half a minute, or fails
            half, quiet = served.connect(), served.connect()
            half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf")
            at_work = [pool.submit(served.ask, "POST", "/predict", b"sleep 0.3") for _ in range(3)]
            while served.service.waiting < 3:
                time.sleep(0.01)
        assert [one.result()[0] for one in at_work] == [200] * 3
        for connection in (half, quiet):
            connection.close()
