"""All sources by name, as configurations and commands give them."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, load_dataset

from .adapt import Columns, to_schema
from .coco import load_coco
from .digits import load_digits
from .files import present_paths
from .image_folder import load_image_folder
from .joining import join_datasets, joined_parts
from .metadata import read_metadata
from .nus_wide import load_nus_wide
from .reading import explained, open_dataset
from .schema import build_dataset, image_paths, label_lists_from_matrix, label_names
from .voc import load_voc

CONVERT = "'python scripts/data.py convert hub --root NAME --output FOLDER' brings it into the schema first"


def load_table(
    path: str | Path,
    image_root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    require_images: bool = True,
    split: str = "train",
) -> Dataset:
    """One CSV, JSON-lines or Parquet table as one split.

    A Parquet table with a column ``image`` holds the images itself; any other table has a column ``file_name``, and
    ``labels`` or one 0/1 column a class, as in an image folder.

    Args:
        path: The table.
        image_root: What ``file_name`` is relative to; by default the table's folder.
        class_names: The classes in order; by default those that the table tells.
        require_images: False accepts missing images; their rows hold None as image.
        split: What the split is called.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}")
    if path.suffix == ".parquet" and "image" in pq.read_schema(path).names:
        rows = load_dataset("parquet", data_files={split: str(path)}, split=split)
        return to_schema(rows, class_names=class_names)
    table = read_metadata(path, class_names)
    names = list(class_names or table.class_names())
    paths = present_paths(
        Path(image_root or path.parent), table.file_names, str(path), require_images=require_images, where=table.where
    )
    labels = label_lists_from_matrix(table.presence(names))
    return build_dataset(image_paths(paths), list(table.image_ids), labels, names, split=split)


def load_hub(
    name: str,
    split: str | None = None,
    *,
    columns: Columns | None = None,
    class_names: Sequence[str] | None = None,
    streaming: bool = False,
    **options: Any,
) -> Dataset | DatasetDict | IterableDataset | IterableDatasetDict:
    """A data set of the Hub, or a prepared folder of Parquet shards, in the one schema.

    Args:
        name: The data set's name on the Hub, such as ``org/photos``, or ``org/photos@v2`` for a branch, tag or commit
            of it; or a local folder that ``write_parquet`` made.
        split: One of its splits; all of them by default.
        columns: What it calls its columns.
        class_names: Its classes in order, where it does not tell them.
        streaming: Read rows as they come, without a local copy. The rows must have the one schema already.
        options: Further arguments of ``datasets.load_dataset_builder``, such as ``revision`` or ``cache_dir``.

    Raises:
        HubError: The data set is not there, not reached, not to be read, or wants to run code.
        ValueError: It has no such split, or rows of another kind.
    """
    builder = open_dataset(name, **options)
    try:
        with explained(name):
            if streaming:
                return _as_stream(builder.as_streaming_dataset(split=split))
            builder.download_and_prepare()
            data = builder.as_dataset(split=split)
        return to_schema(data, columns, class_names)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _as_stream(data: IterableDataset | IterableDatasetDict) -> IterableDataset | IterableDatasetDict:
    """The data, if its rows have the one schema already."""
    first = next(iter(data.values())) if isinstance(data, IterableDatasetDict) else data
    missing = {"image", "image_id", "labels"} - set(first.column_names or ())
    if missing:
        raise ValueError(f"it cannot be streamed without {', '.join(sorted(missing))}; {CONVERT}")
    label_names(first)
    return data


SOURCES: dict[str, Callable[..., Any]] = {
    "voc2007": partial(load_voc, year=2007),
    "voc2012": partial(load_voc, year=2012),
    "coco2014": partial(load_coco, year=2014),
    "coco2017": partial(load_coco, year=2017),
    "nus-wide-81": partial(load_nus_wide, labels="concepts81"),
    "nus-wide-1000": partial(load_nus_wide, labels="tags1k"),
    "image_folder": load_image_folder,
    "table": load_table,
    "hub": load_hub,
    "digits": load_digits,
}


def load_source(kind: str, root: str | Path | None = None, *, split: str | None = None, **options: Any) -> Any:
    """What the loader of this name returns: ``SOURCES[kind](root, split=split, **options)``.

    Names joined by ``+`` give one data set of several, with one root and the same classes: of ``voc2007+voc2012`` the
    splits ``trainval+train`` are one of each, ``train`` is that of both; ``train+val`` of ``coco2014`` are two of one.

    Raises:
        ValueError: There is no such source, the nearest name is told; or sources and splits cannot be joined.
    """
    if split is None:
        if "+" in kind:
            raise ValueError(f"data source {kind!r} joins several sets: name the split of each, as train+train")
        return _load_one(kind, root, None, options)
    parts = [(f"{one} {part}", _load_one(one, root, part, options)) for one, part in joined_parts(kind, split)]
    return parts[0][1] if len(parts) == 1 else join_datasets(parts)


def _load_one(kind: str, root: str | Path | None, split: str | None, options: dict[str, Any]) -> Any:
    if kind not in SOURCES:
        near = get_close_matches(kind, SOURCES, n=1)
        hint = f"; is {near[0]!r} meant?" if near else ""
        raise ValueError(f"data source {kind!r} is not known{hint} Known: {', '.join(SOURCES)}")
    if root is None and kind != "digits":
        raise ValueError(f"data source {kind!r} needs its root (data.root in a configuration)")
    if split is not None:
        options = {**options, "split": split}
    return SOURCES[kind](**options) if kind == "digits" else SOURCES[kind](root, **options)
