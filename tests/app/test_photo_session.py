"""What a person decides is kept, saved as training reads it, and found again."""

import json
from pathlib import Path

import pytest

from cnn_rnn.app.photo_session import Photo, PhotoSession
from cnn_rnn.app.saved_labels import read_saved
from cnn_rnn.data import label_names, load_image_folder


def session_of(photos: Path) -> PhotoSession:
    """A session of the folder's photos."""
    return PhotoSession.of_folder(photos, sorted(photos.glob("*.jpg")))


def test_a_decision_taken_twice_is_taken_back() -> None:
    photo = Photo(Path("x.jpg"), "x.jpg")
    photo.decide("cat", confirmed=True)
    photo.decide("cat", confirmed=False)
    assert photo.known == {"cat": False}
    photo.decide("cat", confirmed=False)
    assert photo.known == {}


def test_accepting_takes_what_is_expected_but_for_what_is_ruled_out() -> None:
    photo = Photo(Path("x.jpg"), "x.jpg", {"dog": False, "own": True})
    photo.accept(["cat", "dog"])
    assert photo.accepted == ["own", "cat"]
    photo.decide("cat", confirmed=False)
    assert photo.accepted is None


def test_what_is_saved_is_what_training_reads_and_the_next_session_goes_on_with(photos: Path) -> None:
    session = session_of(photos)
    session.photos[0].accept(["b", "a"])
    session.photos[2].accept([])
    session.photos[1].decide("never accepted", confirmed=True)
    assert session.save(photos) == photos / "metadata.jsonl"
    photos.rename(photos.parent / "train")
    rows = load_image_folder(photos.parent, split="train")
    assert label_names(rows) == ["a", "b"]
    assert dict(zip(rows["image_id"], rows["labels"], strict=True)) == {"0.jpg": [0, 1], "2.jpg": []}
    again = session_of(photos.parent / "train")
    assert [photo.accepted for photo in again.photos] == [["b", "a"], None, []]
    assert again.place == 1


def test_rows_of_other_photos_and_other_columns_stay(photos: Path) -> None:
    there = [{"file_name": "0.jpg", "labels": ["old"], "by": "me"}, {"file_name": "else/9.jpg", "labels": ["x"]}]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in there), encoding="utf-8")
    first, second = session_of(photos), session_of(photos)  # of two persons
    first.photos[0].accept(["new"])
    second.photos[1].accept(["mine"])
    first.save(photos)
    second.photos[0].accepted = None
    second.save(photos)
    rows = [json.loads(line) for line in (photos / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"file_name": "0.jpg", "labels": ["old", "new"], "by": "me"},
        {"file_name": "else/9.jpg", "labels": ["x"]},
        {"file_name": "1.jpg", "labels": ["mine"]},
    ]


def test_saving_writes_what_was_accepted_since_and_nothing_of_another_person_again(photos: Path) -> None:
    (photos / "metadata.jsonl").write_text('{"file_name": "0.jpg", "labels": ["old"]}\n', encoding="utf-8")
    mine, theirs = session_of(photos), session_of(photos)
    assert mine.unsaved == 0
    theirs.photos[0].accept(["theirs"])
    theirs.save(photos)
    mine.photos[1].accept(["mine"])
    assert mine.unsaved == 1
    mine.save(photos)
    assert mine.unsaved == 0
    assert read_saved(photos).labels == {"0.jpg": ["old", "theirs"], "1.jpg": ["mine"]}
    mine.photos[1].decide("mine", confirmed=False)  # open again: what was saved stays until something else is accepted
    mine.save(photos)
    assert read_saved(photos).labels["1.jpg"] == ["mine"]
    mine.photos[1].accept([])
    assert mine.unsaved == 1
    mine.save(photos)
    assert read_saved(photos).labels["1.jpg"] == []


def test_elsewhere_all_accepted_labels_are_written_each_time(tmp_path: Path) -> None:
    session = PhotoSession([Photo(tmp_path / "a.jpg", "a.jpg"), Photo(tmp_path / "b.jpg", "b.jpg")])
    for index, folder in enumerate((tmp_path / "first", tmp_path / "second")):
        folder.mkdir()
        session.photos[index].accept(["x"])
        session.save(folder)
    assert read_saved(tmp_path / "second").labels == {"a.jpg": ["x"], "b.jpg": ["x"]}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("metadata.csv", "file_name,labels\n", "has its labels in metadata.csv"),
        ("metadata.jsonl", "[1]\n", "line 1: expected an object"),
        ("metadata.jsonl", '{"file_name": "0.jpg", "cat": 1}\n', "line 1: expected an object"),
        ("metadata.jsonl", '{"file_name": "0.jpg", "labels": ["a"]}\n{"file', "line 2 is not JSON"),
    ],
)
def test_labels_of_another_kind_are_refused_and_stay(name: str, content: str, told: str, photos: Path) -> None:
    (photos / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        session_of(photos)
    session = PhotoSession([Photo(photos / "0.jpg", "0.jpg", accepted=["x"])])
    with pytest.raises(ValueError, match=told):
        session.save(photos)
    assert (photos / name).read_text(encoding="utf-8") == content


def test_moving_stops_at_both_ends_and_a_name_stands_once(tmp_path: Path) -> None:
    session = PhotoSession()
    session.move(1)
    assert session.place == 0
    assert session.add([tmp_path / "a.jpg", tmp_path / "b.jpg"]) == []
    assert session.add([tmp_path / "other" / "a.jpg", tmp_path / "c.jpg"]) == ["a.jpg"]
    assert [photo.name for photo in session.photos] == ["a.jpg", "b.jpg", "c.jpg"]
    assert session.place == 2
    session.move(5)
    assert session.place == 2
    session.move(-9)
    assert session.place == 0
