"""All sources by name, as configurations and commands give them."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.nearest_names import did_you_mean

from .benchmarks.coco import load_coco
from .benchmarks.digits import load_digits
from .benchmarks.nus_wide import load_nus_wide
from .benchmarks.voc import load_voc
from .images_inside.hub_datasets import load_hub
from .labels.choosing import LabelChoice, join_datasets, joined_parts
from .own_photos.class_folders import load_class_folders
from .own_photos.image_folder import load_image_folder
from .own_photos.table import load_table
from .own_photos.voc_xml import load_voc_xml
from .photos.disk_layout import ROOT

EXPLAINED_BY_SETTINGS = frozenset({"image_folder", "table", "hub"})  # whatever people have
FOLDERS = frozenset({"class_folders", "voc_xml"})  # that are looked through
SOURCES: dict[str, Callable[..., Any]] = {
    "voc2007": partial(load_voc, year=2007),
    "voc2012": partial(load_voc, year=2012),
    "coco2014": partial(load_coco, year=2014),
    "coco2017": partial(load_coco, year=2017),
    "nus-wide-81": partial(load_nus_wide, labels="concepts81"),
    "nus-wide-1000": partial(load_nus_wide, labels="tags1k"),
    "image_folder": load_image_folder,
    "table": load_table,
    "class_folders": load_class_folders,
    "voc_xml": load_voc_xml,
    "hub": load_hub,
    "digits": load_digits,
}


@told_in_one_line()
def load_source(
    kind: str,
    root: str | Path | None = None,
    *,
    split: str | None = None,
    choice: LabelChoice | None = None,
    **options: Any,
) -> Any:
    """What the loader of this name returns: `SOURCES[kind](root, split=split, **options)`, with the labels chosen.

    All loaders take `root`, the folder or file; `split`, one of the splits, all of them by default; `require_images`,
    where False accepts missing images, whose rows then hold None as image; and those of what people have `reading`,
    what a person decided where it could mean two things.

    Names joined by `+` give one data set of several, with one root and the same classes: of `voc2007+voc2012` the
    splits `trainval+train` are one of each, `train` is that of both; `train+val` of `coco2014` are two of one. The
    labels of each part are renamed and left out before they are joined; they must then be the same, unless
    `choice.labels_of_others` tells what a part says of those that it has no word for.

    Raises:
        ValueError: There is no such source or label, the nearest name is told; or sources and splits cannot be joined.
    """
    choice = choice or LabelChoice()
    if split is None:
        if "+" in kind:
            raise ValueError(f"data source {kind!r} joins several sets: name a split of each, as train+train")
        loaded = _load_one(kind, root, None, options)
        if isinstance(loaded, Dataset):
            return choice.of(loaded, kind)
        return DatasetDict({name: choice.of(rows, f"{kind} {name}") for name, rows in loaded.items()})
    parts = choice.of_parts(
        [(f"{one} {part}", _load_one(one, root, part, options)) for one, part in joined_parts(kind, split)]
    )
    return parts[0][1] if len(parts) == 1 else join_datasets(parts)


def _load_one(kind: str, root: str | Path | None, split: str | None, options: dict[str, Any]) -> Any:
    """The data of one source by its name; ValueError where name, root or settings do not go together."""
    if kind not in SOURCES:
        hint = did_you_mean(
            kind, SOURCES, shown=repr, front="; ", otherwise=", and no file or folder of that name is there."
        )
        raise ValueError(f"data source {kind!r} is not known{hint} Known: {', '.join(SOURCES)}")
    if root is None and kind != "digits":
        raise ValueError(f"data source {kind!r} needs its folder: {ROOT}")
    reading = options.get("reading")
    if reading is not None and kind not in EXPLAINED_BY_SETTINGS:
        foreign = {entry.name for entry in fields(reading)} - ({"system_files", "case"} if kind in FOLDERS else set())
        reading.refuse(foreign, f"data source {kind!r} has a format of its own")
    told = {name: value for name, value in options.items() if name != "reading" or (value and value.given())}
    told |= {} if split is None else {"split": split}
    return SOURCES[kind](**told) if kind == "digits" else SOURCES[kind](root, **told)
