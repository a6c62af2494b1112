"""What this user wrote is known by a record that nobody else can make."""

from pathlib import Path

import pytest

from cnn_rnn.foundation.own_files import is_own, record_own


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Places of records of our own; returns that of the first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path / "state" / "cnn-rnn" / "written"


def test_a_content_is_known_as_what_it_was_written_for() -> None:
    assert not is_own(b"content", "graph")
    record_own(b"content", "graph")
    assert is_own(b"content", "graph")
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
