"""Every setting that explains rows is read by a source, or refused by its name; none is taken and dropped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from cnn_rnn.data import Reading, label_names, load_image_folder, load_table, to_schema
from cnn_rnn.data.data_config import DataConfig

Rows = list[dict[str, Any]]
TAGS: Rows = [{"tags": "cat;dog", "id": "a"}, {"tags": "None", "id": "b"}, {"tags": "", "id": "c"}]
FLAGS: Rows = [{"cat": "ja", "dog": "nein"}, {"cat": "nein", "dog": "?"}, {"cat": "", "dog": "ja"}]
WORDS = {"yes": "ja", "no": "nein", "unknown": "?", "empty": "unknown"}


def inside(rows: Rows, _: Path, reading: Reading) -> Dataset:
    columns = {"image": [None] * len(rows)} | {name: [row[name] for row in rows] for name in rows[0]}
    features = {name: Image() if name == "image" else Value("string") for name in columns}
    return to_schema(Dataset.from_dict(columns, features=Features(features)), reading=reading)


def table(rows: Rows, folder: Path, reading: Reading) -> Dataset:
    lines = [",".join(["file", *rows[0]]), *(",".join([f"{i}.jpg", *row.values()]) for i, row in enumerate(rows))]
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return load_table(folder / "a.csv", require_images=False, split="train", reading=reading)


def said(rows: Dataset) -> list[tuple[list[str], list[str]]]:
    names = label_names(rows)
    unknown = rows["unknown"][:] if "unknown" in rows.column_names else [[]] * len(rows)
    return [
        (sorted(names[i] for i in own), sorted(names[i] for i in open_ones))
        for own, open_ones in zip(rows["labels"][:], unknown, strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (TAGS, {"no_label": "none"}),
        (TAGS, {"no_label": "none", "separator": "none"}),
        (TAGS, {"unknown": "none", "empty": "unknown"}),
        (TAGS, {"no_label": "none", "empty": "absent"}),
        (TAGS, {"no_label": "none", "unlisted": "unknown"}),
        (TAGS, {"no_label": "none", "columns": {"image_id": "id"}}),
        (TAGS, {"no_label": "none", "class_names": ["dog", "cat", "owl"]}),
        (FLAGS, WORDS),
        (FLAGS, WORDS | {"yes": "nein", "no": "ja"}),
        (FLAGS, WORDS | {"empty": "absent", "class_names": ["dog", "cat"]}),
    ],
)
def test_a_set_with_images_inside_says_what_a_table_of_its_columns_says(
    rows: Rows, settings: dict[str, Any], tmp_path: Path
) -> None:
    if rows is FLAGS:
        settings = {"columns": {"classes": ["cat", "dog"]}} | settings
    assert said(inside(rows, tmp_path, Reading(**settings))) == said(table(rows, tmp_path, Reading(**settings)))


@pytest.mark.parametrize("read", [inside, table])
@pytest.mark.parametrize(
    ("rows", "settings", "name"),
    [
        (TAGS, {"no_label": "none", "yes": "ja"}, "data.yes"),
        (FLAGS, WORDS | {"separator": "pipe"}, "data.separator"),
        (FLAGS, WORDS | {"unlisted": "unknown"}, "data.unlisted"),
        (TAGS, {"no_label": "none", "least_confidence": 0.5}, "data.least_confidence"),
    ],
)
def test_a_setting_without_a_use_is_refused_by_its_name(
    read: Callable[..., Dataset], rows: Rows, settings: dict[str, Any], name: str, tmp_path: Path
) -> None:
    if rows is FLAGS:
        settings = {"columns": {"classes": ["cat", "dog"]}} | settings
    with pytest.raises(ValueError, match=rf"{name}: .*; leave it out"):
        read(rows, tmp_path, Reading(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"delimiter": "comma"},
        {"encoding": "cp1252"},
        {"rows": "label"},
        {"image_root": "photos"},
        {"columns": {"split": "tags"}},
        {"columns": {"confidence": "tags"}},
    ],
)
def test_what_explains_a_label_file_does_not_go_with_images_inside(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no label file that it could explain; leave it out"):
        inside(TAGS, tmp_path, Reading(**settings))


def lists(rows: Rows, folder: Path, reading: Reading) -> Dataset:
    lines = [json.dumps({"file": f"{i}.jpg", "tags": [row["tags"]]}) for i, row in enumerate(rows)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return load_table(folder / "a.jsonl", require_images=False, split="train", reading=reading)


def confidences(_: Rows, folder: Path, reading: Reading) -> Dataset:
    (folder / "a.csv").write_text("file,label,confidence\n0.jpg,cat,0.5\n1.jpg,dog,1\n")
    return load_table(folder / "a.csv", require_images=False, split="train", reading=reading)


def class_labels(_: Rows, __: Path, reading: Reading) -> Dataset:
    features = Features({"image": Image(), "labels": List(ClassLabel(names=["a", "b"]))})
    return to_schema(Dataset.from_dict({"image": [None], "labels": [[0]]}, features=features), reading=reading)


@pytest.mark.parametrize(
    ("read", "settings", "name"),
    [
        (lists, {"separator": "pipe"}, "data.separator"),
        (lists, {"numbers": "ids"}, "data.numbers"),
        (table, {"numbers": "multi_hot", "no_label": "none"}, "data.numbers"),
        (confidences, {"rows": "photo", "least_confidence": 0.5}, "data.least_confidence"),
        (class_labels, {"numbers": "ids"}, "data.numbers"),
        (class_labels, {"separator": "pipe"}, "data.separator"),
    ],
)
def test_a_setting_that_the_cells_leave_no_use_for_is_refused(
    read: Callable[..., Dataset], settings: dict[str, Any], name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .*; leave it out"):
        read([{"tags": "cat"}, {"tags": "dog"}], tmp_path, Reading(**settings))


def test_settings_that_the_file_answers_too_decide_or_are_refused(tmp_path: Path) -> None:
    assert len(confidences([], tmp_path, Reading(rows="photo"))) == 2
    (tmp_path / "a.csv").write_text("sep=;\nfile,labels\n0.jpg,a;b\n")
    rows = load_table(tmp_path / "a.csv", require_images=False, split="train", reading=Reading(delimiter="comma"))
    assert rows["labels"][:] == [[0, 1]]
    (tmp_path / "a.csv").write_text("sep=;\nfile;labels\n0.jpg;a\n0.jpg;b\n")
    with pytest.raises(ValueError, match=r"line 4: .0\.jpg. was already named in line 3"):
        load_table(tmp_path / "a.csv", require_images=False)
    with pytest.raises(ValueError, match="both labels and classes"):
        Reading(columns={"labels": "tags", "classes": ["a"]})
    (tmp_path / "train").mkdir()
    (tmp_path / "labels.json").write_text('["a", "b"]')
    (tmp_path / "train" / "metadata.csv").write_text("file_name,labels\n0.jpg,a\n")
    with pytest.raises(ValueError, match=r"data\.class_names: .*labels\.json tells the classes; leave it out"):
        load_image_folder(tmp_path, require_images=False, reading=Reading(class_names=["b", "a"]))


@pytest.mark.parametrize("role", ["labels", "not_labels", "unknown", "image_id"])
def test_a_role_without_its_column_is_named(role: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"data\.columns: {role} is 'nope', but the columns are 'tags' .*'image'"):
        inside(TAGS, tmp_path, Reading(columns={role: "nope"}))


def test_class_labels_with_images_inside_are_unknown_where_that_is_said() -> None:
    features = Features({"image": Image(), "labels": List(ClassLabel(names=["a", "b", "c"]))})
    data = Dataset.from_dict({"image": [None, None], "labels": [[0], []]}, features=features)
    assert said(to_schema(data, reading=Reading(unlisted="unknown"))) == [(["a"], ["b", "c"]), ([], ["a", "b", "c"])]
    assert label_names(to_schema(data, reading=Reading(unlisted="unknown"))) == ["a", "b", "c"]


@pytest.mark.parametrize("setting", [{"yes": "1"}, {"unlisted": "unknown"}, {"columns": {"labels": "tags"}}])
def test_a_stream_refuses_what_it_does_not_read(setting: dict[str, Any]) -> None:
    config = DataConfig(name="hub", root="org/photos", streaming=True, **setting)
    with pytest.raises(ValueError, match="a stream has the one schema already"):
        config.stream("train")


def lines(rows: Rows, folder: Path, reading: Reading) -> Dataset:
    named = [{"file": f"{index}.jpg"} | row for index, row in enumerate(rows)]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in named))
    return load_table(folder / "a.jsonl", require_images=False, split="train", reading=reading)


def typed(rows: Rows, _: Path, reading: Reading) -> Dataset:
    data = Dataset.from_list([{"image": None} | row for row in rows])
    return to_schema(data.cast_column("image", Image()), reading=reading)


def left_out(rows: Dataset) -> list[list[list[str]]]:
    """The names of each row's labels, unknown and difficult labels."""
    names = label_names(rows)
    kinds = [name for name in ("labels", "unknown", "difficult") if name in rows.column_names]
    return [[[names[i] for i in row[kind]] for kind in kinds] for row in rows.select_columns(kinds)]


BESIDE: Rows = [{"tags": "cat dog", "unknown": "emu fox"}, {"tags": "dog", "unknown": ""}]


@pytest.mark.parametrize("read", [table, lines, typed])
@pytest.mark.parametrize("name", ["unknown", "difficult"])
def test_a_column_of_labels_that_are_left_out_is_read_as_that_of_labels_is(
    read: Callable[..., Dataset], name: str, tmp_path: Path
) -> None:
    rows = [{"tags": row["tags"], name: row["unknown"]} for row in BESIDE]
    read_rows = read(rows, tmp_path, Reading(separator="space"))
    assert left_out(read_rows) == [[["cat", "dog"], ["emu", "fox"]], [["dog"], []]]
    assert f"{name} labels by column '{name}'" in read_rows.info.description
    named = [{"tags": row["tags"], "open": row["unknown"]} for row in BESIDE]
    read_rows = read(named, tmp_path, Reading(separator="none", columns={"labels": "tags", name: "open"}))
    assert left_out(read_rows) == [[["cat dog"], ["emu fox"]], [["dog"], []]]
    with pytest.raises(ValueError, match=rf"'dog' is in 'tags' and in '{name}'; keep one"):
        read([{"tags": "dog", name: "dog"}], tmp_path, Reading())


@pytest.mark.parametrize("read", [table, lines, typed])
def test_a_column_of_yes_and_no_may_be_called_unknown(read: Callable[..., Dataset], tmp_path: Path) -> None:
    assert left_out(read([{"cat": "1", "unknown": "0"}, {"cat": "0", "unknown": "1"}], tmp_path, Reading())) == [
        [["cat"]],
        [["unknown"]],
    ]
    flagged = read([{"labels": "cat", "difficult": "0"}, {"labels": "dog", "difficult": "1"}], tmp_path, Reading())
    assert left_out(flagged) == [[["cat"]], [["dog"]]]
    assert "columns not read: 'difficult'" in flagged.info.description


@pytest.mark.parametrize("read", [lines, typed])
def test_numbers_in_a_column_of_left_out_labels_are_those_of_the_classes(
    read: Callable[..., Dataset], tmp_path: Path
) -> None:
    rows = [{"labels": [0, 1], "not_labels": [2]}, {"labels": [2], "not_labels": []}]
    told = read(rows, tmp_path, Reading(class_names=["cat", "dog", "emu"], unlisted="unknown", numbers="ids"))
    assert left_out(told) == [[["cat", "dog"], []], [["emu"], ["cat", "dog"]]]


@pytest.mark.parametrize("read", [table, lines, typed])
def test_letters_of_another_case_in_another_column_are_asked_about(
    read: Callable[..., Dataset], tmp_path: Path
) -> None:
    rows: Rows = [{"tags": "cat", "not_labels": "Dog"}, {"tags": "dog", "not_labels": "none"}]
    settings: dict[str, Any] = {"unlisted": "unknown", "no_label": "none"}
    with pytest.raises(ValueError, match=r"'Dog' and 'dog' .* differ in case .*data\.case ignore"):
        read(rows[::-1], tmp_path, Reading(**settings))
    assert left_out(read(rows, tmp_path, Reading(case="ignore", **settings))) == [[["cat"], []], [["Dog"], ["cat"]]]
    both = [{"tags": "dog", "not_labels": "Dog"}]
    with pytest.raises(ValueError, match="'dog' is in 'tags' and in 'not_labels'; keep one"):
        read(both, tmp_path, Reading(case="ignore", **settings))
    three = [{"tags": "cat", "not_labels": "dog", "unknown": "dog"}]
    with pytest.raises(ValueError, match="'dog' is in 'not_labels' and in 'unknown'; keep one"):
        read(three, tmp_path, Reading(**settings))


@pytest.mark.parametrize("read", [table, lines, typed])
@pytest.mark.parametrize("minus", ["-1", "-1.0"])
@pytest.mark.parametrize("said", [-1, -1.0, "-1.0"])
def test_a_number_is_the_same_word_with_a_fraction_of_nothing(
    read: Callable[..., Dataset], minus: str, said: Any, tmp_path: Path
) -> None:
    rows: Rows = [{"cat": "1.0", "dog": minus}, {"cat": "0", "dog": "1"}]
    if read is typed:
        rows = [{name: float(cell) for name, cell in row.items()} for row in rows]
    assert left_out(read(rows, tmp_path, Reading(unknown=said))) == [[["cat"], ["dog"]], [["dog"], []]]


@pytest.mark.parametrize("read", [lines, typed])
@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        ([{"cat": 1.0, "dog": 0.0}, {"cat": 0.0, "dog": 1.0}], {}),
        ([{"cat": 1.0, "dog": None}, {"cat": 0.0, "dog": 1.0}], {"empty": "absent"}),
        ([{"cat": "yes", "dog": "no"}, {"cat": "no", "dog": "yes"}], {}),
        ([{"objects": {"category": ["cat"], "area": [3]}}, {"objects": {"category": ["dog"], "area": [4]}}], {}),
        (
            [{"objects": [{"kind": "cat", "area": 3}]}, {"objects": [{"kind": "dog", "area": 4}]}],
            {"columns": {"labels": "objects.kind"}},
        ),
        ([{"tags": {"cat": True, "dog": False}}, {"tags": {"cat": False, "dog": True}}], {}),
    ],
    ids=["floats", "floats and nothing", "words", "objects", "a list of objects", "truth values"],
)
def test_labels_of_other_types_are_read_with_images_inside_too(
    read: Callable[..., Dataset], rows: Rows, settings: dict[str, Any], tmp_path: Path
) -> None:
    assert left_out(read(rows, tmp_path, Reading(**settings))) == [[["cat"]], [["dog"]]]


def test_a_class_that_a_split_never_shows_is_one_there_too() -> None:
    data = {
        split: Dataset.from_list([{"image": None, "cat": cat, "dog": 1.0, "note": ""} for cat in cells])
        for split, cells in (("train", [1.0, 0.0]), ("test", [0.0, 0.0]))
    }
    parts = to_schema(DatasetDict({name: rows.cast_column("image", Image()) for name, rows in data.items()}))
    assert parts["test"]["labels"][:] == [[1], [1]]
    assert label_names(parts["train"]) == ["cat", "dog"]


def test_class_labels_within_objects_go_by_their_names() -> None:
    objects = {"category": List(ClassLabel(names=["cat", "dog", "emu"])), "bbox": List(List(Value("float32")))}
    features = Features({"image": Image(), "id": Value("int64"), "objects": objects})
    cells = [{"category": [2, 0], "bbox": [[0.0], [1.0]]}, {"category": [], "bbox": []}]
    data = Dataset.from_dict({"image": [None] * 2, "id": [7, 8], "objects": cells}, features=features)
    rows = to_schema(data)
    assert label_names(rows) == ["cat", "dog", "emu"]
    assert rows["labels"][:] == [[0, 2], []]
    listed = Features({"image": Image(), "objects": List({"category": ClassLabel(names=["cat", "dog"])})})
    rows = to_schema(Dataset.from_dict({"image": [None], "objects": [[{"category": 1}]]}, features=listed))
    assert (label_names(rows), rows["labels"][:]) == (["cat", "dog"], [[1]])


@pytest.mark.parametrize(
    ("names", "told"),
    [(["a", "b", "a"], "names 'a' twice"), (["a", " "], "holds an empty name"), (["a", True], "holds True, .*quotes")],
    ids=["twice", "empty", "truth"],
)
def test_names_of_classes_that_are_none_are_refused(names: list[Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.class_names {told}"):
        Reading(class_names=names)
