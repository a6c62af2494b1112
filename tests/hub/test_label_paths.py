"""Label sets to ordered paths and back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from cnn_rnn.label_order import positions_of
from cnn_rnn.label_paths import labels_before, labels_to_paths, paths_to_labels

label_sets = st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=5)


def multi_hot(sets: list[set[int]], num_labels: int = 6) -> torch.Tensor:
    return torch.tensor([[float(label in labels) for label in range(num_labels)] for labels in sets])


@given(label_sets, st.permutations(range(6)))
def test_a_path_holds_exactly_the_present_labels_in_rank_order(sets: list[set[int]], ranks: list[int]) -> None:
    paths = labels_to_paths(multi_hot(sets), torch.tensor(ranks))
    assert paths.shape == (len(sets), max(map(len, sets)) + 1)
    for labels, path in zip(sets, paths.tolist(), strict=True):
        assert path[: len(labels)] == sorted(labels, key=lambda label: ranks[label])
        assert set(path[len(labels) :]) == {6}


@given(label_sets)
def test_paths_and_label_sets_are_each_others_inverse(sets: list[set[int]]) -> None:
    labels = multi_hot(sets)
    paths = labels_to_paths(labels, torch.arange(6))
    assert torch.equal(paths_to_labels(paths, 6).float(), labels)


def test_left_out_labels_are_not_on_the_path() -> None:
    labels = torch.tensor([[1.0, -100.0, 1.0], [-100.0, -100.0, -100.0]])
    assert labels_to_paths(labels, torch.arange(3)).tolist() == [[0, 2, 3], [3, 3, 3]]


def test_frequency_orders_are_by_count_and_keep_the_ids_of_equals_in_order() -> None:
    counts = [2, 9, 2, 5]
    assert positions_of("frequent_first", counts, 4).tolist() == [2, 0, 3, 1]
    assert positions_of("rare_first", counts, 4).tolist() == [0, 3, 1, 2]
    assert positions_of("given", counts, 4).tolist() == [0, 1, 2, 3]
    assert positions_of("frequent_first", None, 4).tolist() == [0, 1, 2, 3]


def test_labels_before_a_step_are_those_of_all_earlier_steps() -> None:
    before = labels_before(torch.tensor([[2, 0, 3]]), 3)
    assert before.int().tolist() == [[[0, 0, 0], [0, 0, 1], [1, 0, 1]]]
