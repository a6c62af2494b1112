"""Photos of tasks come from the folders that were named, and from nowhere else."""

import base64
from pathlib import Path

import pytest

from cnn_rnn.serving.refusals import RefusedError
from cnn_rnn.serving.studio_photos import photo_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Label Studio has it, with a way out of it and a secret beside it."""
    found = tmp_path / "media"
    (found / "upload" / "1").mkdir(parents=True)
    (found / "upload" / "1" / "a b.jpg").write_bytes(b"uploaded")
    (found / "c.jpg").write_bytes(b"local")
    (found / "empty.jpg").write_bytes(b"")
    (found / "large.jpg").write_bytes(bytes(200))
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (found / "way_out.jpg").symlink_to(tmp_path / "secret.jpg")
    return found


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("/data/upload/1/a%20b.jpg", b"uploaded"),
        ("/data/upload/1/a b.jpg", b"uploaded"),
        ("/data/local-files/?d=c.jpg", b"local"),
        ("/data/local-files/?d=upload/1/a%20b.jpg", b"uploaded"),
        ("c.jpg", b"local"),
        ("upload/../c.jpg", b"local"),
        ("data:image/jpeg;base64," + base64.b64encode(b"inside").decode(), b"inside"),
    ],
    ids=["uploaded", "uploaded with a space", "local", "local with a space", "a name", "up and down", "inside"],
)
def test_what_lies_there_is_read(folder: Path, address: str, content: bytes) -> None:
    assert photo_of(address, [folder.parent / "other", folder], 100) == content


@pytest.mark.parametrize(
    "address",
    [
        "../secret.jpg",
        "/data/upload/../../secret.jpg",
        "/data/upload/%2e%2e/%2e%2e/secret.jpg",
        "/data/local-files/?d=../secret.jpg",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/",
        "/etc/passwd",
        "way_out.jpg",
        "",
        "a\0b.jpg",
        "upload",
        "empty.jpg",
        "large.jpg",
        "http://localhost/data/upload/1/a%20b.jpg",
        "http://[::1",
        "//localhost/c.jpg",
        "file:///etc/passwd",
        "s3://bucket/c.jpg",
        "data:text/plain;base64,AAAA",
        "data:image/png;base64,",
        "data:image/png;base64,*",
        "x" * 5000,
        None,
        ["c.jpg"],
        {"url": "c.jpg"},
    ],
    ids=[
        *("upward", "upward from uploads", "upward, escaped", "upward from local files", "from the root", "no name"),
        *("the root", "a link out", "empty", "a zero", "a folder", "an empty file", "a large file", "an address"),
        *(
            "half an address",
            "an address without scheme",
            "a file's address",
            "a bucket",
            "text",
            "no bytes",
            "no base64",
        ),
        *("long", "none", "a list", "an object"),
    ],
)
def test_everything_else_is_refused_in_one_line(folder: Path, address: object) -> None:
    with pytest.raises(RefusedError) as error:
        photo_of(address, [folder], 100)
    assert error.value.status == 422
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_without_a_folder_there_is_none() -> None:
    with pytest.raises(RefusedError, match="--photos"):
        photo_of("c.jpg", [], 100)
