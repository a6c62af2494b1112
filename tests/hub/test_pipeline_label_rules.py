"""The pipeline of a model with rules: every way to choose gives a set that obeys."""

from typing import Any

import pytest
import torch

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline

from .random_rules import ANIMALS, NAMES, obeys
from .test_pipeline_cnn_rnn import photo

CHOICES: dict[str, dict[str, Any]] = {
    "own thresholds": {},
    "low": {"threshold": 0.05},
    "top 3": {"top_k": 3},
    "top 4 above": {"top_k": 4, "threshold": 0.1},
    "expected f1": {"decision": "expected_f1"},
    "path": {"decision": "path"},
    "told": {"known": {"poodle": True}, "threshold": 0.01},
}


@pytest.fixture(scope="module")
def ruled() -> Any:
    """The pipeline of a small model whose thresholds ask for a poodle sooner than for a dog."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32, "known_labels": "state"}
    thresholds = [0.6, 0.5, 0.1, 0.1, 0.2, 0.1]
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=NAMES, label_rules=ANIMALS, thresholds=thresholds, **fields
    )
    return MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))


@pytest.mark.parametrize("arguments", CHOICES.values(), ids=CHOICES)
def test_every_decision_gives_a_set_that_obeys(arguments: dict[str, Any], ruled: Any) -> None:
    for seed in range(4):
        chosen = [item["label"] for item in ruled(photo(seed), **arguments)]
        assert obeys(ANIMALS, set(chosen))
        if arguments.get("top_k") == 3:
            assert len(chosen) == 3
        if "known" in arguments:
            assert {"poodle", "dog", "animal"} <= set(chosen)
            assert not {"cat", "none"} & set(chosen)


def test_answers_that_rules_do_not_allow_together_are_refused(ruled: Any) -> None:
    with pytest.raises(ValueError, match="contradict label_rules"):
        ruled(photo(0), known={"poodle": True, "animal": False})
