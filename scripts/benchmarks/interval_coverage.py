"""How often the intervals of figures hold the figure that they are for, by draws from a population that is known.

The population has a data set's label frequencies, labels that occur together and scores that are true probabilities. Of
each figure: how often it has an interval, how often this holds the figure of the whole population (over the classes
that a draw measures) and the mean over all draws, and the standard error beside the true one; of the difference of two
models that are equal, and of two that are not, the same, and the share of p-values below 0.05 and 0.5.

    python scripts/benchmarks/interval_coverage.py --data.root DATA --draws 400
"""

import argparse
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
from cnn_rnn.metrics.stored_predictions import collect_predictions

THRESHOLD = 0.4
SETS_OF_SCORES = ("threshold", "expected_f1")
CLASS_MEANS = {"mAP": "AP", "CP": "precision", "CR": "recall"}


@dataclass(frozen=True)
class Population:
    """Images with two equal models' scores and those of a worse one, and what the population has of each figure."""

    truth: NDArray[np.int8]  # (M, C)
    scores: list[NDArray[np.float32]]  # (M, C) each
    figures: list[dict[str, Any]]  # what `compute` gave


def corel5k_frequencies(root: Path) -> NDArray[np.float64]:
    """The share of Corel5k's photos with each word."""
    lines = [line for part in ("train", "test") for line in (root / "corel5k" / part / "metadata.jsonl").open()]
    counts: dict[str, int] = defaultdict(int)
    for line in lines:
        for label in set(json.loads(line)["labels"]):
            counts[label] += 1
    return np.array(sorted(counts.values())) / len(lines)


def voc_frequencies(root: Path) -> NDArray[np.float64]:
    """The share of VOC 2007's test photos with each class, by the complete lists."""
    with tarfile.open(root / "voc-labels-full.tar.xz") as archive:
        files = [
            archive.extractfile(member)
            for member in archive
            if "VOC2007/ImageSets/Main/" in member.name and member.name.endswith("_test.txt")
        ]
        states = [[line.split()[1] for line in file.read().splitlines()] for file in files if file]
    return np.sort([np.mean(np.array(state) == b"1") for state in states])


def coco_frequencies(_root: Path) -> NDArray[np.float64]:
    """Shares as COCO's classes have them: from a toaster, one photo in 600, to a person, more than every other."""
    return np.append(np.geomspace(0.0016, 0.11, 79), 0.54)


FREQUENCIES = {"corel5k": corel5k_frequencies, "voc": voc_frequencies, "coco": coco_frequencies}


def make_population(
    frequencies: NDArray[np.float64], images: int, quality: float, generator: np.random.Generator
) -> Population:
    """A population of so many images; `quality` is how many deviations present and absent lie apart on average."""
    labels = len(frequencies)
    odds = np.log(frequencies / (1 - frequencies))
    rich = 0.5 * generator.normal(size=(images, 1))  # some images show more of everything
    truth = (generator.random((images, labels)) < 1 / (1 + np.exp(-odds + 0.125 - rich))).astype(np.int8)
    apart = np.clip(generator.normal(quality, 0.7, labels), 0.3, None)
    common = generator.normal(size=(images, labels)).astype(np.float32)
    scores, figures = [], []
    for share in (1.0, 1.0, 0.85):
        distance = share * apart
        seen = distance * truth + 0.6**0.5 * common + 0.4**0.5 * generator.normal(size=(images, labels))
        scores.append((1 / (1 + np.exp(-odds - distance * seen + distance**2 / 2))).astype(np.float32))
        metrics = MultiLabelMetrics(thresholds=THRESHOLD)
        metrics.update(scores[-1], truth)
        figures.append(metrics.compute())
    return Population(truth, scores, figures)


def figures_of_known(figures: dict[str, Any], measured: NDArray[np.bool_]) -> dict[str, float]:
    """What the population has of each figure, class means over the measured classes (C,)."""
    rows = [row for row, used in zip(figures["per_class"].values(), measured, strict=True) if used]
    known = {"mAP": float(np.mean([row["AP"] for row in rows]))}
    known["ranking.MAP_at_k"] = figures["ranking"]["MAP_at_k"]
    for block in SETS_OF_SCORES:
        known |= {f"{block}.{name}": figures[block][name] for name in ("OP", "OR", "OF1", "example_F1", "exact_match")}
        precision, recall = (float(np.mean([row[block][name] for row in rows])) for name in ("precision", "recall"))
        total = precision + recall
        known |= {f"{block}.CP": precision, f"{block}.CR": recall, f"{block}.CF1": 2 * precision * recall / total}
    return known


def draw_results(
    population: Population, images: int, draws: int, min_positives: int, generator: np.random.Generator
) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Of every draw the name of each figure, what the intervals give of it, and what the population has."""
    labels = population.truth.shape[1]
    settings: dict[str, Any] = {"samples": 40, "min_positives": min_positives}
    for seed in tqdm(range(draws), leave=False, disable=None):
        chosen = generator.integers(0, len(population.truth), images)
        truth = population.truth[chosen]
        measured = truth.sum(axis=0) >= min_positives
        known = [figures_of_known(figures, measured) for figures in population.figures]
        found = bootstrap_intervals(population.scores[0][chosen], truth, thresholds=THRESHOLD, seed=seed, **settings)[
            "figures"
        ]
        yield from ((name, found[name], value) for name, value in known[0].items())
        models = [
            collect_predictions(list(map(str, range(images))), list(map(str, range(labels))), scores[chosen], truth)
            for scores in population.scores
        ]
        for which, other in (("equal", 1), ("worse", 2)):
            compared = compare_paired(
                models[0], models[other], thresholds=(THRESHOLD, THRESHOLD), seed=seed, **settings
            )["figures"]
            yield from (
                (
                    f"{which}: {name}",
                    compared[name] | {"value": compared[name]["difference"]},
                    known[other][name] - value,
                )
                for name, value in known[0].items()
            )


def summarise(results: list[tuple[dict[str, Any], float]]) -> dict[str, float]:
    """How the intervals of one figure did over all draws."""
    values = np.array([found["value"] for found, _ in results])
    errors = np.array([found["standard_error"] for found, _ in results])
    truths = np.array([truth for _, truth in results])
    given = np.array([found["low"] is not None for found, _ in results])
    ends = np.array([(found["low"], found["high"]) for found, _ in results if found["low"] is not None]).reshape(-1, 2)

    def held(targets: NDArray[np.float64]) -> float:
        inside = (ends[:, 0] <= targets[given]) & (targets[given] <= ends[:, 1])
        return float(inside.mean()) if given.any() else float("nan")

    chances = np.array([found["p_value"] for found, _ in results if "p_value" in found])

    def share_below(bound: float) -> float:
        return float(np.mean(chances < bound)) if len(chances) else float("nan")

    return {
        "mean": float(values.mean()),
        "population": float(truths.mean()),
        "true_error": float(values.std(ddof=1)),
        "standard_error": float(np.sqrt(np.mean(errors**2))),
        "mean_within_errors": float(np.mean(abs(values - values.mean()) <= 1.96 * errors)),
        "given": float(given.mean()),
        "holds_population": held(truths),
        "holds_mean": held(np.full(len(values), values.mean())),
        "holds_value": held(values),
        "p_below_0.05": share_below(0.05),
        "p_below_0.5": share_below(0.5),
    }


def main() -> None:
    """All data sets' coverage as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data.root", dest="root", type=Path, required=True, help="folder with corel5k and the lists of VOC"
    )
    parser.add_argument("--sets", nargs="+", default=list(FREQUENCIES), choices=list(FREQUENCIES))
    parser.add_argument("--images", type=int, default=500, help="images of a draw")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--population", type=int, default=40_000, help="images in all")
    parser.add_argument("--quality", type=float, default=2.5, help="deviations between present and absent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min_positives", type=int, default=1)
    known = parser.parse_args()
    for name in known.sets:
        generator = np.random.default_rng(known.seed)
        population = make_population(FREQUENCIES[name](known.root), known.population, known.quality, generator)
        results: dict[str, list[tuple[dict[str, Any], float]]] = defaultdict(list)
        for figure, found, truth in draw_results(population, known.images, known.draws, known.min_positives, generator):
            results[figure].append((found, truth))
        rows = {figure: summarise(found) for figure, found in results.items()}
        headings = list(next(iter(rows.values())))
        print(f"\n{name}: {known.draws} draws of {known.images} images, quality {known.quality:g}\n")
        print(f"| figure | {' | '.join(headings)} |\n|:---|{'---:|' * len(headings)}")
        for figure, row in rows.items():
            shown = ("-" if np.isnan(value) else f"{100 * value:.1f}" for value in row.values())
            print(f"| {figure} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
