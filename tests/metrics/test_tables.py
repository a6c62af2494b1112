"""Protocols print the paper's tables: ours, a baseline and what was reported, in four forms."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.protocols import PROTOCOLS, get_protocol
from cnn_rnn.metrics.tables import class_table, comparison_table, figures_table, interval_table, protocol_table


def figures(name: str = "coco2014", images: int = 30, labels: int = 12, **settings: Any) -> dict[str, Any]:
    """Figures by a protocol on random scores; the last class has no positives."""
    generator = np.random.default_rng(0)
    scores, targets = generator.random((images, labels)), generator.integers(0, 2, (images, labels))
    targets[:, -1] = 0
    metrics = MultiLabelMetrics([f"class|{c}" for c in range(labels)], **get_protocol(name).settings | settings)
    metrics.update(scores, targets, paths=scores > 0.7)
    return metrics.compute()


@pytest.mark.parametrize(
    ("name", "top_k", "method"),
    [
        ("voc2007", 3, "11point"),
        ("coco2014", 3, "area"),
        ("nus-wide-81", 3, "area"),
        ("nus-wide-1000", 10, "area"),
        ("corel5k", 5, "area"),
    ],
)
def test_every_protocol_prints_its_table(name: str, top_k: int, method: str) -> None:
    protocol = get_protocol(name)
    computed = figures(name)
    table = protocol_table(protocol, {"CNN-RNN (ours)": computed})
    assert (protocol.top_k, protocol.average_precision_method) == (top_k, method)
    assert computed["top_k"]["k"] == top_k
    headings = [column.heading for column in table.columns]
    for reported in protocol.reported:
        assert set(reported.figures) <= set(headings)
        assert reported.unverified <= set(reported.figures)
    assert table.rows[0].figures[headings[-1]] == computed["mAP"]
    assert "CNN-RNN (ours)" in table.text()


def test_only_these_protocols_exist() -> None:
    assert list(PROTOCOLS) == ["voc2007", "coco2014", "nus-wide-81", "nus-wide-1000", "corel5k"]
    with pytest.raises(ValueError, match=r"protocol 'coco2041' is unknown: .*did you mean 'coco2014'"):
        get_protocol("coco2041")


def test_ours_stand_beside_the_baseline_and_the_reported_rows_with_unverified_figures_marked() -> None:
    ours, baseline = figures(), figures(images=20)
    table = protocol_table(get_protocol("coco2014"), {"ours": ours, "relevance only": baseline})
    assert [row.name for row in table.rows] == [
        "ours",
        "ours, predicted path",
        "relevance only",
        "relevance only, predicted path",
        "CNN-RNN (Wang et al. 2016), reported",
    ]
    assert table.rows[0].figures["C-F1"] == ours["top_k"]["CF1"]
    assert table.rows[1].figures["O-F1"] == ours["path"]["OF1"]
    text = table.text()
    reported = next(line for line in text.splitlines() if "Wang" in line)
    assert "66.0*" in reported
    assert "60.4 " in reported
    assert "* as reported, not verified" in text
    assert f"{100 * ours['top_k']['CF1']:.1f}" in text
    assert "ours: measured on 30 images; the protocol's test part has 40504: not comparable" in text
    assert "1 classes without positives take no part in class means: class|11." in text


def test_columns_of_the_text_are_aligned() -> None:
    lines = protocol_table(get_protocol("corel5k"), {"ours": figures("corel5k")}).text().splitlines()[2:7]
    assert len({len(line) for line in lines}) == 1


def test_markdown_csv_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    ours = figures()
    table = protocol_table(get_protocol("coco2014"), {"ours|x": ours})
    paths = table.write(tmp_path / "new", "coco")
    assert [path.name for path in paths] == ["coco.json", "coco.md", "coco.csv"]
    loaded = json.loads(paths[0].read_text())
    assert loaded["rows"][0]["figures"]["O-F1"] == ours["top_k"]["OF1"]
    assert loaded["rows"][-1]["unverified"] == ["C-P", "C-R", "O-P", "O-R"]
    rows = list(csv.DictReader(io.StringIO(paths[2].read_text())))
    assert float(rows[0]["O-F1"]) == ours["top_k"]["OF1"]
    assert rows[1]["mAP"] == ""
    assert rows[-1]["unverified"] == "C-P C-R O-P O-R"
    markdown = [line for line in paths[1].read_text().splitlines() if line.startswith("|")]
    assert len(markdown) == 2 + len(rows)
    assert len({line.replace("\\|", "").count("|") for line in markdown}) == 1


def test_figures_under_other_rules_have_no_place_in_a_protocol() -> None:
    with pytest.raises(ValueError, match="top_k 5 in a table of coco2014: expected 3"):
        protocol_table(get_protocol("coco2014"), {"ours": figures(top_k=5)})
    with pytest.raises(ValueError, match="average_precision_method 'area' in a table of voc2007: expected '11point'"):
        protocol_table(get_protocol("voc2007"), {"ours": figures()})


def test_figures_table_has_a_line_for_every_way_of_choosing_the_set() -> None:
    computed = figures(map_k=4, min_positives=15)
    table = figures_table({"ours": computed})
    blocks = ("path", "threshold", "expected_f1", "top_k")
    assert [row.name for row in table.rows] == [
        "ours, by path",
        "ours, by threshold",
        "ours, by expected F1",
        "ours, top 3",
    ]
    for heading, key in (("C-F1", "CF1"), ("exact", "exact_match")):
        assert [row.figures[heading] for row in table.rows] == [computed[block][key] for block in blocks]
    assert [column.heading for column in table.columns][-2:] == ["MAP@4", "mAP"]
    assert "with fewer than 15 positives" in table.text()
    both = figures_table({"ours": computed, "theirs": figures(map_k=4)})
    assert [note.count("30 images") for note in both.notes] == [1, 0, 0, 0]  # said once, and what differs of each
    assert [note.partition(" classes")[0] for note in both.notes[1:-1]] == ["ours: 5", "theirs: 1"]
    assert [row.name for row in figures_table({"x": {**computed, "path": None}}).rows] == [
        "x, by threshold",
        "x, by expected F1",
        "x, top 3",
    ]


def test_class_table_shows_counts_and_what_is_undefined() -> None:
    table = class_table(figures(), "threshold")
    assert len(table.rows) == 12
    last = table.text().splitlines()[-2 if not table.notes else 4 + 11]
    assert last.split() == ["class|11", "-", "0", "-", "-", "-"]
    assert [row.name for row in class_table(figures(), names=["class|3", "class|1"]).rows] == ["class|3", "class|1"]


def test_intervals_and_comparisons_are_tables_too() -> None:
    figure = {"value": 0.5, "low": 0.4, "high": 0.625, "standard_error": 0.05}
    rare = dict.fromkeys(figure) | {"reason": "too rare"}
    intervals = {"level": 0.95, "samples": 10, "seed": 3, "figures": {"mAP": figure, "path.CF1": rare}}
    few = interval_table(intervals | {"figures": {"mAP": rare, "path.CP": rare, "path.CR": rare | {"reason": "one"}}})
    assert few.notes[1:] == ("mAP, path.CP: no interval: too rare.", "path.CR: no interval: one.")
    lines = interval_table(intervals).text().splitlines()
    assert lines[0] == "95 % intervals over images"
    assert lines[4].split() == ["mAP", "50.0", "40.0", "62.5", "5.0"]
    assert lines[5].split() == ["path.CF1", "-", "-", "-", "-"]
    assert lines[-2].endswith("seed 3.")
    assert lines[-1] == "path.CF1: no interval: too rare."
    compared = {"first": 0.5, "second": 0.6, "difference": 0.1, "low": -0.05, "high": 0.2} | {
        "standard_error": 0.06,
        "p_value": 0.004,
    }
    comparison = {"level": 0.9, "samples": 10, "seed": 3, "figures": {"mAP": compared}}
    table = comparison_table(comparison, "baseline", "ours")
    assert table.text().splitlines()[4].split() == ["mAP", "50.0", "60.0", "10.0", "-5.0", "20.0", "6.0", "0.4"]
    assert table.json()["rows"][0]["figures"]["ours"] == 0.6
    mixed = comparison_table(comparison | {"figures": {"predicted_set.CP": compared}})
    assert "the other's sets by threshold" in mixed.notes[0]
