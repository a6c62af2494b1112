"""Features on the disk: computed once, found again, and never taken for another model's or another image's."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Image

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.onnx_engine import UnfitGraphError
from cnn_rnn.training import RunConfigError, Trainer, feature_cache, load_run_config, loop
from cnn_rnn.training.evaluation import Evaluation, Split, compare_features
from cnn_rnn.training.faults import CheckpointError
from cnn_rnn.training.feature_files import DESCRIPTION, FEATURES, check_features, write_features
from cnn_rnn.training.training_data import load_training_data

Settings = Callable[..., list[str]]
FROZEN = {"train__freeze_backbone": "true", "train__cache_features": "true"}


def loaded(settings: Settings, output_dir: Path, **changes: Any) -> Trainer:
    """A run that has its features and has not begun."""
    return Trainer(load_run_config(None, settings(output_dir, **(FROZEN | changes))))


def folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_features_are_those_of_the_images_and_of_their_labels(settings: Settings, tmp_path: Path) -> None:
    trainer = loaded(settings, tmp_path / "run")
    plain = loaded(settings, tmp_path / "plain", train__cache_features="false")
    features: dict[str, Any] = {}
    for batch in plain.validation_loader:
        with torch.no_grad():
            own = plain.plain_model.encode_images(batch["pixel_values"])
        features |= dict(zip(batch["image_id"], zip(own, batch["labels"], strict=True), strict=True))
    count = 0
    for batch in trainer.validation_loader:
        for image_id, own, labels in zip(batch["image_id"], batch["image_features"], batch["labels"], strict=True):
            torch.testing.assert_close(own, features[image_id][0])
            assert torch.equal(labels, features[image_id][1])
            count += 1
    assert count == len(features) == 6


def test_onnxruntime_computes_the_same_features_under_a_name_of_their_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = {"train__feature_cache": str(tmp_path / "features")}
    by_torch = loaded(settings, tmp_path / "torch", **cache)
    before = folders(tmp_path / "features")
    monkeypatch.setattr(feature_cache, "FEWEST_TO_EXPORT", 1)
    by_onnx = loaded(settings, tmp_path / "onnx", **cache)
    assert "image features by onnxruntime" in capsys.readouterr().out
    own = folders(tmp_path / "features") - before - {"onnx"}
    assert len(own) == len(before) == 1
    expected, found = (np.load(tmp_path / "features" / name / FEATURES) for name in (before.pop(), own.pop()))
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())
    assert type(by_onnx.plain_model.backbone) is type(by_torch.plain_model.backbone)

    def unfit(*_: Any, **__: Any) -> None:
        raise UnfitGraphError("it cannot be exported")

    monkeypatch.setattr(feature_cache, "use_onnxruntime", unfit)
    shutil.rmtree(tmp_path / "features")
    loaded(settings, tmp_path / "unfit", **cache)
    assert "image features by torch: it cannot be exported" in capsys.readouterr().out


def test_another_seed_of_the_decoder_or_split_reuses_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "backbone.safetensors"
    save_backbone(weights)
    changes = {"model__weights": weights, "train__feature_cache": tmp_path / "cache"}
    loaded(settings, tmp_path / "one", **changes)
    first = folders(tmp_path / "cache")
    (name,) = first

    def computed_again(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("cnn_rnn.training.feature_cache.extract_features", computed_again)
    other = {"train__seed": 5, "data__validation_fraction": 0.5, "model__hidden_size": 24}
    trainer = loaded(settings, tmp_path / "two", **(changes | other))
    assert folders(tmp_path / "cache") == first
    features = trainer.train_loader.dataset.features
    assert isinstance(features, np.memmap)
    assert Path(str(features.filename)).parent.name == name
    assert len(features) == 24


@pytest.mark.parametrize("change", ["weights", "size", "photo", "backbone_args", "pooling"])
def test_whatever_changes_the_features_makes_others(
    settings: Settings, photo_folder: Path, tmp_path: Path, change: str
) -> None:
    root = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    weights = tmp_path / "backbone.safetensors"
    save_backbone(weights)
    changes: dict[str, Any] = {
        "model__weights": weights,
        "data__root": root,
        "train__feature_cache": tmp_path / "cache",
    }
    loaded(settings, tmp_path / "one", **changes)
    if change == "weights":
        save_backbone(weights, seed=1)
    elif change == "size":
        changes["model__image_size"] = 40
    elif change == "backbone_args":
        changes["model__backbone_args"] = "{output_stride: 8}"
    elif change == "pooling":
        changes["model__pooling"] = "max"
    else:
        photo = root / "train" / "001.png"
        photo.write_bytes((root / "train" / "002.png").read_bytes())
        os.utime(photo, (1, 1))
    loaded(settings, tmp_path / "two", **changes)
    assert len(folders(tmp_path / "cache")) == 2
    assert not [name for name in folders(tmp_path / "cache") if name.endswith(".tmp")]


def save_backbone(path: Path, seed: int = 0) -> None:
    """Weights for the small backbone, the same for every seed of a run."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__freeze_backbone": "false"}, "freeze_backbone"),
        ({"train__mixup": 0.5}, "mixup and cutmix mix images"),
        ({"train__freeze_epochs": 1}, "freeze_epochs"),
    ],
)
def test_settings_that_contradict_features_are_refused(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunConfigError, match=message):
        loaded(settings, tmp_path / "run", **changes)


def test_of_two_that_compute_the_same_features_one_stays(tmp_path: Path) -> None:
    batches = [torch.ones(2, 4), 2 * torch.ones(1, 4)]
    for _ in range(2):
        write_features(iter(batches), 3, tmp_path / "key", {}, writes=True)
        assert check_features(tmp_path / "key")
    write_features(iter(batches), 3, tmp_path / "other", {}, writes=False)
    assert folders(tmp_path) == {"key"}
    assert np.load(tmp_path / "key" / "features.npy").tolist() == torch.cat(batches).tolist()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def with_zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes(8))


def without_description(path: Path) -> None:
    path.with_name(DESCRIPTION).unlink()


def description_of_something_else(path: Path) -> None:
    path.with_name(DESCRIPTION).write_text("[]")


@pytest.mark.parametrize("damage", [cut_off, with_zeros, without_description, description_of_something_else])
def test_features_that_are_not_what_was_written_are_told_and_computed_again(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_features(iter([torch.ones(3, 4)]), 3, tmp_path / "key", {}, writes=True)
    damage(tmp_path / "key" / FEATURES)
    assert not check_features(tmp_path / "key")
    assert str(tmp_path / "key" / FEATURES) in caplog.text
    assert "computed again" in caplog.text
    assert folders(tmp_path) == set()


def test_a_full_disk_is_told_with_the_cache_and_the_way_on_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk, writing fails
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not write into .*cache: .*--train\.feature_cache"):
            write_features(iter([torch.ones(30, 400)] * 10), 300, tmp_path / "cache" / "key", {}, writes=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert folders(tmp_path / "cache") == set()


def test_the_features_of_training_are_found_again_beside_those_of_another_split(
    settings: Settings, tmp_path: Path
) -> None:
    trainer = loaded(settings, tmp_path / "run")
    config = load_run_config(None, settings(tmp_path / "run", **FROZEN))

    def of_model(folder: Path, split: str) -> Evaluation:
        """The model on a split, wherever it lies."""
        evaluation = Evaluation(str(folder), Split(config.data, split))
        model, processor = trainer.plain_model, trainer.transform.processor
        evaluation.saved = SavedModel("the model", model, processor)
        return evaluation

    assert compare_features(of_model(tmp_path / "elsewhere", "test"), config) is None  # no run is there
    before = folders(tmp_path / "features")
    found = compare_features(tested := of_model(tmp_path / "run", "test"), config)
    assert found is not None
    own, beside = found
    assert len(folders(tmp_path / "features") - before) == 1  # of the other split alone
    assert own.rows["image_id"][:] == tested.split.rows["image_id"][:]
    assert config.train.output_dir == str(tmp_path / "run")
    held_out = {image_id for batch in trainer.validation_loader for image_id in batch["image_id"]}
    assert not held_out & set(beside.rows["image_id"])
    for batch in trainer.validation_loader:
        assert batch["image_features"].shape[1:] == beside.features[beside.places[0]].shape
    assert compare_features(of_model(tmp_path / "run", config.data.train_split), config) is None


def test_a_row_without_an_image_is_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = load_training_data

    def without_one(*arguments: Any) -> Any:
        data = load(*arguments)
        images = [None, *data.train.cast_column("image", Image(decode=False))["image"][1:]]
        rest = data.train.remove_columns("image")
        return replace(data, train=rest.add_column("image", images, feature=Image()))

    monkeypatch.setattr(loop, "load_training_data", without_one)
    with pytest.raises(UnreadableImageError, match="there is no image, only labels"):
        loaded(settings, tmp_path / "run")
