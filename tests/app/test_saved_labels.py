"""Labels that several pages save into one folder."""

import multiprocessing
from pathlib import Path

from cnn_rnn.app.saved_labels import read_saved, write_saved

SAVED = 40


def save_labels(folder: Path, page: str) -> None:
    """What one page does."""
    for number in range(SAVED):
        write_saved(folder, {f"{page}{number}.jpg": [page]})


def test_pages_of_two_processes_lose_none_of_each_others_labels(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")  # whose copies end where they fail, and never go on with the tests
    pages = [fork.Process(target=save_labels, args=(tmp_path, page)) for page in "ab"]
    for page in pages:
        page.start()
    for page in pages:
        page.join()
    assert [page.exitcode for page in pages] == [0, 0]
    assert read_saved(tmp_path).labels == {f"{page}{number}.jpg": [page] for page in "ab" for number in range(SAVED)}
