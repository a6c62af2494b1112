"""Measure stored predictions again, without a model: scripts/measure.py predictions.parquet --output DIR."""

import argparse
import json
import sys
from pathlib import Path

from cnn_rnn.metrics.predictions import read_predictions
from cnn_rnn.metrics.protocols import PROTOCOLS, get_protocol
from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
from cnn_rnn.metrics.tables import comparison_table, figures_table, interval_table, protocol_table


def main(arguments: list[str] | None = None) -> int:
    """Print and write the figures, their intervals and, beside a baseline, a paired test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path, help="predictions.parquet, as scripts/validate.py writes it")
    parser.add_argument("--baseline", type=Path, help="predictions for the same images, to compare with")
    parser.add_argument("--protocol", help=f"rules of a benchmark: {', '.join(PROTOCOLS)}")
    parser.add_argument(
        "--min_positives", type=int, default=1, help="fewest positives of a class in means over classes"
    )
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples, 0 for none (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--output", type=Path, help="folder for the tables as JSON, Markdown and CSV, and metrics.json")
    known = parser.parse_args(arguments)
    try:
        protocol = get_protocol(known.protocol) if known.protocol else None
        files = {"ours": known.predictions} | ({"baseline": known.baseline} if known.baseline else {})
        stored = {name: read_predictions(file) for name, file in files.items()}
        rules = {"min_positives": known.min_positives} | (protocol.settings if protocol else {})
        # a model's own thresholds, fitted on held-out data, come with its predictions
        own = {name: rules | {"thresholds": one.info.get("thresholds") or 0.5} for name, one in stored.items()}
        figures = {name: one.measure(**own[name]) for name, one in stored.items()}
        tables = {"table": protocol_table(protocol, figures) if protocol else figures_table(figures)}
        if known.samples:
            draws = {"samples": known.samples, "seed": known.seed}
            ours = stored["ours"]
            intervals = bootstrap_intervals(ours.scores, ours.truth, ours.path_sets, **draws, **own["ours"])
            tables["intervals"] = interval_table(intervals)
        if known.samples and known.baseline:
            both = (own["baseline"]["thresholds"], own["ours"]["thresholds"])
            comparison = compare_paired(stored["baseline"], ours, thresholds=both, **draws, **rules)
            tables["comparison"] = comparison_table(comparison, "baseline", "ours")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n\n".join(table.text() for table in tables.values()))
    if known.output:
        for name, table in tables.items():
            table.write(known.output, name)
        text = json.dumps(figures["ours"], indent=2, ensure_ascii=False, allow_nan=False)
        (known.output / "metrics.json").write_text(text + "\n", encoding="utf-8")
        print(f"\nwritten to {known.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
