"""Whatever a file holds is read, or refused by `ValueError` or `OSError` in one line, in bounded time and memory.

Every run tries the same inputs; with `NEW_FUZZING=1` in the environment, others.
"""

import atexit
import os
import re
import resource
import shutil
import signal
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from tests import hostile_files as hostile
from tests.finished_runs import write_run
from tests.hostile_photos import photos

from cnn_rnn.app.photo_tagger import read_photo
from cnn_rnn.app.saved_labels import read_saved, write_saved
from cnn_rnn.commands.report import known_figures
from cnn_rnn.data import Reading, decode_image, load_source
from cnn_rnn.data.files.unpacking import extract_archive
from cnn_rnn.data.photos.pixels import decode_pixels
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.learning.journal import Journal, Step
from cnn_rnn.learning.known_photos import KnownPhotos
from cnn_rnn.metrics.stored_predictions import read_predictions
from cnn_rnn.prediction.answers import read_answers
from cnn_rnn.prediction.found_images import read_list
from cnn_rnn.prediction.saved_model import checked_config
from cnn_rnn.prediction.shards import ParquetShards, TarShards
from cnn_rnn.prediction.xmp_sidecars import write_sidecar
from cnn_rnn.publishing.card_figures import CardFigures
from cnn_rnn.training.data_record import RECORD, DataRecord
from cnn_rnn.training.run_config import load_run_config, with_rules

LONGEST = 60  # seconds for one input: a guard against one that never ends, no measurement
MORE_MEMORY = 2**30  # bytes beyond what the process holds already
STATUS = Path("/proc/self/statm")
DECIDED = Reading(separator=",", empty="unknown", case="keep", no_label="no")


def read_table(path: Path) -> None:
    try:
        load_source("table", path, require_images=False)
    except (ValueError, OSError) as error:
        one_line(error)
        load_source("table", path, require_images=False, reading=DECIDED)


def read_page(path: Path) -> None:
    path = path.rename(path.parent / "metadata.jsonl")
    rows = len(read_saved(path.parent).rows)
    write_saved(path.parent, {"new.jpg": ["cat"]})
    assert len(read_saved(path.parent).rows) >= rows


def extend_sidecar(path: Path) -> None:
    photo, before = path.with_suffix(""), path.read_bytes()
    photo.write_bytes(b"x")
    try:
        write_sidecar(photo, ["a new word"])
    except (ValueError, OSError):
        assert path.read_bytes() == before
        raise
    assert "a new word" in "".join(ET.fromstring(path.read_bytes()).itertext())  # noqa: S314 - what we wrote


def read_config(path: Path) -> None:
    path.rename(path.parent / "config.json")
    checked_config(path.parent)


def read_rules(path: Path) -> None:
    labels = ["cat", "dog", "poodle", "animal", "tv monitor"]
    rules = LabelRules.of(with_rules({"label_rules": str(path)})["label_rules"], labels)
    if rules is not None:
        rules.order_of("frequent_first", None)


def follow_journal(path: Path) -> None:
    before = Journal(path.parent)
    known = KnownPhotos.follow(before.steps)
    for photo in known.photos:
        known.answers(photo)
    before.add(Step({"new.jpg": {"a new word": True}}, by="\udc80"))
    before.last_of("somebody")
    after = Journal(path.parent)
    assert after.steps == before.steps
    assert KnownPhotos.follow(after.steps).photos["new.jpg"].labels["a new word"] is True


def read_record(path: Path) -> None:
    path.rename(path.parent / RECORD)
    record = DataRecord.read(path.parent)
    assert record is not None


def see_photo(path: Path) -> None:
    pixels = decode_pixels(path)
    assert decode_image(path.read_bytes(), "a.jpg").size == pixels.shape[:0:-1]
    read_photo(path)
    decode_image(path, least_size=4)


def read_figures(path: Path) -> None:
    path = path.rename(path.parent / "metrics.json")
    CardFigures(path)
    known_figures(path.with_name("predictions.parquet"))


def ask_server(path: Path, place: str) -> None:
    answer = server().post(place, content=path.read_bytes(), headers={"Content-Type": "application/json"})
    assert answer.status_code < 500
    told = answer.json()
    if answer.status_code != 200:
        one_line(ValueError(told["error"]))


@cache
def server() -> Any:
    """A client of a server with a small model, which takes every photo for the same and has one for its tasks."""
    from starlette.testclient import TestClient

    from cnn_rnn.serving.application import make_application
    from cnn_rnn.serving.at_work import ModelAtWork
    from cnn_rnn.serving.counts import Counts
    from cnn_rnn.serving.gate import Limits
    from cnn_rnn.serving.label_studio import LabelStudio
    from cnn_rnn.serving.service import Service

    class Decoders:
        def decode(self, photo: bytes) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(np.full((3, 32, 32), len(photo) % 7, np.float32))
            return future

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    (folder / "a.jpg").write_bytes(b"photo")
    model = ModelAtWork.load(write_run(folder / "run"), "torch")
    counts, decoders = Counts(), cast("Any", Decoders())
    service = Service(model, decoders, Limits(), counts)
    return TestClient(make_application(service, counts, LabelStudio(service, counts, [folder], folder)))


KINDS: dict[str, tuple[str, hostile.Contents, Callable[[Path], Any]]] = {
    "csv": ("a.csv", hostile.text_tables(), read_table),
    "jsonl": ("a.jsonl", hostile.as_json_lines(hostile.row | hostile.saved_row), read_table),
    "json": ("a.json", hostile.as_json(hostile.value), read_table),
    "coco": ("a.json", hostile.as_json(hostile.coco()), read_table),
    "label_studio": ("a.json", hostile.as_json(hostile.label_studio()), read_table),
    "cvat": ("a.xml", hostile.xml_texts(), read_table),
    "voc": ("a.xml", hostile.xml_texts(), lambda path: load_source("voc_xml", path.parent, require_images=False)),
    "xlsx": ("a.xlsx", hostile.workbooks(), read_table),
    "parquet": ("a.parquet", hostile.parquets(), read_table),
    "sidecar": ("a.jpg.xmp", hostile.sidecars(), extend_sidecar),
    "saved_rows": ("a.jsonl", hostile.as_json_lines(hostile.saved_row | hostile.row), read_page),
    "known": (
        "a.jsonl",
        hostile.as_json_lines(hostile.known_row | hostile.row),
        lambda path: read_answers(path, ["a.jpg"], ["cat", "dog"]),
    ),
    "predictions": ("a.parquet", hostile.predictions() | hostile.parquets(), read_predictions),
    "rules": ("a.yaml", hostile.rules(), read_rules),
    "journal": ("steps.jsonl", hostile.as_json_lines(hostile.steps() | hostile.row), follow_journal),
    "tar": ("a.tar", hostile.tars(), lambda path: list(TarShards([str(path)]))),
    "archive": ("a.tar", hostile.tars() | hostile.zips(), lambda path: extract_archive(path, path.parent / "out")),
    "shard": ("a.parquet", hostile.parquets(), lambda path: list(ParquetShards([str(path)], 2))),
    "list": ("a.txt", hostile.name_lists(), lambda path: list(read_list(path))),
    "asked": ("a.json", hostile.as_json(hostile.questions()), lambda path: ask_server(path, "/predict")),
    "tasks": ("a.json", hostile.as_json(hostile.studio_requests()), lambda path: ask_server(path, "/predict")),
    "webhook": ("a.json", hostile.as_json(hostile.studio_requests()), lambda path: ask_server(path, "/webhook")),
    "setup": ("a.json", hostile.as_json(hostile.studio_requests()), lambda path: ask_server(path, "/setup")),
    "photo": ("a.jpg", photos(), see_photo),
    "record": ("a.parquet", hostile.parquets(), read_record),
    "figures": ("a.json", hostile.as_json(hostile.row | hostile.value), read_figures),
    "run_config": ("a.yaml", hostile.yaml_texts(), load_run_config),
    "model_config": ("a.json", hostile.as_json(hostile.model_configs()), read_config),
}


@contextmanager
def bounded() -> Iterator[None]:
    """A process that may take so many seconds and, where Linux tells what it holds, so much more memory."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"more than {LONGEST} seconds")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    if STATUS.exists():
        held = int(STATUS.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MORE_MEMORY, limits[1]))
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def one_line(error: Exception) -> None:
    told = str(error).strip()
    assert told
    assert "\n" not in told


def test_names_with_line_breaks_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"file_name": "cat", "labels": {"\\n": {}}}\n')
    with pytest.raises(ValueError, match="line 1: column 'labels") as refused:
        load_source("table", path, require_images=False)
    one_line(refused.value)


@pytest.fixture(autouse=True)
def same_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and texts of our code are no inputs, unless new ones are wanted: each commit would try others."""
    if "NEW_FUZZING" not in os.environ:
        monkeypatch.setattr(providers, "_get_local_constants", Constants)
        providers.CONSTANTS_CACHE.cache.clear()  # of those of other tests


@pytest.mark.parametrize("header", [b"\x1f\x8b\x08", b"\x1f\x8b\x08\x00\x00", b"BZh", b"\xfd7zXZ"])
def test_a_header_over_which_a_library_stumbles_is_a_broken_archive(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(header)
    for read in (lambda: list(TarShards([str(path)])), lambda: extract_archive(path, tmp_path / "out")):
        with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
            read()
        one_line(refused.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", [15, pytest.param(1500, marks=pytest.mark.slow)], ids=["few", "many"])
def test_each_input_is_read_or_refused_in_one_line(
    kind: str, examples: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    called, contents, read = KINDS[kind]

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize="NEW_FUZZING" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile.spoilt(contents))
    def check(content: bytes) -> None:
        path = tmp_path_factory.mktemp("input") / called
        path.write_bytes(content)
        with bounded():
            try:
                read(path)
            except (ValueError, OSError) as error:
                one_line(error)

    check()
