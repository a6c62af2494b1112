"""The report is one file that needs nothing else, whatever labels and images are called."""

import base64
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cnn_rnn.metrics.protocols import get_protocol
from cnn_rnn.metrics.stored_predictions import StoredPredictions, collect_predictions
from cnn_rnn.metrics.tables import protocol_table
from cnn_rnn.prediction.doubtful_labels import photo_losses
from cnn_rnn.report.embedded_images import overlay
from cnn_rnn.report.page import ShownPhoto, ShownStep, nearest_labels, write_report
from cnn_rnn.report.plots import plot_co_occurrence, plot_precision_recall, plot_reliability

NAMES = ["cat & dog", "<script>alert(1)</script>", "$x^2", 'quote"name', "plain"]


def stored(images: int = 60, paths: bool = True, names: list[str] = NAMES) -> StoredPredictions:
    """Predictions for labels with awkward names; the last has no positives."""
    generator = np.random.default_rng(0)
    shape = (images, len(names))
    targets = (generator.random(shape) < 0.4).astype(int)
    targets[:, -1] = 0
    walked = np.where(generator.random((images, 2)) < 0.8, generator.permuted(np.tile([0, 1], (images, 1)), axis=1), 0)
    walked[:, 1] = np.where(walked[:, 0] == walked[:, 1], len(names), walked[:, 1])
    return collect_predictions(
        [f"photo {n}" for n in range(images)],
        names,
        np.clip(generator.random(shape) + 0.3 * targets, 0, 1),
        targets,
        paths=walked if paths else None,
    )


def example(name: str = "<img src=x onerror=alert(2)>") -> ShownPhoto:
    """An image with two steps and its end."""
    looked_at = np.zeros((8, 8), np.float32)
    looked_at[:4] = 1
    steps = [ShownStep(NAMES[1], 0.9, looked_at), ShownStep("plain", 0.5, looked_at), ShownStep(None, 0.8)]
    return ShownPhoto(name, Image.new("RGB", (64, 48), "red"), [NAMES[1], NAMES[0]], steps, ["plain"])


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


def write(tmp_path: Path, predictions: StoredPredictions | None = None, **options: Any) -> Page:
    """The page of a report."""
    predictions = predictions or stored()
    write_report(tmp_path / "new" / "r.html", predictions, predictions.measure(), title="A <b>title</b>", **options)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.html"]
    return Page((tmp_path / "new" / "r.html").read_text(encoding="utf-8"))


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing(tmp_path: Path) -> None:
    page = write(tmp_path, embedding=np.eye(5), examples=[example()], how_looked="Grad-CAM")
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "b"}]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address is None or address.startswith("#" if tag == "a" else "data:image/"), address
    assert "<script>alert(1)</script>" in page.text
    assert "<img src=x onerror=alert(2)>" in page.text
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    drawn = [base64.b64decode(picture.split(",")[1]).decode() for picture in pictures if "svg" in picture]
    assert len(drawn) == 4
    for svg in drawn:
        assert not re.findall(r'(?:href|src)="(?!#|data:)', svg)
        assert "<script" not in svg


def test_every_part_is_there_and_can_be_reached(tmp_path: Path) -> None:
    page = write(tmp_path, embedding=np.eye(5), examples=[example()], label_counts=[5, 4, 3, 2, 1])
    anchors = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    links = {(attributes["href"] or "").removeprefix("#") for tag, attributes in page.tags if tag == "a"}
    expected = {"figures", "curves", "classes", "together", "reliability", "neighbours", "images"}
    assert anchors == links == expected


def test_parts_without_input_are_left_out(tmp_path: Path) -> None:
    predictions = stored(paths=False)
    logits = StoredPredictions(predictions.image_ids, NAMES, predictions.scores * 5 - 2, predictions.truth)
    page = write(tmp_path, logits)
    anchors = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    assert anchors == {"figures", "curves", "classes", "together"}


def test_a_card_shows_every_step_with_its_probability_and_verdict(tmp_path: Path) -> None:
    page = write(tmp_path, examples=[example()])
    steps = [attributes.get("class") for tag, attributes in page.tags if tag == "span"]
    assert steps == ["tag hit", "tag open", "tag", "tag hit", "tag "]  # truth found, truth missed, left out; two steps
    for shown in ("90 %", "50 %", "80 %", "path probability 36 %", "end"):
        assert shown in page.text
    assert len([tag for tag, attributes in page.tags if tag == "img" and "jpeg" in (attributes["src"] or "")]) == 3


def test_without_paths_a_card_shows_the_labels_that_are_named_with_their_verdicts(tmp_path: Path) -> None:
    steps = [ShownStep(NAMES[1], 0.9), ShownStep(NAMES[2], 2e-5)]
    card = ShownPhoto("x.jpg", Image.new("RGB", (64, 48)), NAMES[:2], steps, ["plain"], loss=3.0, walked=False)
    page = write(tmp_path, examples=[card])
    spans = [attributes.get("class") for tag, attributes in page.tags if tag == "span"]
    assert spans == ["tag open", "tag hit", "tag", "tag hit", "tag miss"]
    assert "Images and their labels" in page.text
    assert "path probability" not in page.text
    for shown in ("90 %", "< 0.01 %", "loss 3.00"):
        assert shown in page.text


def test_the_classes_stand_in_the_order_of_their_images(tmp_path: Path) -> None:
    write(tmp_path)
    html = (tmp_path / "new" / "r.html").read_text(encoding="utf-8")
    counts = stored().measure()["per_class"]
    shown = [int(count) for count in re.findall(r"<td>[^<]*</td><td>[\d.-]+</td><td>(\d+)</td>", html)]
    assert shown == sorted((one["positives"] for one in counts.values()), reverse=True)


def test_given_tables_stand_first_with_their_notes(tmp_path: Path) -> None:
    predictions = stored()
    protocol = get_protocol("corel5k")
    table = protocol_table(protocol, {"ours": predictions.measure(**protocol.settings)})
    page = write(tmp_path, tables=[table])
    assert "RIA, rare first (Jin and Nakayama 2016), reported" in page.text
    assert "as reported, not verified" in page.text


@pytest.mark.parametrize("labels", [1, 2, 150])
def test_few_and_many_labels_are_drawn(labels: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"label {c}" for c in range(labels)]
    targets = generator.integers(0, 2, (12, labels))
    predictions = collect_predictions([str(n) for n in range(12)], names, generator.random((12, labels)), targets)
    write(tmp_path, predictions, embedding=generator.normal(size=(labels, 4)))


def test_losses_are_sums_of_cross_entropies() -> None:
    losses = photo_losses(np.array([[0.5, 0.25], [1.0, 0.0]]), np.array([[1, 0], [0, -1]]))
    assert losses[0] == pytest.approx(-np.log(0.5) - np.log(0.75))
    assert np.isfinite(losses[1])
    assert losses[1] > 10


def test_images_without_any_positive_are_drawn(tmp_path: Path) -> None:
    predictions = collect_predictions(["a"], ["x", "y"], np.full((1, 2), 0.5), np.zeros((1, 2)))
    write(tmp_path, predictions)


def bar_heights(axis: Any) -> list[float]:
    """The heights of the bars of an axis."""
    return [bar.get_height() for bar in axis.patches]


def test_figures_hold_the_numbers_that_they_show() -> None:
    scores = np.array([[0.9], [0.8], [0.7], [0.1]])
    truth = np.array([[1], [0], [1], [0]], np.int8)
    axis = plot_precision_recall(scores, truth, ["x"]).axes[0]
    line = axis.lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [0.5, 1]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([1, 2 / 3])
    figure = plot_reliability(scores, truth, bins=2)
    assert figure is not None
    assert bar_heights(figure.axes[0]) == [0, pytest.approx(2 / 3)]
    assert bar_heights(figure.axes[1]) == [1, 3]
    sets = np.array([[1, 1], [1, 0], [1, 0], [1, 1]], bool)
    figure = plot_co_occurrence(sets, ~sets, ["a", "b"], fewest=2)
    assert figure is not None
    shares = figure.axes[0].images[0].get_array()
    assert shares is not None
    assert (shares[0, 1], shares[1, 0]) == (50, 100)
    assert np.ma.is_masked(shares[0, 0]) or np.isnan(shares[0, 0])


def test_neighbours_are_those_of_the_smallest_angle() -> None:
    embedding = np.array([[1, 0], [5, 1], [0, 2], [-1, 0]], float)
    near = nearest_labels(embedding, list("abcd"), most=2)
    assert [name for name, _ in near["a"]] == ["b", "c"]
    assert near["a"][0][1] == pytest.approx(5 / np.sqrt(26))
    with pytest.raises(ValueError, match="4 vectors for 2 labels"):
        nearest_labels(embedding, ["a", "b"])


def test_what_was_looked_at_is_brighter_than_the_rest() -> None:
    looked_at: NDArray[np.float32] = np.zeros((4, 4), np.float32)
    looked_at[:, 2:] = 1
    shown = np.asarray(overlay(Image.new("RGB", (40, 40), (120, 120, 120)), looked_at), float)
    assert shown[:, 35].mean() > 1.5 * shown[:, 5].mean()


def test_missing_libraries_are_named_with_the_way_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("jinja2", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, library, None)
            with pytest.raises(ImportError, match=rf"{library}: pip install 'cnn-rnn\[report\]'"):
                write(tmp_path)
