"""What rules between labels cost: the search of a model under rules beside that of the same model without."""

import copy
from typing import Any

from row import Part
from searches import Search, compared_searches
from walking_models import walking_model

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.label_rules import LabelRules

BRANCHES = 10  # labels below one, in the tree
EXCLUSIVE = 5  # labels of a group


def parts() -> dict[str, Part]:
    """The parts of this section."""
    return {"search": compared_searches("rules", "rules", "no rules", searches)}


def searches(labels: int) -> tuple[CnnRnnForImageClassification, Search, Search]:
    """A model, its search under rules, and without."""
    plain = walking_model("test_resnet", labels, image_size=64)
    ruled = copy.deepcopy(plain)
    ruled.rules = LabelRules.of(tree_of(plain.config.label_names), plain.config.label_names)
    return plain, ruled.generate, plain.generate


def tree_of(names: list[str]) -> dict[str, Any]:
    """Rules for names: each below the one at a tenth of its place, and every five beside each other exclusive."""
    implies = {name: names[place // BRANCHES] for place, name in enumerate(names) if place >= BRANCHES}
    groups = [names[place : place + EXCLUSIVE] for place in range(0, len(names) - 1, BRANCHES)]
    return {"implies": implies, "excludes": groups}
