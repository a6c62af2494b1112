"""What this user wrote is known by a record that nobody else can make."""

from contextlib import suppress
from pathlib import Path

import pytest

from cnn_rnn.foundation.own_files import is_own, kept_aside, record_own


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Places of records of our own; returns that of the first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path / "state" / "cnn-rnn" / "written"


def test_a_content_is_known_as_what_it_was_written_for(tmp_path: Path) -> None:
    assert not is_own(b"content", "graph")
    record_own(b"content", "graph")
    assert is_own(b"content", "graph")
    (tmp_path / "file").write_bytes(b"content")
    assert is_own(tmp_path / "file", "graph")
    assert not is_own(b"content", "another graph")
    assert not is_own(b"another content", "graph")


@pytest.mark.parametrize("below", [".", ".."])
def test_a_record_where_others_may_write_counts_for_nothing(below: str, places: Path) -> None:
    record_own(b"content", "graph")
    (places / below).chmod(0o777)
    assert not is_own(b"content", "graph")


def test_a_link_to_records_counts_for_nothing(places: Path) -> None:
    record_own(b"content", "graph")
    places.rename(places.with_name("elsewhere"))
    places.symlink_to(places.with_name("elsewhere"))
    assert not is_own(b"content", "graph")


def test_without_a_home_the_record_lies_among_temporary_files(places: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    record_own(b"content", "graph")
    assert is_own(b"content", "graph")
    assert not places.exists()


def test_what_others_wrote_is_kept_aside_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, left_out = tmp_path / "table.csv", tmp_path / "table.md"
    for content in ("by hand", "by another hand"):
        path.write_text(content)
        with kept_aside([path, left_out], "that of a"):
            assert not path.exists()
            path.write_text("of a")
    assert (tmp_path / "table.before.csv").read_text() == "by hand"
    assert (tmp_path / "table.before1.csv").read_text() == "by another hand"
    assert [str(path) in one.message and "kept as" in one.message for one in caplog.records] == [True, True]
    with kept_aside([path], "that of a"):  # once more, of the same: nothing is kept
        path.write_text("of a, anew")
    with kept_aside([path], "that of b"):
        path.write_text("of b")
    assert (tmp_path / "table.before2.csv").read_text() == "of a, anew"
    assert len(list(tmp_path.glob("table*"))) == 4
    with suppress(OSError), kept_aside([path], "that of b"):
        path.write_text("of b, once more")
        raise OSError("full")
    assert is_own(b"of b, once more", "that of b")


def test_what_was_kept_of_a_file_that_is_not_written_is_there_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "graph.onnx"
    path.write_text("by hand")
    for failure in (OSError("full"), KeyboardInterrupt()):
        with suppress(OSError, KeyboardInterrupt), kept_aside([path], "a graph"):
            raise failure
        assert path.read_text() == "by hand"
        assert not is_own(path, "a graph")
    assert [one.name for one in tmp_path.iterdir()] == ["graph.onnx"]
    assert [one.message for one in caplog.records][1] == f"{path} was not written: what was kept of it is there again"
