"""Publishing against a Hub on this machine, with the real client: what arrives, what does not, and what is said."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard, constants, hf_hub_download
from huggingface_hub.errors import RevisionNotFoundError
from PIL import Image
from transformers import pipeline

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.data import load_digits, write_parquet
from cnn_rnn.hub import HubError, dataset_files, model_files, push, push_checkpoint, saved_files
from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.model_card import TEMPLATES, CardError

from .commands import ROOT, main_of
from .loopback_hub import CUT, TOKEN, LoopbackHub, serve_hub

LABELS = ["nought", "one", "two|three", "<b>four</b>"]
NAME = "org/cnn-rnn-digits"
PUBLISHED = {
    *("README.md", "config.json", "metrics.json", "model.safetensors", "preprocessor_config.json", "run_config.yaml"),
    *("beam_search.py", "configuration_cnn_rnn.py", "image_backbone.py", "image_processing_cnn_rnn.py"),
    *("label_paths.py", "losses.py", "modeling_cnn_rnn.py", "path_decoder.py", "pipeline_cnn_rnn.py"),
}
# Runs before everything else in a process that must do without the package.
WITHOUT_PACKAGE = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cnn_rnn":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


def write_run(folder: Path, **changes: Any) -> Path:
    """A folder as a run leaves it, the parts that must stay at home among them."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32, "thresholds": [0.5] * 4}
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=LABELS, label_counts=[40, 30, 2, 1], **(fields | changes)
    )
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder)
    run = {
        "model": {"backbone": "test_resnet", "weights": "/home/somebody/weights.pth"},
        "data": {
            "name": "digits",
            "root": "/home/somebody/photos",
            "train_split": "train",
            "validation_split": None,
            "validation_fraction": 0.1,
        },
        "train": {"output_dir": "/home/somebody/runs/digits", "epochs": 3},
        "hub": {"repo": None, "private": False, "license": "apache-2.0"},
    }
    (folder / "run_config.yaml").write_text(yaml.safe_dump(run))
    (folder / "checkpoints").mkdir()
    for stray in ("checkpoints/random_states_0.pkl", "pytorch_model.bin", "predictions.parquet", "secret.py", ".env"):
        (folder / stray).write_bytes(b"stays at home")
    return folder


def write_metrics(path: Path, **changes: Any) -> Path:
    """Figures as scripts/validate.py writes them."""
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(40, 4, generator=generator), torch.rand(40, 4, generator=generator) > 0.5
    metrics = MultiLabelMetrics(LABELS)
    metrics.update(scores, targets, paths=scores > 0.6)
    figures = metrics.compute() | {
        "model": "/home/somebody",
        "data": "digits",
        "split": "test",
        "unreadable_images": {},
    }
    path.write_text(json.dumps(figures | {"unreadable_images": {}} | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    return write_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures of a test split."""
    return write_metrics(tmp_path_factory.mktemp("measured") / "metrics.json")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty Hub for the client of this process, which waits for nothing between its attempts."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with serve_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


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
    template = next(path for path in TEMPLATES if path.is_file()).read_text(encoding="utf-8")
    gaps = jinja2.meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(template))
    given: dict[str, Any] = {}
    original = ModelCard.from_template

    def from_template(card_data: Any, **values: Any) -> ModelCard:
        given.update(values, card_data=card_data)
        return original(card_data, **values)

    monkeypatch.setattr(ModelCard, "from_template", from_template)
    model_files(run, NAME, metrics)
    assert gaps <= {name for name, value in given.items() if value is not None}


@pytest.mark.parametrize("name", ["mAP", "path.CF1", "threshold.OR", "top_k.k", "counts.images", "per_class", "split"])
def test_a_missing_figure_is_named_not_made_up(name: str, run: Path, metrics: Path, tmp_path: Path) -> None:
    figures = json.loads(metrics.read_text())
    block = figures
    *parents, last = name.split(".")
    for parent in parents:
        block = block[parent]
    block[last] = None
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    with pytest.raises(CardError, match=rf"metrics\.json has no figure '{name}'"):
        model_files(run, NAME, tmp_path / "metrics.json")


def test_figures_that_the_model_was_chosen_on_or_of_other_labels_are_refused(run: Path, tmp_path: Path) -> None:
    for split in ("held-out", "train"):
        with pytest.raises(CardError, match="trained or chosen"):
            model_files(run, NAME, write_metrics(tmp_path / "metrics.json", split=split))
    with pytest.raises(CardError, match="other labels"):
        model_files(run, NAME, write_metrics(tmp_path / "metrics.json", per_class={"cat": {}}))
    with pytest.raises(CardError, match="expected a fraction"):
        model_files(run, NAME, write_metrics(tmp_path / "metrics.json", mAP=84.0))


def test_own_photos_need_a_word_about_their_bias(run: Path, metrics: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    settings = yaml.safe_load((run / "run_config.yaml").read_text())
    settings["data"]["name"] = "image_folder"
    (folder / "run_config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(CardError, match="--data_note"):
        model_files(folder, NAME, metrics)
    files = model_files(folder, NAME, metrics, data_note="Our own garden, in summer only.")
    assert b"Our own garden, in summer only." in bytes(files["README.md"])


def test_a_plain_baseline_has_a_card_that_speaks_of_no_path(metrics: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", path_loss="none", fusion="relevance")
    figures = json.loads(metrics.read_text()) | {"path": None}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    card = bytes(model_files(folder, NAME, tmp_path / "metrics.json")["README.md"]).decode()
    assert "by path" not in card
    assert "return_path" not in card
    assert "| by threshold |" in card


@pytest.mark.parametrize(
    "fault",
    [
        (r"^POST", 401, r"answered 401: the token .* `hf auth login`"),
        (r"^POST", 403, "answered 403: the token may not write there"),
        (r"/preupload/", 500, "answered 500: the Hub is in trouble: try again later"),
        (r"/preupload/", CUT, "the connection failed"),
        (r"PUT /lfs/", 500, "answered 500"),
        (r"PUT /lfs/", CUT, "the connection failed"),
        (r"/commit/", 401, "answered 401"),
        (r"/commit/", 409, "answered 409: it conflicts"),
        (r"/commit/", 412, "answered 412: somebody else has changed"),
        (r"/commit/", 500, "answered 500"),
        (r"/commit/", CUT, "the connection failed"),
    ],
    ids=str,
)
def test_a_push_that_fails_leaves_every_revision_as_it_was(
    fault: tuple[str, int, str], run: Path, metrics: Path, hub: LoopbackHub
) -> None:
    pattern, status, message = fault
    files = model_files(run, NAME, metrics)
    push({"README.md": b"---\nlicense: mit\n---\nbefore"}, NAME, message="before")
    before = dict(hub.repo(NAME).refs), dict(hub.repo(NAME).files())
    hub.faults[pattern] = status
    with pytest.raises(HubError, match=rf"{NAME} was not published, no revision was changed; .*{message}"):
        push(files, NAME, message="after")
    assert (hub.repo(NAME).refs, hub.repo(NAME).files()) == before
    hub.faults.clear()
    push(files, NAME, message="after")
    assert set(hub.repo(NAME).files()) == PUBLISHED | {".gitattributes"}
    assert hub.repo(NAME).messages == ["initial commit", "before", "after"]


def test_a_wrong_token_and_a_wrong_name_are_told(hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match="answered 401"):
        push({"a": b"b"}, NAME, message="m", api=HfApi(endpoint=hub.url, token="hf_other"))  # noqa: S106
    with pytest.raises(HubError, match="no name of a repository"):
        push({"a": b"b"}, "a/b/c", message="m")
    assert not hub.repos


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


def test_the_command_says_in_one_line_what_is_missing(
    run: Path, metrics: Path, tmp_path: Path, hub: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    push_to_hub = main_of("push_to_hub")
    for arguments, message in (
        ([str(run)], "--metrics is missing"),
        ([str(tmp_path), "--metrics", str(metrics)], "lacks model.safetensors, config.json"),
        ([str(run), "--metrics", str(tmp_path / "none.json")], "none.json"),
        ([str(tmp_path), "--dataset"], "data/*.parquet"),
    ):
        assert push_to_hub([*arguments, "--repo", NAME]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        assert told[0].startswith("error: ")
        assert message in told[0]
    hub.faults["create"] = 401
    assert push_to_hub([str(run), "--metrics", str(metrics), "--repo", NAME]) == 2
    assert "answered 401" in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ValueError, match=r"model\.safetensors is no readable safetensors"):
        saved_files(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"modeling_cnn_rnn\.py"):
        saved_files(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="'bert', not 'cnn_rnn'"):
        saved_files(tmp_path)


def test_checkpoints_go_to_a_branch_of_their_own(run: Path, hub: LoopbackHub) -> None:
    model = CnnRnnForImageClassification.from_pretrained(run)
    for step in (10, 20):
        push_checkpoint(model, CnnRnnImageProcessor.from_config(model.config), NAME, step=step)
    repo = hub.repo(NAME)
    assert repo.private
    assert set(repo.files("main")) == {".gitattributes"}
    assert set(repo.files("training")) == PUBLISHED - {"README.md", "metrics.json", "run_config.yaml"} | {
        ".gitattributes"
    }
    assert repo.messages[1] == "Training, step 10"


def test_data_sets_go_with_their_card(hub: LoopbackHub, tmp_path: Path) -> None:
    folder = write_parquet(load_digits(counts={"test": 4}, split="test"), tmp_path / "shards", license_name="mit")
    (folder / "notes.txt").write_text("stays at home")
    assert main_of("push_to_hub")([str(folder), "--repo", "org/digits", "--dataset"]) == 0
    assert set(hub.repo("org/digits", "dataset").files()) == {".gitattributes", *dataset_files(folder)}
