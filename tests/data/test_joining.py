"""Several sets as one: every row of each, once, in order."""

import pytest
from datasets import Dataset, concatenate_datasets

from cnn_rnn.data import SOURCES, label_names, load_digits, load_source, load_stream
from cnn_rnn.data.labels.choosing import join_datasets, joined_name
from cnn_rnn.data.schema import label_features

SPLITS = ("train", "validation", "test")


def rows(*image_ids: str, names: tuple[str, ...] = ("cat", "dog"), difficult: bool = False) -> Dataset:
    columns = {"image": [None] * len(image_ids), "image_id": list(image_ids), "labels": [[1]] * len(image_ids)}
    if difficult:
        columns["difficult"] = [[0]] * len(image_ids)
    return Dataset.from_dict(columns, features=label_features(names, columns))


@pytest.mark.parametrize("difficult", [(False, False), (True, True), (True, False), (False, True)])
def test_all_rows_of_all_parts_in_order(difficult: tuple[bool, bool]) -> None:
    parts = [("a", rows("1", "2", difficult=difficult[0])), ("b", rows("3", difficult=difficult[1]))]
    joined = join_datasets(parts)
    assert joined["image_id"][:] == ["1", "2", "3"]
    assert joined["labels"][:] == [[1]] * 3
    assert label_names(joined) == ["cat", "dog"]
    assert ("difficult" in joined.column_names) == any(difficult)
    if any(difficult):
        first, second = difficult
        assert joined["difficult"][:] == [[0] if first else []] * 2 + [[0] if second else []]


def test_other_classes_and_an_image_in_two_parts_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a and b name different classes.*only one .*(bird|dog).*; data.rename_labels"
    ):
        join_datasets([("a", rows("1")), ("b", rows("2", names=("cat", "bird")))])
    with pytest.raises(ValueError, match=r"a and b name different classes.*order differs"):
        join_datasets([("a", rows("1")), ("b", rows("2", names=("dog", "cat")))])
    with pytest.raises(ValueError, match=r"image '2' is in b and in c"):
        join_datasets([("a", rows("1")), ("b", rows("2")), ("c", rows("3", "2"))])


def test_splits_of_one_source_are_joined_by_a_plus() -> None:
    counts = {"train": 4, "validation": 3, "test": 2}
    parts = [load_digits(size=48, counts=counts, split=split) for split in SPLITS]
    joined = load_source("digits", split="+".join(SPLITS), size=48, counts=counts)
    assert joined.to_dict() == concatenate_datasets(parts).to_dict()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources `left` and `right`, whose splits hold one image each, named after it."""
    for name in ("left", "right"):
        monkeypatch.setitem(SOURCES, name, lambda root, split, name=name: rows(f"{root} {name} {split}"))


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("left+right", "x+y", ["R left x", "R right y"]),
        ("left+right", "x", ["R left x", "R right x"]),
        ("right", "x+y+z", ["R right x", "R right y", "R right z"]),
        ("right", "x", ["R right x"]),
    ],
)
def test_sources_and_splits_joined_by_a_plus(name: str, split: str, expected: list[str]) -> None:
    assert load_source(name, "R", split=split)["image_id"][:] == expected


@pytest.mark.parametrize(
    ("split", "name"), [("train", "train"), ("train+train", "train"), ("trainval+train", "trainval_train")]
)
def test_joined_splits_have_a_name_that_a_file_can_have(split: str, name: str) -> None:
    assert joined_name(split) == name


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("left+right", None, "'left\\+right' joins several sets: name a split of each"),
        ("left+right", "x+y+z", "join 2 sets and 3 splits"),
        ("left+righ", "x", "'righ' is not known; did you mean 'right'"),
        ("left", "x+x", "image 'R left x' is in left x and in left x"),
    ],
)
def test_what_cannot_be_joined_is_told(name: str, split: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_source(name, "R", split=split)


def test_splits_of_a_stream_are_not_joined() -> None:
    with pytest.raises(ValueError, match=r"'train\+test' cannot be joined in a stream"):
        load_stream("hub", "shards", "train+test")
