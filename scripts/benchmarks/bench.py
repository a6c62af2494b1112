"""Speed as ratios measured side by side in one run: ours against the fastest plain way to the same end.

    python scripts/benchmarks/bench.py                      all sections
    python scripts/benchmarks/bench.py data --output bench.json
    python scripts/benchmarks/bench.py predict --profile     and where the time goes

A section is a function that takes an empty folder and returns its rows.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from row import Row
from turns import Turns


def _measure_data(workspace: Path) -> list[Row]:
    from data_section import measure

    return measure(workspace)


def _measure_metrics(_: Path) -> list[Row]:
    from metrics_section import measure_metrics

    rows = []
    for name, figures in measure_metrics().items():
        ours, reference = figures["all_figures_seconds"], figures["sklearn_average_precision_seconds"]
        coco = name.startswith("coco")
        dtype = name.rpartition("_")[2]
        wanted = {"float32": "<= 0.2", "float64": "<= 0.25"}[dtype] if coco else ""
        key = f"metrics_over_sklearn_{dtype}" if coco else ""
        rows.append(Row(f"all metrics, {name}", ours, "s; sklearn AP alone", reference, wanted, key))
        if not coco:
            rows.append(Row(f"all metrics, {name}", ours, "s", wanted="<= 2"))
        peak = max(value for key, value in figures.items() if key.startswith("peak_memory"))
        rows.append(Row(f"peak memory, {name}", peak, "score matrices", wanted="<= 3"))
    return rows


def _measure_import(workspace: Path) -> list[Row]:
    from import_section import measure

    return measure(workspace)


def _measure_splits(_: Path) -> list[Row]:
    from splits_section import measure

    return measure()


def _measure_export(workspace: Path) -> list[Row]:
    from export_section import measure

    return measure(workspace)


def _measure_predict(workspace: Path) -> list[Row]:
    from predict_section import measure

    return measure(workspace)


def _measure_scale(workspace: Path) -> list[Row]:
    from scale_section import measure

    return measure(workspace)


def _measure_train(workspace: Path) -> list[Row]:
    from train_section import measure

    return measure(workspace)


SECTIONS: dict[str, Callable[[Path], list[Row]]] = {
    "data": _measure_data,
    "export": _measure_export,
    "import": _measure_import,
    "metrics": _measure_metrics,
    "predict": _measure_predict,
    "scale": _measure_scale,
    "splits": _measure_splits,
    "train": _measure_train,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the sections that were asked for; 1 where a figure misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--profile", action="store_true", help="say which operations take the time of each way")
    options = parser.parse_args(arguments)
    Turns.profiling = options.profile
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there is {', '.join(SECTIONS)}")
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sections or SECTIONS:
            workspace = Path(folder) / name
            workspace.mkdir()
            rows[name] = SECTIONS[name](workspace)
            print(f"\n{name}\n{_table(rows[name])}")
    if options.output:
        figures = {
            name: [asdict(row) | {"ratio": row.ratio, "good": row.good} for row in part] for name, part in rows.items()
        }
        ratios = {row.key: row.ours if row.ratio is None else row.ratio for part in rows.values() for row in part}
        ratios.pop("", None)
        written = {"machine": _machine(), "ratios": ratios, **figures}
        options.output.write_text(json.dumps(written, indent=1), encoding="utf-8")
        print(f"\nwritten: {options.output}")
    return int(any(row.good is False for part in rows.values() for row in part))


def _table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [f"{'':<{width}} {'ours':>11} {'reference':>11} {'ratio':>7} {'median':>7}  {'wanted':<9}"]
    for row in rows:
        reference = f"{row.reference:,.4g}" if row.reference is not None else ""
        ratio = f"{row.ratio:.3g}" if row.ratio is not None else ""
        median = f"{row.median:.3g}" if row.median is not None else ""
        verdict = {True: "good", False: "MISSED", None: ""}[row.good]
        lines.append(
            f"{row.what:<{width}} {row.ours:>11,.4g} {reference:>11} {ratio:>7} {median:>7}  "
            f"{row.wanted:<9} {verdict:<6} {row.unit}"
        )
    return "\n".join(lines)


def _machine() -> dict[str, str | int | None]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "not measured: no GPU",
    }


if __name__ == "__main__":
    sys.exit(main())
