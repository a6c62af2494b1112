"""The benchmark at small size: loaders take what it generates, and it prints what it measured."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cnn_rnn.data import load_coco, load_nus_wide

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        context.syspath_prepend(str(BENCHMARKS))
        yield context


@pytest.fixture(scope="module")
def data(patch: pytest.MonkeyPatch) -> ModuleType:
    module = importlib.import_module("data_section")
    small = {"COCO_IMAGES": 50, "COCO_BOXES": 300, "NUS_WIDE_IMAGES": {"Train": 30, "Test": 20}, "NUS_WIDE_CONCEPTS": 5}
    for name, value in {**small, "PHOTOS": 12, "BATCH": 4, "WORKERS": 1, "ROUNDS": 1, "SIDE": 32}.items():
        patch.setattr(module, name, value)
    return module


def test_generated_sets_load(tmp_path: Path, data: ModuleType) -> None:
    path = tmp_path / "annotations" / "instances_train2014.json"
    data.write_coco(path)
    document = json.loads(path.read_text())
    assert len(document["annotations"]) == 300
    assert len(document["annotations"][0]["segmentation"][0]) % 2 == 0
    assert len(load_coco(tmp_path, 2014, require_images=False)["train"]) == 50
    data.write_nus_wide(tmp_path / "nus")
    sets = load_nus_wide(tmp_path / "nus", require_images=False)
    assert {name: len(rows) for name, rows in sets.items()} == {"train": 30, "test": 20}


def test_the_loader_is_measured_against_the_bare_way(tmp_path: Path, data: ModuleType) -> None:
    octets, normalised, floats, memory = data.measure_loader(tmp_path)
    assert octets.reference == floats.reference == normalised.reference > 0
    assert octets.ratio == octets.ours / octets.reference
    assert memory.ours > 0


def test_a_limit_is_kept_or_missed_and_the_table_says_so(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    benchmark, row = importlib.import_module("bench"), importlib.import_module("row").Row
    rows = [
        row("twice", 2.0, "s", 1.0, "<= 1.5"),
        row("fast", 3.0, "s", 3.0, ">= 0.9"),
        row("alone", 4.0, "s", wanted="<= 5"),
    ]
    assert [entry.good for entry in rows] == [False, True, True]
    assert row("free", 1.0, "s").good is None
    patch.setattr(benchmark, "SECTIONS", {"some": lambda _: rows})
    assert benchmark.main(["some", "--output", str(tmp_path / "bench.json")]) == 1
    figures = json.loads((tmp_path / "bench.json").read_text())["some"]
    assert [figure["ratio"] for figure in figures] == [2.0, 1.0, None]
    with pytest.raises(SystemExit):
        benchmark.main(["nonsense"])


def test_the_scale_section_measures_every_stage(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("scale_section")
    for name, value in {"PHOTOS": 60, "NAMES": 40, "LABELS": 4, "SAMPLES": 3}.items():
        patch.setattr(module, name, value)
    rows = module.measure(tmp_path)
    assert len(rows) == 2 * len(module.STAGES) + 2
    assert all(row.ours > 0 and row.reference > 0 for row in rows)
