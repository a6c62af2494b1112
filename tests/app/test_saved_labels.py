"""Labels that several pages save into one folder."""

import os
from pathlib import Path

from cnn_rnn.app.saved_labels import read_saved, write_saved

SAVED = 40


def test_pages_of_two_processes_lose_none_of_each_others_labels(tmp_path: Path) -> None:
    pages = []
    for page in "ab":
        child = os.fork()
        if not child:
            for number in range(SAVED):
                write_saved(tmp_path, {f"{page}{number}.jpg": [page]})
            os._exit(0)
        pages.append(child)
    assert [os.waitpid(page, 0)[1] for page in pages] == [0, 0]
    assert read_saved(tmp_path).labels == {f"{page}{number}.jpg": [page] for page in "ab" for number in range(SAVED)}
