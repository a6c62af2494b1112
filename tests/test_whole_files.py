"""A file is whole or as it was before, and nothing is left beside it."""

import json
from pathlib import Path

import pytest

from cnn_rnn.whole_files import whole_file, write_json, write_text


def test_a_file_has_its_new_content_only_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "before\n")
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "before\n"
        temporary.write_text("after\n")
    assert path.read_text() == "after\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
@pytest.mark.parametrize("begun", [True, False])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException, begun: bool) -> None:
    def fail(path: Path) -> None:
        with whole_file(path) as temporary:
            if begun:
                temporary.write_text("half")
            raise error

    path = tmp_path / "a.json"
    write_json(path, {"whole": True})
    for target in (path, tmp_path / "never.txt"):
        with pytest.raises(type(error)):
            fail(target)
    assert json.loads(path.read_text()) == {"whole": True}
    assert list(tmp_path.iterdir()) == [path]
