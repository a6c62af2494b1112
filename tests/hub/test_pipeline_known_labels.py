"""What a person knows, and how the set is chosen, through the pipeline."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.decisions import pick_by_expected_f1
from cnn_rnn.label_rules import LabelRules

LABELS = ["cat", "dog", "bird", "car", "tree"]
PHOTOS = [Image.fromarray(np.random.default_rng(seed).integers(0, 255, (70, 80, 3), np.uint8)) for seed in range(3)]


@pytest.fixture(scope="module")
def classify() -> MultiLabelImageClassificationPipeline:
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet",
        id2label=LABELS,
        label_counts=[5, 4, 3, 2, 1],
        embedding_size=16,
        hidden_size=16,
        known_labels="state",
        cooccurrence=True,
        relevance_in_path=True,
    )
    assert model.cooccurrence is not None
    model.cooccurrence.fit(torch.eye(5) * 6 + 2, 20)
    processor = CnnRnnImageProcessor.from_config(model.config)
    return MultiLabelImageClassificationPipeline(model=model, image_processor=processor)


def scores_of(found: list[dict[str, Any]]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in found}


def test_what_is_known_holds_and_moves_the_rest(classify: MultiLabelImageClassificationPipeline) -> None:
    known = {"dog": True, "car": False}
    for untold, told in zip(classify(PHOTOS, top_k=5), classify(PHOTOS, top_k=5, known=known), strict=True):
        before, after = scores_of(untold), scores_of(told)
        assert after["dog"] > 0.999
        assert "car" not in after  # not even to make up the number
        assert all(before[name] != after[name] for name in ("cat", "bird", "tree"))
    path = classify(PHOTOS[0], return_path=True, known=known)["path"]
    assert path[0] == {"label": "dog", "score": 1.0}
    assert "car" not in [step["label"] for step in path]


@pytest.mark.parametrize("rules", [None, {"excludes": [["dog", "car"]]}], ids=["without rules", "with rules"])
def test_no_threshold_and_no_number_says_otherwise(
    classify: MultiLabelImageClassificationPipeline, rules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify.model, "rules", LabelRules.of(rules, LABELS))
    known = {"dog": True, "car": False}
    assert [entry["label"] for entry in classify(PHOTOS[0], known=known, threshold=1.0)] == ["dog"]
    assert set(scores_of(classify(PHOTOS[0], known=known, threshold=0.0))) == {*LABELS} - {"car"}
    with torch.no_grad():  # an open label may be less probable than what is ruled out is said to be
        monkeypatch.setattr(classify.model.config, "fusion_weights", (0.0, 0.0, -50.0))
    found = classify(PHOTOS[0], known=dict.fromkeys(LABELS[1:], False), top_k=1)
    assert [entry["label"] for entry in found] == LABELS[:1]


def test_many_images_at_once_are_told_alike(classify: MultiLabelImageClassificationPipeline) -> None:
    known = {"bird": True}
    alone = [classify(photo, top_k=5, known=known) for photo in PHOTOS]
    for one, other in zip(alone, classify(PHOTOS, top_k=5, known=known, batch_size=3), strict=True):
        assert scores_of(one) == pytest.approx(scores_of(other), abs=1e-5)


def test_each_decision_gives_its_own_set(classify: MultiLabelImageClassificationPipeline) -> None:
    for photo in PHOTOS:
        every = scores_of(classify(photo, top_k=5))
        picked = pick_by_expected_f1(torch.tensor([[every[name] for name in LABELS]]))[0]
        found = classify(photo, decision="expected_f1")
        assert {entry["label"] for entry in found} == {LABELS[index] for index in picked.nonzero()[:, 0].tolist()}
        walked = {step["label"] for step in classify(photo, return_path=True)["path"]}
        by_path = classify(photo, decision="path")
        assert {entry["label"] for entry in by_path} == walked
        assert classify(photo, decision="threshold") == classify(photo)


def test_the_best_whole_set_is_chosen_by_the_weights_that_were_fitted(
    classify: MultiLabelImageClassificationPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="saved without set_weights"):
        classify(PHOTOS, decision="set")
    monkeypatch.setattr(classify.model.config, "set_weights", (0.0, 1.0, 0.0))
    assert classify(PHOTOS, decision="set") == classify(PHOTOS, threshold=0.5)
    monkeypatch.setattr(classify.model.config, "set_weights", (0.0, 1.0, 99.0))  # every label is worth more than none
    known = {"dog": False}
    found = classify(PHOTOS[0], decision="set", known=known, return_path=True)
    seeds = [classify(PHOTOS[0], known=known, **way) for way in ({"decision": "path"}, {"threshold": 0.5})]
    assert len(found["labels"]) > max(map(len, seeds))
    assert "dog" not in scores_of(found["labels"])


def test_the_next_question_is_about_the_open_label_nearest_to_one_half(
    classify: MultiLabelImageClassificationPipeline,
) -> None:
    for known in ({}, {"dog": True, "car": False}):
        every = scores_of(classify(PHOTOS[0], top_k=5, known=known))
        answer = classify(PHOTOS[0], known=known, ask=True)
        assert answer["labels"] == classify(PHOTOS[0], known=known)
        asked = min((name for name in LABELS if name not in known), key=lambda name: abs(every[name] - 0.5))
        assert answer["question"] == {"label": asked, "score": pytest.approx(every[asked])}
    answer = classify(PHOTOS[0], known=dict.fromkeys(LABELS, True), ask=True, return_path=True)
    assert answer["question"] is None
    assert len(answer["path"]) == len(LABELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"known": {"dogg": True}}, "no label 'dogg'; did you mean 'dog'"),
        ({"known": {"dog": 1}}, r"known\['dog'\] must be True \(shown\) or False \(not shown\), got 1"),
        ({"decision": "best"}, "decision must be one of threshold, expected_f1, path, set, got 'best'"),
        ({"decision": "expected_f1", "top_k": 3}, "give no threshold and no top_k"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(
    classify: MultiLabelImageClassificationPipeline, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classify(PHOTOS[0], **arguments)
