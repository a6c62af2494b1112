"""The model in the box from a finished run: python scripts/bundled/write_bundle.py RUN --metrics CV/metrics.json.

cnn-rnn train --config bundled --data.root DATA                              makes RUN
cnn-rnn review bundled --data.root DATA --output CV                          predicts every photo out of fold
cnn-rnn validate CV/predictions.parquet --output CV                          measures that
"""

import argparse
from pathlib import Path

from cnn_rnn.publishing.bundle import write_bundle

FOLDER = Path(__file__).parents[2] / "bundled_model"


def main() -> None:
    """Write the folder, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--metrics", type=Path, required=True, help="figures of photos that no model of theirs saw")
    parser.add_argument("--photo", type=Path, help="a photo to try it with")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the bundle (default: the one in this checkout)")
    known = parser.parse_args()
    size = write_bundle(known.run, "cnn-rnn/bundled", known.metrics, known.output, known.photo)
    print(f"{size:,} bytes in {known.output}")


if __name__ == "__main__":
    main()
