"""A stratified split keeps every class's share."""

import itertools
import logging

import numpy as np
import pytest
from datasets import Dataset

from cnn_rnn.data import build_dataset, label_counts, stratified_split
from cnn_rnn.data.batching.splits import choose_rows, stratified_folds
from cnn_rnn.data.schema import image_paths, label_lists_from_matrix


def rows(present: np.ndarray) -> Dataset:
    ids = [str(i) for i in range(len(present))]
    names = [f"c{i}" for i in range(present.shape[1])]
    return build_dataset(image_paths(ids), ids, label_lists_from_matrix(present), names, split="train")


def test_every_class_gets_its_share_and_no_row_is_lost_or_doubled() -> None:
    random = np.random.default_rng(0)
    present = random.random((1000, 12)) < np.geomspace(0.01, 0.5, 12)
    parts = stratified_split(rows(present), 0.2, seed=3)
    assert sorted(map(int, [*parts["train"]["image_id"], *parts["validation"]["image_id"]])) == list(range(1000))
    np.testing.assert_allclose(label_counts(parts["validation"]), 0.2 * present.sum(0), atol=1.5)
    empty = sum(not labels for labels in parts["validation"]["labels"])
    assert empty == pytest.approx(0.2 * (~present.any(1)).sum(), abs=1.5)


def test_a_class_of_one_image_stays_in_training_and_one_class_suffices() -> None:
    present = np.zeros((50, 1), dtype=bool)
    present[17] = True
    parts = stratified_split(rows(present), 0.1)
    assert label_counts(parts["train"]).tolist() == [1]
    assert len(parts["validation"]) == pytest.approx(5, abs=1)


def test_the_seed_decides() -> None:
    data = rows(np.random.default_rng(0).random((100, 3)) < 0.5)
    first, again, other = (stratified_split(data, 0.3, seed=seed)["validation"]["image_id"][:] for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("fraction", [0, 1, 1.5, 0.001])
def test_a_share_that_leaves_a_part_empty_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="leaves a part empty"):
        stratified_split(rows(np.ones((20, 2), dtype=bool)), fraction)


@pytest.mark.parametrize(("images", "classes", "labels"), [(300, 9083, 30), (24, 24, 1), (500, 3, 1), (101, 40, 6)])
@pytest.mark.parametrize("fraction", [0.1, 0.37])
def test_the_size_is_exact_however_many_labels_there_are(
    images: int, classes: int, labels: int, fraction: float
) -> None:
    random = np.random.default_rng(0)
    ids = np.concatenate([np.sort(random.choice(classes, labels, replace=False)) for _ in range(images)])
    chosen = choose_rows(np.arange(images + 1) * labels, ids.astype(np.int32), classes, round(images * fraction))
    assert chosen.sum() == round(images * fraction)


def test_a_label_keeps_a_photo_in_training_where_it_can(caplog: pytest.LogCaptureFixture) -> None:
    present = np.zeros((40, 30), dtype=bool)
    present[np.arange(30), np.arange(30)] = True  # 30 photos with a label of their own, 10 that share the first
    present[30:, 0] = True
    with caplog.at_level(logging.INFO):
        parts = stratified_split(rows(present), 0.2)
    assert (label_counts(parts["train"]) > 0).all()
    assert "8 of 40 photos held out by label" in caplog.text
    alone = stratified_split(rows(np.eye(20, dtype=bool)), 0.1)
    assert (label_counts(alone["train"]) == 0).sum() == len(alone["validation"]) == 2
    assert "2 labels have no photo left in train, all are held out: " in caplog.text


@pytest.mark.parametrize("seed", range(12))
def test_the_size_is_exact_where_most_is_held_out_and_labels_share_their_last_photos(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = int(random.integers(5, 300))
    present = random.random((images, int(random.integers(1, 60)))) < random.uniform(0.01, 0.4)
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    for size in (1, images // 2, images - 2, images - 1):
        chosen = choose_rows(offsets, np.nonzero(present)[1].astype(np.int32), present.shape[1], size, seed)
        assert chosen.sum() == size


def test_training_keeps_the_labels_that_any_choice_could_keep() -> None:
    more_than_needed = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        images, size = int(random.integers(4, 9)), 1 + seed % 3
        present = random.random((images, int(random.integers(1, 9)))) < random.uniform(0.1, 0.6)
        offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
        chosen = choose_rows(offsets, np.nonzero(present)[1].astype(np.int32), present.shape[1], size, seed)
        assert chosen.sum() == size
        every = (np.isin(np.arange(images), rows) for rows in itertools.combinations(range(images), size))
        fewest = min(labels_lost(present, one) for one in every)
        assert fewest <= labels_lost(present, chosen) <= fewest + 1
        more_than_needed += labels_lost(present, chosen) > fewest
    assert more_than_needed <= 3


def labels_lost(present: np.ndarray, held_out: np.ndarray) -> int:
    """How many labels have no image left where these are held out."""
    return int((present.any(axis=0) & ~present[~held_out].any(axis=0)).sum())


def test_folds_are_disjoint_of_equal_size_and_share_the_rare_class() -> None:
    present = np.zeros((50, 3), dtype=bool)
    present[::10, 0] = True
    present[1::2, 1:] = True
    folds = stratified_folds(rows(present), 5, seed=1)
    assert sorted(np.concatenate(folds).tolist()) == list(range(50))
    assert [len(fold) for fold in folds] == [10] * 5
    assert [int(present[fold, 0].sum()) for fold in folds] == [1] * 5
    for wrong in (1, 26):
        with pytest.raises(ValueError, match=f"{wrong} folds of 50 photos"):
            stratified_folds(rows(present), wrong)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_labels_together_are_dealt_out_as_labels_alone_are(fraction: float) -> None:
    """A part without any photo of a dog beside a person would judge by other photos than it is trained on."""
    random = np.random.default_rng(0)
    present = random.random((3000, 30)) < np.geomspace(0.005, 0.02, 30)
    present[:2400] |= np.repeat(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]]), 600, axis=0) @ np.eye(3, 30) > 0
    validation = {int(image_id) for image_id in stratified_split(rows(present), fraction)["validation"]["image_id"]}
    held_out = np.isin(np.arange(3000), list(validation))
    for together in range(4):
        own = held_out[600 * together : 600 * (together + 1)].sum()
        assert own == pytest.approx(600 * fraction, abs=4 * (600 * fraction * (1 - fraction)) ** 0.5)
