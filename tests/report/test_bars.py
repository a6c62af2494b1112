"""Bars stand in order on one scale, inside the room that they have, whatever the values are."""

from hypothesis import given
from hypothesis import strategies as st

from cnn_rnn.report.bars import bar_table, percent_points

VALUES = st.lists(st.none() | st.floats(-1, 1, allow_nan=False), max_size=60)


@given(VALUES, st.integers(1, 10))
def test_every_bar_begins_at_zero_ends_at_its_value_and_stays_inside(values: list[float | None], most: int) -> None:
    table = bar_table(values, ("label",), [(str(index),) for index in range(len(values))], most)
    known = sorted((value for value in values if value is not None), reverse=True)
    shown = [*table.highest, *table.lowest]
    assert len(shown) + table.between == len(known)
    assert len(shown) == min(len(known), 2 * most)
    found = [values[int(bar.cells[0])] for bar in shown]
    assert found == [*known[: len(table.highest)], *known[len(known) - len(table.lowest) :]]
    low, high = min([0.0, *known]), max([0.0, *known])
    for bar, value in zip(shown, found, strict=True):
        assert value is not None
        assert bar.left >= 0
        assert bar.left + bar.width <= 100.11  # each is rounded to a tenth
        ends = (bar.left, bar.left + bar.width)
        at_zero, at_value = ends[::-1] if bar.negative else ends
        room = (high - low) or 1
        assert abs(at_zero + 100 * low / room) < 0.11
        assert abs(at_value - 100 * (value - low) / room) < 0.11


def test_few_are_shown_whole_and_of_many_both_ends() -> None:
    table = bar_table([*range(1000)], ("label",), [(f"label {index}",) for index in range(1000)])
    assert [bar.cells[0] for bar in table.highest] == [f"label {index}" for index in range(999, 979, -1)]
    assert [bar.cells[0] for bar in table.lowest] == [f"label {index}" for index in range(19, -1, -1)]
    assert table.between == 960
    few = bar_table([0.5, None, 1.0], ("label",), [("a",), ("b",), ("c",)])
    assert [(bar.cells[0], bar.width) for bar in few.highest] == [("c", 100), ("a", 50)]
    assert (few.lowest, few.between) == ([], 0)


def test_figures_have_one_digit_and_no_negative_zero() -> None:
    assert [percent_points(value) for value in (0.1234, -0.0001, -0.05, None, float("nan"))] == [
        *("12.3", "0.0", "-5.0", "-", "-")
    ]
