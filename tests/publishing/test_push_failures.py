"""Pushes that fail, and what is not published: what is said, and that every revision stays as it was."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi
from tests.commands_by_name import main_of
from tests.finished_runs import NAME, PUBLISHED, write_metrics, write_run
from tests.loopback_hub import CUT, LoopbackHub

from cnn_rnn.foundation.hub_errors import HubError
from cnn_rnn.publishing.card_figures import CardError
from cnn_rnn.publishing.push import model_files, push, saved_files


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
