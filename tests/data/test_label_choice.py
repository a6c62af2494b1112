"""Labels renamed, made one and left out: each photo shows just what its old labels say it does."""

from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_rnn.data import SOURCES, label_names, load_source
from cnn_rnn.data.data_config import DataConfig, load_validation_data
from cnn_rnn.data.labels.choosing import LabelChoice
from cnn_rnn.data.schema import label_features
from cnn_rnn.training.run_config import load_run_config
from cnn_rnn.training.training_data import load_training_data

NAMES = ["cat", "kitten", "dog", "boat"]
Lists = list[list[int]]


def rows(labels: Lists, difficult: Lists | None = None, unknown: Lists | None = None) -> Dataset:
    count = len(labels)
    columns = {"image": [None] * count, "image_id": [str(i) for i in range(count)], "labels": labels}
    columns |= {name: ids for name, ids in (("difficult", difficult), ("unknown", unknown)) if ids is not None}
    return Dataset.from_dict(columns, features=label_features(NAMES, columns))


def named(data: Dataset, column: str) -> list[set[str]]:
    names = label_names(data)
    assert all(own == sorted(set(own)) for own in data[column])
    return [{names[i] for i in own} for own in data[column]]


def test_two_labels_become_one_and_keep_the_first_ones_place() -> None:
    chosen = LabelChoice({"kitten": "cat"}).of(rows([[0], [1], [0, 1, 2], []]), "mine")
    assert label_names(chosen) == ["cat", "dog", "boat"]
    assert named(chosen, "labels") == [{"cat"}, {"cat"}, {"cat", "dog"}, set()]


def test_photos_stay_when_their_labels_are_left_out() -> None:
    chosen = LabelChoice(keep_labels=["boat", "cat"]).of(rows([[0, 2, 3], [2], []]), "mine")
    assert label_names(chosen) == ["boat", "cat"]
    assert chosen["labels"][:] == [[0, 1], [], []]
    assert chosen["image_id"][:] == ["0", "1", "2"]


def test_what_a_photo_shows_is_not_left_out_as_difficult() -> None:
    data = rows([[0], []], difficult=[[1, 2], [1]], unknown=[[3], [0]])
    chosen = LabelChoice({"kitten": "cat"}).of(data, "mine")
    assert named(chosen, "labels") == [{"cat"}, set()]
    assert named(chosen, "difficult") == [{"dog"}, {"cat"}]
    assert named(chosen, "unknown") == [{"boat"}, set()]  # difficult says more than unknown


LABELS = st.lists(st.lists(st.integers(0, 3), unique=True).map(sorted), min_size=1, max_size=6)


@settings(deadline=None)  # a loaded machine breaks no law
@given(LABELS, st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*NAMES, "animal"])), st.data())
def test_any_choice_says_what_the_old_labels_say(labels: Lists, renamed: dict[str, str], data: st.DataObject) -> None:
    new = [renamed.get(name, name) for name in NAMES]
    kept = data.draw(st.none() | st.lists(st.sampled_from(sorted(set(new))), unique=True, min_size=1))
    chosen = LabelChoice(renamed, kept).of(rows(labels), "mine")
    assert label_names(chosen) == (list(dict.fromkeys(new)) if kept is None else kept)
    assert named(chosen, "labels") == [{new[i] for i in own} & set(kept or new) for own in labels]


def test_nothing_chosen_changes_nothing() -> None:
    data = rows([[0]])
    assert LabelChoice().of(data, "mine") is data


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (LabelChoice({"ct": "animal"}), "data.rename_labels: mine has no label 'ct'; did you mean 'cat'?"),
        (LabelChoice({"x1": "y"}), "data.rename_labels: mine has no label 'x1'; its labels are boat, cat, dog, kitten"),
        (LabelChoice({"kitten": "cat"}, ["kitten"]), "data.keep_labels: mine has no label 'kitten'"),
        (LabelChoice(keep_labels=["dog", "bot"]), "data.keep_labels: mine has no label 'bot'; did you mean 'boat'?"),
    ],
)
def test_a_label_that_there_is_not_is_named(choice: LabelChoice, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("?", r"\?")):
        choice.of(rows([[0]]), "mine")


def test_a_set_that_has_the_new_name_already_needs_no_renaming() -> None:
    assert label_names(LabelChoice({"automobile": "cat"}).of(rows([[0]]), "mine")) == NAMES


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "--data.keep_labels [cat, no]",
            "data.keep_labels holds False, expected the name of a label: put it in quo",
        ),
        ("--data.keep_labels [cat, cat]", "data.keep_labels names 'cat' twice"),
        ("--data.keep_labels []", "data.keep_labels names no label"),
        ("--data.rename_labels {cat: 1}", "data.rename_labels holds 1, expected the name of a label: put it in quotes"),
        ("--data.rename_labels {on: cat}", "data.rename_labels holds True, expected the name of a label"),
    ],
)
def test_what_is_no_name_is_refused(settings: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_run_config(None, settings.split(" ", 1))


def test_sets_of_other_names_and_orders_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(names: list[str], image_id: str) -> Dataset:
        columns = {"image": [None], "image_id": [image_id], "labels": [list(range(len(names)))]}
        return Dataset.from_dict(columns, features=label_features(names))

    monkeypatch.setitem(SOURCES, "ours", lambda _, split: of(["sofa", "cat"], f"ours {split}"))
    monkeypatch.setitem(SOURCES, "theirs", lambda _, split: of(["zebra", "cat", "couch"], f"theirs {split}"))
    choice = LabelChoice({"couch": "sofa"}, ["cat", "sofa"])
    joined = load_source("ours+theirs", "R", split="train+val", choice=choice)
    assert label_names(joined) == ["cat", "sofa"]
    assert joined["labels"][:] == [[0, 1], [0, 1]]
    assert joined["image_id"][:] == ["ours train", "theirs val"]
    for others, column in (("unknown", [[2], []]), ("absent", None)):
        choice = LabelChoice({"couch": "sofa"}, labels_of_others=others)  # type: ignore[arg-type]
        whole = load_source("ours+theirs", "R", split="t", choice=choice)
        assert label_names(whole) == ["sofa", "cat", "zebra"]
        assert whole["labels"][:] == [[0, 1], [0, 1, 2]]
        assert (whole["unknown"][:] if column else "unknown" in whole.column_names) == (column or False)
    told = r"data\.keep_labels: ours t and theirs t has no label 'zebr'; did you mean 'zebra'"
    with pytest.raises(ValueError, match=told):
        load_source("ours+theirs", "R", split="t", choice=LabelChoice({}, ["zebr"], "unknown"))
    with pytest.raises(ValueError, match=r"data\.rename_labels: ours train has no label 'couch2'"):
        load_source("ours+theirs", "R", split="train+val", choice=LabelChoice({"couch2": "sofas"}))


def test_a_run_is_trained_on_the_labels_chosen(photo_folder: Path) -> None:
    config = DataConfig(root=str(photo_folder), rename_labels={"green": "plant"}, keep_labels=["red", "plant"])
    data = load_training_data(config, seed=0)
    whole = load_training_data(DataConfig(root=str(photo_folder)), seed=0)
    counts = dict(zip(whole.label_names, whole.label_counts, strict=True))
    assert data.label_names == ["red", "plant"]
    assert data.train_images + data.validation_images == whole.train_images + whole.validation_images
    assert sum(data.label_counts) + sum(map(len, data.validation["labels"])) == sum(
        counts[name] + sum(whole.label_names.index(name) in own for own in whole.validation["labels"])
        for name in ("red", "green")
    )


@pytest.mark.parametrize(
    "setting", [{"rename_labels": {"red": "rouge"}}, {"keep_labels": ["red"]}, {"labels_of_others": "unknown"}]
)
def test_a_stream_refuses_what_it_does_not_do(setting: dict) -> None:
    config = DataConfig(name="hub", root="org/photos", streaming=True, validation_split="validation", **setting)
    (name,) = setting
    for load in (lambda: load_training_data(config, seed=0), lambda: load_validation_data(config, "validation")):
        with pytest.raises(ValueError, match=rf"data\.{name} does not go with data\.streaming"):
            load()
