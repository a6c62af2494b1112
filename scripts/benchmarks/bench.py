"""Speed as ratios measured side by side in one run: ours against the fastest plain way to the same end.

python scripts/benchmarks/bench.py                                   everything
python scripts/benchmarks/bench.py data predict.search               a section, and a part of another
python scripts/benchmarks/bench.py train_over_linear --profile       what a key needs, and where its time goes
python scripts/benchmarks/bench.py predict --output bench.json       into the figures that the file holds already

A section is a module with parts; `--list` names them. Where a part measures a key, the key names it, too.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from row import Part, Row
from turns import Turns

from cnn_rnn.foundation.provenance import version_of

SECTIONS = (
    "data",
    "engines",
    "export",
    "import",
    "metrics",
    "predict",
    "rules",
    "scale",
    "sets",
    "splits",
    "start",
    "train",
)
NAMED_VERSIONS = ("torch", "timm", "transformers", "onnxruntime", "numpy")


def main(arguments: list[str] | None = None) -> int:
    """Measures what was asked for; 1 where a figure misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = ", ".join(SECTIONS)
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help=f"sections ({sections}), parts of them or keys; everything by default"
    )
    parser.add_argument("--output", type=Path, help="a JSON file for the figures, added to those it holds")
    parser.add_argument("--profile", action="store_true", help="say which operations take the time of each way")
    parser.add_argument("--list", action="store_true", help="name all parts and their keys, and measure nothing")
    options = parser.parse_args(arguments)
    Turns.profiling = options.profile
    try:
        chosen = choose_parts(options.what or list(SECTIONS))
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{name}  {' '.join(part.keys)}" for name, part in chosen.items()))
        return 0
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, part in chosen.items():
            workspace = Path(folder) / name
            workspace.mkdir()
            rows = list(part.measure(workspace))
            print(f"\n{name}\n{_as_table(rows)}" if rows else f"\n{name}: not measured here")
            good &= not any(row.good is False for row in rows)
            if options.output:
                merge_figures(options.output, name.partition(".")[0], rows)
    return int(not good)


def parts_of(section: str) -> dict[str, Part]:
    """The parts of a section by the names they are asked for with, such as `predict.search`."""
    module = importlib.import_module(f"{section}_section")
    parts: dict[str, Part] = module.parts() if hasattr(module, "parts") else {"all": Part(module.measure)}
    return {f"{section}.{name}": part for name, part in parts.items()}


def choose_parts(wanted: list[str]) -> dict[str, Part]:
    """The parts that sections, parts or keys name, each once.

    Raises:
        ValueError: There is no section, part or key of that name.
    """
    chosen: dict[str, Part] = {}
    for name in wanted:
        section = name.partition(".")[0]
        if section in SECTIONS:
            found = {key: part for key, part in parts_of(section).items() if name in {section, key}}
        else:
            everything = [pair for each in SECTIONS for pair in parts_of(each).items()]
            found = {key: part for key, part in everything if name in part.keys}
        if not found:
            raise ValueError(f"no section, part or key {name!r}: --list names them all")
        chosen |= found
    return chosen


def merge_figures(path: Path, section: str, rows: list[Row]) -> None:
    """Add figures to a file; those of the same name are replaced, and those of another machine forgotten."""
    machine = _machine()
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if held and held.get("machine") != machine:
        print(f"{path} holds figures of another machine or of other libraries: it is begun anew")
        held = {}
    written: dict[str, Any] = held or {"machine": machine, "ratios": {}}
    figures = {entry["what"]: entry for entry in written.get(section, [])}
    figures |= {row.what: asdict(row) | {"ratio": row.ratio, "good": row.good} for row in rows}
    written[section] = list(figures.values())
    written["ratios"] |= {row.key: row.ours if row.ratio is None else row.ratio for row in rows if row.key}
    path.write_text(json.dumps(written, indent=1), encoding="utf-8")


def _as_table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [
        f"{'':<{width}} {'ours':>11} {'reference':>11} {'ratio':>7} {'median':>7} {'floor':>7}  {'wanted':<9}",
    ]
    for row in rows:
        reference = f"{row.reference:,.4g}" if row.reference is not None else ""
        ratio, median, floor = (
            f"{value:.3g}" if value is not None else "" for value in (row.ratio, row.median, row.floor)
        )
        verdict = {True: "good", False: "MISSED", None: ""}[row.good]
        lines.append(
            f"{row.what:<{width}} {row.ours:>11,.4g} {reference:>11} {ratio:>7} {median:>7} {floor:>7}  "
            f"{row.wanted:<9} {verdict:<6} {row.unit}"
        )
    return "\n".join(lines)


def _machine() -> dict[str, str | int | None]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        **{name: version_of(name) or "not installed" for name in NAMED_VERSIONS},
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "not measured: no GPU",
    }


if __name__ == "__main__":
    sys.exit(main())
