"""Foreign data sets in the one schema, whatever they call their columns and however they write labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pictures

from cnn_rnn.data import Reading, label_counts, label_names, load_hub, to_schema
from cnn_rnn.data.schema import label_features, label_matrix

NAMES = ["cat", "dog", "fox"]
LISTS = [["dog", "cat"], [], ["fox", "fox"]]


def rows(labels: list[Any], feature: Any, **more: Any) -> Dataset:
    """Three red images with labels of any kind."""
    images = [Pictures.new("RGB", (4, 4), "red")] * len(labels)
    features = Features({"image": Image(), "labels": feature} | {name: Value("string") for name in more})
    return Dataset.from_dict({"image": images, "labels": labels, **more}, features=features)


def ids(names: list[str], order: list[str]) -> list[int]:
    return [order.index(name) for name in names]


@pytest.mark.parametrize(
    "data",
    [
        rows(LISTS, List(Value("string"))),
        rows([ids(names, NAMES) for names in LISTS], List(ClassLabel(names=NAMES))),
    ],
    ids=["names", "class labels"],
)
def test_lists_of_names_and_of_class_labels_become_the_same_rows(data: Dataset) -> None:
    adapted = to_schema(data)
    assert adapted.features == label_features(NAMES)
    assert adapted["labels"][:] == [[0, 1], [], [2]]
    assert adapted["image_id"][:] == ["row-000000", "row-000001", "row-000002"]
    assert adapted[0]["image"].getpixel((0, 0)) == (255, 0, 0)


def test_numbers_need_names_and_given_names_set_the_order() -> None:
    numbers = rows([ids(names, NAMES) for names in LISTS], List(Value("int32")))
    with pytest.raises(ValueError, match="numbers need the classes in order"):
        to_schema(numbers)
    assert to_schema(numbers, class_names=NAMES)["labels"][:] == [[0, 1], [], [2]]
    turned = to_schema(rows(LISTS, List(Value("string"))), class_names=["fox", "dog", "cat"])
    assert turned["labels"][:] == [[1, 2], [], [0]]


def test_columns_of_zero_and_one_become_lists() -> None:
    images = [Pictures.new("RGB", (4, 4))] * 2
    data = Dataset.from_dict({"photo": images, "cat": [1, 0], "dog": [True, True], "author": ["a", "b"]})
    adapted = to_schema(data, reading=Reading(columns={"file": "photo", "image_id": "author"}))
    assert label_names(adapted) == ["cat", "dog"]
    assert adapted["labels"][:] == [[0, 1], [1]]
    assert adapted["image_id"][:] == ["a", "b"]
    one = to_schema(data, reading=Reading(columns={"file": "photo", "classes": "cat"}))
    assert label_names(one) == ["cat"]
    data = data.add_column("width", [640, 480])
    with pytest.raises(ValueError, match="row 0: column 'width' holds 640, expected 0 or 1"):
        to_schema(data, reading=Reading(columns={"file": "photo"}))


def test_splits_share_the_classes_of_train_and_a_stranger_is_named() -> None:
    train, test = rows(LISTS, List(Value("string"))), rows([["dog"]], List(Value("string")))
    data = to_schema(DatasetDict({"test": test, "train": train}))
    assert label_names(data["test"]) == NAMES
    assert data["test"]["labels"][:] == [[1]]
    with pytest.raises(ValueError, match="row 0: label 'wolf' is none of the 3 classes"):
        to_schema(DatasetDict({"train": train, "test": rows([["wolf"]], List(Value("string")))}))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (rows([["dog"], None], List(Value("string"))), "row 1: labels are None"),
        (rows([[0], [3]], List(Value("int64"))), r"row 1: labels are \[3\]"),
        (rows([[0], [-1]], List(Value("int64"))), r"row 1: labels are \[-1\]"),
        (rows([0.5], Value("float32")), r"row 0: labels are 0\.5, expected a list of class names"),
        (rows([["dog"]], List(Value("string"))).rename_column("image", "photo"), "no image column 'image'"),
        (rows([["dog"]], List(Value("string"))).remove_columns("labels"), "no column for the classes cat"),
        (rows([["dog"]] * 2, List(Value("string")), image_id=["a", "a"]), "image_id 'a' occurs more than once"),
    ],
)
def test_a_broken_data_set_is_named_with_its_row(data: Dataset, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        to_schema(data, class_names=NAMES)


def test_difficult_labels_survive() -> None:
    data = rows([[0]], List(ClassLabel(names=NAMES))).add_column(
        "difficult", [[2]], feature=List(ClassLabel(names=NAMES))
    )
    adapted = to_schema(data)
    assert adapted.features == label_features(NAMES, ["difficult"])
    assert adapted["difficult"][:] == [[2]]


def test_counts_and_matrix_follow_a_selection_of_rows() -> None:
    adapted = to_schema(rows(LISTS, List(Value("string")))).select([2, 0])
    np.testing.assert_array_equal(label_matrix(adapted), [[0, 0, 1], [1, 1, 0]])
    assert label_counts(adapted).tolist() == [1, 1, 1]


def test_one_class_label_or_a_text_a_photo_are_labels(tmp_path: Path) -> None:
    single = rows([1, 0], ClassLabel(names=NAMES)).rename_column("labels", "label")
    assert to_schema(single)["labels"][:] == [[1], [0]]
    text = rows(["dog|cat", "fox"], Value("string")).rename_column("labels", "tags")
    assert to_schema(text)["labels"][:] == [[0, 1], [2]]
    single.to_parquet(tmp_path / "train.parquet")
    assert load_hub(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))["labels"][:] == [[1], [0]]


def test_several_columns_of_labels_are_read_together() -> None:
    data = rows([["dog"], []], List(Value("string")), more=["cat", "cat"])
    adapted = to_schema(data, reading=Reading(columns={"labels": ["labels", "more"]}))
    assert label_names(adapted) == ["cat", "dog"]
    assert adapted["labels"][:] == [[0, 1], [0]]


def test_a_label_that_is_there_and_absent_is_named_with_both_columns() -> None:
    data = Dataset.from_dict({"image": [None] * 2, "cat": [1, 0], "not_labels": [["cat"], []]})
    with pytest.raises(ValueError, match="row 0: 'cat' is in 'cat' and in 'not_labels'; keep one"):
        to_schema(data)
    listed = Dataset.from_dict({"image": [None], "tags": [["cat"]], "not_labels": [["cat"]]})
    with pytest.raises(ValueError, match="row 0: 'cat' is in 'tags' and in 'not_labels'; keep one"):
        to_schema(listed)


def test_a_class_without_its_column_is_named() -> None:
    data = Dataset.from_dict({"image": [None] * 2, "cat": [1, 0]})
    with pytest.raises(ValueError, match="no column for the classes dog; its columns are 'cat' \\(1\\)"):
        to_schema(data, class_names=["cat", "dog"])


def test_a_flag_that_tells_the_split_is_no_class() -> None:
    data = rows(LISTS, List(Value("string"))).rename_column("labels", "tags").add_column("is_test", [True, False, True])
    adapted = to_schema(data)
    assert label_names(adapted) == NAMES
    assert "'is_test' seems to tell splits" in adapted.info.description
    with pytest.raises(ValueError, match=r"labels may be in 'tags' .*'night' \(0\): data\.columns '\{labels: tags\}'"):
        to_schema(data.add_column("night", [0, 1, 0]))
    with pytest.raises(ValueError, match="neither a column 'labels' nor one 0/1 column per class"):
        to_schema(data.remove_columns("tags"))


@pytest.mark.parametrize("kind", ["int64", "bool", "float32"])
def test_multi_hot_lists_are_no_class_ids(kind: str) -> None:
    data = rows([[1, 0, 0], [1, 0, 1], [0, 0, 0]], List(Value(kind)))
    assert to_schema(data, class_names=NAMES)["labels"][:] == [[0], [0, 2], []]


def test_lists_of_numbers_that_could_be_both_are_asked_about() -> None:
    data = rows([[1, 0], [0, 1]], List(Value("int64")))
    with pytest.raises(ValueError, match=r"data\.numbers multi_hot or ids decides"):
        to_schema(data, class_names=["a", "b"])
    assert to_schema(data, class_names=["a", "b"], reading=Reading(numbers="multi_hot"))["labels"][:] == [[0], [1]]
    mixed = rows([[1, 0, 0], [2]], List(Value("int64")))
    with pytest.raises(ValueError, match=r"and \[2\] stands beside it; data\.numbers"):
        to_schema(mixed, class_names=NAMES)


def test_unknown_labels_survive() -> None:
    data = rows([[0]], List(ClassLabel(names=NAMES))).add_column(
        "unknown", [[2]], feature=List(ClassLabel(names=NAMES))
    )
    assert to_schema(data)["unknown"][:] == [[2]]
