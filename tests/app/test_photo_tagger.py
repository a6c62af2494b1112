"""The model beside a person: its own probabilities, moved by what is known, and photos that are no photos refused."""

import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.finished_runs import LABELS, write_run

from cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.app.photo_session import PhotoSession
from cnn_rnn.app.photo_tagger import PHOTOS_KEPT, Tagger, read_photo
from cnn_rnn.app.tagging_page import Desk
from cnn_rnn.data import UnreadableImageError
from cnn_rnn.prediction import SavedModel


def png_of(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is of that size."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_knowing_nothing_it_says_what_the_pipeline_says(tagger: Tagger, photos: Path) -> None:
    classify = MultiLabelImageClassificationPipeline(tagger.saved.model, image_processor=tagger.saved.processor)
    found = classify(str(photos / "0.jpg"), threshold=0.0, return_path=True)
    expected = tagger.expect(tagger.look(photos / "0.jpg"), {})
    told = {entry["label"]: entry["score"] for entry in found["labels"]}
    assert expected.probabilities == pytest.approx(told, abs=1e-5)
    branch, walked = expected.tree[0], []
    while branch.label is not None:
        walked.append(branch.label)
        branch = branch.branches[0] if branch.branches else type(branch)(None, 1.0)
    assert walked[:1] == [entry["label"] for entry in found["path"]][:1]


def test_by_onnxruntime_it_says_the_same_and_shows_where_it_looked(
    tagger: Tagger, photos: Path, tmp_path: Path
) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the engine needs it: pip install 'cnn-rnn[export]'")
    tagger.saved.model.save_pretrained(tmp_path / "run")
    tagger.saved.processor.save_pretrained(tmp_path / "run")
    fast = Tagger.load(tmp_path / "run")
    assert fast.engine.startswith("engine onnx on cpu")
    assert list((tmp_path / "run" / "onnx").glob("*.onnx"))
    sight, plain = fast.look(photos / "1.jpg"), tagger.look(photos / "1.jpg")
    expected = tagger.expect(plain, {LABELS[0]: True}).probabilities
    assert fast.expect(sight, {LABELS[0]: True}).probabilities == pytest.approx(expected, abs=1e-4)
    assert fast.explain(sight, LABELS[1]).size == sight.photo.size


def test_what_is_known_is_certain_and_moves_the_others(tagger: Tagger, photos: Path) -> None:
    sight = tagger.look(photos / "1.jpg")
    before = tagger.expect(sight, {}).probabilities
    for confirmed in (True, False):
        now = tagger.expect(sight, {LABELS[0]: confirmed, "a label of one's own": True}).probabilities
        assert now[LABELS[0]] == float(confirmed)
        assert list(now) == LABELS
    assert any(abs(now[name] - before[name]) > 1e-4 for name in LABELS[1:])


def test_all_labels_may_be_confirmed(tagger: Tagger, photos: Path) -> None:
    everything = dict.fromkeys(LABELS, True)
    assert tagger.expect(tagger.look(photos / "0.jpg"), everything).probabilities == dict.fromkeys(LABELS, 1.0)


def test_where_the_network_looked_is_as_large_as_the_photo(tagger: Tagger, photos: Path) -> None:
    sight = tagger.look(photos / "2.jpg")
    assert tagger.explain(sight, LABELS[1]).size == sight.photo.size
    assert tagger.expect(sight, {}).probabilities  # the model is as it was


def test_another_photo_of_the_same_name_is_looked_at(tagger: Tagger, tmp_path: Path) -> None:
    for side in (8, 16):
        Image.new("RGB", (side, side)).save(tmp_path / "0.png")
        assert tagger.look(tmp_path / "0.png").photo.size == (side, side)


def test_only_the_last_photos_stay_in_memory(tagger: Tagger, tmp_path: Path) -> None:
    for index in range(PHOTOS_KEPT + 2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
        tagger.look(tmp_path / f"{index}.png")
    assert len(tagger._seen) == PHOTOS_KEPT  # noqa: SLF001 - what memory holds is nowhere else to be seen


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("text.jpg", b"<html>no photo</html>", "it is no photo"),
        ("empty.png", b"", "it is no photo"),
        ("cut.png", png_of(40, 40), "cannot be decoded"),
        ("bomb.png", png_of(60_000, 60_000), "too many pixels"),
        ("large.png", png_of(9_000, 9_000), "9000 x 9000 pixels are more than the 50 million"),
        ("run.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no photo"),
    ],
)
def test_what_is_no_photo_or_too_large_is_refused_by_name(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImageError, match=told) as refused:
        read_photo(tmp_path / name)
    assert name in str(refused.value)


def test_a_large_jpeg_is_read_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (6_000, 4_200), "red").save(tmp_path / "large.jpg")
    assert max(read_photo(tmp_path / "large.jpg").size) < 3_000


def test_a_plain_head_has_no_walks(tmp_path: Path, photos: Path) -> None:
    from tests.finished_runs import write_run

    from cnn_rnn.prediction import SavedModel

    run = write_run(tmp_path / "plain", path_loss="none", fusion="relevance")
    plain = Tagger(SavedModel.load(run))
    expected = plain.expect(plain.look(photos / "0.jpg"), {LABELS[0]: False})
    assert expected.tree == []
    assert expected.probabilities[LABELS[0]] == 0
    assert torch.tensor(list(expected.probabilities.values())).isfinite().all()


def test_a_page_with_rules_takes_in_what_follows_and_accepts_sets_that_obey(tmp_path: Path, photos: Path) -> None:
    rules = {"implies": {LABELS[2]: LABELS[1]}, "excludes": [[LABELS[1], LABELS[3]]]}
    fields = {"fusion": "path", "known_labels": "state", "label_rules": rules, "thresholds": [0.5, 0.9, 0.0, 0.0]}
    ruled = Tagger(SavedModel.load(write_run(tmp_path / "ruled", **fields)))
    page = Desk(ruled)
    session = PhotoSession.of_folder(photos, sorted(photos.iterdir()))
    sight = ruled.look(photos / "0.jpg")
    known = ruled.expect(sight, {LABELS[3]: True, LABELS[2]: True}).probabilities
    assert [known[name] for name in LABELS[1:]] == [1, 1, 0]  # the latest answer counts
    chosen = ruled.chosen(dict(zip(LABELS, [0.1, 0.3, 0.3, 0.2], strict=True)))
    assert chosen == {LABELS[1], LABELS[2]}
    shown = session.shown
    assert shown is not None
    page.decide(session, "confirm", 3)
    page.decide(session, "confirm", 2)
    assert shown.known == {LABELS[2]: True}
    page.accept(session)
    assert shown.accepted is not None
    assert {LABELS[1], LABELS[2]} <= set(shown.accepted)
    assert LABELS[3] not in shown.accepted
