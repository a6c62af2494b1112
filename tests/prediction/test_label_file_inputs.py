"""A label file as a list of photos, read as the settings of training read it."""

from pathlib import Path

import pytest
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn.data import Reading
from cnn_rnn.prediction.input_kinds import open_inputs


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A label file that could mean two things, with a split."""
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.jpg")
    path = tmp_path / "labels.csv"
    path.write_text("img;tags;split\n0.jpg;clear sky;train\n1.jpg;sky;test\n2.jpg;clear;train\n")
    return path


def test_all_photos_or_a_split_of_a_label_file_are_inputs(table: Path) -> None:
    reading = Reading(separator="space", columns={"file": "img", "labels": "tags"})
    inputs = open_inputs(f"table:{table}", None, None, 10, table.parent, reading=reading)
    assert [(image.name, image.truth) for image in inputs.part(0)] == [
        ("0.jpg", ["clear", "sky"]),
        ("2.jpg", ["clear"]),
        ("1.jpg", ["sky"]),
    ]
    assert list(open_inputs("table:test", str(table), None, 10, table.parent, reading=reading)) == ["1.jpg"]


def test_what_cannot_be_read_is_told_as_training_tells_it(table: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.csv, line 2: 'clear sky' could be 2 labels"):
        open_inputs(f"table:{table}", None, None, 10, table.parent)
    with pytest.raises(FileNotFoundError, match=r"table:FILE, or table:SPLIT with --data\.root"):
        open_inputs("table:test", None, None, 10, table.parent)
    with pytest.raises(ValueError, match=r"data\.separator decides nothing"):
        open_inputs(str(table.parent), None, None, 10, table.parent, reading=Reading(separator="space"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["--data.seperator", "space"], "data.separator"),
        (["--data.horizontal_flip", "0"], "--data.horizontal_flip decides nothing here"),
        (["--data.separator"], "--data.separator has no value"),
    ],
)
def test_settings_that_decide_nothing_are_refused(
    table: Path, settings: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("predict")(["--model", "none", "--input", f"table:{table}", *settings]) == 2
    assert told in capsys.readouterr().err


def test_a_misspelt_argument_is_still_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main_of("predict")(["--input", str(table), "--ouput", "x"])
    assert "--ouput is not known; did you mean --output?" in capsys.readouterr().err
