"""A stand-in for Label Studio, which says what the real one says; that one is in test_label_studio_itself.py."""

import base64
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.serving.at_work import ModelAtWork
from cnn_rnn.serving.gate import Limits

from .conftest import Served, serving
from .test_label_config import IMAGE
from .test_served import close, expected

CONFIG = (
    f'<View>{IMAGE}<Choices name="what" toName="img" choice="multiple"><Choice value="One"/><Choice value="nought"/>'
    '<Choice value="two|three"/><Choice value="own word"/></Choices>'
    '<Taxonomy name="tree" toName="img"><Choice value="number"><Choice value="one"/><Choice value="nought"/></Choice>'
    "</Taxonomy></View>"
)
NAMES = {"one": "One", "nought": "nought", "two|three": "two|three"}


WITHOUT = """
import sys
import numpy as np
from cnn_rnn.learning.feature_store import FeatureStore
from cnn_rnn.serving.application import make_application
from cnn_rnn.serving.at_work import ModelAtWork
from cnn_rnn.serving.label_studio import LabelStudio
from cnn_rnn.serving.studio_project import StudioProject
model = ModelAtWork.load(sys.argv[1])
seen, given = model.look([(np.zeros((3, 320, 320), np.float32), known) for known in ({}, {"cat": True})])
project = StudioProject(model, sys.argv[2], None, FeatureStore(None))
assert project.learn("1", "photo", seen, {"own word": True, "One": False})
assert project.expect("another", seen, given, {"own word": False}).probabilities["own word"] == 0
heavy = {"torch", "torchvision", "timm", "transformers", "datasets"} & set(sys.modules)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("media")
    (found / "upload" / "1").mkdir(parents=True)
    for index in range(10):
        (found / "upload" / "1" / f"{index}.jpg").write_bytes(f"photo {index}".encode())
    return found


@pytest.fixture(scope="module")
def studio(at_work: ModelAtWork, folder: Path) -> Iterator[Served]:
    with serving(at_work, Limits(), folder=folder) as one:
        yield one


def task(index: int, **more: Any) -> dict[str, Any]:
    """A task as it is sent."""
    return {"id": index, "data": {"image": f"/data/upload/1/{index}.jpg"}, "annotations": [], "predictions": []} | more


def choice(*labels: str) -> dict[str, Any]:
    """What was chosen, as an annotation says it."""
    return {"from_name": "what", "to_name": "img", "type": "choices", "value": {"choices": list(labels)}}


def request(*tasks: Any, context: Any = None) -> dict[str, Any]:
    """What asks for predictions."""
    params = {"login": None, "password": None, "context": context}
    return {"tasks": list(tasks), "project": "1.1700000000", "label_config": CONFIG, "params": params}


def chosen(result: dict[str, Any], name: str) -> list[Any]:
    """What is proposed for a control."""
    values = [one["value"][one["type"]] for one in result["result"] if one["from_name"] == name]
    return values[0] if values else []


def test_it_connects(studio: Served, caplog: pytest.LogCaptureFixture) -> None:
    assert studio.ask("GET", "/health")[1]["status"] == "UP"
    told = {"project": "1.17", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "x"}
    status, answer = studio.post("/setup", told)
    assert (status, answer["model_version"]) == (200, studio.service.model.version)
    assert studio.ask("GET", "/versions")[1] == {"versions": [answer["model_version"]]}
    assert "labels are not the model's, and begin with the first annotation: own word, number" in caplog.text
    caplog.clear()
    studio.post("/setup", told)
    assert "own word" not in caplog.text  # said once


def test_what_the_model_in_the_box_learns_in_a_project_needs_no_torch() -> None:
    command = [sys.executable, "-c", WITHOUT, str(bundled_model()), CONFIG]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def annotated(number: int, index: int, *labels: str, action: str = "ANNOTATION_CREATED", **more: Any) -> dict[str, Any]:
    """What the webhook tells of an annotation."""
    annotation = {"id": number, "task": index, "result": [choice(*labels)], "was_cancelled": False} | more
    project = {"id": 2, "label_config": CONFIG}
    return {"action": action, "annotation": annotation, "task": task(index), "project": project}


def of_second_project(*tasks: Any) -> dict[str, Any]:
    """What asks for predictions of the project that is taught."""
    return request(*tasks) | {"project": "2.1700000000"}


def test_annotations_teach_and_what_is_deleted_is_forgotten(studio: Served, at_work: ModelAtWork, folder: Path) -> None:
    _, before = studio.post("/predict", of_second_project(task(8)))
    _, other = studio.post("/predict", request(task(8)))
    assert before["model_version"] == studio.service.model.version
    versions = {before["model_version"]}
    for index in range(5):
        status, answer = studio.post("/webhook", annotated(100 + index, index, "own word", "One"))
        assert (status, answer) == (200, {"status": "ok", "learnt": 1})
        _, setup = studio.post("/setup", {"project": "2.1700000000", "schema": CONFIG})
        versions.add(setup["model_version"])
    assert len(versions) == 6  # so that predictions are asked for again
    _, after = studio.post("/predict", of_second_project(task(8)))
    assert after["model_version"] in versions - {before["model_version"]}
    assert "own word" not in chosen(before["results"][0], "what")
    assert {"own word", "One"} <= set(chosen(after["results"][0], "what"))
    assert studio.post("/predict", request(task(8)))[1] == close(other)  # another project is another's

    # A server that starts anew hears the annotations with the tasks that it is asked about.
    again = [
        task(index, annotations=[{"id": 100 + index, "result": [choice("own word", "One")], "was_cancelled": False}])
        for index in range(5)
    ]
    with serving(at_work, Limits(), folder=folder) as new:
        _, answer = new.post("/predict", of_second_project(*again, task(8)))
    assert answer["results"][-1] == close(after["results"][0])

    assert studio.post("/webhook", annotated(100, 0, was_cancelled=True))[1]["learnt"] == 1
    gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 100 + index} for index in range(9)]}
    status, answer = studio.post("/webhook", gone | {"project": {"id": 2, "label_config": CONFIG}})
    assert (status, answer["learnt"]) == (200, 4)
    assert studio.post("/predict", of_second_project(task(8)))[1] == close(before)


def test_what_was_taught_is_known_after_a_restart_and_can_still_be_forgotten(
    at_work: ModelAtWork, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as first:
        _, before = first.post("/predict", of_second_project(task(8)))
        for index in range(5):
            first.post("/webhook", annotated(100 + index, index, "own word", "One"))
        first.post("/webhook", annotated(104, 4, "One"))  # another word by now
        twin = {"id": 77, "data": {"image": "/data/upload/1/0.jpg"}}  # another task with a photo that was annotated
        assert "own word" in chosen(first.post("/predict", of_second_project(twin))[1]["results"][0], "what")
        _, taught = first.post("/predict", of_second_project(task(8)))
    assert taught["model_version"] != before["model_version"]
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as again:
        assert again.post("/predict", of_second_project(task(8)))[1] == close(taught)
        another = of_second_project(task(8)) | {"project": "2.1800000000"}  # of another database
        assert again.post("/predict", another)[1] == close(before)
        gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 100 + index} for index in range(5)]}
        made = "2023-11-14T22:13:20.5Z"  # when 1,700,000,000 seconds had gone by
        told = gone | {"project": {"id": 2, "label_config": CONFIG, "created_at": made}}
        assert again.post("/webhook", told)[1]["learnt"] == 5
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as last:
        assert last.post("/predict", of_second_project(task(8)))[1] == close(before)
    assert not caplog.text.count("not learnt")
    journal = tmp_path / ".cnn-rnn" / "label_studio" / "2.1700000000" / "steps.jsonl"
    journal.write_text("{}\n")
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as broken:
        status, answer = broken.post("/predict", of_second_project(task(8)))
    assert status == 500
    assert "steps.jsonl, line 1" in answer["error"]


def test_what_another_version_saw_is_told_and_teaches_again_once_its_task_is_predicted(
    at_work: ModelAtWork, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as first:
        first.post("/predict", of_second_project(task(8)))
        for index in range(5):
            first.post("/webhook", annotated(100 + index, index, "own word", "One"))
        _, taught = first.post("/predict", of_second_project(task(8)))
    for file in (tmp_path / ".cnn-rnn" / "features").iterdir():
        file.unlink()
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as again:
        _, before = again.post("/predict", of_second_project(task(8)))
        assert before["model_version"] == at_work.version
        assert "project 2.1700000000: 5 annotated photos were seen by another model or version" in caplog.text
        again.post("/predict", of_second_project(*map(task, range(5))))
        assert again.post("/predict", of_second_project(task(8)))[1] == close(taught)


def test_what_the_disk_does_not_take_is_not_learnt_and_not_forgotten_and_that_is_told(
    at_work: ModelAtWork,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 100}], "project": {"id": 2, "label_config": CONFIG}}
    with serving(at_work, Limits(), folder=folder, kept=tmp_path) as served:
        assert served.post("/webhook", annotated(100, 0, "One"))[1]["learnt"] == 1
        with monkeypatch.context() as patch:
            patch.setattr("cnn_rnn.learning.journal.os.fsync", full)
            for told in (gone, annotated(101, 1, "One")):
                assert served.post("/webhook", told) == (200, {"status": "ok", "learnt": 0})
        assert caplog.text.count("not learnt: could not write") == 2
        assert served.post("/webhook", gone)[1]["learnt"] == 1


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"action": "PROJECT_UPDATED"},
        {"action": "ANNOTATION_CREATED"},
        {"action": "ANNOTATION_CREATED", "project": 3},
        {"action": ["ANNOTATION_CREATED"], "project": {"id": 2, "label_config": CONFIG}},
        {
            "action": "ANNOTATIONS_DELETED",
            "annotations": [{"id": []}, 3],
            "project": {"id": 2, "label_config": CONFIG},
        },
        {"action": "START_TRAINING", "project": {"id": 2, "label_config": CONFIG}},
        annotated(1, 0, action="ANNOTATION_DELETED"),
        annotated(1, 0, result="x"),
        annotated(1, 0, result=[3, {"from_name": ["what"]}, choice("unheard of")]),
        annotated(1, 0) | {"task": {"id": 0, "data": {"image": "http://169.254.169.254/"}}},
        annotated(1, 0) | {"task": None},
        annotated(1, 0, "One", id={"a": 1}),
    ],
    ids=[
        *("nothing", "another action", "no project", "a number for a project", "a list for an action"),
        *("a list for a number", "training"),
        *("an unknown action", "text", "rubbish", "an address", "no task", "an object for a number"),
    ],
)
def test_what_teaches_nothing_changes_nothing(studio: Served, content: Any) -> None:
    before = studio.ask("GET", "/versions")[1]
    status, answer = studio.post("/webhook", content)
    assert (status, answer) == (200, {"status": "ok", "learnt": 0})
    assert studio.ask("GET", "/versions")[1] == before


def test_tasks_get_what_the_pipeline_expects_by_the_projects_names(studio: Served, at_work: ModelAtWork) -> None:
    status, answer = studio.post("/predict", request(*map(task, range(10))))
    assert (status, len(answer["results"])) == (200, 10)
    something = 0
    for index, result in enumerate(answer["results"]):
        labels = {one["label"]: one["score"] for one in expected(at_work, f"photo {index}".encode())["labels"]}
        wanted = [NAMES[label] for label in labels if label in NAMES]
        assert chosen(result, "what") == wanted
        assert chosen(result, "tree") == [["number", name] for name in labels if name in {"one", "nought"}]
        assert result["model_version"] == answer["model_version"]
        for one in result["result"]:
            assert 0 < one["score"] <= 1
        something += len(wanted)
    assert something


@pytest.mark.parametrize(
    ("context", "more"),
    [
        ({"result": [choice("One")]}, {}),
        (None, {"drafts": [{"result": [choice("nought")]}, {"result": [choice("One")]}]}),
        (None, {"annotations": [{"result": [choice("One")]}]}),
        ({"result": [choice("One")]}, {"annotations": [{"result": [choice("nought")]}]}),
    ],
    ids=["the page at work", "the last draft", "an annotation", "the page before an annotation"],
)
def test_what_is_chosen_so_far_is_known(
    studio: Served, at_work: ModelAtWork, context: Any, more: dict[str, Any]
) -> None:
    _, answer = studio.post("/predict", request(task(3, **more), context=context))
    (result,) = answer["results"]
    found = expected(at_work, b"photo 3", known={"one": True})
    others = [NAMES[one["label"]] for one in found["labels"] if one["label"] in NAMES and one["label"] != "one"]
    assert chosen(result, "what") == ["One", *others]
    assert ["number", "one"] in chosen(result, "tree")


def test_a_photo_in_the_task_itself_is_seen(studio: Served) -> None:
    inside = "data:image/jpeg;base64," + base64.b64encode(b"photo 3").decode()
    _, answer = studio.post("/predict", request(task(3), {"id": 4, "data": {"image": inside}}))
    first, second = answer["results"]
    assert first == close(second)


def test_a_task_that_cannot_be_seen_does_not_cost_the_others_theirs(studio: Served) -> None:
    ill: list[Any] = [
        {"id": 1, "data": {"image": "http://169.254.169.254/x.jpg"}},
        {"id": 2, "data": {"image": "/data/upload/../../etc/passwd"}},
        {"id": 3, "data": {}},
        {"id": 4},
        {"id": 5, "data": {"image": "data:image/png;base64," + base64.b64encode(b"bad").decode()}},
    ]
    _, answer = studio.post("/predict", request(task(0), *ill, task(1)))
    _, alone = studio.post("/predict", request(task(0), task(1)))
    assert [answer["results"][0], answer["results"][-1]] == close(alone["results"])
    for result in answer["results"][1:-1]:
        assert (result["result"], result["score"]) == ([], 0.0)
        assert "\n" not in result["error"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"tasks": 3}, 422),
        ({"tasks": [3]}, 422),
        ({"tasks": [{}] * 1001}, 413),
        ({"tasks": [], "label_config": "<View/>"}, 422),
        ({"tasks": [{}], "label_config": None}, 422),
    ],
    ids=["a number", "a list of numbers", "too many", "nothing to choose", "no configuration"],
)
def test_what_is_no_request_is_refused(studio: Served, content: Any, status: int) -> None:
    code, answer = studio.post("/predict", content)
    assert (code, list(answer)) == (status, ["error"])
