"""A look at a labelled image set: how often each label occurs, and which labels keep company."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Image, IterableDataset

from cnn_rnn.foundation.whole_files import whole_file

from .schema import LEFT_OUT_COLUMNS, label_counts, label_lists, label_names, label_pair_counts

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SplitLook:
    """What one split holds.

    Attributes:
        images: How many rows.
        counts: How many images show each label, (C,).
        sizes: How many images have 0, 1, 2, ... labels.
        together: How many images show both labels of a pair, (C, C).
    """

    images: int
    counts: Counts
    sizes: Counts
    together: Counts

    @property
    def unlabelled(self) -> int:
        """How many images have no label."""
        return int(self.sizes[0])

    @property
    def labels_an_image(self) -> float:
        """The mean number of labels."""
        return float(self.counts.sum() / max(self.images, 1))


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
    """What a data set holds, split by split; pairs and order are those of the training split."""

    names: list[str]
    splits: dict[str, SplitLook]
    training: str

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


def look_at(data: Mapping[str, Dataset]) -> Look:
    """What the splits hold; the training split is `train`, else `trainval`, else the first."""
    splits = {}
    for name, rows in data.items():
        together = label_pair_counts(rows).astype(np.int64)
        sizes = np.bincount(np.diff(label_lists(rows).offsets.to_numpy()), minlength=1)
        splits[name] = SplitLook(len(rows), np.diag(together).copy(), sizes, together)
    training = next((name for name in ("train", "trainval") if name in splits), next(iter(splits)))
    return Look(label_names(next(iter(data.values()))), splits, training)


def describe(look: Look, top: int = 15) -> str:
    """The look as text for a terminal."""
    lines = [f"{'split':<12} {'images':>9} {'no label':>9} {'labels/image':>13} {'labels unseen':>14}"]
    for name, split in look.splits.items():
        unseen = int((split.counts == 0).sum())
        lines.append(
            f"{name:<12} {split.images:>9,} {split.unlabelled:>9,} {split.labels_an_image:>13.2f} {unseen:>14,}"
        )
    lines += ["", "labels an image (share of each split)"]
    longest = max(len(split.sizes) for split in look.splits.values())
    shown = min(longest, 12)
    lines.append(f"{'':<12} " + " ".join(f"{n:>6}" for n in range(shown)) + ("   more" if longest > shown else ""))
    for name, split in look.splits.items():
        shares = np.pad(split.sizes, (0, longest - len(split.sizes))) / max(split.images, 1)
        cells = [*shares[:shown], shares[shown:].sum()] if longest > shown else list(shares)
        lines.append(f"{name:<12} " + " ".join(f"{share:>6.1%}" for share in cells))
    lines += ["", f"label frequency ({len(look.names)} labels, images that show each)"]
    width = min(max(map(len, look.names)), 30)
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
    lines += ["", f"label order, frequent first, from {look.training}:", ", ".join(order)]
    return "\n".join(lines)


def plot(look: Look, path: Path, top: int = 30) -> None:
    """Draws frequency, labels an image, company and balance of the splits into a PNG file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'cnn-rnn[data]'") from error
    figure = Figure(figsize=(15, 11), layout="constrained")
    frequency, sizes, company, balance = figure.subplots(2, 2).flat
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
    sizes.set(title="Labels an image", xlabel="labels", ylabel="share of images")
    balance.axline((0.01, 0.01), (0.1, 0.1), color="grey", label="the same share")
    balance.set(title="Share of each label, other splits against training", xlabel=look.training, ylabel="other split")
    given = training.together / np.maximum(training.counts[:, None], 1)
    chosen = order[:top]
    shown = company.imshow(given[np.ix_(chosen, chosen)], vmin=0, vmax=1, cmap="viridis")
    company.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    company.set_yticks(range(len(names)), names, fontsize=7)
    company.set(title="How often the column's label is there where the row's is", xlabel="", ylabel="")
    figure.colorbar(shown, ax=company)
    for axes in (frequency, sizes, balance):
        axes.legend()
        axes.grid(alpha=0.3)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


SHOWN = 8  # classes that are named
MOST_NOTES = 12  # a set of the Hub brings a description of its own
LONGEST = 40  # letters of a name


def what_was_read(splits: Mapping[str, Dataset | IterableDataset]) -> str:
    """Classes, photos a class, labels a photo, counts of the splits, how it was read, and three rows.

    Args:
        splits: Rows of the one schema by what the split is called; of a stream the classes alone are told.
    """
    rows = {name: split for name, split in splits.items() if isinstance(split, Dataset)}
    first = next(iter(rows.values()), None)
    names = label_names(first if first is not None else next(iter(splits.values())))
    lines = [f"classes: {len(names):,}: {_named(names)}"]
    if first is None:
        return lines[0]
    notes = dict.fromkeys(note for split in rows.values() for note in (split.info.description or "").splitlines())
    lines = [f"read: {note}" for note in list(notes)[:MOST_NOTES]] + lines
    lines += [_split_line(name, split) for name, split in rows.items()]
    counts = label_counts(first)
    order = np.argsort(-counts, kind="stable")
    listed = [f"{names[i][:LONGEST]} {counts[i]:,}" for i in order[:SHOWN]]
    if len(order) > SHOWN:
        listed += ["...", *(f"{names[i][:LONGEST]} {counts[i]:,}" for i in order[-2:])]
    lines.append(f"photos a class ({next(iter(rows))}): {', '.join(listed)}")
    return "\n".join([*lines, *_row_lines(first, names)])


def _named(names: list[str]) -> str:
    """The first names, long ones cut off, and how many more there are."""
    shown = ", ".join(name[:LONGEST] for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _split_line(name: str, split: Dataset) -> str:
    """A split in one line: photos, labels a photo, and labels left out."""
    sizes = np.bincount(label_sizes(split), minlength=1)
    mean = float((sizes * np.arange(len(sizes))).sum() / max(len(split), 1))
    line = f"{name}: {len(split):,} photos, {mean:.2f} labels a photo (0: {sizes[0]:,}, most: {len(sizes) - 1})"
    for column in LEFT_OUT_COLUMNS:
        if column in split.column_names:
            line += f", {int(label_sizes(split, column).sum()):,} {column} labels left out of loss and figures"
    return line


def label_sizes(split: Dataset, column: str = "labels") -> Any:
    """How many labels each row has, (N,)."""
    return np.diff(label_lists(split, column).offsets.to_numpy())


def _row_lines(split: Dataset, names: list[str]) -> list[str]:
    """The first rows of a split, a line each, with their labels."""
    some = split.select(range(min(3, len(split)))).cast_column("image", Image(decode=False))
    lines = []
    for row in some:
        told = ", ".join(names[label] for label in row["labels"][:SHOWN]) or "no label"
        more = f" and {len(row['labels']) - SHOWN} more" if len(row["labels"]) > SHOWN else ""
        if row.get("unknown"):
            more += f"; {len(row['unknown'])} unknown"
        lines.append(f"row: {row['image_id']}: {told}{more}")
    return lines
