"""What stands on the page is text, whatever it is called."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.finished_runs import LABELS

from cnn_rnn.app.beam_tree import Branch
from cnn_rnn.app.photo_session import Photo, PhotoSession
from cnn_rnn.app.photo_tagger import Expectation, Tagger
from cnn_rnn.app.views import PAGE_FOLDER, ROW_KEYS, LabelRow, label_rows, show_labels, show_photo

HOSTILE = "<script>alert(1)</script> ${alert(2)} {{alert(3)}} \"' onload=alert(4)"


class Tags(HTMLParser):
    """The tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


def test_no_name_becomes_a_tag_or_an_attribute() -> None:
    tree = [Branch(HOSTILE, 0.5, None, [Branch(None, 0.9, 0.45)])]
    session = PhotoSession([Photo(Path(HOSTILE), HOSTILE, accepted=[HOSTILE])])
    for html in (
        show_labels(session, [LabelRow(HOSTILE, 0, 0.7, 0.2, None, expected=True)], tree),
        show_photo(session, None, caption=HOSTILE, problem=HOSTILE),
    ):
        page = Tags(html)
        assert "script" not in {tag for tag, _ in page.tags}
        assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
        assert HOSTILE in page.text


def test_more_rows_than_keys_are_shown_and_no_key_does_two_things() -> None:
    rows = [LabelRow(f"label {place}", place, 0.5, 0.2, place < 30, expected=True) for place in range(40)]
    keys = re.findall(r"<kbd>(.*?)</kbd>", show_labels(PhotoSession(), rows, []))
    assert "".join(keys[:40]) == ROW_KEYS
    script = (PAGE_FOLDER / "tagging_page.js").read_text(encoding="utf-8")
    (others,) = re.findall(r"LIST_KEYS = \{(.*?)\}", script)
    assert not set(re.findall(r"\b(\w): ", others)) & set(ROW_KEYS)


def test_rows_keep_their_order_and_show_all_that_is_expected_or_decided(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Expectation(dict(zip(LABELS, (0.1, 0.9, 0.2, 0.3), strict=True)), [])
    now = Expectation(dict(zip(LABELS, (0.8, 0.0, 0.2, 0.3), strict=True)), [])
    rows = label_rows(tagger, before, now, {LABELS[1]: False, "own": True})
    assert [row.name for row in rows] == [LABELS[1], LABELS[3], LABELS[2], LABELS[0], "own"]
    assert [row.expected for row in rows] == [False, False, False, True, True]
    assert [row.change for row in rows] == ["", "", "", "▲ 70", ""]
    assert rows[-1].index == len(LABELS)
    (marked,) = re.findall(r"class=\"name asked\".*looked for ([^\"]*)\"", show_labels(PhotoSession(), rows, []))
    assert unescape(marked) == LABELS[3]  # 0.3: nearer to one half than 0.2 and 0.8, and not decided
    assert re.search(r"70 %|80 %", show_labels(PhotoSession(), rows, []))
    monkeypatch.setattr(tagger.saved.model.config, "familiar_from", 0.85)
    assert [row.expected for row in label_rows(tagger, before, now, {"own": True})] == [False] * 4 + [True]
