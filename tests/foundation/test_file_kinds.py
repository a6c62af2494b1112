"""A file that is not what its name says is told by what it is, with the way out."""

from pathlib import Path

import pytest
from tests.finished_runs import write_run

from cnn_rnn.data import UnreadableImageError, decode_image, load_source
from cnn_rnn.foundation.file_kinds import kind_of, kind_of_file
from cnn_rnn.prediction.input_kinds import open_inputs
from cnn_rnn.prediction.saved_model import SavedModel

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><title>429 Too Many Requests</title></html>"
TOLD = {
    POINTER: "it is a pointer of Git LFS; 'git lfs pull' gets the file itself",
    PAGE: "it is a web page, perhaps of",
}


@pytest.mark.parametrize("content", [POINTER, PAGE], ids=["pointer", "page"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json", "a.parquet", "a.xlsx"])
def test_a_label_file_that_is_none_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=TOLD[content]) as error:
        load_source("table", path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [*TOLD.items(), (b"", "it is empty"), (b"\0" * 4096, "it begins with bytes of zero")],
    ids=["pointer", "page", "empty", "zeros"],
)
def test_a_photo_that_is_none_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for image in (tmp_path / "a.jpg", content):
        with pytest.raises(UnreadableImageError, match=rf"cannot be decoded \({told}"):
            decode_image(image, "a.jpg")


@pytest.mark.parametrize("name", ["a.parquet", "a.tar"])
def test_a_shard_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match="it is a pointer of Git LFS"):
        list(open_inputs(str(tmp_path / name), None, None, 9, tmp_path).part(0))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_model_whose_file_is_none_is_told(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name} is a pointer of Git LFS; 'git lfs pull' gets the file itself"):
        SavedModel.load(run)


def test_what_is_none_of_these_or_is_not_there_has_no_kind(tmp_path: Path) -> None:
    assert kind_of(b"file_name,labels\n") is kind_of(b"\xff\xd8\xff") is kind_of_file(tmp_path / "gone") is None
