"""What a person says of labels, by name, where rules tie these together: what contradicts, and what follows.

Labels that the rules do not know are a person's own: nothing follows from them, and they contradict nothing.
"""

from collections.abc import Mapping

from .label_rules import LabelRules

Answers = Mapping[str, bool]


def agreeing(rules: LabelRules | None, answers: Answers) -> dict[str, bool]:
    """The answers, by label whether it is there, without those that later ones contradict; in their order."""
    if rules is None:
        return dict(answers)
    ids = rules.ids
    kept: dict[str, bool] = {}
    held: set[int] = set()
    out: set[int] = set()
    for name, there in reversed(list(answers.items())):
        label = ids.get(name)
        if label is None:
            kept[name] = there
            continue
        more = held | ({label, *rules.above.get(label, ())} if there else set())
        less = out if there else out | {label}
        members = {place for one in more for place in rules.sides.get(one, {}).items()}
        if not more & less and len(members) == len({group for group, _ in members}):
            kept[name], held, out = there, more, less
    return dict(reversed(kept.items()))


def complete(rules: LabelRules | None, answers: Answers) -> dict[str, bool]:
    """The answers that agree, and after them all that follows: what is implied is there, what is excluded is not."""
    kept = agreeing(rules, answers)
    if rules is None:
        return kept
    told = {rules.ids[name]: there for name, there in kept.items() if name in rules.ids}
    held = [one for label, there in told.items() if there for one in (label, *rules.above.get(label, ()))]
    taken = {group: member for label in held for group, member in rules.sides.get(label, {}).items()}
    out = [one for label, there in told.items() if not there for one in rules.below_of(label)]
    out += [
        label
        for label, sides in rules.sides.items()
        if any(taken.get(group, member) != member for group, member in sides.items())
    ]
    return {
        **kept,
        **{rules.names[label]: True for label in held},
        **{rules.names[label]: False for label in out},
    }


def check_answers(rules: LabelRules | None, answers: Answers) -> None:
    """Refuse answers that cannot all be right.

    Raises:
        ValueError: By the rules, something follows from them that another one says is not so.
    """
    kept = agreeing(rules, answers)
    wrong = next((name for name in answers if name not in kept), None)
    if wrong is not None:
        raise ValueError(
            f"known_labels {dict(answers)} contradict label_rules, by which {wrong!r} would be there and not be there"
        )
