"""A Space is whole: its app serves the page with nothing but what was published."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard
from tests.commands_by_name import ROOT, main_of

import cnn_rnn
from cnn_rnn.publishing.space import requirements, space_files


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [False, True], ids=["a run", "the model in the box"])
def test_the_app_serves_the_page_from_what_is_published_alone(run: Path, tmp_path: Path, boxed: bool) -> None:
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'cnn-rnn[app]'")
    run = cnn_rnn.bundled_model() if boxed else run  # which holds no code of its own
    for name, content in space_files(run, "org/cnn-rnn-digits").items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    # In place of serving for ever: the page as it is built, and where the package came from.
    code = """
import sys
sys.modules["onnxruntime"] = None  # no Space's requirements name it
import gradio, cnn_rnn
gradio.Blocks.launch = lambda page, **options: (None, "http://" + options["server_name"], None)
gradio.Blocks.block_thread = lambda page: print("served", cnn_rnn.__file__)
exec(open("app.py").read())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    address, package = done.stdout.strip().splitlines()[-2:]
    assert "http://0.0.0.0 " in address  # a Space is reached from outside
    assert Path(package.removeprefix("served ")).parent == tmp_path / "cnn_rnn"


def test_card_and_requirements_are_those_of_a_gradio_space(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    told = [f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: [*project["dependencies"], *told])
    files = space_files(run, "org/cnn-rnn-digits", "mit")
    data = SpaceCard(bytes(files["README.md"]).decode()).data.to_dict()
    assert (data["sdk"], data["app_file"], data["license"]) == ("gradio", "app.py", "mit")
    assert {*requirements(), "gradio>=6"} == {*project["dependencies"], *project["optional-dependencies"]["app"]}
    assert not [name for name in files if "secret" in name or name.endswith((".pkl", ".bin"))]


def test_one_command_shows_what_would_be_published(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    assert main_of("push_to_hub")([str(run), "--repo", "org/page", "--space", "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "cnn_rnn/app/tagging_page.js" in printed
    assert "dry run: nothing was sent to org/page" in printed
