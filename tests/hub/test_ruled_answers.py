"""What a person says of labels that rules tie together, beside all sets that obey, found by trying each."""

from itertools import product

import pytest

from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_answers import agreeing, check_answers, complete

from .random_rules import ANIMALS, NAMES, closed_sets, random_rules


def test_of_answers_that_contradict_each_other_the_latest_stay() -> None:
    rules = LabelRules.of(ANIMALS, NAMES)
    assert agreeing(rules, {"dog": False, "car": True, "poodle": True}) == {"car": True, "poodle": True}
    assert agreeing(rules, {"poodle": True, "own": True, "cat": True}) == {"own": True, "cat": True}
    assert agreeing(rules, {"poodle": True, "animal": False}) == {"animal": False}
    answers = {"animal": True, "cat": False, "poodle": True, "car": False}
    assert list(agreeing(rules, answers).items()) == list(answers.items())


def test_what_follows_stands_after_what_was_said() -> None:
    rules = LabelRules.of(ANIMALS, NAMES)
    answers = complete(rules, {"own": True, "poodle": True})
    assert list(answers)[:2] == ["own", "poodle"]
    assert answers == {"own": True, "poodle": True, "dog": True, "animal": True, "none": False, "cat": False}
    assert complete(rules, {"animal": False, "cat": True}) == complete(rules, {"cat": True})
    assert complete(None, {"cat": True}) == {"cat": True}


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_refused_and_completed_by_what_all_sets_that_agree_with_them_share(seed: int) -> None:
    names = [str(label) for label in range(5)]
    given = random_rules(seed, labels=5)
    rules = LabelRules.of(given, names)
    closed = [dict(zip(names, held, strict=True)) for held in closed_sets(given, names).tolist()]
    for told in product((None, True, False), repeat=5):
        answers = {name: there for name, there in zip(names, told, strict=True) if there is not None}
        left = [one for one in closed if all(one[name] == there for name, there in answers.items())]
        if not left:
            with pytest.raises(
                ValueError, match=r"known_labels .* contradict label_rules, by which '\d' would be there"
            ):
                check_answers(rules, answers)
            continue
        check_answers(rules, answers)
        assert agreeing(rules, answers) == answers
        shared = {name: left[0][name] for name in names if len({one[name] for one in left}) == 1}
        assert complete(rules, answers) == shared
