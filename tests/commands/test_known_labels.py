"""Known labels from training to figures, on coloured photos whose labels keep company."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands_by_name import main_of

from cnn_rnn import CnnRnnForImageClassification

CONDITIONED = {
    "model__known_labels": "state",
    "model__cooccurrence": "true",
    "model__relevance_in_path": "true",
    "model__relevance_head": "mlp",
    "model__relevance_hidden_size": 16,
    "model__neighbours": 100,
    "train__epochs": 2,
}


@pytest.fixture(scope="module")
def runs(settings: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that hears what is known, with cached views, and its plain baseline."""
    folders = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("plain")
    cached = {"train__freeze_backbone": "true", "train__cache_features": "true", "train__cached_views": 2}
    assert main_of("train")(settings(folders[0], **CONDITIONED, **cached)) == 0
    assert main_of("train")(settings(folders[1], **CONDITIONED, train__baseline="true")) == 0
    return folders


def test_the_memory_holds_training_and_held_out_images_and_says_something(runs: tuple[Path, Path]) -> None:
    model = CnnRnnForImageClassification.from_pretrained(runs[0])
    assert model.neighbours is not None
    assert model.config.neighbours == len(model.neighbours.keys) == 24
    assert model.neighbours.mix[1] != 0
    assert model.neighbours.labels.sum() > 0
    assert model.cooccurrence is not None
    assert model.cooccurrence.left.abs().sum() > 0


@pytest.mark.parametrize("head", ["residual_attention", "ml_decoder"])
@pytest.mark.parametrize("cached", ["true", "false"])
def test_heads_that_read_the_feature_map_have_a_memory_beside_them(
    settings: Callable[..., list[str]], tmp_path: Path, head: str, cached: str
) -> None:
    fields = CONDITIONED | {"model__relevance_head": head, "model__pooling": "attention"}
    backbone = {"train__freeze_backbone": cached, "train__cache_features": cached}
    assert main_of("train")(settings(tmp_path, **fields, **backbone)) == 0
    model = CnnRnnForImageClassification.from_pretrained(tmp_path)
    assert model.neighbours is not None
    assert len(model.neighbours.keys) == 24
    assert model.neighbours.mix.isfinite().all()


def test_the_baseline_is_the_head_alone(runs: tuple[Path, Path]) -> None:
    model = CnnRnnForImageClassification.from_pretrained(runs[1])
    assert (model.path_decoder, model.cooccurrence, model.neighbours) == (None, None, None)
    assert model.config.relevance_head == "mlp"
    assert model.config.known_labels == "prefix"


def test_validate_measures_what_known_labels_are_worth(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, plain = map(str, runs)
    arguments = [ours, "--baseline", plain, plain, "--known", "0,1", "--samples", "0", "--num_workers", "0"]
    assert main_of("validate")([*arguments, "--known_share", "0,0.5", "--output", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())
    known = figures["known"]
    rows = {"model", "baseline", "baselines_averaged"}
    rows |= {"baseline_with_statistics", "baselines_averaged_with_statistics"}
    assert set(known["looks"]) == set(known["told"]["1"]) == rows
    assert known["told"]["0"]["model"]["untold"]["mAP"] == pytest.approx(figures["mAP"], abs=1e-6)
    one, two = known["told"]["1"]["baseline"], known["told"]["1"]["baselines_averaged"]
    assert one == two  # a model and itself, averaged
    assert one["told"] == one["untold"]  # a plain head hears nothing
    assert known["looks"]["model"]["mean"] >= 1
    assert {figures[block]["exact_match"] is not None for block in ("path", "threshold", "expected_f1", "top_k")} == {
        True
    }
    shares = figures["known_share"]
    assert set(shares["0.5"]) == rows
    assert shares["0"]["model"]["untold"]["mAP"] == pytest.approx(figures["mAP"], abs=1e-6)
    half = shares["0.5"]
    assert half["model"]["positives"] == half["baseline"]["positives"] < figures["counts"]["positives"]
    assert half["baseline"]["told"] == half["baseline"]["untold"]
    hears = half["baseline_with_statistics"]
    assert hears["told"] != hears["untold"]
    printed = capsys.readouterr().out
    assert "baselines averaged with statistics" in printed
    assert "told 50%" in printed


def test_validate_refuses_what_it_cannot_ask(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_of("validate")([str(runs[0]), "--output", str(tmp_path), "--samples", "0", "--num_workers", "0"]) == 0
    stored = str(tmp_path / "predictions.parquet")
    assert main_of("validate")([stored, "--known", "1", "--output", str(tmp_path / "again")]) == 2
    assert "--known asks a model anew for every answer: give the model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_of("validate")([stored, "--known", "one", "--output", str(tmp_path)])
    assert "is no list of numbers of labels" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_of("validate")([stored, "--known_share", "1", "--output", str(tmp_path)])
    assert "is no list of shares from 0 to below 1" in capsys.readouterr().err
