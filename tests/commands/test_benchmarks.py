"""The benchmark at small size: loaders take what it generates, and it prints what it measured."""

import importlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

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


@pytest.fixture
def small_models(patch: pytest.MonkeyPatch) -> ModuleType:
    models = importlib.import_module("walking_models")
    for name, value in {"IMAGES": 4, "WALKS": 8, "STEPS": 2, "BATCH": 4}.items():
        patch.setattr(models, name, value)
    return models


def measure_parts(parts: dict[str, Any], folder: Path) -> list[Any]:
    """The rows of all parts, once those of each have the keys that it says, by which it is asked for."""
    rows = []
    for name, part in parts.items():
        (folder / name).mkdir()
        found = list(part.measure(folder / name))
        assert {row.key for row in found if row.key} == set(part.keys), name
        rows += found
    return rows


@pytest.mark.slow
def test_predictions_are_measured_against_the_backbone_alone(
    tmp_path: Path, patch: pytest.MonkeyPatch, small_models: ModuleType
) -> None:
    module = importlib.import_module("predict_section")
    sizes = {"SIDE": 32, "LABELS": 5, "MANY_LABELS": (6,), "PHOTOS": 2, "MANY_PHOTOS": 3, "PIPELINE_BATCH": 2}
    searches = {"SEARCH_LABELS": 6, "SEARCH_WIDTH": 2, "SEARCH_BATCH": 4, "SEARCHED_PLAINLY": 2}
    for name, value in {**sizes, **searches, "BATCHES": (1, 2), "TURNS": {1: 1, 2: 1}}.items():
        patch.setattr(module, name, value)
    patch.setattr(module, "RESNET", "test_resnet")
    patch.setattr(module, "LITE", "test_byobnet")
    parts = module.parts()
    del parts["gpu"]
    rows = measure_parts(parts, tmp_path)
    assert {row.key for row in rows} >= {
        *("predict_over_backbone_test_resnet", "predict_over_backbone_lite0"),
        *("predict_batch1_over_backbone_test_resnet", "predict_batch1_over_backbone_lite0"),
        *("never_ending_over_ending", "beam_over_reference", "pipeline_over_backbone", "bulk_over_backbone"),
    }
    assert all(row.reference > 0 and row.floor > 0 for row in rows)
    model = small_models.walking_model("test_resnet", 5, ends=False, image_size=32)
    paths = model.generate(small_models.varied_images(3, 32)).paths
    assert paths.lt(5).all()  # such walks go on to the most labels there are


def test_the_plain_search_that_ours_is_measured_against_finds_the_same(small_models: ModuleType) -> None:
    plain_search = importlib.import_module("predict_section").plain_search
    model = small_models.walking_model("test_resnet", 7, image_size=32)
    with torch.inference_mode():
        features = model.encode_images(small_models.varied_images(3, 32))
        found = model.generate(image_features=features, beam_width=3)
        for row, paths, scores in zip(features, found.paths.tolist(), found.path_scores.tolist(), strict=True):
            expected = plain_search(model, row[None], 3)
            assert [tuple(label for label in path if label < 7) for path in paths] == [path for _, path in expected]
            assert scores == pytest.approx([score for score, _ in expected], abs=1e-5)


@pytest.mark.usefixtures("patch")
def test_a_limit_is_kept_or_missed_and_the_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark, row_module = importlib.import_module("bench"), importlib.import_module("row")
    row = row_module.Row
    rows = [
        row("twice", 2.0, "s", 1.0, "<= 1.5"),
        row("fast", 3.0, "s", 3.0, ">= 0.9"),
        row("alone", 4.0, "s", wanted="<= 5"),
    ]
    assert [entry.good for entry in rows] == [False, True, True]
    assert row("free", 1.0, "s").good is None
    monkeypatch.setattr(benchmark, "SECTIONS", ("some",))
    monkeypatch.setattr(benchmark, "parts_of", lambda _: {"some.all": row_module.Part(lambda _: rows, ("a_key",))})
    output = tmp_path / "bench.json"
    assert benchmark.main(["some", "--output", str(output)]) == 1
    figures = json.loads(output.read_text())["some"]
    assert [figure["ratio"] for figure in figures] == [2.0, 1.0, None]
    with pytest.raises(SystemExit):
        benchmark.main(["nonsense"])


@pytest.mark.usefixtures("patch")
def test_a_section_a_part_and_a_key_each_measure_what_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, row_module = importlib.import_module("bench"), importlib.import_module("row")
    took = {"fast": 1.0, "slow": 2.0}

    def part(name: str) -> Any:
        return row_module.Part(
            lambda _: [row_module.Row(name, took[name], "s", 1.0, key=f"{name}_key")], (f"{name}_key",)
        )

    monkeypatch.setattr(benchmark, "SECTIONS", ("some",))
    monkeypatch.setattr(benchmark, "parts_of", lambda _: {f"some.{name}": part(name) for name in took})
    assert list(benchmark.choose_parts(["some"])) == ["some.fast", "some.slow"]
    assert list(benchmark.choose_parts(["some.slow", "slow_key"])) == ["some.slow"]
    for name in ("other", "some.other", "other_key"):
        with pytest.raises(ValueError, match="--list names them all"):
            benchmark.choose_parts([name])
    # What is measured again takes the place of what stood there; the rest stays, but for that of another machine.
    output = tmp_path / "bench.json"
    benchmark.main(["some", "--output", str(output)])
    took["slow"] = 3.0
    benchmark.main(["slow_key", "--output", str(output)])
    assert json.loads(output.read_text())["ratios"] == {"fast_key": 1.0, "slow_key": 3.0}
    monkeypatch.setattr(benchmark, "_machine", lambda: {"cores": 1000})
    benchmark.main(["slow_key", "--output", str(output)])
    assert json.loads(output.read_text())["ratios"] == {"slow_key": 3.0}


@pytest.mark.usefixtures("patch")
def test_every_limit_of_the_sections_stands_under_a_key_of_its_own() -> None:
    benchmark = importlib.import_module("bench")
    keys = [key for name in benchmark.SECTIONS for part in benchmark.parts_of(name).values() for key in part.keys]
    assert len(keys) == len(set(keys))
    assert {"train_over_linear", "cached_step_over_linear", "int8_over_float32", "bulk_onnx_over_torch"} <= set(keys)


@pytest.mark.usefixtures("patch")
def test_metrics_and_a_cached_step_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, train = importlib.import_module("metrics_section"), importlib.import_module("train_section")
    sizes = {"tiny": metrics.Size(60, 4, 2.0, metrics.np.float32, "<= 0.2", "tiny_key")}
    monkeypatch.setattr(metrics, "SIZES", sizes)
    assert {row.key for row in measure_parts(metrics.parts(), tmp_path)} == {"tiny_key", ""}
    for name, value in {"CACHED_BATCH": 4, "CACHED_LABELS": 5}.items():
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(train, "REAL", train.Load("test_resnet", 32, 2, "no"))
    (row,) = train.parts()["cached"].measure(tmp_path)
    assert row.key == "cached_step_over_linear"
    assert row.floor > 0


@pytest.mark.usefixtures("patch")
def test_a_start_is_over_when_it_is_at_work_and_its_memory_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("start_section")
    begins = "import sys, time; held = bytearray(80 << 20); print('  3%| 1/30 [', file=sys.stderr, flush=True)"
    ways = {
        "ends": module.Start(module.cli("--help"), seconds="<= 1000", megabytes="<= 60"),
        "goes on": module.Start(["-c", f"{begins}; time.sleep(600)"], module.says(module.FIRST_STEP)),
    }
    for name, value in {"TURNS": 1, "REFERENCE": "import json", "starts_of": lambda _: ways}.items():
        monkeypatch.setattr(module, name, value)
    rows = {row.what: row for row in module.measure(tmp_path)}
    assert rows["ends"].key == module.KEY
    assert rows["ends, memory"].good  # this process has more, which is no business of the other
    assert rows["goes on"].ours < 300
    assert 80 < rows["goes on, memory"].ours < 120
    monkeypatch.setattr(module, "starts_of", lambda _: {"fails": module.Start(["-c", "raise SystemExit('no')"])})
    with pytest.raises(SystemExit, match="no"):
        list(module.measure(tmp_path))


@pytest.mark.usefixtures("patch")
def test_rows_of_two_engines_differ_where_a_label_a_step_or_a_probability_does() -> None:
    compare = importlib.import_module("same_rows").compare
    labels = [{"label": "cat", "score": 0.9}, {"label": "sofa", "score": 0.6}]
    row = {"labels": labels, "path": labels[::-1], "path_score": 0.5}
    same = {"largest_difference": 0.0, "other_sets": 0, "other_paths": 0}
    assert compare({"a.jpg": row}, {"a.jpg": row}) == same
    assert compare({"a.jpg": row}, {"a.jpg": row | {"labels": labels[:1]}})["other_sets"] == 1
    assert compare({"a.jpg": row}, {"a.jpg": row | {"path": labels}})["other_paths"] == 1
    nearly = row | {"labels": [labels[0], {"label": "sofa", "score": 0.7}], "path_score": 0.45}
    assert compare({"a.jpg": row}, {"a.jpg": nearly}) == same | {"largest_difference": pytest.approx(0.1)}


@pytest.mark.parametrize("test", [0, pytest.param(40, marks=pytest.mark.slow)])
def test_the_scale_section_measures_every_stage(tmp_path: Path, patch: pytest.MonkeyPatch, test: int) -> None:
    module, costs = importlib.import_module("scale_section"), importlib.import_module("costs")
    size = module.SetSize(60, test, 4)
    patch.setattr(costs, "LOOKS", 0.01)
    for name, value in {"SET_SIZES": {"small": size}, "NAMES": 40, "SAMPLES": 3}.items():
        patch.setattr(module, name, value)
    rows = module.measure(tmp_path)
    assert len(rows) == 2 * len(list(module.stages(size))) + 2
    assert all(row.ours > 0 and row.reference > 0 for row in rows)


def test_what_a_stage_costs_counts_all_its_processes_and_a_failure_is_no_figure(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    costs = importlib.import_module("costs")
    patch.setattr(costs, "LOOKS", 0.01)

    def hold(_: Path, megabytes: int) -> None:
        child = os.fork()
        held = b"x" * (megabytes << 20)
        time.sleep(0.3)
        assert held
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    def fail(*_: object) -> None:
        raise ValueError("no")

    small, large = costs.cost_of(hold, tmp_path, 1), costs.cost_of(hold, tmp_path, 401)
    # Held twice: 800 more. What the process had before varies by up to 200, with who else shares its pages.
    assert 600 < large.megabytes - small.megabytes < 1000
    with pytest.raises(RuntimeError, match="the process failed"):
        costs.cost_of(fail, tmp_path, 1)
