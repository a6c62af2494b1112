"""Splitting off a validation part that shows every class in its share, also the rare ones, at any size."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm

from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.schema import label_lists, label_names

logger = logging.getLogger(__name__)
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
ROUNDS, LOOKS = 200, 1_000_000_000  # of exchanging rows, and of looking at a row's label meanwhile, at the most
ROWS_COPIED = 32_768  # whose labels are copied
LAST = 1e3  # what taking a label's last photo from training weighs, next to a deviation of one photo


def stratified_split(
    dataset: Dataset, fraction: float = 0.1, seed: int = 0, names: tuple[str, str] = ("train", "validation")
) -> DatasetDict:
    """Two disjoint parts of a data set, the second with `fraction` of the images and about that of every class.

    As in iterative stratification (Sechidis et al., 2011) the rarest class is dealt out first, but by chance, so that
    what stands together keeps its share too; rows are then exchanged while that brings the classes nearer to theirs.
    The size is exact, a class keeps an image in the first part where it can, and images without any label are dealt out
    as a class of their own. Memory grows with the labels given. Each part keeps the order of the rows.

    Args:
        dataset: Rows of the one schema.
        fraction: The share of the second part, between 0 and 1.
        seed: The same seed gives the same parts.
        names: What the parts are called.

    Raises:
        ValueError: A part would be empty.
    """
    size = round(len(dataset) * fraction)
    if not 0 < fraction < 1 or not 1 <= size < len(dataset):
        raise ValueError(
            f"a fraction of {fraction} of {len(dataset)} rows leaves a part empty: data.validation_fraction sets it, "
            "data.validation_split names a split of its own"
        )
    lists = label_lists(dataset)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    labels = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    classes = label_names(dataset)
    held_out = choose_rows(offsets - offsets[0], labels, len(classes), size, seed)
    _tell(offsets - offsets[0], labels, classes, held_out, names)
    parts = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    return DatasetDict({name: dataset.select(part) for name, part in zip(names, parts, strict=True)})


def stratified_folds(dataset: Dataset, folds: int, seed: int = 0) -> list[Ints]:
    """The rows of each of `folds` disjoint parts of nearly equal size, each with about its share of every class.

    Args:
        dataset: Rows of the one schema.
        folds: How many parts.
        seed: The same seed gives the same parts.

    Raises:
        ValueError: There are fewer than 2 folds, or fewer than 2 rows a fold.
    """
    if not 2 <= folds <= len(dataset) // 2:
        raise ValueError(f"{folds} folds of {len(dataset)} photos: expected at least 2 folds, and 2 photos in each")
    left, parts = np.arange(len(dataset)), []
    for more in range(folds, 1, -1):
        lists = label_lists(dataset.select(left))
        offsets = lists.offsets.to_numpy().astype(np.int64)
        labels = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
        size = round(len(left) / more)
        chosen = choose_rows(offsets - offsets[0], labels, len(label_names(dataset)), size, seed)
        parts.append(left[chosen])
        left = left[~chosen]
    return [*parts, left]


def choose_rows(offsets: Ints, labels: npt.NDArray[np.int32], num_labels: int, size: int, seed: int = 0) -> Flags:
    """Which rows (N,) the second part of a stratified split holds, exactly `size` of them.

    Args:
        offsets: Where each row's labels begin in `labels`, and where the last row's end (N + 1,).
        labels: The labels of all rows, one row after the other.
        num_labels: How many classes there are.
        size: How many rows to choose.
        seed: The same seed gives the same rows.
    """
    return _Stratifier(offsets, labels, num_labels, size, seed).choose()


class _Stratifier:
    """The rows with their labels in both directions, and how far each class is from its share."""

    def __init__(self, offsets: Ints, labels: npt.NDArray[np.int32], num_labels: int, size: int, seed: int) -> None:
        lengths = np.diff(offsets)
        bare = np.flatnonzero(lengths == 0)
        if len(bare):  # a class of their own
            labels = np.insert(labels, offsets[bare], num_labels)
            lengths = np.maximum(lengths, 1)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.labels, self.offsets, self.starts = labels, offsets, offsets[:-1]
        self.total, self.size = len(lengths), size
        self.counts = np.bincount(labels, minlength=num_labels + 1)
        self.targets = self.counts * (size / self.total)
        self.weights = 1 / np.sqrt(1 + self.targets)
        self.random = np.random.default_rng(seed)
        self.chosen = np.zeros(self.total, dtype=bool)
        self.held = np.zeros(num_labels + 1, dtype=np.int64)  # chosen rows of each class
        self.keeps = self.counts > 0
        self.keeps[num_labels] = False  # no label is no class that training needs

    def choose(self) -> Flags:
        """The rows of the second part (N,)."""
        self._deal_out()
        self._fit_size()
        self._exchange()
        self._give_back()
        return self.chosen

    def _deal_out(self) -> None:
        """Give each class its share, the rarest first, by chance: rows of the same labels must not all go one way."""
        rows = np.repeat(np.arange(self.total, dtype=np.int32), np.diff(self.offsets))
        rows_by_label = rows[np.argsort(self.labels, kind="stable")]
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        dealt = np.zeros(self.total, dtype=bool)
        order = np.argsort(self.counts, kind="stable")
        for label in tqdm(order, desc="holding out", unit="label", leave=False, disable=self.total < 100_000):
            candidates = rows_by_label[ends[label] : ends[label + 1]]
            candidates = candidates[~dealt[candidates]]
            wanted = round(self.targets[label] - self.held[label])
            wanted = min(wanted, len(candidates), int(self.counts[label] - self.held[label]) - 1)
            if wanted > 0:
                self._move(self.random.choice(candidates.astype(np.int64), wanted, replace=False), into=True)
            dealt[candidates] = True

    def _fit_size(self) -> None:
        """Bring the number of rows to what it must be, a part at a time, with the least harm to the shares."""
        while surplus := int(self.chosen.sum()) - self.size:
            into = surplus < 0
            self._move(self._best(np.flatnonzero(self.chosen != into), max(1, abs(surplus) // 4), into), into)

    def _exchange(self) -> None:
        """Exchange rows while the classes come nearer to their shares."""
        step = max(1, min(self.size, self.total - self.size) // 16)  # neither part has fewer rows
        distance = self._distance()
        for _ in range(min(ROUNDS, LOOKS // max(len(self.labels), 1) + 1)):
            out = self._best(np.flatnonzero(self.chosen), step, into=False)
            inside = self._best(np.flatnonzero(~self.chosen), step, into=True)
            self._move(out, into=False)
            self._move(inside, into=True)
            now = self._distance()
            if now < distance - 1e-9:
                distance = now
                continue
            self._move(inside, into=False)
            self._move(out, into=True)
            if step == 1:
                return
            step //= 2

    def _give_back(self) -> None:
        """Exchange single rows where more labels then have a row in the first part, whatever the shares."""
        tries = LOOKS // max(len(self.labels), 1) + 1
        for label in np.flatnonzero(self.keeps & (self.held == self.counts)):
            if self.held[label] < self.counts[label]:
                continue  # an exchange for another label brought it back
            rows = np.searchsorted(self.offsets, np.flatnonzero(self.labels == label), side="right") - 1
            for row in rows[: max(tries, 0)]:
                tries -= 1
                if self._swap_out(row):
                    break

    def _swap_out(self, row: int) -> bool:
        """Exchange a row of the second part for one of the first, if more labels then have a row there."""
        own = self.labels[self.offsets[row] : self.offsets[row + 1]]
        gained = int((self.keeps & (self.held == self.counts))[own].sum())
        last = self.keeps & (self.counts - self.held == 1)
        last[own] = False
        others = np.flatnonzero(~self.chosen)
        lost = self._sums(last.astype(np.int64), others)
        best = int(lost.argmin())
        if lost[best] >= gained:
            return False
        self._move(np.array([row]), into=False)
        self._move(others[best : best + 1], into=True)
        return True

    def _distance(self) -> float:
        """How far the classes are from their shares; one left without rows in the first part counts far more."""
        bare = (self.counts - self.held == 0) & self.keeps
        return float((self.weights * (self.held - self.targets) ** 2).sum() + LAST * bare.sum())

    def _best(self, rows: Ints, count: int, into: bool) -> Ints:
        """The `count` rows whose move into, or out of, the second part does the shares most good."""
        sign = 1 if into else -1
        costs = self.weights * (1 + sign * 2 * (self.held - self.targets))
        left = self.counts - self.held
        costs = costs + np.where(self.keeps & (left == (1 if into else 0)), sign * LAST, 0.0)
        sums = self._sums(costs, rows)
        sums += self.random.random(len(rows)) * 1e-6  # which of equals is chance
        count = min(count, len(rows))
        part: Ints = rows[np.argpartition(sums, count - 1)[:count]] if count else rows[:0]
        return part

    def _sums(self, values: npt.NDArray[Any], rows: Ints) -> npt.NDArray[Any]:
        """The sum of a value a class over the classes of each row, some rows at a time."""
        sums = np.zeros(len(rows), values.dtype)
        for start in range(0, len(rows), ROWS_COPIED):
            part = rows[start : start + ROWS_COPIED]
            labels, lengths = self._labels_of(part)
            sums[start : start + len(part)] = np.add.reduceat(values[labels], np.cumsum(lengths) - lengths)
        return sums

    def _labels_of(self, rows: Ints) -> tuple[npt.NDArray[np.int32], Ints]:
        """The labels of some rows, one row after the other, and how many each has."""
        lengths = self.offsets[rows + 1] - self.starts[rows]
        places = np.repeat(self.starts[rows] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        return self.labels[places], lengths

    def _move(self, rows: Ints, into: bool) -> None:
        """Move rows into the second part or out of it, and keep the counts of its classes right."""
        self.chosen[rows] = into
        moved = np.bincount(self._labels_of(rows)[0], minlength=len(self.held))
        self.held += moved if into else -moved


def _tell(
    offsets: Ints, labels: npt.NDArray[np.int32], classes: list[str], held_out: Flags, names: tuple[str, str]
) -> None:
    """Say what was split off, and which labels are left without an image in the first part."""
    own = np.repeat(held_out, np.diff(offsets))
    held = np.bincount(labels[own], minlength=len(classes))
    kept = np.bincount(labels[~own], minlength=len(classes))
    logger.info(
        "%s: %s of %s photos held out by label; %s of %s labels occur in it",
        names[1], f"{held_out.sum():,}", f"{len(held_out):,}", f"{(held > 0).sum():,}", f"{len(classes):,}",
    )  # fmt: skip
    bare = np.flatnonzero((kept == 0) & (held > 0))
    if len(bare):
        named = abbreviate([classes[index] for index in bare])
        logger.warning("%s labels have no photo left in %s, all are held out: %s", len(bare), names[0], named)
