"""A look at a labelled image set, the one description of it: how often labels occur, and which occur together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Image, IterableDataset

from cnn_rnn.foundation.whole_files import whole_file

from .schema import LEFT_OUT_COLUMNS, label_counts, label_lists, label_names, label_pair_counts

ImageCounts = npt.NDArray[np.int64]
CLASSES_SHOWN = 8  # classes that are named
MOST_NOTES = 12  # a set of the Hub brings a description of its own
LONGEST_NAME = 40  # letters of a name


class SplitLook:
    """What one split holds: the numbers that training prints, `data look` prints and cards say.

    Args:
        rows: Rows of the one schema.

    Attributes:
        images: How many rows.
        counts: How many images show each label, (C,).
        sizes: How many images have 0, 1, 2, ... labels.
        left_out: How many labels neither loss nor figures count, by the column that tells them.
    """

    def __init__(self, rows: Dataset) -> None:
        self._rows, self.images, self.counts = rows, len(rows), label_counts(rows)
        self.sizes: ImageCounts = np.bincount(np.diff(label_lists(rows).offsets.to_numpy()), minlength=1)
        there = [column for column in LEFT_OUT_COLUMNS if column in rows.column_names]
        self.left_out = {column: int(label_counts(rows, column).sum()) for column in there}

    @cached_property
    def together(self) -> ImageCounts:
        """How many images show both labels of a pair, (C, C)."""
        return label_pair_counts(self._rows).astype(np.int64)

    @property
    def unlabelled(self) -> int:
        """How many images have no label."""
        return int(self.sizes[0])

    @property
    def labels_per_image(self) -> float:
        """The mean number of labels."""
        return float(self.counts.sum() / max(self.images, 1))

    def line(self, name: str) -> str:
        """The split in one line: photos, labels per photo, and labels left out."""
        labels = f"{self.labels_per_image:.2f} labels per photo (0: {self.unlabelled:,}, most: {len(self.sizes) - 1})"
        unseen = int((self.counts == 0).sum())
        out = [f"{count:,} {column} labels left out of loss and figures" for column, count in self.left_out.items()]
        out = [f"{unseen:,} labels on none of them", *out] if unseen else out
        return ", ".join([f"{name}: {self.images:,} photos", labels, *out])

    def first_rows(self, names: list[str]) -> list[str]:
        """The first rows, a line each, with their labels."""
        lines = []
        for row in self._rows.select(range(min(3, self.images))).cast_column("image", Image(decode=False)):
            told = ", ".join(names[label] for label in row["labels"][:CLASSES_SHOWN]) or "no label"
            more = f" and {len(row['labels']) - CLASSES_SHOWN} more" if len(row["labels"]) > CLASSES_SHOWN else ""
            more += f"; {len(row['unknown'])} unknown" if row.get("unknown") else ""
            lines.append(f"row: {row['image_id']}: {told}{more}")
        return lines


@dataclass(frozen=True)
class Pair:
    """Two labels that meet more, or less, often than chance would have it.

    Attributes:
        first: The rarer label.
        second: The other one.
        images: How many images show both.
        given_first: How often the second is there where the first is, 0..1.
        correlation: The phi coefficient, -1..1.
    """

    first: str
    second: str
    images: int
    given_first: float
    correlation: float


@dataclass(frozen=True)
class Look:
    """What a data set holds, split by split; pairs and order are those of the training split.

    Attributes:
        names: The classes, by id.
        splits: What each split holds.
        training: The name of the training split.
        notes: How the rows were read.
    """

    names: list[str]
    splits: dict[str, SplitLook]
    training: str
    notes: list[str]

    def label_order(self) -> list[str]:
        """The labels from frequent to rare, as a frequent-first path walks them; ties keep the order of the ids."""
        order = np.argsort(-self.splits[self.training].counts, kind="stable")
        return [self.names[i] for i in order]

    def pairs(self, top: int, least: int = 5) -> tuple[list[Pair], list[Pair]]:
        """The pairs with the strongest positive and negative correlation, among labels on at least `least` images."""
        split = self.splits[self.training]
        total, counts = max(split.images, 1), split.counts.astype(float)
        deviation = np.sqrt(counts * (total - counts))
        phi = (total * split.together - np.outer(counts, counts)) / np.maximum(np.outer(deviation, deviation), 1e-12)
        usual = (counts >= least) & (counts < total)
        rows, columns = np.nonzero(np.triu(np.outer(usual, usual), k=1))
        order = np.argsort(-phi[rows, columns], kind="stable")
        ranked = [self._pair(split, int(rows[i]), int(columns[i]), phi) for i in [*order[:top], *order[::-1][:top]]]
        half = len(order[:top])
        positive = [pair for pair in ranked[:half] if pair.correlation > 0]
        return positive, [pair for pair in ranked[half:] if pair.correlation < 0]

    def _pair(self, split: SplitLook, i: int, j: int, phi: npt.NDArray[np.float64]) -> Pair:
        """Two labels, the rarer first: how many images show both, that as a share of the rarer one's, and phi."""
        first, second = (i, j) if split.counts[i] <= split.counts[j] else (j, i)
        both = int(split.together[i, j])
        share = both / int(split.counts[first])
        return Pair(self.names[first], self.names[second], both, share, float(phi[i, j]))


def look_at(data: Mapping[str, Dataset | IterableDataset]) -> Look:
    """What the splits hold; the training split is `train`, else `trainval`, else the first.

    Args:
        data: Rows of the one schema by what the split is called; of a stream the classes alone are known.
    """
    splits = {name: SplitLook(rows) for name, rows in data.items() if isinstance(rows, Dataset)}
    training = next((name for name in ("train", "trainval") if name in splits), next(iter(splits), ""))
    told = [rows.info.description or "" for rows in data.values() if isinstance(rows, Dataset)]
    notes = list(dict.fromkeys(note for one in told for note in one.splitlines()))
    return Look(label_names(next(iter(data.values()))), splits, training, notes)


def describe(look: Look, top: int = 15) -> str:
    """The look as text for a terminal: what `summary` says, sizes of label sets, frequencies, pairs and the order."""
    lines = [summary(look), "", "labels per image (share of each split)"]
    longest = max(len(split.sizes) for split in look.splits.values())
    shown = min(longest, 12)
    lines.append(f"{'':<12} " + " ".join(f"{n:>6}" for n in range(shown)) + ("   more" if longest > shown else ""))
    for name, split in look.splits.items():
        shares = np.pad(split.sizes, (0, longest - len(split.sizes))) / max(split.images, 1)
        cells = [*shares[:shown], shares[shown:].sum()] if longest > shown else list(shares)
        lines.append(f"{name:<12} " + " ".join(f"{share:>6.1%}" for share in cells))
    lines += ["", f"label frequency ({len(look.names)} labels, images that show each)"]
    width = min(max(map(len, look.names), default=0), 30)
    order = look.label_order()
    listed = order if len(order) <= 2 * top else [*order[:top], None, *order[-top:]]
    lines.append(f"{'':<{width}} " + " ".join(f"{name:>10}" for name in look.splits))
    for label in listed:
        if label is None:
            lines.append(f"... {len(order) - 2 * top:,} more ...")
            continue
        index = look.names.index(label)
        lines.append(f"{label[:width]:<{width}} " + " ".join(f"{s.counts[index]:>10,}" for s in look.splits.values()))
    for title, pairs in zip(("more", "less"), look.pairs(top), strict=True):
        told = f"labels that go together {title} often than by chance, in {look.training}"
        lines += ["", f"{told} (correlation; share of the first that also shows the second){'' if pairs else ': none'}"]
        lines += [
            f"  {pair.correlation:+.2f}  {pair.first} -> {pair.second}  {pair.given_first:.0%} ({pair.images:,} images)"
            for pair in pairs
        ]
    more = f", and {len(order) - 2 * top:,} more" if len(order) > 2 * top else ""
    lines += ["", f"label order, frequent first, from {look.training}:", ", ".join(order[: 2 * top]) + more]
    return "\n".join(lines)


def plot(look: Look, path: Path, top: int = 30) -> None:
    """Draws frequency, labels per image, co-occurrence and balance of the splits into a PNG file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'cnn-rnn[data]'") from error
    figure = Figure(figsize=(15, 11), layout="constrained")
    frequency, sizes, together, balance = figure.subplots(2, 2).flat
    training = look.splits[look.training]
    order = np.argsort(-training.counts, kind="stable")
    names = [look.names[i] for i in order[:top]]
    for name, split in look.splits.items():
        frequency.plot(np.maximum(split.counts[order], 0.5), marker=".", label=name)  # 0.5: a zero on a log scale
        sizes.plot(split.sizes / max(split.images, 1), marker="o", label=name)
        if name != look.training:
            shares = (s.counts / max(s.images, 1) for s in (training, split))
            balance.loglog(*shares, ".", label=name)
    frequency.set(title="Images that show each label", yscale="log", xlabel=f"frequent first in {look.training}")
    if len(order) <= top:
        frequency.set_xticks(range(len(names)), names, rotation=90)
    sizes.set(title="Labels per image", xlabel="labels", ylabel="share of images")
    balance.axline((0.01, 0.01), (0.1, 0.1), color="grey", label="the same share")
    balance.set(title="Share of each label, other splits against training", xlabel=look.training, ylabel="other split")
    given = training.together / np.maximum(training.counts[:, None], 1)
    chosen = order[:top]
    shown = together.imshow(given[np.ix_(chosen, chosen)], vmin=0, vmax=1, cmap="viridis")
    together.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    together.set_yticks(range(len(names)), names, fontsize=7)
    together.set(title="How often the column's label is there where the row's is", xlabel="", ylabel="")
    figure.colorbar(shown, ax=together)
    for axes in (frequency, sizes, balance):
        axes.legend()
        axes.grid(alpha=0.3)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def summary(look: Look) -> str:
    """How it was read, classes, counts of the splits, photos per class, and three rows."""
    shown = ", ".join(name[:LONGEST_NAME] for name in look.names[:CLASSES_SHOWN])
    more = f" and {len(look.names) - CLASSES_SHOWN:,} more" if len(look.names) > CLASSES_SHOWN else ""
    lines = [f"read: {note}" for note in look.notes[:MOST_NOTES]] + [f"classes: {len(look.names):,}: {shown}{more}"]
    if not look.splits:
        return lines[-1]
    first, split = next(iter(look.splits.items()))
    order = np.argsort(-split.counts, kind="stable")
    listed = [f"{look.names[i][:LONGEST_NAME]} {split.counts[i]:,}" for i in order]
    if len(order) > CLASSES_SHOWN:
        listed = [*listed[:CLASSES_SHOWN], "...", *listed[-2:]]
    lines += [own.line(name) for name, own in look.splits.items()]
    return "\n".join([*lines, f"photos per class ({first}): {', '.join(listed)}", *split.first_rows(look.names)])
