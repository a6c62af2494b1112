"""Give the model in the box the rules between its words: python scripts/bundled/apply_rules.py [--bundle FOLDER].

Rules that name a word which the model has not are left out, and said. Weights stay as they are; the graph beside them
is made anew, as it holds the walk, which rules change.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from cnn_rnn.foundation.whole_files import write_json
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.prediction.graph_making import write_shipped_graph
from cnn_rnn.training.settings_file import read_settings

BUNDLE = Path(__file__).parents[2] / "bundled_model"


def rules_between(rules: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The rules that name none but these labels."""
    implies = {label: [implied] if isinstance(implied, str) else implied for label, implied in rules["implies"].items()}
    kept = {label: [one for one in implied if one in names] for label, implied in implies.items() if label in names}
    return {"implies": {label: implied for label, implied in kept.items() if implied}}


def main() -> None:
    """Write the rules into the config, and the graph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="the box's folder")
    parser.add_argument("--rules", type=Path, default=Path(__file__).with_name("label_rules.yaml"))
    asked = parser.parse_args()
    file = asked.bundle / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    given = read_settings(asked.rules)
    rules = rules_between(given, list(config["id2label"].values()))
    LabelRules.of(rules, list(config["id2label"].values()))
    write_json(file, config | {"label_rules": rules})
    graph = write_shipped_graph(asked.bundle)
    left_out = sorted(given["implies"].keys() - rules["implies"].keys())
    print(f"{len(rules['implies'])} labels imply others; left out: {', '.join(left_out) or 'none'}; {graph} made anew")


if __name__ == "__main__":
    main()
