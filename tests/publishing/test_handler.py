"""What Inference Endpoints run: loaded and called as the Hub's toolkit does it, where the package is not installed."""

import base64
import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.commands_by_name import ROOT, WITHOUT_PACKAGE
from tests.finished_runs import NAME
from transformers import pipeline

from cnn_rnn.publishing.handler import EndpointHandler
from cnn_rnn.publishing.push import REQUIREMENTS, model_files

# As the toolkit has it: the file by its path under the name `handler`, its folder on the path, one call a request.
TOOLKIT = (
    WITHOUT_PACKAGE
    + """
import base64, importlib.util, io, json
from PIL import Image

folder, photo = sys.argv[1:]
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)

content = open(photo, "rb").read()
text = base64.b64encode(content).decode()
known = {"known": {"one": True, "nought": False}, "threshold": 0.0}
asked = [
    {"inputs": Image.open(io.BytesIO(content)), "parameters": {"threshold": 0.0}},  # Content-Type: image/png
    {"inputs": content, "parameters": {"threshold": 0.0}},
    {"inputs": text, "parameters": {"threshold": 0.0}},  # Content-Type: application/json
    {"inputs": text, "parameters": known},
    {"inputs": text, "parameters": {"known": json.dumps(known["known"]), "threshold": "0"}},  # of the address
    {"inputs": [text, content], "parameters": {"top_k": 1, "return_path": True}},
    {"inputs": text},
]
print(json.dumps([handler(one) for one in asked]))
"""
)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.linear_gradient("L").resize((60, 40)).save(path)
    return path


@pytest.fixture(scope="module")
def published(run: Path, metrics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is pushed, in a folder, as an endpoint finds it."""
    folder = tmp_path_factory.mktemp("repository")
    for name, content in model_files(run, NAME, metrics).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


def test_the_toolkit_gets_from_it_what_the_pipeline_gives(published: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(TOOLKIT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, tmp_path / "code.py", published, photo],
        env=kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *plain, told, of_address, several, bare = json.loads(done.stdout.splitlines()[-1])
    classify = pipeline("multi-label-image-classification", model=str(published))
    known = {"one": True, "nought": False}
    one = scores(classify(str(photo), threshold=0.0))
    assert [scores(each) for each in plain] == [pytest.approx(one, abs=1e-6)] * 3
    expected = scores(classify(str(photo), threshold=0.0, known=known))
    assert expected != one
    assert scores(told) == pytest.approx(expected, abs=1e-6)
    assert of_address == told
    assert [[entry["label"] for entry in each["labels"]] for each in several] == [[max(one, key=lambda n: one[n])]] * 2
    assert [each["path_score"] for each in several] == pytest.approx(
        [classify(str(photo), return_path=True)["path_score"]] * 2, abs=1e-6
    )
    assert [entry["label"] for entry in bare] == [entry["label"] for entry in classify(str(photo))]


def scores(answer: Any) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in answer}


@pytest.fixture(scope="module")
def handler(run: Path) -> EndpointHandler:
    return EndpointHandler(str(run))


def test_neither_files_nor_addresses_are_read(handler: EndpointHandler, photo: Path) -> None:
    for asked in (str(photo), "http://169.254.169.254/photo.png", f"file://{photo}", "/etc/passwd"):
        for inputs in (asked, [asked]):
            with pytest.raises(ValueError, match=r"is no base64|is no readable image"):
                handler({"inputs": inputs})


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({"known": {"ome": True}}, "did you mean 'one'"),
        ({"known": {"one": "yes"}}, "must be True"),
        ({"timeout": 1}, "no parameter 'timeout'"),
        ([1], "must be an object"),
        ({"known": "[" * 100_000}, "known"),
    ],
    ids=["a misspelt label", "no answer", "a parameter of addresses", "a list", "nested deep"],
)
def test_wrong_parameters_are_refused_in_one_line(
    handler: EndpointHandler, photo: Path, parameters: Any, refused: str
) -> None:
    text = base64.b64encode(photo.read_bytes()).decode()
    with pytest.raises(ValueError, match=refused) as error:
        handler({"inputs": text, "parameters": parameters})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "inputs", [None, 3, "", "AAAA", b"", {"url": "http://x"}], ids=["none", "int", "empty", "noise", "bytes", "object"]
)
def test_what_is_no_photo_is_refused(handler: EndpointHandler, inputs: Any) -> None:
    for data in ({"inputs": inputs}, {"inputs": [inputs]}, {}):
        with pytest.raises(ValueError, match=r"photo|image|inputs|PHOTO"):
            handler(data)


def test_a_bomb_is_refused(handler: EndpointHandler) -> None:
    with io.BytesIO() as out:
        Image.new("1", (14_000, 14_000)).save(out, "PNG")
        with pytest.raises(ValueError, match="is no readable image"):
            handler({"inputs": out.getvalue()})


def test_what_it_asks_for_is_what_the_package_needs() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert set(REQUIREMENTS.decode().split()) < set(needed)
