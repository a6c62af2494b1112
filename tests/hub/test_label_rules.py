"""Rules as a person writes them: what is refused, and what follows from them."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cnn_rnn import CnnRnnConfig
from cnn_rnn.label_rules import LabelRules

from .random_rules import ANIMALS, NAMES, closed_sets, obeys, random_rules


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"implies": {"poodle": "dgo"}}, "implies names 'dgo', but there is no such label; did you mean 'dog'"),
        ({"implies": {"poddle": "dog"}}, "implies names 'poddle', but there is no such label; did you mean 'poodle'"),
        ({"excludes": [["dog", "cta"]]}, "excludes names 'cta', but there is no such label; did you mean 'cat'"),
        ({"implies": {"dog": "animal", "animal": "cat", "cat": "dog"}}, "'dog' implies itself: dog -> animal -> cat"),
        ({"implies": {"dog": "dog"}}, "'dog' implies itself: dog -> dog"),
        (
            {"implies": {"poodle": "dog"}, "excludes": [["dog", "poodle"]]},
            "'poodle' implies 'dog', but 'dog' and 'poodle' exclude each other",
        ),
        (
            {"implies": {"poodle": ["dog", "cat"]}, "excludes": [["car", "cat", "dog"]]},
            "'poodle' implies 'dog' and 'cat', but 'dog' and 'cat' exclude each other",
        ),
        ({"excludes": [["dog"]]}, "holds two different labels or more, got ['dog']"),
        ({"excludes": [["dog", "dog"]]}, "holds two different labels or more, got ['dog', 'dog']"),
        ({"excludes": ["dog", "cat"]}, "a group of excludes is a list of labels, got 'dog'"),
        ({"excludes": {"dog": "cat"}}, "excludes is a list of groups, such as [[dog, cat]], got {'dog': 'cat'}"),
        ({"implies": ["dog"]}, "implies is by label, such as {poodle: dog}, got ['dog']"),
        ({"implies": {"dog": 3}}, "'dog' implies a label or a list, got 3"),
        ({"implies": {"dog": [True]}}, "implies names True, but there is no such label: write a name like this in"),
        ({"implied": {}}, "holds `implies` and `excludes`, got 'implied'; did you mean 'implies'"),
        ([["dog"]], "a mapping of `implies` and `excludes` is expected, got [['dog']]"),
    ],
    ids=lambda value: None if isinstance(value, dict | list) else value[:30],
)
def test_what_is_no_rule_or_contradicts_another_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match="label_rules") as refused:
        LabelRules.of(given, NAMES)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    fields: dict[str, Any] = {"id2label": dict(enumerate(NAMES)), "label_rules": given}
    with pytest.raises(Exception, match="label_rules"):
        CnnRnnConfig(**fields)


def test_far_too_much_that_follows_is_refused_before_it_is_worked_out() -> None:
    names = [str(label) for label in range(5000)]
    chain = {"implies": dict(pairwise(names))}
    with pytest.raises(ValueError, match="more than 4,194,304 pairs of labels follow from them"):
        LabelRules.of(chain, names)


def test_labels_that_change_take_their_rules_away() -> None:
    config = CnnRnnConfig(id2label=dict(enumerate(NAMES)), label_rules=ANIMALS)
    config.id2label = {0: "animal", 1: "dog"}
    assert config.label_rules is None


@pytest.mark.parametrize("seed", range(10))
def test_an_order_of_labels_walks_downward_and_else_keeps_its_ranks(seed: int) -> None:
    given = random_rules(seed, labels=8)
    rules = LabelRules.of(given, [str(label) for label in range(8)])
    assert rules is not None
    ranks = np.random.default_rng(seed).permutation(8)
    positions = rules.downward(ranks)
    assert sorted(positions) == list(range(8))
    for label, implied in rules.implied.T:
        assert positions[implied] < positions[label]
    free = [label for label in range(8) if not {label} & set(rules.implied.flatten().tolist())]
    assert sorted(free, key=lambda label: positions[label]) == sorted(free, key=lambda label: ranks[label])
    assert (LabelRules.of({"excludes": [["0", "1"]]}, rules.names).downward(ranks) == ranks).all()  # type: ignore[union-attr]


def test_a_chain_leads_from_the_widest_label_down() -> None:
    rules = LabelRules.of(ANIMALS, NAMES)
    assert rules is not None
    assert [rules.names[label] for label in rules.chain(2)] == ["animal", "dog", "poodle"]
    assert [rules.names[label] for label in rules.chain(4)] == ["car"]


@pytest.mark.parametrize("seed", range(10))
def test_sets_without_conflict_that_are_closed_upward_are_those_that_obey(seed: int) -> None:
    given, names = random_rules(seed), [str(label) for label in range(6)]
    rules = LabelRules.of(given, names)
    assert rules is not None
    every = np.array([[bool(number >> label & 1) for label in range(6)] for number in range(64)])
    closed = (rules.close_upward(every) == every).all(axis=1) & ~rules.conflicts(every)
    assert closed.tolist() == [obeys(given, {names[label] for label in np.flatnonzero(row)}) for row in every]
    assert closed.sum() == len(closed_sets(given, names))


def test_a_label_with_far_too_many_rules_is_refused() -> None:
    names = [str(label) for label in range(3000)]
    with pytest.raises(ValueError, match="more than 4,194,304 pairs of labels follow from them"):
        LabelRules.of({"excludes": [[names[0], name] for name in names[1:]]}, names)
    rules = LabelRules.of({"excludes": [names]}, names)  # one group says it shorter
    assert rules is not None
    assert rules.members.shape == (2, 3000)
