"""The card of a model that was trained on several data sets; `test_hub.py` reads the rest of it."""

from pathlib import Path

import pytest
import yaml
from tests.finished_runs import NAME, write_metrics, write_run

from cnn_rnn.publishing.model_card import DATA_NOTES, CardError
from cnn_rnn.publishing.push import model_files


@pytest.fixture
def joined_run(tmp_path: Path) -> Path:
    """A run on VOC 2007 trainval and VOC 2012 train."""
    folder = write_run(tmp_path / "run")
    settings = yaml.safe_load((folder / "run_config.yaml").read_text())
    settings["data"] |= {"name": "voc2007+voc2012", "train_split": "trainval+train"}
    (folder / "run_config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_each_data_set_is_named_and_its_bias_told_once(joined_run: Path, tmp_path: Path) -> None:
    figures = write_metrics(tmp_path / "metrics.json", data="voc2012", split="val")
    card = bytes(model_files(joined_run, NAME, figures)["README.md"]).decode()
    assert "the split `trainval` of `voc2007` and the split `train` of `voc2012`" in card
    assert "- voc2007\n- voc2012\n" in card
    assert DATA_NOTES["voc2007"] == DATA_NOTES["voc2012"]
    assert " ".join(card.split()).count(DATA_NOTES["voc2007"]) == 1


@pytest.mark.parametrize(
    ("data", "split"), [("voc2007", "trainval"), ("voc2012", "train"), ("voc2007+voc2012", "test+train")]
)
def test_figures_of_any_part_of_the_training_data_are_refused(
    data: str, split: str, joined_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(CardError, match="trained or chosen"):
        model_files(joined_run, NAME, write_metrics(tmp_path / "metrics.json", data=data, split=split))


def test_a_split_of_the_same_name_of_the_other_data_set_was_not_seen(joined_run: Path, tmp_path: Path) -> None:
    for data, split in (("voc2007", "train"), ("voc2012", "trainval")):
        assert model_files(joined_run, NAME, write_metrics(tmp_path / "metrics.json", data=data, split=split))
