"""The settings for one's own photos, on sets as small and as odd as people's first ones."""

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn import CnnRnnForImageClassification

SMALL = ("--model.backbone", "test_resnet", "--model.weights", "null", "--model.image_size", "32")
QUICK = (
    "--train.epochs",
    "1",
    "--train.num_workers",
    "0",
    "--train.trackers",
    "none",
    "--data.validation_fraction",
    "0.5",
)


def write_photos(folder: Path, labels: list[list[str]]) -> None:
    """Photos of one colour each, with these labels."""
    (folder / "train").mkdir(parents=True)
    lines = []
    for number, own in enumerate(labels):
        Image.new("RGB", (40, 30), (40 * number % 256, 90, 30)).save(folder / "train" / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "labels": own}))
    (folder / "train" / "metadata.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize(
    "labels",
    [
        [["cat"]] * 4,
        [["cat", "sofa"], [], ["sofa"], ["cat"]],
        [["cat", "sofa", "lamp"]] * 4,
        [[f"one {number}"] for number in range(5)],
    ],
    ids=["one label", "one without labels", "all alike", "each label once"],
)
def test_few_photos_train(labels: list[list[str]], tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", labels)
    given = ("--data.root", str(tmp_path / "photos"), "--train.output_dir", str(tmp_path / "run"))
    assert main_of("train")(["--config", "image_folder", *given, *SMALL, *QUICK]) == 0
    model = CnnRnnForImageClassification.from_pretrained(tmp_path / "run")
    assert model.config.known_labels == "state"
    assert model.cooccurrence is not None
    assert model.cooccurrence.left.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_photos_without_any_label_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos", [[], [], []])
    given = ("--data.root", str(tmp_path / "photos"), "--train.output_dir", str(tmp_path / "run"))
    assert main_of("train")(["--config", "image_folder", *given, *SMALL, *QUICK]) == 2
    assert "label" in capsys.readouterr().err
