"""What one answer changes is shown for photos that nobody picked for it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.report.test_page import Page, stored

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.data import load_image_folder
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.report.one_answer import Answered, Question, answer_questions, answer_section, choose_questions, hears
from cnn_rnn.report.page import write_report

NAMES = ["<b>boat</b>", "sea", "car"]


def answered(before: list[float], after: list[float], truth: list[int], present: bool = True) -> Answered:
    """A photo on which the first label was asked about."""
    scores = np.array([before, after], np.float32)
    return Answered("1.jpg", Image.new("RGB", (8, 8)), NAMES[0], present, NAMES, np.array(truth, np.int8), scores)


def test_the_most_probable_label_that_is_missing_is_told_else_a_wrong_one_ruled_out() -> None:
    scores = np.array([[0.9, 0.2, 0.1], [0.9, 0.8, 0.0], [0.9, 0.0, 0.0], [0.8, 0.0, 0.1]])
    truth = np.array([[1, 1, 1], [1, 0, -1], [1, 0, 0], [0, 0, 1]], np.int8)
    assert choose_questions(scores, truth, 9) == [
        Question(0, 1, present=True),
        Question(1, 1, present=False),
        Question(3, 2, present=True),  # and not its wrong one: that comes where nothing is missing
    ]
    assert [question.row for question in choose_questions(scores, truth, 2)] == [0, 3]
    assert choose_questions(scores, truth, 0) == []
    assert choose_questions(scores * 9, truth, 9) == []  # no probabilities, no sets


def test_questions_and_sets_are_of_sets_that_obey_rules() -> None:
    """A boat is there only with the sea, and never beside a car."""
    rules = LabelRules.of({"implies": {NAMES[0]: "sea"}, "excludes": [["sea", "car"]]}, NAMES)
    scores, truth = np.array([[0.6, 0.62, 0.59]]), np.array([[0, 0, 1]], np.int8)
    assert choose_questions(scores, truth, 1) == [Question(0, 1, present=False)]  # the set of all three lacks nothing
    assert choose_questions(scores, truth, 1, rules) == [Question(0, 2, present=True)]
    photo = replace(answered([0.6, 0.62, 0.59], [0.1, 0.1, 1], [0, 0, 1]), rules=rules)
    assert photo.sets.tolist() == [[True, True, False], [False, False, True]]


def test_the_label_that_was_asked_about_is_no_merit() -> None:
    assert answered([0.1, 0.9, 0.1], [1, 0.9, 0.1], [1, 1, 0]).quality == (1, 1)
    assert answered([0.1, 0.1, 0.9], [1, 0.9, 0.1], [1, 1, 0]).quality == (0, 1)
    assert answered([0.9, 0.9, 0.1], [0, 0.1, 0.1], [0, 0, 0], present=False).quality == (0, 1)
    assert answered([0.1, 0.1, 0.9], [1, 0.1, 0.9], [1, 0, -1]).quality == (1, 1)  # what is left out counts nowhere


def test_the_page_shows_both_states_and_counts_gains_and_losses(tmp_path: Path) -> None:
    photos = [
        answered([0.1, 0.14, 0.9], [1, 0.87, 0.02], [1, 1, 0]),
        answered([0.1, 0.9, 0.1], [1, 0.1, 0.9], [1, 1, 0]),
        answered([0.9, 0.1, 0.1], [0, 0.1, 0.1], [0, 0, 0], present=False),
    ]
    section = answer_section(photos, trained=True)
    assert "on 1 of 3, farther on 1," in section.text
    assert "not trained" in answer_section(photos, trained=False).text
    predictions = stored()
    write_report(tmp_path / "r.html", predictions, predictions.measure(), title="t", further=[section])
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    assert "answer" in {attributes.get("id") for _, attributes in page.tags}
    assert "confirmed: <b>boat</b>" in page.text.replace("\n", "")
    assert "ruled out: <b>boat</b>" in page.text.replace("\n", "")
    card = html.split('class="answer"')[1]
    assert card.index("14 %") < card.index("87 %")
    assert '<td class="picked">87 %' in card
    assert '<td class="">14 %' in card
    assert "<b>boat" not in html


@pytest.fixture
def saved() -> SimpleNamespace:
    """A model with a prior by which the first label brings the second and drives out the third."""
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=NAMES, image_size=32, cooccurrence=True, fusion="relevance", path_loss="none"
    ).eval()
    assert model.cooccurrence is not None
    model.cooccurrence.left.copy_(torch.tensor([[0.0, 9, -9], [0, 0, 0], [0, 0, 0]]))
    return SimpleNamespace(model=model, processor=CnnRnnImageProcessor.from_config(model.config))


def test_answers_reach_the_model(saved: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (90 * number, 0, 99)).save(tmp_path / "train" / f"{number}.png")
    lines = [f'{{"file_name": "{number}.png", "labels": ["sea", "car"]}}' for number in range(3)]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(lines))
    rows = load_image_folder(tmp_path, split="train")
    assert hears(saved.model)
    first, second = answer_questions(saved, rows, [Question(2, 0, present=True), Question(1, 0, present=False)])
    assert (first.name, second.name) == ("2.png", "1.png")
    assert (first.scores[1, 0], second.scores[1, 0]) == pytest.approx((1, 0), abs=1e-5)
    assert first.scores[1, 1] > first.scores[0, 1] + 0.1
    assert first.scores[1, 2] < first.scores[0, 2]
    assert second.scores[0, 1:] == pytest.approx(second.scores[1, 1:])  # the prior hears what is confirmed alone
    saved.model.cooccurrence = None
    assert not hears(saved.model)
