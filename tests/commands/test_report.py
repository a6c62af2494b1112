"""The report command, from a saved model and a folder of photos to the HTML file."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.metrics.stored_predictions import collect_predictions, write_predictions


@pytest.fixture
def main() -> Callable[[list[str]], int]:
    """The main function of the script."""
    return main_of("report")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The arguments for a small saved model and six photos."""
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=["blue", "green", "red"], label_counts=[3, 2, 1], image_size=32, crop_pct=1.0
    )
    model.save_pretrained(tmp_path / "model")
    CnnRnnImageProcessor.from_config(model.config).save_pretrained(tmp_path / "model")
    photos = tmp_path / "photos"
    for split in ("train", "test"):
        (photos / split).mkdir(parents=True)
        lines = []
        for number, color in enumerate(["blue", "green", "red"] * 2):
            Image.new("RGB", (40, 40), color).save(photos / split / f"{number}.png")
            lines.append(json.dumps({"file_name": f"{number}.png", "labels": [color]}))
        (photos / split / "metadata.jsonl").write_text("\n".join(lines))
    data = ["--data.name", "image_folder", "--data.root", str(photos), "--num_workers", "0", "--examples", "2"]
    return [str(tmp_path / "model"), *data, "--output", str(tmp_path / "out" / "report.html")]


def test_one_command_writes_the_report(main: Callable[[list[str]], int], command: list[str]) -> None:
    assert main(command) == 0
    html = Path(command[-1]).read_text(encoding="utf-8")
    for part in ("model on test of image_folder", 'id="neighbours"', 'id="images"', "6 images"):
        assert part in html
    assert html.count('class="card"') == 2


def test_what_it_did_not_write_is_kept_and_its_own_replaced(
    main: Callable[[list[str]], int], command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    page = Path(command[-1])
    page.parent.mkdir()
    page.write_text("by hand")
    for _ in range(2):
        assert main(command) == 0
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "report.before.html"}
    assert page.with_name("report.before.html").read_text() == "by hand"
    assert f"{page} was there already, and is not a report as it was written here: kept as" in caplog.text


def test_a_protocol_and_stored_predictions_may_be_given(
    main: Callable[[list[str]], int], command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.parquet"
    ids = [f"{number}.png" for number in range(6)]
    write_predictions(
        file, collect_predictions(ids, ["blue", "green", "red"], torch.rand(6, 3), torch.eye(3).repeat(2, 1))
    )
    given = ["--predictions", str(file), "--protocol", "coco2014", "--examples", "1"]
    assert main([*command[:-4], *given, *command[-2:]]) == 0
    assert "Wang et al. 2016" in Path(command[-1]).read_text(encoding="utf-8")
    write_predictions(file, collect_predictions(ids, ["a", "b", "c"], torch.rand(6, 3), torch.eye(3).repeat(2, 1)))
    assert main([*command, "--predictions", str(file)]) == 2
    assert "its labels are not those of" in capsys.readouterr().err


def test_the_worst_photos_stand_first_and_a_second_model_beside(
    main: Callable[[list[str]], int], command: list[str], tmp_path: Path
) -> None:
    ids, names = [f"{number}.png" for number in range(6)], ["blue", "green", "red"]
    truth = torch.eye(3).repeat(2, 1)
    good = truth * 0.8 + 0.1
    bad = good.clone()
    bad[4] = torch.tensor([0.9, 0.01, 0.5])  # of a green photo
    write_predictions(tmp_path / "own.parquet", collect_predictions(ids, names, bad, truth))
    write_predictions(tmp_path / "other.parquet", collect_predictions(ids, names, good, truth))
    given = ["--predictions", str(tmp_path / "own.parquet"), "--baseline", str(tmp_path / "other.parquet")]
    assert main([*command, *given]) == 0
    html = Path(command[-1]).read_text(encoding="utf-8")
    cards = html.split('id="images"')[1].split('class="card"')[1:]
    assert "4.png" in cards[0]
    assert "loss 7.60" in cards[0]  # -log 0.01 - log 0.1 - log 0.5
    assert 'id="comparison"' in html
    assert "of 0 classes" in html  # each is on two photos alone
    assert "baseline, by threshold" in html
    assert "This model is model, the baseline other.parquet." in html
    side_by_side = html.split('class="card"')[1]
    assert "4.png" in side_by_side
    assert "<strong>baseline</strong>" in side_by_side
    write_predictions(tmp_path / "other.parquet", collect_predictions([*ids[1:], "x"], names, good, truth))
    assert main([*command, *given]) == 2


def test_mistakes_are_said_before_any_work(
    main: Callable[[list[str]], int], command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([*command, "--protocol", "coco2041"], "did you mean 'coco2014'"),
        ([*command, "--predictions", str(tmp_path / "none")], "no such predictions file"),
        ([str(tmp_path / "nothing"), *command[1:]], "error: "),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not Path(command[-1]).exists()


def test_an_unreadable_photo_or_a_full_disk_is_said_in_one_line(
    main: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("cnn_rnn.foundation.whole_files.os.fsync", fail)
        assert main(command) == 2
    assert f"error: could not write {command[-1]}: No space left on device" in capsys.readouterr().err
    (tmp_path / "photos" / "test" / "1.png").write_bytes(b"no image")
    assert main(command) == 2
    assert "1.png: cannot be decoded" in capsys.readouterr().err.splitlines()[-1]


def test_near_duplicates_of_another_split_are_shown(
    main: Callable[[list[str]], int], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    assert "near-duplicates were not looked for" in capsys.readouterr().err
    photos = Path(command[command.index("--data.root") + 1])
    assert main([*command, "--compare_with", "train"]) == 0
    assert "6 of 6 photos of test (100.0 %) have a near-duplicate among the 6 of train" in capsys.readouterr().out
    html = Path(command[-1]).read_text(encoding="utf-8")
    assert 'id="near-duplicates"' in html
    assert html.count('class="pair"') == 6
    assert (photos / "train" / "0.png").is_file()
    for wrong, told in ((["--compare_with", "test"], "the split that is shown"), (["--compare_with", "x"], "no split")):
        assert main([*command, *wrong]) == 2
        assert told in capsys.readouterr().err
    assert main([*command, "--compare_with", "train", "--duplicate_cosine", "2"]) == 2
