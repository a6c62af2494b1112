"""Every photo is judged once, by a model that saw it neither in training nor in choosing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cnn_rnn.data import load_image_folder
from cnn_rnn.prediction import Predictions
from cnn_rnn.training import load_run_config
from cnn_rnn.training.out_of_fold import join_folds, predict_out_of_fold, split_folds


def test_folds_share_no_photo_and_together_hold_all(photo_folder: Path) -> None:
    rows = load_image_folder(photo_folder, split="train")
    folds = list(split_folds(rows, 3, 0.25, seed=0))
    assert np.sort(np.concatenate([fold.rows for fold in folds])).tolist() == list(range(len(rows)))
    for fold in folds:
        assert fold.data.left_out is not None
        parts = [set(part["image_id"]) for part in (fold.data.train, fold.data.validation, fold.data.left_out)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(rows)
    for folds_asked in (1, 13):
        with pytest.raises(ValueError, match="expected at least 2 folds"):
            next(split_folds(rows, folds_asked, 0.25, seed=0))


def test_rows_come_back_in_order_and_a_second_call_trains_nothing(
    photo_folder: Path, settings: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = load_image_folder(photo_folder, split="train")
    config = load_run_config(None, settings(tmp_path / "unused", train__epochs=1))
    found = predict_out_of_fold(config, rows, 2, tmp_path / "folds")
    assert found.image_ids == rows["image_id"]
    present = [[int(label) for label in np.flatnonzero(row == 1)] for row in found.truth]
    assert present == rows["labels"]
    assert len(list((tmp_path / "folds" / "features").glob("*/features.npy"))) == 1
    capsys.readouterr()
    again = predict_out_of_fold(config, rows, 2, tmp_path / "folds")
    assert "epoch " not in capsys.readouterr().err
    assert np.array_equal(again.scores, found.scores)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("weighed", [(True, False), (False, True), (True, True), (False, False)])
def test_whole_sets_are_kept_where_all_folds_have_them(
    weighed: tuple[bool, bool], caplog: pytest.LogCaptureFixture
) -> None:
    folds = []
    for number, has_sets in enumerate(weighed):
        paths, steps = torch.full((2, 1 + number), 3), torch.zeros(2, 2 + number)
        zeros = torch.zeros(2, 3)
        ids = [f"{number}-{row}" for row in range(2)]
        fold = Predictions(ids, zeros, zeros, paths=paths, step_scores=steps, sets=zeros > 0 if has_sets else None)
        folds.append(fold)
    joined = join_folds(folds)
    assert joined.image_ids == ["0-0", "0-1", "1-0", "1-1"]
    assert (joined.sets is not None) == all(weighed)
    assert joined.paths is not None
    assert joined.paths.shape == (4, 2)
    assert ("1 of 2 folds" in caplog.text) == (len(set(weighed)) == 2)
