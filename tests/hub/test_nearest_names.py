"""What is asked where a name is not known."""

from cnn_rnn.nearest_names import did_you_mean


def test_the_nearest_names_are_asked_about_and_far_ones_are_not() -> None:
    assert did_you_mean("bot", ["dog", "boat", "cat"]) == "did you mean boat?"
    assert did_you_mean("bot", ["dog", "boat"], shown=repr) == "did you mean 'boat'?"
    assert did_you_mean("train.epoc", ["train.epochs", "train.epoch_size"], most=2).count(" or ") == 1
    assert did_you_mean("bot", ["zebra"]) == did_you_mean("bot", []) == ""
    assert did_you_mean(7, ["70"], cutoff=0.5) == "did you mean 70?"
