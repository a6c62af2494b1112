"""Parquet of pandas 3, polars and Arrow: the same rows by table, by the Hub's reader and as a stream."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, LargeList, List, Value, load_dataset

from cnn_rnn.data import Reading, label_names, load_hub, load_table, to_schema
from cnn_rnn.data.images_inside.hub_datasets import load_stream, stream_labels
from cnn_rnn.data.schema import label_features

LISTS = [["cat"], ["dog", "cat"], [], ["dog"]]
WORDS = ["cat", "dog", "cat", "dog"]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.large_string())]
LIST_KINDS = {f"{make.__name__} of {text}": make(text) for text in TEXTS for make in (pa.list_, pa.large_list)}
TEXT_KINDS = {str(text): text for text in TEXTS}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def labels_of(rows: Dataset) -> list[list[str]]:
    names = label_names(rows)
    return [sorted(names[label] for label in row) for row in rows["labels"]]


def written(folder: Path, column: str, cells: pa.Array, image: pa.DataType) -> Path:
    """A folder of shards with images inside, and beside it a table that names them."""
    names = [f"{number}.png" for number in range(len(cells))]
    (folder / "shards").mkdir()
    images = (
        [PNG] * len(cells)
        if image in {pa.large_binary(), pa.binary_view()}
        else [{"bytes": PNG, "path": name} for name in names]
    )
    table = pa.table({"image": pa.array(images, image), column: cells})
    pq.write_table(table, folder / "shards" / "train-00000-of-00001.parquet")
    pq.write_table(pa.table({"file_name": pa.array(names, pa.large_string()), column: cells}), folder / "table.parquet")
    for name in names:
        (folder / name).write_bytes(PNG)
    return folder


PLAIN_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LONG_IMAGE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])


@pytest.mark.parametrize("kind", [*LIST_KINDS, *TEXT_KINDS])
@pytest.mark.parametrize("image", [PLAIN_IMAGE, LONG_IMAGE, pa.large_binary()], ids=["plain", "long", "bytes"])
def test_every_kind_is_read_as_its_plain_one_by_table_and_hub(tmp_path: Path, kind: str, image: pa.DataType) -> None:
    lists = kind in LIST_KINDS
    cells = pa.array(LISTS, LIST_KINDS[kind]) if lists else pa.array(WORDS, TEXT_KINDS[kind])
    folder = written(tmp_path, "labels" if lists else "label", cells, image)
    expected = [sorted(own) for own in LISTS] if lists else [[word] for word in WORDS]
    hub = load_hub(str(folder / "shards"), split="train")
    assert isinstance(hub, Dataset)
    assert labels_of(hub) == labels_of(load_table(folder / "table.parquet", split="train")) == expected
    assert hub[0]["image"].size == (1, 1)


@pytest.mark.parametrize("kind", [pa.large_list(pa.uint8()), pa.list_(pa.uint32()), pa.list_(pa.float16(), 2)], ids=str)
def test_lists_of_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    folder = written(tmp_path, "labels", pa.array([[1, 0], [0, 1], [0, 0], [1, 1]]).cast(kind), LONG_IMAGE)
    reading = Reading(class_names=["cat", "dog"], numbers="multi_hot")
    for rows in (
        load_hub(str(folder / "shards"), split="train", reading=reading),
        load_table(folder / "table.parquet", split="train", reading=reading),
    ):
        assert labels_of(rows) == [["cat"], ["dog"], [], ["cat", "dog"]]


def test_a_stream_of_long_kinds_is_one_of_plain_kinds(tmp_path: Path) -> None:
    long = Features(
        {"image": Image(), "image_id": Value("large_string"), "labels": LargeList(ClassLabel(names=["cat", "dog"]))}
    )
    rows = {"image": [{"bytes": PNG, "path": None}] * 4, "image_id": list("abcd"), "labels": [[0], [0, 1], [], [1]]}
    Dataset.from_dict(rows, features=long).to_parquet(tmp_path / "train-00000-of-00001.parquet")
    stream = load_stream("hub", str(tmp_path), "train")
    assert [row["labels"] for row in stream] == rows["labels"]
    assert stream.features["labels"] == List(ClassLabel(names=["cat", "dog"]))
    assert stream_labels(str(tmp_path), stream)["labels"][:] == rows["labels"]
    copied = load_hub(str(tmp_path), split="train")
    assert isinstance(copied, Dataset)
    assert labels_of(copied) == [sorted(own) for own in LISTS]


def test_rows_that_were_chosen_stay_chosen_and_what_is_plain_stays_itself(tmp_path: Path) -> None:
    folder = written(tmp_path, "labels", pa.array(LISTS, pa.large_list(pa.large_string())), LONG_IMAGE)
    rows = load_dataset("parquet", data_files=str(folder / "shards" / "*.parquet"), split="train")
    assert labels_of(to_schema(rows.select([3, 0]))) == [["dog"], ["cat"]]
    plain = Dataset.from_dict({"image": [PNG], "labels": [["cat"]]})
    schema = to_schema(plain)
    assert to_schema(schema) is schema


NO_IMAGES = {
    "lists of bytes": pa.array([[PNG]] * 4),
    "lists of structs": pa.array([[{"bytes": PNG, "path": None}]] * 4),
    "long lists": pa.array([[PNG]] * 4, pa.large_list(pa.binary())),
    "lists of numbers": pa.array([[1, 2]] * 4),
    "rows of pixels": pa.array([[[1, 2], [3, 4]]] * 4),
    "numbers": pa.array([1, 2, 3, 4]),
    "structs of something else": pa.array([{"a": 1}] * 4),
    "structs of numbers": pa.array([{"bytes": 1, "path": "a.png"}] * 4),
    "times": pa.array([1, 2, 3, 4], pa.timestamp("s")),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_a_column_of_another_kind_than_images_is_refused_by_every_way(tmp_path: Path, kind: str) -> None:
    schema = label_features(["cat", "dog"])
    ids = pa.array([[0], [1], [], [0]], schema.arrow_schema.field("labels").type)
    table = pa.table({"image": NO_IMAGES[kind], "image_id": list("abcd"), "labels": ids})
    features = Features.from_arrow_schema(table.schema) | {"labels": schema["labels"]}
    (tmp_path / "shards").mkdir()
    shard = tmp_path / "shards" / "train-00000-of-00001.parquet"
    pq.write_table(table.replace_schema_metadata(Features(features).arrow_schema.metadata), shard)
    for load in (
        lambda: load_table(shard),
        lambda: load_hub(str(shard.parent), cache_dir=str(tmp_path / "cache")),
        lambda: load_stream("hub", str(shard.parent), "train"),
    ):
        with pytest.raises(ValueError, match=r"train: the column 'image' is .*, expected images: encoded bytes"):
            load()


def test_a_number_beyond_all_classes_is_refused_in_a_line(tmp_path: Path) -> None:
    cells = pa.array([[2**63]] * 4, pa.list_(pa.uint64()))
    folder = written(tmp_path, "labels", cells, PLAIN_IMAGE)
    with pytest.raises(ValueError, match=r"row 0: labels are \[9223372036854775808\], expected class ids from 0 to 1"):
        load_hub(str(folder / "shards"), split="train", reading=Reading(class_names=["cat", "dog"]))
