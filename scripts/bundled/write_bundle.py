"""The model in the box from a finished run: python scripts/bundled/write_bundle.py RUN --metrics CV/metrics.json.

cnn-rnn train --config bundled --data.root DATA                                      makes RUN
cnn-rnn review bundled --data.root DATA --output CV                                  predicts every photo out of fold
cnn-rnn review bundled --data.root DATA --output PLAIN --train.baseline true         and a plain head on the same folds
cnn-rnn validate CV/predictions.parquet --baseline PLAIN/predictions.parquet --output CV   measures both
"""

import argparse
from pathlib import Path

from cnn_rnn.publishing.bundle import write_bundle

FOLDER = Path(__file__).parents[2] / "bundled_model"
DATA_NOTE = (
    "The photos were collected from Flickr, VOC's with queries for twenty classes, COCO's for common objects. These "
    "are a part of VOC's, picked around a few classes (2007: car, bus, cat, train; 2012: cat, cow, dog, horse, "
    "sheep) and 240 pixels on the shorter side, and 354 of COCO's: cats, dogs and cars are by far the most "
    "frequent, several classes are on a handful of photos, and no figure here can be compared with published ones "
    "of VOC or COCO. On photos of another kind the probabilities do not hold. In cross-validation 32 % of the 66 "
    "photos of COCO that show none of the twenty get a label all the same, and 12 % one with a probability of 0.8 "
    "or more; of the labels named on COCO's other 288 80 % are right, of those with 0.8 or more 94 %. On none of "
    "Corel5k's photos it was trained: of 477 whose words name nothing of the twenty 31 % get a label, 3 % one with "
    "0.8 or more."
)


def main() -> None:
    """Write the folder, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--metrics", type=Path, required=True, help="figures of photos that no model of theirs saw")
    parser.add_argument("--rival", type=Path, help="figures of the plain head, such as CV/metrics_baseline.json")
    parser.add_argument("--photo", type=Path, help="a photo to try it with")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the bundle (default: the one in this checkout)")
    known = parser.parse_args()
    size = write_bundle(
        known.run,
        "cnn-rnn/bundled",
        known.metrics,
        known.output,
        rival=known.rival,
        photo=known.photo,
        data_note=DATA_NOTE,
    )
    print(f"{size:,} bytes in {known.output}")


if __name__ == "__main__":
    main()
