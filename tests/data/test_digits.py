"""The digit scenes obey the rules that their module states."""

import sys

import numpy as np
import pytest

from cnn_rnn.data import label_counts, label_names, load_digits
from cnn_rnn.data.benchmarks.digits import DIGIT_NAMES, draw_labels, split_scans


def test_scenes_have_the_one_schema_and_the_wanted_counts() -> None:
    data = load_digits(size=64, counts={"train": 30, "test": 5})
    assert {name: len(rows) for name, rows in data.items()} == {"train": 30, "test": 5}
    assert label_names(data) == list(DIGIT_NAMES)
    assert data["train"][0]["image"].size == (64, 64)
    assert label_counts(data["train"]).sum() == sum(len(labels) for labels in data["train"]["labels"])


def test_a_seed_fixes_every_byte_and_another_seed_changes_the_scenes() -> None:
    first, again, other = (
        load_digits(counts={"train": 5}, seed=seed, split="train").with_format("arrow")[:] for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_labels_follow_the_rules_of_company() -> None:
    random = np.random.default_rng(0)
    scenes = [set(draw_labels(random)) for _ in range(4000)]
    for first, second in [({1, 4}, {7, 9}), ({3, 5}, {8, 6}), ({0}, {2})]:
        assert not any(scene & first and scene & second for scene in scenes)
    together = np.mean([4 in scene for scene in scenes if 1 in scene])
    assert together == pytest.approx(0.85 / (0.85 + 0.075), abs=0.03)  # both, or the one of two that is drawn alone
    assert np.mean([not scene for scene in scenes]) == pytest.approx(0.3 * 0.3 * 0.65 * 0.6, abs=0.01)


def test_no_scan_serves_two_splits() -> None:
    parts = {name: {scan.tobytes() for scans in parts for scan in scans} for name, parts in split_scans().items()}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) > 1700


@pytest.mark.parametrize("arguments", [{"size": 20}, {"counts": {"dev": 3}}])
def test_impossible_wishes_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not possible"):
        load_digits(**arguments)  # type: ignore[arg-type]  # one table for all arguments


def test_without_scikit_learn_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'cnn-rnn\[demo\]'"):
        load_digits(counts={"train": 1})
