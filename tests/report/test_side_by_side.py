"""Two models on the same photos: nobody is shown by successes alone, and what each says stands under its name."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn_rnn.data import load_image_folder
from cnn_rnn.metrics.stored_predictions import StoredPredictions, collect_predictions
from cnn_rnn.report.side_by_side import choose_photos, comparison_section, side_by_side_section

NAMES = ["cat", "dog", "<b>owl</b>"]
LOSSES = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=30)


@given(LOSSES, st.integers(0, 12))
def test_photos_of_both_signs_are_shown_the_largest_difference_first(
    losses: list[tuple[float, float]], most: int
) -> None:
    own, other = (np.array([pair[place] for pair in losses]) for place in (0, 1))
    chosen = choose_photos(own, other, most)
    gain = other - own
    better, worse = (gain > 0).sum(), (gain < 0).sum()
    assert len(set(chosen)) == len(chosen) == min(most, better + worse)
    differences = np.abs(gain[chosen]).tolist()
    assert differences == sorted(differences, reverse=True)
    shown = (gain[chosen] > 0).sum(), (gain[chosen] < 0).sum()
    for mine, there, others in ((shown[0], better, worse), (shown[1], worse, better)):
        assert mine >= min(there, most // 2)  # its half, and what the other leaves
        assert mine <= max(most - most // 2, most - others)
    for sign in (1, -1):
        of_sign = np.sort(-np.abs(gain[sign * gain > 0]))
        taken = np.sort(-np.abs(gain[[index for index in chosen if sign * gain[index] > 0]]))
        assert taken.tolist() == of_sign[: len(taken)].tolist()


def predictions(scores: list[list[float]], truth: list[list[int]]) -> StoredPredictions:
    """Predictions for photos of three labels."""
    ids = [f"{number}.png" for number in range(len(scores))]
    return collect_predictions(ids, NAMES, np.array(scores), np.array(truth))


def test_a_photo_shows_what_each_model_names_and_misses(tmp_path: Path) -> None:
    truth = [[1, 0, -1], [0, 1, 0], [1, 0, 0]]
    own = predictions([[0.9, 0.1, 0.9], [0.7, 0.2, 0.1], [0.5, 0.5, 0.5]], truth)
    other = predictions([[0.3, 0.8, 0.1], [0.1, 0.9, 0.1], [0.5, 0.5, 0.5]], truth)
    (tmp_path / "train").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), "green").save(tmp_path / "train" / f"{number}.png")
    lines = "".join(json.dumps({"file_name": f"{number}.png", "labels": NAMES}) + "\n" for number in range(3))
    (tmp_path / "train" / "metadata.jsonl").write_text(lines, encoding="utf-8")
    dataset = load_image_folder(tmp_path, split="train")
    models = {"this model": own, "baseline": other}
    section = side_by_side_section(dataset, models, {name: one.scores >= 0.5 for name, one in models.items()}, 12)
    assert section is not None
    assert [card["name"] for card in section.twins] == ["0.png", "1.png"]  # on the third they agree
    told = {
        (card["name"], model["name"]): [(label["name"], label["score"], label["verdict"]) for label in model["labels"]]
        for card in section.twins
        for model in card["models"]
    }
    assert told == {
        ("0.png", "this model"): [("cat", "90", "hit")],  # nobody knows of the owl
        ("0.png", "baseline"): [("dog", "80", "miss"), ("cat", "30", "open")],
        ("1.png", "this model"): [("cat", "70", "miss"), ("dog", "20", "open")],
        ("1.png", "baseline"): [("dog", "90", "hit")],
    }
    assert [[model["nearest"] for model in card["models"]] for card in section.twins] == [[True, False], [False, True]]
    alike = {"this model": own, "baseline": own}
    assert side_by_side_section(dataset, alike, dict.fromkeys(alike, own.scores >= 0.5), 12) is None


def test_each_class_stands_with_both_figures_and_few_photos_get_no_bar() -> None:
    generator = np.random.default_rng(0)
    truth = np.zeros((40, 3), int)
    truth[:20, 0], truth[:4, 1] = 1, 1
    right, noise = truth + generator.random(truth.shape) / 2, generator.random(truth.shape)
    own, other = (predictions((scores / 2).tolist(), truth.tolist()).measure() for scores in (right, noise))
    section = comparison_section(own, other, NAMES, ("ours", "<i>plain</i>"))
    assert "This model is ours, the baseline <i>plain</i>." in section.text
    assert "higher for 1 of 1 classes, lower for 0" in section.text
    assert section.bars is not None
    (bar,) = section.bars.highest
    assert bar.cells[:3] == ("cat", "20", "100.0")
    expected = 100 * (1 - other["per_class"]["cat"]["AP"])
    assert float(bar.cells[4]) == pytest.approx(expected, abs=0.051)
    (every,) = section.tables
    assert [row[:2] for row in every["cells"][1:]] == [("cat", "20"), ("dog", "4"), ("<b>owl</b>", "0")]
    assert every["cells"][3][2:] == ("-", "-", "-")
