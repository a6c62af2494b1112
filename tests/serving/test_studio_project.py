"""What annotations teach is what the page would learn of them, of this version and of those before."""

import json
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.finished_runs import LABELS, write_run

from cnn_rnn.data import decode_image
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.learning.feature_store import FeatureStore
from cnn_rnn.learning.learner import Learner
from cnn_rnn.prediction import SavedModel
from cnn_rnn.serving.at_work import ModelAtWork
from cnn_rnn.serving.decoding import Pixels
from cnn_rnn.serving.studio_project import StudioProject

from .test_label_config import IMAGE

OWN = ["own", "other"]  # words, in the order in which the learner hears them
CONFIG = f'<View>{IMAGE}<Choices name="what" toName="img"><Choice value="own"/><Choice value="other"/></Choices></View>'
ANSWERS = [{"own": index % 2 == 0, "other": index % 3 == 0} for index in range(6)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose features end in what a classifier says of its classes."""
    return write_run(tmp_path_factory.mktemp("classes") / "run", pooling="classes")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(7)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (40, 30, 3), np.uint8)).save(path)
    return paths


def prepared(model: ModelAtWork, path: Path) -> Pixels:
    """A photo as the server's own processes prepare it."""
    found: Pixels = model.labeller.prepare(decode_image(path, path.name))
    return found


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_the_server_sees_of_a_photo_what_the_page_sees(engine: str, photos: list[Path]) -> None:
    if engine == "auto":
        pytest.importorskip("onnxruntime")
    eyes, model = Eyes(SavedModel.load(bundled_model())), ModelAtWork.load(bundled_model(), engine)  # type: ignore[arg-type]
    by_page = eyes.look(decode_image(photos[0], photos[0].name))
    (by_server,) = model.look([(prepared(model, photos[0]), {})])
    assert by_server.certainties == by_page.certainties == 1000
    assert len(by_server.vector) == len(by_page.features) - 1000
    np.testing.assert_allclose(by_server.vector, by_page.vector, atol=1e-4)
    np.testing.assert_allclose(by_server.logits, by_page.logits, atol=1e-3)


def test_a_project_taught_by_an_earlier_version_expects_what_the_page_expects(
    run: Path, photos: list[Path], tmp_path: Path
) -> None:
    eyes, model = Eyes(SavedModel.load(run), knows=False), ModelAtWork.load(run, "torch")
    page = Learner()
    store, steps = FeatureStore(tmp_path / "features"), []
    for index, (path, answers) in enumerate(zip(photos, ANSWERS, strict=False)):
        seen = eyes.look(decode_image(path, path.name))
        page.tell(path.name, seen, answers)
        logits = model.look([(prepared(model, path), {})])[0].logits
        store.keep(f"{index}", model.known_by, np.concatenate([seen.features, logits]))
        steps.append({"said": {f"task {index} {index}": answers}, "by": str(index), "actions": 0, "name": f"{index:x}"})
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "steps.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    project = StudioProject(model, CONFIG, folder, store)
    assert project.unseen == []
    assert project.learner.learnt()["photos"] == len(ANSWERS)
    (seen,) = model.look([(prepared(model, photos[-1]), {})])
    by_page = page.expect(eyes.look(decode_image(photos[-1], photos[-1].name)))
    by_server = project.expect("task 6 6", seen, seen, {}).probabilities
    assert {word: by_server[word] for word in OWN} == pytest.approx(by_page, abs=1e-3)


def test_what_another_model_saw_teaches_again_once_it_is_seen(run: Path, photos: list[Path], tmp_path: Path) -> None:
    model = ModelAtWork.load(run, "torch")
    first = StudioProject(model, CONFIG, tmp_path / "project", FeatureStore(None))
    (seen,) = model.look([(prepared(model, photos[0]), {})])
    assert first.learn("1", "task 0 0", seen, ANSWERS[0])
    again = StudioProject(model, CONFIG, tmp_path / "project", FeatureStore(None))  # in which nothing of it is
    assert (again.unseen, again.learner.learnt()["photos"]) == (["task 0 0"], 0)
    again.keep("task 0 0", seen)
    assert (again.unseen, again.learner.learnt()["photos"]) == ([], 1)
    assert again.forget("1")
    assert again.unseen == []


def test_what_is_proposed_obeys_the_models_rules_whatever_is_chosen(photos: list[Path], tmp_path: Path) -> None:
    rules = {"implies": {LABELS[2]: LABELS[1]}, "excludes": [[LABELS[1], LABELS[3]]]}
    model = ModelAtWork.load(write_run(tmp_path / "run", known_labels="state", label_rules=rules), "torch")
    choices = "".join(f'<Choice value="{escape(word)}"/>' for word in [*LABELS[1:], "own"])
    config = f'<View>{IMAGE}<Choices name="what" toName="img">{choices}</Choices></View>'
    project = StudioProject(model, config, None, FeatureStore(None))
    known = {LABELS[3]: True, LABELS[2]: True, "own": True}  # of what cannot be together the latest counts
    own = {name: there for name, there in known.items() if name in LABELS}
    seen, given = model.look([(prepared(model, photos[0]), told) for told in ({}, own)])
    for _ in range(2):
        expected = project.expect("task 0 0", seen, given, known)
        assert set(expected.present) == {LABELS[1], LABELS[2], "own"}
        assert expected.probabilities[LABELS[1]] == 1
        assert expected.probabilities[LABELS[3]] == 0
        assert project.learn("1", "task 1 1", seen, {LABELS[2]: True, LABELS[3]: True, "own": True})
