"""What known labels are worth, on models that are known in full."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cnn_rnn.metrics.conditioning import ToldLabels, count_looks, looks_figures, reveal, reveal_share, told_figures
from cnn_rnn.metrics.tables import known_table

GENERATOR = np.random.default_rng(0)
TRUTH = (GENERATOR.random((60, 7)) < 0.4).astype(np.int8)
NAMES = [f"label {index}" for index in range(7)]
IDS = [f"{index}.jpg" for index in range(60)]


def test_what_is_revealed_is_true_and_as_much_as_was_asked_for() -> None:
    for count in range(5):
        known = reveal(IDS, NAMES, TRUTH, count)
        assert (TRUTH[known == 1] == 1).all()
        assert (known.sum(axis=1) == np.minimum(count, TRUTH.sum(axis=1))).all()
        more = reveal(IDS, NAMES, TRUTH, count + 1)
        assert (more >= known).all()  # one more label, not others


def test_what_is_revealed_depends_on_the_image_and_its_labels_alone() -> None:
    known = reveal(IDS, NAMES, TRUTH, 1)
    order = GENERATOR.permutation(60)
    assert (reveal([IDS[row] for row in order], NAMES, TRUTH[order], 1) == known[order]).all()
    columns = GENERATOR.permutation(7)
    shuffled = reveal(IDS, [NAMES[label] for label in columns], TRUTH[:, columns], 1)
    assert (shuffled == known[:, columns]).all()
    assert len({tuple(row) for row in known}) > 5  # not always the first of its labels


def test_a_model_that_knows_all_once_told_one_is_worth_what_it_says() -> None:
    guess = GENERATOR.random(TRUTH.shape)

    def score(known: ToldLabels, rows: np.ndarray) -> np.ndarray:
        told = (known == 1).any(axis=1, keepdims=True)
        return np.where(told, TRUTH[rows], guess[rows])

    known = reveal(IDS, NAMES, TRUTH, 1)
    rows = np.flatnonzero(known.any(axis=1))
    figures = told_figures(score, TRUTH, known, rows)
    assert figures["images"] == (TRUTH.sum(axis=1) >= 1).sum()
    assert figures["positives"] == TRUTH.sum() - len(rows)
    assert {key: figures["told"][key] for key in ("mAP", "CF1", "OF1", "exact_match")} == dict.fromkeys(
        ("mAP", "CF1", "OF1", "exact_match"), 1.0
    )
    assert figures["untold"]["mAP"] < 0.8
    untold = told_figures(score, TRUTH, np.zeros_like(TRUTH), rows)
    assert set(untold) == {"images", "positives", "classes", "untold"}


def test_of_no_images_there_are_no_figures_and_a_table_says_so() -> None:
    figures = told_figures(lambda _, rows: TRUTH[rows], TRUTH, reveal(IDS, NAMES, TRUTH, 8), np.array([], np.int64))
    assert figures == {"images": 0, "positives": 0}
    looks = {"model": {"mean": 1.5, "median": 1.0, "images": 3}}
    table = known_table({"told": {"8": {"model": figures}, "9": {"model": figures}}, "looks": looks})
    assert [column.heading for column in table.columns] == ["looks", "median"]
    assert table.notes[-1] == "No image has 8 or 9 labels."


def test_what_is_known_counts_nowhere() -> None:
    known = reveal(IDS, NAMES, TRUTH, 2)
    right, wrong = TRUTH.astype(float), np.where(known == 1, 0.0, TRUTH)
    rows = np.arange(60)
    assert told_figures(lambda _, rows: right[rows], TRUTH, known, rows) == told_figures(
        lambda _, rows: wrong[rows], TRUTH, known, rows
    )


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.25, 1), (0.29, 2), (0.75, 5)])
def test_a_share_tells_as_many_labels_of_each_image_present_and_absent_alike(share: float, count: int) -> None:
    known = reveal_share(IDS, TRUTH, share)
    assert ((known != 0).sum(axis=1) == count).all()
    assert (known[TRUTH == 1] >= 0).all()
    assert (known[TRUTH == 0] <= 0).all()
    assert (reveal_share(IDS[::-1], TRUTH[::-1], share)[::-1] == known).all()
    more = reveal_share(IDS, TRUTH, 0.9)
    assert (more[known != 0] == known[known != 0]).all()
    assert not count or (reveal_share(IDS, TRUTH, share, seed=1) != known).any()
    left_out = np.where(TRUTH == 1, np.int8(-1), TRUTH)
    assert ((reveal_share(IDS, left_out, share) == 0) == ((known == 0) | (TRUTH == 1))).all()


def test_each_label_is_told_as_often_as_any_other() -> None:
    truth = np.zeros((4000, 20), np.int8)
    told = (reveal_share([str(index) for index in range(4000)], truth, 0.25) == -1).mean(axis=0)
    assert abs(told - 0.25).max() < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_mean_average_precision_over_what_is_not_told_is_that_of_scikit_learn() -> None:
    """Class by class on the entries that are left; one without a positive among them takes no part."""
    truth = TRUTH.copy()
    truth[:, 2] = 0
    truth[0, 2] = 1
    scores = GENERATOR.random(truth.shape)
    ids = next(ids for seed in range(99) if reveal_share(ids := [f"{seed} {name}" for name in IDS], truth, 0.5)[0, 2])
    known = reveal_share(ids, truth, 0.5)
    wanted = []
    for label in range(7):
        rows = np.flatnonzero(known[:, label] == 0)
        if truth[rows, label].any():
            wanted.append(average_precision_score(truth[rows, label], scores[rows, label]))
    assert len(wanted) == 6
    figures = told_figures(lambda _, rows: scores[rows], truth, known, np.arange(60))
    assert figures["classes"] == 6
    assert figures["told"]["mAP"] == figures["untold"]["mAP"] == pytest.approx(np.mean(wanted))


def test_looks_are_the_place_of_the_last_true_label_where_nothing_is_learnt() -> None:
    scores = GENERATOR.random(TRUTH.shape)
    places = (-scores).argsort(axis=1).argsort(axis=1) + 1
    expected = (places * TRUTH).max(axis=1)
    finished: list[int] = []
    looks = count_looks(lambda _, rows: scores[rows], TRUTH, finished.append)
    assert (looks == expected).all()
    assert sum(finished) == (TRUTH.sum(axis=1) > 0).sum()
    figures = looks_figures(looks)
    assert figures["mean"] == pytest.approx(expected[expected > 0].mean())
    assert looks_figures(looks[:0]) == {"mean": None, "median": None, "images": 0}


def test_a_model_that_hears_the_answers_needs_fewer_looks() -> None:
    """Label 6 keeps company with label 0, and the model learns so when it hears of 0."""
    truth = np.zeros((5, 7), np.int8)
    truth[:, [0, 6]] = 1
    fixed = np.linspace(0.9, 0.1, 7)[None].repeat(5, axis=0)

    def hears(known: ToldLabels, rows: np.ndarray) -> np.ndarray:
        scores = fixed[rows].copy()
        scores[known[:, 0] == 1, 6] = 0.95
        return scores

    assert count_looks(lambda _, rows: fixed[rows], truth).tolist() == [7] * 5
    assert count_looks(hears, truth).tolist() == [2] * 5


def test_what_is_left_out_is_never_suggested() -> None:
    truth = np.array([[1, -1, 0]], np.int8)
    assert count_looks(lambda _, rows: np.array([[0.1, 0.9, 0.5]])[rows], truth).tolist() == [2]
