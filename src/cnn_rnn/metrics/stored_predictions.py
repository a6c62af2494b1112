"""Predictions as a Parquet file: what a model said about every image, so that figures can be had again without it."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike, NDArray

from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.whole_files import whole_file
from cnn_rnn.label_rules import LabelRules

from .arrow_lists import (
    equal_lists,
    label_entries,
    lengths_of,
    lists_of_labels,
    rectangle,
    same_length,
    trimmed_lists,
)
from .checked_arrays import Array, as_array, check_paths, check_scores
from .multi_label import MultiLabelMetrics

FORMAT = "cnn_rnn.predictions.1"
MAX_ENTRIES = (1 << 31) - 1  # values of a column, as many as an Arrow list can address; refused before it is read
ROW_GROUP = 8192

MOST_BEAMS = 4096


class StoredColumn(NamedTuple):
    """What a column of the file must be.

    Attributes:
        kind: Its Arrow type.
        most: How many values it holds per image with so many labels: a few bytes may unpack to many gigabytes.
        required: Whether every file has it.
        limits: The least and the largest of its numbers.
    """

    kind: pa.DataType
    most: Callable[[int], int] = lambda labels: labels
    required: bool = False
    limits: tuple[float, float] | None = None


IDS, NUMBERS = pa.list_(pa.int32()), pa.list_(pa.float32())
PROBABILITIES, LOGARITHMS = (0.0, 1.0), (-np.inf, 1e-3)  # above 0 by rounding alone
STORED_COLUMNS = {
    "image_id": StoredColumn(pa.string(), lambda _: 1, required=True),
    "label_scores": StoredColumn(NUMBERS, required=True, limits=PROBABILITIES),
    "labels": StoredColumn(IDS, required=True),
    "left_out": StoredColumn(IDS, required=True),
    "relevance_scores": StoredColumn(NUMBERS, limits=PROBABILITIES),
    "paths": StoredColumn(pa.list_(IDS), lambda labels: MOST_BEAMS * max(labels, 1)),
    "path_scores": StoredColumn(NUMBERS, lambda _: MOST_BEAMS, limits=LOGARITHMS),
    "step_scores": StoredColumn(NUMBERS, lambda labels: labels + 1, limits=LOGARITHMS),
    "sets": StoredColumn(IDS),
}
RECTANGLES = [name for name, column in STORED_COLUMNS.items() if column.kind == NUMBERS]


@dataclass(frozen=True)
class StoredPredictions:
    """What a model said about N images, and the truth.

    Attributes:
        image_ids: N different ids.
        label_names: C names.
        scores: Label scores (N, C), probabilities.
        truth: (N, C) 1 present, 0 absent, -1 left out: targets as the metrics take them.
        relevance_scores: Label scores (N, C) of the relevance head alone.
        paths: Label ids (N, K, T), best path first, padded with C.
        path_scores: Natural log probabilities (N, K) of the paths.
        step_scores: Natural log probabilities (N, T + 1) of the steps of the best path and of its end.
        sets: The labels (N, C) of the best whole set of each image.
        info: What is worth knowing about them: model, data, split, thresholds ...; ready for JSON.
    """

    image_ids: list[str]
    label_names: list[str]
    scores: NDArray[np.float32]
    truth: NDArray[np.int8]
    relevance_scores: NDArray[np.float32] | None = None
    paths: NDArray[np.int32] | None = None
    path_scores: NDArray[np.float32] | None = None
    step_scores: NDArray[np.float32] | None = None
    sets: NDArray[np.bool_] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> LabelRules | None:
        """The rules between labels that the model's sets obey; None for none."""
        return LabelRules.of(self.info.get("label_rules"), self.label_names)

    @property
    def path_sets(self) -> NDArray[np.bool_] | None:
        """The labels (N, C) on the best path of each image."""
        if self.paths is None:
            return None
        images, labels = self.scores.shape
        sets = np.zeros((images, labels + 1), bool)
        np.put_along_axis(sets, self.paths[:, 0].astype(np.int64), values=True, axis=1)
        return sets[:, :labels]

    def select(self, rows: NDArray[np.int64]) -> Self:
        """The predictions of these rows, in their order."""
        names = ("scores", "truth", "relevance_scores", "paths", "path_scores", "step_scores", "sets")
        given = {name: getattr(self, name) for name in names}
        changes: dict[str, Any] = {name: None if value is None else value[rows] for name, value in given.items()}
        return replace(self, image_ids=[self.image_ids[row] for row in rows], **changes)

    def measure(self, **settings: Any) -> dict[str, Any]:
        """The figures; the settings are those of :class:`MultiLabelMetrics`."""
        metrics = MultiLabelMetrics(self.label_names, **settings)
        metrics.update(self.scores, self.truth, paths=self.path_sets, sets=self.sets)
        return metrics.compute()


def collect_predictions(
    image_ids: Sequence[str],
    label_names: Sequence[str],
    scores: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    *,
    relevance_scores: ArrayLike | torch.Tensor | None = None,
    paths: ArrayLike | torch.Tensor | None = None,
    path_scores: ArrayLike | torch.Tensor | None = None,
    step_scores: ArrayLike | torch.Tensor | None = None,
    sets: ArrayLike | torch.Tensor | None = None,
    info: dict[str, Any] | None = None,
) -> StoredPredictions:
    """Predictions ready to be written, from a model's tensors.

    Args:
        image_ids: N ids.
        label_names: C names.
        scores: (N, C) probabilities.
        targets: (N, C) 1 present, 0 absent, negative left out.
        relevance_scores: (N, C) probabilities.
        paths: END-padded label ids, (N, T) for the best path alone or (N, K, T).
        path_scores: (N, K) or, for one path, (N,).
        step_scores: (N, T + 1) of the best path.
        sets: (N, C) 0/1, the best whole sets.
        info: Notes ready for JSON.

    Raises:
        ValueError: lengths or shapes do not fit together, or a value is out of range.
    """
    checked, truth = check_scores(scores, targets)
    beams = None if paths is None else as_array(paths).astype(np.int32)
    beams = beams[:, None] if beams is not None and beams.ndim == 2 else beams
    probabilities = _float32(path_scores)
    stored = StoredPredictions(
        image_ids=[str(image_id) for image_id in image_ids],
        label_names=[str(name) for name in label_names],
        scores=checked.astype(np.float32),
        truth=truth,
        relevance_scores=_float32(relevance_scores),
        paths=beams,
        path_scores=probabilities[:, None] if probabilities is not None and probabilities.ndim == 1 else probabilities,
        step_scores=_float32(step_scores),
        sets=None if sets is None else check_paths(sets, checked.shape),
        info=info or {},
    )
    _check_shapes(stored, "predictions")
    return stored


def write_predictions(file: str | Path, predictions: StoredPredictions) -> None:
    """Write the predictions, whole or not at all."""
    _check_shapes(predictions, "predictions")
    images, labels = predictions.scores.shape
    if images * labels > MAX_ENTRIES:
        raise ValueError(f"{images} rows of {labels} scores: expected at most {MAX_ENTRIES} scores in one file")
    columns: dict[str, pa.Array] = {
        "image_id": pa.array(predictions.image_ids, pa.string()),
        "label_scores": equal_lists(predictions.scores),
        "labels": lists_of_labels(predictions.truth == 1),
        "left_out": lists_of_labels(predictions.truth < 0),
    }
    for name in ("relevance_scores", "path_scores", "step_scores"):
        if (values := getattr(predictions, name)) is not None:
            columns[name] = equal_lists(values)
    if predictions.sets is not None:
        columns["sets"] = lists_of_labels(predictions.sets)
    if predictions.paths is not None:
        beams = max(predictions.paths.shape[1], 1)
        walked = predictions.paths.reshape(images * beams, predictions.paths.shape[2])
        inner = trimmed_lists(walked, walked < labels)
        columns["paths"] = pa.ListArray.from_arrays(np.arange(images + 1, dtype=np.int32) * beams, inner)
    notes = {"format": FORMAT, "label_names": predictions.label_names, "info": predictions.info}
    table = pa.table(columns).replace_schema_metadata({"cnn_rnn": json.dumps(notes, allow_nan=False)})
    with whole_file(Path(file)) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)


def read_predictions(file: str | Path) -> StoredPredictions:
    """The predictions of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole, consistent predictions file; the message names the file and what is wrong.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such predictions file; cnn-rnn validate writes predictions.parquet")
    with told_as_broken(file, "is no predictions file that can be used"):
        parquet = pq.ParquetFile(file)
        label_names, info = _read_header(parquet)
        predictions = _read_columns(parquet.read(), label_names, info)
        _check_shapes(predictions, "the file")
        return predictions


def _read_header(parquet: pq.ParquetFile) -> tuple[list[str], dict[str, Any]]:
    """The label names and notes, once the columns, their types and their sizes are as they must be."""
    schema = parquet.schema_arrow
    notes = json.loads((schema.metadata or {}).get(b"cnn_rnn", b"{}"))
    if not isinstance(notes, dict) or notes.get("format") != FORMAT:
        raise ValueError(f"its metadata do not say {FORMAT!r}")
    names, info = notes.get("label_names"), notes.get("info")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(info, dict):
        raise ValueError("its metadata hold no list of label names or no notes")
    for name, column in STORED_COLUMNS.items():
        found = schema.field(name).type if name in schema.names else None
        if column.required if found is None else not found.equals(column.kind):
            raise ValueError(f"column {name!r} is {found or 'missing'}: expected {column.kind}")
    if unknown := sorted(set(schema.names) - set(STORED_COLUMNS)):
        raise ValueError(f"column {unknown[0]!r} is unknown")
    _check_sizes(parquet.metadata, len(names))
    return names, info


def _check_sizes(metadata: pq.FileMetaData, labels: int) -> None:
    """Nothing, or a ValueError for a file that would not fit its own label names or the memory."""
    if metadata.num_rows * labels > MAX_ENTRIES:
        raise ValueError(f"{metadata.num_rows} rows of {labels} scores: expected at most {MAX_ENTRIES} scores in all")
    values: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            values[chunk.path_in_schema.split(".")[0]] += chunk.num_values
    for name, count in values.items():
        most = metadata.num_rows * max(1, STORED_COLUMNS[name].most(labels))
        if count > min(most, MAX_ENTRIES):
            raise ValueError(f"column {name!r} holds {count} values: expected at most {most} for its rows and labels")


def _read_columns(table: pa.Table, label_names: list[str], info: dict[str, Any]) -> StoredPredictions:
    """The columns as arrays."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    for name, column in columns.items():
        if column.null_count:
            raise ValueError(f"column {name!r} has empty cells")
    images, labels = table.num_rows, len(label_names)
    truth = np.zeros((images, labels), np.int8)
    for name, value in (("labels", 1), ("left_out", -1)):
        rows, ids = label_entries(columns[name], name, labels)
        # entries are numbered row * labels + id, so that a repeated one shows in a single unique
        if (truth[rows, ids] != 0).any() or len(np.unique(rows * labels + ids)) < len(ids):
            raise ValueError(f"column {name!r} holds a label twice, or one that is both present and left out")
        truth[rows, ids] = value
    paths, sets = None, None
    if "sets" in columns:
        sets = np.zeros((images, labels), bool)
        sets[label_entries(columns["sets"], "sets", labels)] = True
    if "paths" in columns:
        beams = same_length(columns["paths"], "paths")
        inner = columns["paths"].flatten()
        rows, ids = label_entries(inner, "paths", labels)
        lengths = lengths_of(inner)
        if lengths.max(initial=0) > labels or len(lengths) * lengths.max(initial=0) > MAX_ENTRIES:
            raise ValueError(f"a path of {lengths.max()} labels: expected at most {labels}, each label once")
        if images and not beams:
            raise ValueError("column 'paths' holds no path for an image: expected at least one, which may be empty")
        longest = int(lengths.max(initial=0))
        paths = np.full((images * beams, longest), labels, np.int32)
        # the place of each id within its own path: its running number less that of the path's first
        paths[rows, np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)] = ids
        paths = paths.reshape(images, max(beams, 1), longest)
    rectangles = {name: rectangle(columns[name], name) if name in columns else None for name in RECTANGLES}
    scores = rectangles.pop("label_scores")
    assert scores is not None
    if not images:  # lists without rows do not tell how many labels they would hold
        scores = np.zeros((0, labels), np.float32)
        rectangles = dict.fromkeys(rectangles)
    return StoredPredictions(
        columns["image_id"].to_pylist(), label_names, scores, truth, paths=paths, sets=sets, info=info, **rectangles
    )


def _check_shapes(predictions: StoredPredictions, name: str) -> None:
    """Nothing, or a ValueError where the parts do not fit together."""
    images, labels = len(predictions.image_ids), len(predictions.label_names)
    if len(set(predictions.label_names)) != labels:
        raise ValueError(f"{name}: two labels have the same name")
    if len(set(predictions.image_ids)) != images:
        twice = Counter(predictions.image_ids).most_common(1)[0][0]
        raise ValueError(f"{name}: image {twice!r} occurs twice")
    paths = predictions.paths
    beams, steps = (0, 0) if paths is None else paths.shape[1:]
    expected = {
        "scores": (images, labels),
        "truth": (images, labels),
        "relevance_scores": (images, labels),
        "sets": (images, labels),
        "path_scores": (images, beams),
        "step_scores": (images, steps + 1),
    }
    for part, shape in expected.items():
        values = getattr(predictions, part)
        if values is None:
            continue
        fits = values.shape == shape or (part == "step_scores" and values.ndim == 2 and len(values) == images)
        if not fits:
            raise ValueError(f"{name}: {part} have shape {values.shape}: expected {shape}")
        column = STORED_COLUMNS.get("label_scores" if part == "scores" else part)
        if column is not None and column.limits is not None:
            _check_range(values, f"{name}: {part}", *column.limits)
    if paths is not None:
        if paths.ndim != 3 or len(paths) != images or (images and not beams):
            raise ValueError(f"{name}: paths have shape {paths.shape}: expected ({images}, K, T)")
        if ((paths < 0) | (paths > labels)).any() or (
            np.diff(paths == labels, axis=2) & (paths == labels)[..., :-1]
        ).any():
            raise ValueError(f"{name}: a path holds an id outside 0..{labels}, or a label after its end")


def _check_range(values: Array, name: str, least: float, most: float) -> None:
    """Nothing, or a ValueError where a value is none of those from `least` to `most`."""
    outside = values[~((values >= least) & (values <= most))]  # NaN too
    if outside.size:
        told = "a probability, 0..1" if least == 0 else "a natural log probability, at most 0"
        raise ValueError(f"{name} hold {outside.flat[0]:g}, not a finite number that is {told}")


def _float32(values: ArrayLike | torch.Tensor | None) -> NDArray[np.float32] | None:
    """The values as float32."""
    return None if values is None else as_array(values).astype(np.float32)
