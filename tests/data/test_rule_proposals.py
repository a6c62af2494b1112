"""Rules that a data set bears out."""

from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, Value

from cnn_rnn.data.labels.rule_proposals import propose_rules
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.training.run_config import load_run_config

NAMES = ["animal", "dog", "poodle", "cat: tame", "sky", "rare"]


def photos(count: int = 600, **more: list[list[int]]) -> Dataset:
    """Photos of animals under a sky that has nothing to do with them."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        row = {4} if random.random() < 0.5 else set()
        kind = random.choice(5)
        row |= [{0, 1}, {0, 1, 2}, {0, 3}, {0}, set()][kind]
        rows.append(sorted(row))
    rows[0] = [0, 5]
    ids = [f"{row}.jpg" for row in range(count)]
    labels = List(ClassLabel(names=NAMES))
    features = Features({"image_id": Value("string"), "labels": labels} | dict.fromkeys(more, labels))
    return Dataset.from_dict({"image_id": ids, "labels": rows} | more, features=features)


def test_what_holds_without_exception_and_not_by_chance_is_proposed_and_nothing_else(tmp_path: Path) -> None:
    rows = photos()
    found = propose_rules(rows)
    poodles = sum(2 in row for row in rows["labels"])
    assert found.implications[1].text() == f"poodle never without dog: {poodles} of {poodles} photos"
    implied = [(one.label, one.implied) for one in found.implications]
    assert implied == [("dog", "animal"), ("poodle", "dog"), ("cat: tame", "animal")]
    assert [group.labels for group in found.exclusions] == [["dog", "cat: tame"]]
    path = tmp_path / "label_rules.yaml"
    path.write_text(found.yaml())
    config = load_run_config(None, ["--model.label_rules", str(path)])
    rules = LabelRules.of(config.model["label_rules"], NAMES)
    assert rules is not None
    assert rules.implied.T.tolist() == [[1, 0], [2, 1], [3, 0]]
    assert not rules.members.size  # whether they exclude each other, a person must say
    path.write_text(found.yaml().replace("#  - [", "  - ["))
    rules = LabelRules.of(load_run_config(None, ["--model.label_rules", str(path)]).model["label_rules"], NAMES)
    assert rules is not None
    assert rules.members.tolist() == [[0, 0], [1, 3]]


def test_photos_on_which_nobody_looked_say_nothing_against_a_rule() -> None:
    rows = photos()
    labels = [
        [label for label in row if label != 1] if place % 3 == 0 else row for place, row in enumerate(rows["labels"])
    ]
    unlooked = [[1] if place % 3 == 0 else [] for place in range(len(rows))]
    features = rows.features | {"unknown": rows.features["labels"]}
    partly = Dataset.from_dict(
        {"image_id": rows["image_id"], "labels": labels, "unknown": unlooked}, features=Features(features)
    )
    poodles = sum(2 in row for place, row in enumerate(labels) if place % 3)
    assert f"poodle never without dog: {poodles} of {poodles} photos" in propose_rules(partly).text()


def test_a_set_without_rules_has_none() -> None:
    random = np.random.default_rng(1)
    features = Features({"image_id": Value("string"), "labels": List(ClassLabel(names=NAMES))})
    rows = [np.flatnonzero(random.random(6) < [0.9, 0.5, 0.3, 0.3, 0.2, 0.01]).tolist() for _ in range(300)]
    data = Dataset.from_dict({"image_id": list(map(str, range(300))), "labels": rows}, features=features)
    found = propose_rules(data)
    assert not found.text()
    assert "implies: {}" in found.yaml()
