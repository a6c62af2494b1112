"""The tables of several seeds, from the folders that `cnn-rnn validate --output` wrote for each: means and intervals.

Each way to choose the set stands beside the figure that it is best at, and the difference between the models beside it.
Intervals are those of other images for these models; in brackets after a mean stand the least and the greatest seed.
Nothing is computed by a model, so that the tables can be had again from the files alone:

    python scripts/benchmarks/mean_of_seeds.py measured0 measured1 measured2 --json corel5k.json
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from cnn_rnn.foundation.own_files import kept_aside
from cnn_rnn.foundation.whole_files import write_json
from cnn_rnn.metrics.asking import asked_table
from cnn_rnn.metrics.influence import Estimate
from cnn_rnn.metrics.intervals import find_interval
from cnn_rnn.metrics.resampling import estimate_runs
from cnn_rnn.metrics.stored_predictions import StoredPredictions, read_predictions
from cnn_rnn.metrics.tables import TABLES_OF_KNOWN, WAYS_TO_A_SET, Table

LEVEL = 0.95
FIGURES = {"OF1": "O-F1", "example_F1": "example F1", "exact_match": "exact match"}
BEST_AT = {"threshold": "OF1", "expected_f1": "example_F1", "path": "exact_match", "set": "exact_match"}
TABLES: dict[str, Callable[[Any], Table]] = TABLES_OF_KNOWN | {"ask": asked_table}

Estimates = dict[str, Estimate]


def read_runs(folders: Sequence[Path]) -> dict[str, list[StoredPredictions]]:
    """The predictions of each seed by model: `model`; `baseline` where all folders hold them, and two of these as one.

    Two are the baselines of a seed and of the next, the first after the last.
    """
    runs = {}
    for name, suffix in (("model", ""), ("baseline", "_baseline")):
        files = [folder / f"predictions{suffix}.parquet" for folder in folders]
        if not suffix or all(file.is_file() for file in files):
            runs[name] = [read_predictions(file) for file in files]
    if len(folders) > 1 and (heads := runs.get("baseline")):
        runs["two baselines"] = [average(*pair) for pair in zip(heads, heads[1:] + heads[:1], strict=True)]
    return runs


def average(first: StoredPredictions, second: StoredPredictions) -> StoredPredictions:
    """Two models as one: their logits averaged, and their thresholds.

    Raises:
        ValueError: They are not of the same images in the same order.
    """
    if first.image_ids != second.image_ids:
        raise ValueError("the folders hold predictions of other images, or in another order")
    odds = [
        np.log(scores) - np.log1p(-scores) for scores in (one.scores.clip(1e-6, 1 - 1e-6) for one in (first, second))
    ]
    least = np.mean([one.info.get("thresholds") or 0.5 for one in (first, second)], axis=0).tolist()
    scores = (1 / (1 + np.exp(-np.mean(odds, axis=0)))).astype(np.float32)
    return replace(first, scores=scores, info=first.info | {"thresholds": least})


def merge(trees: Sequence[Any], of_numbers: Callable[[Sequence[float]], Any]) -> Any:
    """The same dicts with something made of the numbers of all seeds; what is no number is that of the first."""
    first = trees[0]
    if isinstance(first, dict):
        shared = [key for key in first if all(key in tree for tree in trees)]
        return {key: merge([tree[key] for tree in trees], of_numbers) for key in shared}
    return of_numbers(trees) if all(isinstance(tree, int | float) for tree in trees) else first


def interval_of(estimate: Estimate, *, share: bool = True) -> str:
    """The interval in percent, or a dash where there is none."""
    ends = find_interval(estimate, LEVEL, share=share)
    return "-" if ends["low"] is None else f"{100 * ends['low']:.1f} to {100 * ends['high']:.1f}"


def sets_rows(name: str, estimates: Estimates, each: Sequence[Estimates]) -> list[str]:
    """A line of Markdown for each way to choose the set; what a way is best at is bold."""
    lines = []
    for way, said in WAYS_TO_A_SET.items():
        if f"{way}.OF1" not in estimates:
            continue
        cells = []
        for figure in FIGURES:
            found = estimates[f"{way}.{figure}"]
            values = [100 * one[f"{way}.{figure}"].value for one in each]
            bold = "**" if BEST_AT[way] == figure else ""
            spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
            cells.append(f"{bold}{100 * found.value:.1f}{bold}{spread}; {interval_of(found)}")
        lines.append(f"| {name}, {said} | {' | '.join(cells)} |")
    return lines


def table_of_sets(estimates: dict[str, Estimates], each: dict[str, list[Estimates]]) -> str:
    """Markdown: mAP of each model, and its ways to choose the set."""
    lines = [f"| | {' | '.join(FIGURES.values())} |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, found in estimates.items():
        lines += sets_rows(name, found, each[name])
    for name, found in estimates.items():
        values = ", ".join(f"{100 * one['mAP'].value:.1f}" for one in each[name])
        lines += ["", f"mAP of {name}: {100 * found['mAP'].value:.1f} ({values}); {interval_of(found['mAP'])}"]
    return "\n".join(lines)


def top_k_line(name: str, members: Sequence[StoredPredictions], **settings: Any) -> str:
    """C-F1 and recalled labels of the k most probable ones, and of those adjusted for frequency, means over seeds."""
    measured = [one.measure(label_counts=one.info.get("label_counts"), **settings) for one in members]
    said = []
    for block, adjusted in (("top_k", ""), ("adjusted_top_k", " adjusted")):
        if all(figures[block] for figures in measured):
            found = mean(figures[block]["CF1"] for figures in measured)
            recalled = mean(figures[block]["N_plus"] for figures in measured)
            said.append(f"top {settings['top_k']}{adjusted}: C-F1 {100 * found:.1f}, {recalled:.0f} labels recalled")
    return f"{name}, {'; '.join(said)}"


def table_of_differences(own: Estimates, rival: Estimates) -> str:
    """Markdown: model less baseline, for mAP and every figure that some way to choose the set is best at.

    Beside them how much more whole sets of the model are right than its sets by other ways.
    """
    lines = ["| model less baseline | difference | interval | standard error |", "|---|---|---|---|"]

    def line(said: str, difference: Estimate) -> str:
        cells = f"{100 * difference.value:+.1f} | {interval_of(difference, share=False)}"
        return f"| {said} | {cells} | {100 * difference.standard_error:.1f} |"

    pairs = [("mAP", "mAP", "mAP")]
    for way, figure in BEST_AT.items():
        key = f"{way}.{figure}"
        # a plain head walks no path: what stands against it is the best that it has
        others = [key] if key in rival else [f"{each}.{figure}" for each in ("threshold", "expected_f1")]
        if key in own:
            best = max(others, key=lambda name: rival[name].value)
            pairs.append((f"{FIGURES[figure]} {WAYS_TO_A_SET[way]}", key, best))
    for said, key, other in pairs:
        against = "" if key == other else f" (against {WAYS_TO_A_SET[other.split('.')[0]]})"
        lines.append(line(f"{said}{against}", own[key] - rival[other]))
    whole = own.get("set.exact_match")
    for way, said in WAYS_TO_A_SET.items():
        if whole is not None and way != "set" and (other_way := own.get(f"{way}.exact_match")):
            lines.append(line(f"exact match as a whole set less {said}, both of the model", whole - other_way))
    return "\n".join(lines)


def as_json(estimates: dict[str, Estimates], each: dict[str, list[Estimates]]) -> dict[str, Any]:
    """By model and figure the `mean`, the `values` of the seeds, and the interval or the reason for none."""
    return {
        name: {
            figure: {"mean": rounded(estimate.value), "values": [rounded(one[figure].value) for one in each[name]]}
            | {key: rounded(end) for key, end in find_interval(estimate, LEVEL).items()}
            for figure, estimate in found.items()
            if not np.isnan(estimate.value)
        }
        for name, found in estimates.items()
    }


def rounded(value: Any) -> Any:
    """A number to four decimals, which is more than chance leaves certain; what is none as it is."""
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Print the tables as Markdown, and write the figures as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="what cnn-rnn validate wrote, a folder for each seed")
    parser.add_argument("--min_positives", type=int, default=1, help="as for validate")
    parser.add_argument("--top_k", type=int, default=3, help="as for validate")
    parser.add_argument("--json", type=Path, help="file for means, seeds and intervals")
    asked = parser.parse_args()
    settings = {"min_positives": asked.min_positives, "top_k": asked.top_k}
    runs = read_runs(asked.folders)
    estimates = {name: estimate_runs(members, **settings) for name, members in runs.items()}
    each = {name: [estimate_runs([member], **settings) for member in members] for name, members in runs.items()}
    print(table_of_sets(estimates, each))
    for name, members in runs.items():
        print(f"\n{top_k_line(name, members, **settings)}")
    if "baseline" in estimates:
        print(f"\n{table_of_differences(estimates['model'], estimates['baseline'])}")
    measured = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in asked.folders]
    known = {name: [one[name] for one in measured] for name in TABLES if all(name in one for one in measured)}
    for name, found in known.items():
        print(f"\n{TABLES[name](merge(found, mean)).markdown()}")
    if asked.json:
        seeds = {
            name: merge(found, lambda values: [rounded(value) for value in values]) for name, found in known.items()
        }
        with kept_aside([asked.json], "that of means of seeds"):
            write_json(asked.json, {"figures": as_json(estimates, each), "known, each seed": seeds})


if __name__ == "__main__":
    main()
