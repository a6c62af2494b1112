"""Data sets by their name on a Hub on this machine: pushed with the real client, and read again as they were."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from huggingface_hub import DatasetCard, HfFileSystem
from safetensors.torch import load_file
from tests.commands_by_name import main_of
from tests.loopback_hub import CUT, LoopbackHub

from cnn_rnn.data import load_hub, load_image_folder, load_stream, stream_labels, write_parquet
from cnn_rnn.foundation.hub_errors import HubError
from cnn_rnn.publishing.push import dataset_files, push

NAME = "org/photos"
Settings = Callable[..., list[str]]


def convert(photo_folder: Path, output: Path, *arguments: str) -> int:
    """What `cnn-rnn data convert` leaves with, the photos pushed."""
    command = ["convert", "image_folder", "--root", str(photo_folder), "--output", str(output), "--push", NAME]
    return main_of("data")([*command, *arguments])


@pytest.fixture
def shards(photo_folder: Path, hub: LoopbackHub, tmp_path: Path) -> Path:
    """The shards that `org/photos` was pushed from."""
    assert convert(photo_folder, tmp_path / "shards", "--license", "cc0-1.0") == 0
    assert hub.repos
    return tmp_path / "shards"


def pixels(rows: Dataset) -> list[tuple[str, list[int], bytes]]:
    """Everything that is in the rows, in order."""
    return [(row["image_id"], row["labels"], row["image"].tobytes()) for row in rows]


def first_rows(shards: Path, count: int) -> Dataset:
    """The first rows of the shards' training part."""
    rows = load_hub(str(shards), split="train")
    assert isinstance(rows, Dataset)
    return rows.select(range(count))


def test_a_push_is_one_private_commit_with_its_card(shards: Path, hub: LoopbackHub) -> None:
    repo = hub.repo(NAME, "dataset")
    assert repo.private
    assert repo.messages == ["initial commit", "Publish photos"]
    assert repo.files() == {".gitattributes": b""} | {
        str(path.relative_to(shards)): path.read_bytes() for path in shards.rglob("*.*")
    }
    card = DatasetCard(repo.files()["README.md"].decode())
    assert card.data.to_dict()["license"] == "cc0-1.0"
    assert "| train | 24 |" in card.text


def test_a_new_data_set_is_public_where_asked(photo_folder: Path, hub: LoopbackHub, tmp_path: Path) -> None:
    assert convert(photo_folder, tmp_path / "shards", "--public") == 0
    assert not hub.repo(NAME, "dataset").private


@pytest.mark.usefixtures("shards")
def test_rows_are_those_that_were_pushed(photo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local = load_image_folder(photo_folder)
    whole = load_hub(NAME)
    assert isinstance(whole, DatasetDict)
    assert whole["train"].features == local["train"].features
    for split, rows in local.items():
        stream = load_stream("hub", NAME, split)
        assert pixels(whole[split]) == pixels(stream) == pixels(rows)
        assert stream_labels(NAME, stream)["labels"][:] == rows["labels"][:]
    capsys.readouterr()
    main_of("data")(["look", "image_folder", "--root", str(photo_folder)])
    how, _, expected = capsys.readouterr().out.partition("\n")
    assert how.startswith("read: metadata.jsonl")
    assert main_of("data")(["look", "hub", "--root", NAME]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.usefixtures("shards")
def test_files_are_listed_and_read_in_parts(hub: LoopbackHub) -> None:
    files = hub.repo(NAME, "dataset").files()
    system = HfFileSystem(endpoint=hub.url, skip_instance_cache=True)
    found = {path.removeprefix(f"datasets/{NAME}/"): path for path in system.find(f"datasets/{NAME}")}
    assert set(found) == set(files)
    for name, path in found.items():
        assert system.info(path, refresh=True)["size"] == len(files[name])
        assert system.cat_file(path, start=5) == files[name][5:]


def test_a_revision_is_read_as_it_was_and_no_other_takes_its_place(
    shards: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    repo = hub.repo(NAME, "dataset")
    first = repo.find("main")
    few = first_rows(shards, 4)
    push(dataset_files(write_parquet(few, tmp_path / "few")), NAME, message="few", repo_type="dataset")
    pinned = f"{NAME}@{first}"
    sizes = [len(load_hub(name, split="train")) for name in (pinned, NAME, f"{NAME}@main")]
    assert sizes == [24, 4, 4]
    assert len(load_hub(NAME, split="train", revision=first)) == 24
    stream = load_stream("hub", pinned, "train")
    assert len(list(stream)) == len(stream_labels(pinned, stream)) == 24
    with pytest.raises(HubError, match=r"org/photos@v9 was not read; the Hub answered 404: .* revision"):
        load_hub(f"{NAME}@v9")
    hub.faults["/resolve/"] = CUT
    with pytest.raises(HubError, match="the cache holds another revision"):
        load_hub(pinned)
    hub.faults["."] = CUT
    with pytest.raises(HubError, match="the connection failed"):
        load_hub(pinned)


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_a_run_and_its_figures_are_those_of_the_local_rows(
    streaming: str, shards: Path, photo_folder: Path, settings: Settings, tmp_path: Path
) -> None:
    common = {"train__epochs": 1, "data__validation_split": "test", "data__streaming": streaming}
    here = (
        {"root": str(photo_folder), "name": "image_folder"}
        if streaming == "false"
        else {"root": str(shards), "name": "hub"}
    )
    train, validate = main_of("train"), main_of("validate")
    figures, weights = [], []
    for place, data in (("here", here), ("there", {"root": NAME, "name": "hub"})):
        folder = tmp_path / place
        assert train(settings(folder, **common, **{f"data__{key}": value for key, value in data.items()})) == 0
        weights.append(load_file(folder / "model.safetensors"))
        flags = [part for key, value in data.items() for part in (f"--data.{key}", value)]
        command = [str(tmp_path / "here"), *flags, "--data.split", "test", "--output", str(folder / "test")]
        assert validate([*command, "--samples", "0", "--num_workers", "0"]) == 0
        figures.append(json.loads((folder / "test" / "metrics.json").read_text()))
        assert figures[-1].pop("data") == data["name"]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert figures[0] == figures[1]
    assert figures[0]["counts"]["images"] == 12


@pytest.mark.parametrize(
    "fault",
    [
        ("^POST", 401, "answered 401: the token .* `hf auth login`"),
        ("/preupload/", 500, "answered 500: the Hub is in trouble"),
        ("PUT /lfs/", CUT, "the connection failed"),
        ("/commit/", 409, "answered 409: it conflicts"),
        ("/commit/", CUT, "the connection failed"),
    ],
    ids=str,
)
def test_a_push_that_fails_is_one_line_and_publishes_nothing(
    fault: tuple[str, int, str],
    photo_folder: Path,
    hub: LoopbackHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pattern, status, message = fault
    hub.faults[pattern] = status
    assert convert(photo_folder, tmp_path / "shards") == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not re.search(r"\d+%|^$", line)]
    assert len(told) == 1
    assert re.fullmatch(rf"error: {NAME} was not published, no revision was changed; .*{message}.* sends it", told[0])
    assert all(set(repo.files()) == {".gitattributes"} for repo in hub.repos.values())
    hub.faults.clear()
    command = re.search(r"'cnn-rnn push-to-hub (.*)'", told[0])
    assert command is not None
    assert main_of("push_to_hub")(command[1].split()) == 0
    repo = hub.repo(NAME, "dataset")
    assert repo.private
    assert set(repo.files()) == {".gitattributes", *dataset_files(tmp_path / "shards")}
