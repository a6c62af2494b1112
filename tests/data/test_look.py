"""What a look tells equals a count by hand, and finds the rules that the digit scenes obey."""

from pathlib import Path

import numpy as np
import pytest
from datasets import DatasetDict

from cnn_rnn.data import build_dataset, load_digits, load_table
from cnn_rnn.data.labels.rule_proposals import propose_rules
from cnn_rnn.data.look import Look, describe, look_at, plot, summary
from cnn_rnn.data.schema import image_paths, label_lists_from_matrix

NAMES = [f"c{i}" for i in range(6)]


def rows(present: np.ndarray, names: list[str] = NAMES) -> DatasetDict:
    ids = [str(i) for i in range(len(present))]
    data = build_dataset(image_paths([None] * len(ids)), ids, label_lists_from_matrix(present), names, split="train")
    return DatasetDict({"train": data, "test": data.select(range(2))})


def random_look() -> tuple[np.ndarray, Look]:
    present = np.random.default_rng(0).random((300, 6)) < np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    return present, look_at(rows(present))


def test_counts_sizes_and_pairs_equal_a_count_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_rnn.data.schema.ROWS_COUNTED", 7)
    present, look = random_look()
    split = look.splits["train"]
    assert split.counts.tolist() == present.sum(0).tolist()
    assert split.sizes.tolist() == [int((present.sum(1) == n).sum()) for n in range(len(split.sizes))]
    assert split.sizes.sum() == split.images == 300
    assert split.unlabelled == sum(not row.any() for row in present)
    for i in range(6):
        for j in range(6):
            assert split.together[i, j] == sum(row[i] and row[j] for row in present)


def test_correlation_is_that_of_the_columns() -> None:
    present, look = random_look()
    positive, negative = look.pairs(top=10)
    assert len(positive) + len(negative) == 10  # of 5 labels that occur
    for pair in [*positive, *negative]:
        i, j = NAMES.index(pair.first), NAMES.index(pair.second)
        assert pair.correlation == pytest.approx(np.corrcoef(present[:, i], present[:, j])[0, 1])
        assert pair.given_first == pytest.approx(present[present[:, i], j].mean())
        assert present[:, i].sum() <= present[:, j].sum()
    assert [p.correlation for p in positive] == sorted((p.correlation for p in positive), reverse=True)


def test_the_order_is_frequent_first_and_stable() -> None:
    present = np.array([[0, 1, 1], [0, 1, 1], [1, 0, 0]], dtype=bool)
    assert look_at(rows(present, ["a", "b", "c"])).label_order() == ["b", "c", "a"]


def test_the_rules_of_the_digit_scenes_are_found() -> None:
    together, apart = look_at(load_digits(counts={"train": 600})).pairs(top=4)
    assert {frozenset((p.first, p.second)) for p in together} == {
        frozenset(pair) for pair in (("one", "four"), ("seven", "nine"), ("three", "five"), ("eight", "six"))
    }
    assert all(pair.images == 0 for pair in apart)


def test_the_text_names_splits_labels_and_order(tmp_path: Path) -> None:
    _, look = random_look()
    text = describe(look, top=2)
    assert text.startswith(summary(look))
    assert "... 2 more ..." in text
    assert ", ".join(look.label_order()[:4]) + ", and 2 more" in text
    plot(look, tmp_path / "look.png")
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_split_is_no_trouble() -> None:
    look = look_at(DatasetDict({"train": rows(np.zeros((2, 6), dtype=bool))["train"].select([])}))
    assert look.splits["train"].labels_per_image == 0
    assert "train" in describe(look)


def test_photos_without_any_label_and_labels_that_nobody_looked_for_are_described(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"file_name": "a.jpg", "labels": []}\n')
    bare = load_table(tmp_path / "a.jsonl", require_images=False)
    assert "0 labels" in describe(look_at(bare))
    (tmp_path / "b.jsonl").write_text('{"file_name": "a.jpg", "labels": [], "unknown": ["cat", "dog"]}\n')
    unknown = load_table(tmp_path / "b.jsonl", require_images=False, split="train")
    assert "2 unknown labels left out" in describe(look_at({"train": unknown}))
    assert not propose_rules(unknown).implications
