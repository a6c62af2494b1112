"""Speed as ratios measured side by side in one run: ours against the fastest plain way to the same end.

    python scripts/benchmarks/bench.py                      all sections
    python scripts/benchmarks/bench.py data --output bench.json

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


def _measure_data(workspace: Path) -> list[Row]:
    from data_section import measure

    return measure(workspace)


def _measure_metrics(_: Path) -> list[Row]:
    from metrics_section import measure_metrics

    rows = []
    for name, figures in measure_metrics().items():
        ours, reference = figures["all_figures_seconds"], figures["sklearn_average_precision_seconds"]
        coco = name.startswith("coco")
        rows.append(Row(f"all metrics, {name}", ours, "s; sklearn AP alone", reference, "<= 0.25" if coco else ""))
        if not coco:
            rows.append(Row(f"all metrics, {name}", ours, "s", wanted="<= 2"))
        peak = max(value for key, value in figures.items() if key.startswith("peak_memory"))
        rows.append(Row(f"peak memory, {name}", peak, "score matrices", wanted="<= 3"))
    return rows


def _measure_import(workspace: Path) -> list[Row]:
    from import_section import measure

    return measure(workspace)


def _measure_scale(workspace: Path) -> list[Row]:
    from scale_section import measure

    return measure(workspace)


def _measure_train(workspace: Path) -> list[Row]:
    from train_section import measure

    return measure(workspace)


SECTIONS: dict[str, Callable[[Path], list[Row]]] = {
    "data": _measure_data,
    "import": _measure_import,
    "metrics": _measure_metrics,
    "scale": _measure_scale,
    "train": _measure_train,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the sections that were asked for; 1 where a figure misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(arguments)
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
        options.output.write_text(json.dumps({"machine": _machine(), **figures}, indent=1), encoding="utf-8")
        print(f"\nwritten: {options.output}")
    return int(any(row.good is False for part in rows.values() for row in part))


def _table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [f"{'':<{width}} {'ours':>11} {'reference':>11} {'ratio':>7}  {'wanted':<9}"]
    for row in rows:
        reference = f"{row.reference:,.4g}" if row.reference is not None else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        verdict = {True: "good", False: "MISSED", None: ""}[row.good]
        lines.append(
            f"{row.what:<{width}} {row.ours:>11,.4g} {reference:>11} {ratio:>7}  "
            f"{row.wanted:<9} {verdict:<6} {row.unit}"
        )
    return "\n".join(lines)


def _machine() -> dict[str, str | int | None]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
