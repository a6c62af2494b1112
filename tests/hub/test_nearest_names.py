"""What is asked where a name is not known."""

import inspect

import pytest

from cnn_rnn.nearest_names import arguments_of, check_arguments, did_you_mean, naming_nearest


def test_the_nearest_names_are_asked_about_and_far_ones_are_not() -> None:
    assert did_you_mean("bot", ["dog", "boat", "cat"]) == "did you mean boat?"
    assert did_you_mean("bot", ["dog", "boat"], shown=repr) == "did you mean 'boat'?"
    assert did_you_mean("train.epoc", ["train.epochs", "train.epoch_size"], most=2).count(" or ") == 1
    assert did_you_mean("bot", ["zebra"]) == did_you_mean("bot", []) == ""
    assert did_you_mean(7, ["70"], cutoff=0.5) == "did you mean 70?"


def halve(number: float, /, digits: int = 2, *, upward: bool = False, **_: object) -> float:
    """A function."""
    return round(number / 2 + upward, digits)


def test_an_argument_that_is_not_taken_is_a_question_about_the_nearest() -> None:
    checked = naming_nearest("batch_size")(halve)
    assert checked(4.0, digits=1, upward=True) == 3
    assert inspect.signature(checked) == inspect.signature(halve)
    assert arguments_of(halve) == ["digits", "upward"]
    for wrong, told in {
        "digit": "there is no argument 'digit'; did you mean digits?",
        "bach_size": "there is no argument 'bach_size'; did you mean batch_size?",
        "x": "there is no argument 'x'; there are digits, upward, batch_size",
        "self": "there is no argument 'self'; there are digits, upward, batch_size",
    }.items():
        with pytest.raises(TypeError) as raised:
            checked(4.0, **{wrong: True})
        assert str(raised.value) == told
    check_arguments(["digits"], iter(["digits"]))
