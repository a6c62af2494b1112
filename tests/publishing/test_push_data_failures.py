"""Data sets of the Hub that cannot be read: one clear line with a way out, at the start or in the middle of a run."""

import io
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from safetensors.torch import load_file
from tests.commands_by_name import main_of
from tests.loopback_hub import CUT, HALF, LoopbackHub
from tests.loopback_hub_server import point_clients_at

from cnn_rnn.data import load_image_folder, load_stream, write_parquet
from cnn_rnn.publishing.push import dataset_files, push

NAME = "org/photos"
Settings = Callable[..., list[str]]
Spoil = Callable[[LoopbackHub, pytest.MonkeyPatch], object]


@pytest.fixture(scope="module")
def shards(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as shards, in row groups of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_rnn.data.images_inside.parquet.ROWS_A_GROUP", 4)
        return write_parquet(load_image_folder(photo_folder), tmp_path_factory.mktemp("shards") / "set")


@pytest.fixture
def published(shards: Path, hub: LoopbackHub) -> LoopbackHub:
    """The Hub with the photos, which are private."""
    push(dataset_files(shards), NAME, message="photos", repo_type="dataset", private=True)
    return hub


def fault(pattern: str, status: int) -> Spoil:
    """The Hub answers these requests so."""
    return lambda hub, _: hub.faults.update({pattern: status})


def only(name: str, content: bytes) -> Spoil:
    """The data set holds this file alone, and a card."""
    files = {name: content, "README.md": b"---\nlicense: mit\n---\n"}
    return lambda hub, _: hub.repo(NAME, "dataset").commit("main", files, "something else")


def table(labels: Any, feature: Any) -> Spoil:
    """The data set holds one row with such labels."""
    features = Features({"image": Image(), "image_id": Value("string"), "labels": feature})
    row = {"image": [{"bytes": b"", "path": None}], "image_id": ["a"], "labels": [labels]}
    buffer = io.BytesIO()
    Dataset.from_dict(row, features=features).to_parquet(buffer)
    return only("train.parquet", buffer.getvalue())


def without_token(_: LoopbackHub, patch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in."""
    patch.delenv("HF_TOKEN")


def nothing(_: LoopbackHub, __: pytest.MonkeyPatch) -> None:
    """All is well."""


def unreached(_: LoopbackHub, patch: pytest.MonkeyPatch) -> None:
    """Nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    point_clients_at(f"http://127.0.0.1:{port}", patch)


LOG_IN = "doesn't exist on the Hub or cannot be accessed: check the name; .* `hf auth login`"
NO_WAY = "the connection failed .*: see that the Hub is reached and try again"
PAYLOAD = b"from pathlib import Path; Path('ran').touch()"
CASES: dict[str, tuple[Spoil, str]] = {
    "absent": (lambda hub, _: hub.repos.clear(), LOG_IN),
    "private": (without_token, LOG_IN),
    "unreached": (unreached, NO_WAY),
    "cut": (fault(".", CUT), NO_WAY),
    "wrong token": (fault(".", 401), "answered 401: the token .* `hf auth login`"),
    "no access": (fault(".", 403), "answered 403: the token may not read it"),
    "trouble": (fault(".", 500), "answered 500: .* try again later"),
    "trouble with its list": (fault("/tree/", 503), "answered 503: .* try again later"),
    "half a shard": (fault("GET /lfs/", HALF), NO_WAY),
    "script": (only("photos.py", PAYLOAD), "found photos.py; code of a data set is never run .* Parquet"),
    "pickle": (only("train.pkl", PAYLOAD), "data files found .*: expected Parquet shards"),
    "broken": (only("train.parquet", b"PAR1, it says"), "Parquet"),
    "other columns": (
        only("train.jsonl", b'{"text": "a"}'),
        "(columns are text: rename|without image, image_id, labels)",
    ),
    "nameless": (
        table([0], List(Value("int64"))),
        r"(labels are \[0\].*data\.class_names|labels'.*cast it with datasets\.List\(datasets\.ClassLabel)",
    ),
    "no such split": (nothing, "dev.*train"),
}


@pytest.fixture(scope="module")
def photo_run(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the photos of the local folder."""
    folder = tmp_path_factory.mktemp("runs") / "photos"
    assert main_of("train")(settings(folder, train__epochs=1)) == 0
    return folder


def messages(errors: str) -> list[str]:
    """The lines that tell an error, without the progress bars before them."""
    assert "Traceback" not in errors
    return [line[line.index("error: ") :] for line in errors.splitlines() if "error: " in line]


@dataclass
class Commands:
    """Training and validation on a split of `org/photos`."""

    settings: Settings
    run: Path
    place: Path

    def train(self, streaming: str, split: str = "train", *arguments: str, **changes: Any) -> int:
        """The exit code of training."""
        data = {"data__name": "hub", "data__root": NAME, "data__streaming": streaming, "data__train_split": split}
        run = self.settings(self.place / "run", **data, data__validation_split="test", **changes)
        return main_of("train")([*run, *arguments])

    def validate(self, streaming: str, split: str = "train", num_workers: int = 0) -> int:
        """The exit code of measuring the finished run."""
        data = ["--data.name", "hub", "--data.root", NAME, "--data.streaming", streaming, "--data.split", split]
        options = ["--output", str(self.place / "measured"), "--num_workers", str(num_workers), "--samples", "0"]
        return main_of("validate")([str(self.run), *data, *options])


@pytest.fixture
def commands(settings: Settings, photo_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Commands(settings, photo_run, tmp_path)


@pytest.mark.parametrize("streaming", ["false", "true"])
@pytest.mark.parametrize("case", [*CASES])
def test_what_cannot_be_read_is_one_line(
    case: str,
    streaming: str,
    *,
    published: LoopbackHub,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, message = CASES[case]
    spoil(published, monkeypatch)
    split = "dev" if case == "no such split" else "train"
    capsys.readouterr()
    for command in (commands.train, commands.validate):
        assert command(streaming, split) == 2
        (told,) = messages(capsys.readouterr().err)
        assert re.match(rf"error: (org/)?photos.*{message}", told), told
    assert not Path("ran").exists()


def test_look_and_convert_say_it_too(hub: LoopbackHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.faults["."] = CUT
    for arguments in (["look"], ["convert", "--output", str(tmp_path / "shards")]):
        assert main_of("data")([arguments[0], "hub", "--root", NAME, *arguments[1:]]) == 2
        (told,) = messages(capsys.readouterr().err)
        assert re.search(NO_WAY, told)


@pytest.mark.parametrize(
    ("status", "message", "num_workers"), [(500, "answered 500", 0), (CUT, NO_WAY, 0), (HALF, NO_WAY, 1)]
)
def test_a_stream_that_breaks_off_is_one_line_and_the_run_goes_on_later(
    status: int,
    message: str,
    num_workers: int,
    *,
    published: LoopbackHub,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes: dict[str, Any] = {"train__num_workers": num_workers, "train__epochs": 2}
    assert commands.train("true", **changes) == 0
    whole = load_file("run/model.safetensors")
    shutil.rmtree("run")
    asked = sum("GET /lfs/" in request for request in published.seen)
    published.faults["GET /lfs/"] = [None] * (3 * asked // 4) + [status] * 1000
    capsys.readouterr()
    assert commands.train("true", **changes) == 2
    (told,) = messages(capsys.readouterr().err)
    assert re.fullmatch(f"error: photos, (train|test) was not read; .*{message}.*--resume auto goes on.*", told)
    assert Path("run/history.jsonl").exists()
    published.faults.clear()
    assert commands.train("true", "train", "--resume", "auto", **changes) == 0
    resumed = load_file("run/model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_short_trouble_is_waited_out(published: LoopbackHub, shards: Path) -> None:
    whole = [row["image_id"] for row in load_stream("hub", str(shards), "train")]
    rows = load_stream("hub", NAME, "train")
    published.faults["GET /lfs/"] = [500, CUT, HALF]
    assert [row["image_id"] for row in rows] == whole
    assert not published.faults["GET /lfs/"]
