"""Publishing against a Hub on this machine, with the real client: what arrives, what does not, and what is said."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import RevisionNotFoundError
from PIL import Image
from tests.commands_by_name import ROOT, WITHOUT_PACKAGE, main_of
from tests.finished_runs import ENDPOINT, LABELS, NAME, PUBLISHED, write_run
from tests.loopback_hub import TOKEN, LoopbackHub
from transformers import pipeline

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.data import load_digits, write_parquet
from cnn_rnn.foundation.shipped_files import shipped_file
from cnn_rnn.publishing.push import dataset_files, model_files, push, push_checkpoint


def elsewhere(code: str, hub: LoopbackHub, place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own with an empty cache, which finds the Hub by its environment alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHONPATH"))}
    script = place / "code.py"
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=kept
        | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(place / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
        },
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


LOAD = (
    WITHOUT_PACKAGE
    + """
import json, torch
from transformers import AutoImageProcessor, AutoModel
model = AutoModel.from_pretrained("org/cnn-rnn-digits", trust_remote_code=True).eval()
processor = AutoImageProcessor.from_pretrained("org/cnn-rnn-digits", trust_remote_code=True)
from PIL import Image
pixel_values = processor(Image.open("photo.jpg"), return_tensors="pt")["pixel_values"]
with torch.no_grad():
    print(json.dumps([type(model).__module__, model(pixel_values).logits[0].tolist()]))
"""
)


@pytest.mark.slow  # the lines of the README show nearly the same
def test_what_is_pushed_loads_in_a_process_without_cache_and_package(
    run: Path, metrics: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    assert main_of("push_to_hub")([str(run), "--repo", NAME, "--metrics", str(metrics), "--private"]) == 0
    repo = hub.repo(NAME)
    assert repo.private
    assert set(repo.files()) == PUBLISHED | {".gitattributes"}
    assert repo.messages == ["initial commit", "Publish cnn-rnn-digits"]
    Image.linear_gradient("L").save(tmp_path / "photo.jpg")
    loaded = elsewhere(LOAD, hub, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    module, logits = json.loads(loaded.stdout.splitlines()[-1])
    assert module.startswith("transformers_modules.")
    assert repo.find("main") in module
    own = pipeline("multi-label-image-classification", model=str(run))
    scores = {entry["label"]: entry["score"] for entry in own(str(tmp_path / "photo.jpg"), threshold=0.0)}
    assert torch.tensor(logits).sigmoid().tolist() == pytest.approx([scores[label] for label in LABELS], abs=1e-6)


def test_the_lines_of_the_readme_run_word_for_word(hub: LoopbackHub, metrics: Path, run: Path, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Use it in your project\n")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    push(model_files(run, "org/cnn-rnn-coco", metrics), "org/cnn-rnn-coco", message="as the README names it")
    Image.linear_gradient("L").save(tmp_path / "photo.jpg")
    ran = elsewhere(WITHOUT_PACKAGE + found[1], hub, tmp_path)
    assert ran.returncode == 0, ran.stderr
    printed = yaml.safe_load(ran.stdout.splitlines()[-1])
    assert {entry["label"] for entry in printed} == set(LABELS)
    assert all(0 < entry["score"] < 1 for entry in printed)


def test_nothing_of_the_machine_is_published(run: Path, metrics: Path) -> None:
    files = model_files(run, NAME, metrics)
    assert set(files) == PUBLISHED
    for name, content in files.items():
        assert b"somebody" not in (content if isinstance(content, bytes) else content.read_bytes()), name
    assert yaml.safe_load(bytes(files["run_config.yaml"]))["train"]["epochs"] == 3


def test_the_graph_that_predictions_keep_beside_the_weights_is_not_published(
    run: Path, metrics: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / "backbone-0123456789abcdef.onnx").write_bytes(b"graph")
    assert set(model_files(folder, NAME, metrics)) == PUBLISHED


def test_the_card_says_what_was_measured_and_trained_on(run: Path, metrics: Path) -> None:
    card = ModelCard(bytes(model_files(run, NAME, metrics, license_name="mit")["README.md"]).decode())
    figures = json.loads(metrics.read_text())
    metadata: Any = card.data
    reported = {result.metric_name: result.metric_value for result in metadata.eval_results}
    assert reported["mean average precision"] == pytest.approx(figures["mAP"], abs=1e-4)
    assert reported["OF1 of the set predicted by path"] == pytest.approx(figures["path"]["OF1"], abs=1e-4)
    assert {result.dataset_split for result in metadata.eval_results} == {"test"}
    assert metadata.license == "mit"
    text = " ".join(card.text.split())
    row = " | ".join(f"{100 * figures['path'][name]:.1f}" for name in ("CP", "CR", "CF1", "OP", "OR", "OF1"))
    for told in (
        f"| by path | {row} |",
        "| nought | 40 | 54.8% |",
        "| two\\|three | 2 | 2.7% |",
        "&lt;b>four&lt;/b> ",
        "the 40 images of the split `test`",
        "handwritten digits by rules",
        'model="org/cnn-rnn-digits", trust_remote_code=True',
        "## Intended use",
        "## Limits",
        "mit for these weights",
        "@inproceedings{wang2016cnnrnn",
    ):
        assert told in text, told
    assert "{%" not in text
    assert "None" not in text


def test_every_gap_of_the_template_is_filled(run: Path, metrics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = shipped_file("model_card.md").read_text(encoding="utf-8")
    gaps = jinja2.meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(template))
    given: dict[str, Any] = {}
    original = ModelCard.from_template

    def from_template(card_data: Any, **values: Any) -> ModelCard:
        given.update(values, card_data=card_data)
        return original(card_data, **values)

    monkeypatch.setattr(ModelCard, "from_template", from_template)
    model_files(run, NAME, metrics)
    assert gaps <= {name for name, value in given.items() if value is not None}


def test_a_plain_baseline_has_a_card_that_speaks_of_no_path(metrics: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", path_loss="none", fusion="relevance")
    figures = json.loads(metrics.read_text()) | {"path": None}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    card = bytes(model_files(folder, NAME, tmp_path / "metrics.json")["README.md"]).decode()
    assert "by path" not in card
    assert "return_path" not in card
    assert "| by threshold |" in card


def test_revision_and_pull_request_leave_main_alone(run: Path, metrics: Path, hub: LoopbackHub) -> None:
    arguments = [str(run), "--repo", NAME, "--metrics", str(metrics)]
    assert main_of("push_to_hub")([*arguments, "--revision", "v2", "--message", "second"]) == 0
    repo = hub.repo(NAME)
    assert set(repo.files("main")) == {".gitattributes"}
    assert set(repo.files("v2")) >= PUBLISHED
    assert repo.messages[-1] == "second"
    assert not repo.private
    assert main_of("push_to_hub")([*arguments, "--create_pr"]) == 0
    assert set(repo.files("main")) == {".gitattributes"}
    assert set(repo.files("refs/pr/1")) >= PUBLISHED


def test_a_revision_stays_what_it_was_and_is_fetched_once(
    run: Path, metrics: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    files = model_files(run, NAME, metrics)
    first = push(files, NAME, message="first")
    push(files | {"metrics.json": b"{}"}, NAME, message="second")

    def fetch(name: str, revision: str) -> bytes:
        return Path(hf_hub_download(NAME, name, revision=revision, cache_dir=tmp_path)).read_bytes()

    for _ in range(2):
        assert fetch("metrics.json", "main") == b"{}"
        assert fetch("metrics.json", first.oid) == files["metrics.json"]
        assert fetch("model.safetensors", "main") == fetch("model.safetensors", first.oid)
    assert sum(request.startswith("GET /lfs/") for request in hub.seen) == 1
    assert sum(bool(re.match("GET .*/metrics.json", request)) for request in hub.seen) == 2
    with pytest.raises(RevisionNotFoundError):
        fetch("metrics.json", "v9")


def test_a_dry_run_shows_the_card_and_sends_nothing(
    run: Path, metrics: Path, hub: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("push_to_hub")([str(run), "--repo", NAME, "--metrics", str(metrics), "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "model.safetensors" in printed
    assert "## Intended use" in printed
    assert not hub.seen


def test_checkpoints_go_to_a_branch_of_their_own(run: Path, hub: LoopbackHub) -> None:
    model = CnnRnnForImageClassification.from_pretrained(run)
    for step in (10, 20):
        push_checkpoint(model, CnnRnnImageProcessor.from_config(model.config), NAME, step=step)
    repo = hub.repo(NAME)
    assert repo.private
    assert set(repo.files("main")) == {".gitattributes"}
    assert set(repo.files("training")) == PUBLISHED - ENDPOINT - {"README.md", "metrics.json", "run_config.yaml"} | {
        ".gitattributes"
    }
    assert repo.messages[1] == "Training, step 10"


def test_data_sets_go_with_their_card(hub: LoopbackHub, tmp_path: Path) -> None:
    folder = write_parquet(load_digits(counts={"test": 4}, split="test"), tmp_path / "shards", license_name="mit")
    (folder / "notes.txt").write_text("stays at home")
    assert main_of("push_to_hub")([str(folder), "--repo", "org/digits", "--dataset"]) == 0
    assert set(hub.repo("org/digits", "dataset").files()) == {".gitattributes", *dataset_files(folder)}
