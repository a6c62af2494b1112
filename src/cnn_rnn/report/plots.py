"""The pictures of a report, drawn with matplotlib: how well each label is found, and whether scores can be trusted."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.metrics.average_precision import precision_at_positives, sorted_classes
from cnn_rnn.metrics.calibration_error import class_reliability
from cnn_rnn.metrics.checked_arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

INSTALL = "pip install 'cnn-rnn[report]'"
BLUE, ORANGE, GREY, INK = "#2b6cb0", "#dd6b20", "#a0aec0", "#1a202c"
HIGHLIGHTS = ("#2f855a", "#38a169", "#68d391", "#c53030", "#e53e3e", "#fc8181")  # three best, three worst
MAX_NAMED_BARS = 100
CURVE_POINTS = 200


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """The drawing function, with the report's type size and without frames around the axes.

    Raises:
        ImportError: on drawing, where matplotlib is not installed.
    """

    @wraps(draw)
    def draw_styled(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            from matplotlib import rc_context
        except ImportError as error:
            raise ImportError(f"pictures need matplotlib: {INSTALL}") from error
        style: Any = {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "font.size": 9,
            "svg.hashsalt": "cnn-rnn",  # the same picture is the same file
        }
        with rc_context(style):
            return draw(*arguments, **options)

    return draw_styled


def new_plot(width: float, height: float, columns: int = 1, **options: Any) -> "tuple[Figure, Sequence[Axes]]":
    """An empty plot that no window will show, and its axes."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(width, height), layout="constrained")
    return plot, plot.subplots(1, columns, squeeze=False, **options)[0]


@styled
def plot_precision_recall(scores: Array, truth: NDArray[np.int8], names: Sequence[str]) -> "Figure":
    """Precision against recall: every class faintly, the best and worst by name, and all labels together."""
    plot, (axis,) = new_plot(7.2, 4.6)
    curves = {}
    for name, (counted, positives) in zip(names, sorted_classes(scores, truth), strict=True):
        if len(positives):
            hits, precision = precision_at_positives(counted, positives)
            curves[name] = (float(precision.mean()), hits / len(positives), precision)
    ranked = sorted(curves, key=lambda name: -curves[name][0])
    marked = dict(zip([*ranked[:3], *ranked[-3:]], HIGHLIGHTS, strict=False)) if len(ranked) > 6 else {}
    for name, (_, recall, precision) in curves.items():
        if name not in marked:
            axis.plot(*_thin(recall, precision), color=GREY, linewidth=0.6, alpha=0.6)
    for name, color in marked.items():
        average, recall, precision = curves[name]
        axis.plot(*_thin(recall, precision), color=color, linewidth=1.3, label=f"{_tick(name)}  {100 * average:.1f}")
    everything, present = np.sort(scores[truth >= 0]), np.sort(scores[truth == 1])
    if len(present):
        hits, precision = precision_at_positives(everything, present)
        label = f"all labels together  {100 * precision.mean():.1f}"
        axis.plot(*_thin(hits / len(present), precision), color=INK, linewidth=2, label=label)
        axis.legend(title="AP", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, alignment="left")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    return plot


@styled
def plot_class_bars(
    average_precisions: Sequence[float | None], frequencies: Sequence[int], names: Sequence[str], where: str
) -> "Figure":
    """The average precision of every class as a bar, the most frequent class first, with how frequent it is.

    Args:
        average_precisions: (C,), None where there is none.
        frequencies: (C,) images of each class.
        names: C names.
        where: In what the classes were counted, such as "training images".
    """
    order = [
        index for index in np.argsort(-np.asarray(frequencies), kind="stable") if average_precisions[index] is not None
    ]
    heights = [100 * (average_precisions[index] or 0.0) for index in order]
    named = len(order) <= MAX_NAMED_BARS
    plot, (axis,) = new_plot(min(14, max(6.0, 1.5 + (0.17 if named else 0.03) * len(order))), 4.2)
    places = np.arange(len(order))
    axis.bar(places, heights, width=0.8 if named else 1.0, color=BLUE, label="AP")
    axis.set(ylabel="AP", ylim=(0, 100), xlim=(-0.7, max(len(order), 1) - 0.3))
    if named:
        axis.set_xticks(places, [_tick(names[index]) for index in order], rotation=90, fontsize=7)
    else:
        axis.set_xticks([])
        axis.set_xlabel(f"{len(order)} classes, the most frequent first")
    counts = axis.twinx()
    counts.spines["right"].set_visible(True)
    counts.spines["right"].set_color(ORANGE)
    counts.plot(places, [frequencies[index] for index in order], color=ORANGE, marker=".", markersize=3, linewidth=1)
    counts.set_yscale("symlog", linthresh=1)
    counts.set_ylim(bottom=0)
    counts.set_ylabel(where, color=ORANGE)
    counts.tick_params(axis="y", colors=ORANGE)
    return plot


@styled
def plot_co_occurrence(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], names: Sequence[str], most: int = 25, fewest: int = 5
) -> "Figure | None":
    """How often a label comes with another, in truth, in predictions, and what is predicted too often or too rarely.

    None where fewer than two labels are frequent enough.

    Args:
        truth: (N, C) labels that are present.
        predicted: (N, C) labels that are predicted.
        names: C names.
        most: How many labels are shown, the most frequent ones.
        fewest: How many images a label needs to be shown; with fewer, its shares would say little.
    """
    counts = truth.sum(axis=0)
    shown = np.argsort(-counts, kind="stable")[:most]
    shown = shown[counts[shown] >= fewest]
    if len(shown) < 2:
        return None
    shares = [_conditional_shares(sets[:, shown]) for sets in (truth, predicted)]
    size = 0.16 * len(shown) + 1.7
    plot, axes = new_plot(3 * size + 0.6, size + 0.6, columns=3, sharey=True)
    titles = ("in truth", "in predicted sets", "predicted less truth")
    for axis, title, values in zip(axes, titles, (*shares, shares[1] - shares[0]), strict=True):
        difference = title == titles[2]
        image = axis.imshow(
            100 * values,
            cmap="RdBu_r" if difference else "Blues",
            vmin=-50 if difference else 0,
            vmax=50 if difference else 100,
            interpolation="nearest",
        )
        axis.set_title(title)
        ticks = [_tick(names[index]) for index in shown]
        axis.set_xticks(range(len(shown)), ticks, rotation=90, fontsize=7)
        axis.set_yticks(range(len(shown)), ticks, fontsize=7)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        plot.colorbar(image, ax=axis, shrink=0.75, pad=0.02).ax.tick_params(labelsize=7)
    axes[0].set_ylabel("of the images with this label ...")
    axes[1].set_xlabel("... so many percent also have this one")
    return plot


@styled
def plot_reliability(scores: Array, truth: NDArray[np.int8], bins: int = 15) -> "Figure | None":
    """Predicted probability against how often it came true; None where the scores are no probabilities."""
    parts = [class_reliability(counted, positives, bins) for counted, positives in sorted_classes(scores, truth)]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    total = known[0]
    for part in known[1:]:
        total += part
    plot, (axis, counts) = new_plot(8.4, 3.8, columns=2)
    filled = total.entries > 0
    centres = (np.arange(bins) + 0.5) / bins
    confidence = total.score_sum[filled] / total.entries[filled]
    came_true = total.positives[filled] / total.entries[filled]
    axis.bar(centres[filled], came_true, width=0.94 / bins, color=BLUE, alpha=0.85, label="came true")
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    axis.plot(confidence, came_true, color=ORANGE, marker="o", markersize=3, linewidth=1, label="mean probability")
    error = total.expected_error()
    axis.set_title(f"expected calibration error {100 * (error or 0):.2f} %")
    axis.set(xlabel="predicted probability", ylabel="share of labels that are present", xlim=(0, 1), ylim=(0, 1))
    axis.legend(frameon=False, loc="upper left")
    counts.bar(centres, total.entries, width=0.94 / bins, color=GREY)
    counts.set_yscale("log")
    counts.set(xlabel="predicted probability", ylabel="labels of images", xlim=(0, 1))
    counts.set_title("how many")
    return plot


def spread_evenly(count: int, most: int) -> NDArray[np.int_]:
    """Places of at most `most` of `count` things, spread evenly from the first to the last, each once and ascending."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def _conditional_shares(sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share (M, M) of the images with label i that also have label j; the diagonal is empty."""
    counts = sets.astype(np.float32).T @ sets.astype(np.float32)
    shares = counts / np.maximum(np.diag(counts), 1)[:, None]
    np.fill_diagonal(shares, np.nan)
    return np.asarray(shares, np.float64)


def _thin(recall: Array, precision: Array) -> tuple[Array, Array]:
    """A curve by rising recall, with a limited number of points."""
    keep = spread_evenly(len(recall), CURVE_POINTS)
    return recall[::-1][keep], precision[::-1][keep]


def _tick(name: str, most: int = 22) -> str:
    """A name that fits a tick, and that matplotlib does not take for a formula."""
    text = name if len(name) <= most else name[: most - 1] + "…"
    return text.replace("$", r"\$")
