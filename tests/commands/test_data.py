"""The data command, as a user runs it."""

import contextlib
import json
from pathlib import Path

import pytest
from datasets import DatasetDict, load_dataset
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn.data import SOURCES, label_names, load_source
from cnn_rnn.data.benchmarks.digits import DEFAULT_COUNTS

main = main_of("data")


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "validation", "test"):
        monkeypatch.setitem(DEFAULT_COUNTS, split, 5)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image folder with forty photos, one of them broken."""
    folder = tmp_path / "photos" / "train"
    folder.mkdir(parents=True)
    lines = []
    for i in range(40):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "labels": ["cat", "dog"][: i % 3]}))
    (folder / "7.png").write_bytes(b"")
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder.parent


def test_look_prints_and_draws(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["look", "image_folder", "--root", str(photos), "--output", str(tmp_path / "look")]) == 0
    assert "cat, dog" in capsys.readouterr().out
    summary = json.loads((tmp_path / "look" / "look.json").read_text())
    assert summary["label_order"] == ["cat", "dog"]
    assert summary["splits"]["train"]["counts"] == {"cat": 26, "dog": 13}
    assert (tmp_path / "look" / "look.png").stat().st_size > 10_000


def test_what_a_look_did_not_write_is_kept(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "look").mkdir()
    for name in ("look.json", "look.png"):
        (tmp_path / "look" / name).write_text("by hand")
    for _ in range(2):
        assert main(["look", "image_folder", "--root", str(photos), "--output", str(tmp_path / "look")]) == 0
    kept = {path.name: path.read_text() for path in (tmp_path / "look").glob("*.before*")}
    assert kept == {"look.before.json": "by hand", "look.before.png": "by hand"}  # and of its own nothing


def test_rules_that_a_person_edited_stay(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["look", "image_folder", "--root", str(photos), "--output", str(tmp_path / "look")]
    for _ in range(2):
        assert main(arguments) == 0
    rules = tmp_path / "look" / "label_rules.yaml"
    rules.write_text("implies: {a: b}\n")
    assert main(arguments) == 2
    assert f"{rules} is there already" in capsys.readouterr().err
    assert rules.read_text() == "implies: {a: b}\n"


def test_convert_splits_skips_and_writes_what_datasets_loads(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", "image_folder", "--root", str(photos), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--skip_unreadable", "--validation", "0.25", "--license", "cc0-1.0"]) == 0
    assert f"written: {tmp_path / 'out'}" in capsys.readouterr().out
    data = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert len(data["train"]) + len(data["validation"]) == 39
    assert len(data["validation"]) == pytest.approx(10, abs=1)
    assert data["train"][0]["image"].size == (8, 8)
    assert main(arguments) == 2
    assert "is not empty; remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["look", "voc2007", "--root", "nowhere"], "no VOC 2007 at nowhere"),
        (["look", "voc2007"], "needs its folder: --data.root FOLDER in training, --root FOLDER in cnn-rnn data"),
        (["look", "digits", "--splits", "dev"], "no split 'dev'; it has train, validation, test"),
        (["look", "voc2007+voc2012", "--root", "x"], "name a split of each, as in --splits train+train"),
        (["look", "phtos"], "'phtos' is not known, and no file or folder of that name is there. Known: voc2007"),
        (["convert", "digits", "--output", "out", "--validation", "0.1"], "--validation splits train"),
        (["download", "voc2007", "--root", "out", "--sha256", "x"], "expected ARCHIVE=HEX"),
    ],
)
def test_a_mistake_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with contextlib.chdir(tmp_path):
        assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error


def test_joined_splits_are_looked_at_and_written_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["digits", "--splits", "train+test", "validation", "--data.keep_labels", "[three, five]"]
    assert main(["look", *arguments]) == 0
    assert "train_test: 10 photos" in capsys.readouterr().out
    assert main(["convert", *arguments, "--output", str(tmp_path / "out")]) == 0
    data = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in data.items()} == {"train_test": 10, "validation": 5}
    assert label_names(data["validation"]) == ["three", "five"]


def test_look_tells_photos_in_two_splits_but_not_those_of_trainval(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = load_source("image_folder", photos, split="train")
    parts = {"train": rows.select(range(10, 30)), "val": rows.select(range(29, 40)), "trainval": rows}
    monkeypatch.setitem(SOURCES, "voc2012", lambda *_, **__: DatasetDict(parts))
    assert main(["look", "voc2012", "--root", "x"]) == 0
    assert "\n1 photos are in two splits, byte for byte: train 29.png and val 29.png" in capsys.readouterr().out


def test_look_says_what_a_file_is_and_convert_brings_it_into_the_one_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(4):
        Image.new("RGB", (8, 8), (60 * index, 0, 0)).save(photos / f"{index}.jpg")
    rows = "".join(f"{index},{'red round' if index % 2 else 'red'}\n" for index in range(4))
    (photos / "tags.csv").write_text(f"image_name,tags\n{rows}")
    assert main(["look", str(photos / "tags.csv")]) == 2
    assert "'red round' could be 2 labels" in capsys.readouterr().err
    assert main(["look", str(photos), "--data.separator", "space"]) == 0
    told = capsys.readouterr().out
    for part in (
        "file names lack the files' suffix", "classes: 2: red, round", "This looks like a folder with one label file",
        f"cnn-rnn data convert table --root {photos / 'tags.csv'} --output FOLDER --data.separator space",
    ):  # fmt: skip
        assert part in told
    converted = tmp_path / "converted"
    arguments = ["convert", "table", "--root", str(photos / "tags.csv"), "--output", str(converted)]
    assert main([*arguments, "--data.separator", " "]) == 0
    again = load_source("hub", str(converted), split="train")
    assert (label_names(again), again["labels"][:]) == (["red", "round"], [[0], [0, 1], [0], [0, 1]])


def test_look_names_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.md").write_text("x")
    assert main(["look", str(tmp_path)]) == 2
    assert "holds neither a label file" in capsys.readouterr().err
    assert main(["look", "image_folder", "--root", str(tmp_path), "--data.seperator", "space"]) == 2
    assert "did you mean data.separator" in capsys.readouterr().err
