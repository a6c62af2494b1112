"""The model in the box from a finished run: python scripts/bundled/write_bundle.py RUN --metrics CV/metrics.json.

cnn-rnn train --config bundled --data.root DATA                                      makes RUN
cnn-rnn review bundled --data.root DATA --output CV --folds 2 --train.epochs 8 --train.cached_views 1
cnn-rnn review bundled ... --output PLAIN --train.baseline true --model.relevance_head mlp --model.pooling avg
                       predict every photo out of fold, the second by a plain head without ImageNet's classes
cnn-rnn validate CV/predictions.parquet --baseline PLAIN/predictions.parquet --output CV   measures both
python scripts/bundled/thresholds.py CV/predictions.parquet ... --data.root DATA --write   and make_graph.py, at the end
"""

import argparse
from pathlib import Path

from cnn_rnn.data import label_counts, label_names
from cnn_rnn.data.data_config import DataConfig
from cnn_rnn.data.labels.choosing import LabelChoice, joined_parts
from cnn_rnn.data.sources import load_source
from cnn_rnn.prediction.graph_making import write_shipped_graph
from cnn_rnn.publishing.bundle import write_bundle
from cnn_rnn.training.run_config import run_config_of

BUNDLE = Path(__file__).parents[2] / "bundled_model"
SET_TITLES = {"voc2007": "VOC 2007", "voc2012": "VOC 2012", "coco2017": "COCO", "image_folder": "Corel5k"}
DATA_NOTE = (
    "The photos are a part of VOC's (4,468, picked around a few classes; 2007: car, bus, cat, train; 2012: "
    "cat, cow, dog, horse, sheep), 354 of COCO's, and Corel5k's 4,500 for training. Each set is asked for its "
    "own words alone; on the others' photos they are unknown. Corel5k's annotators wrote down at most five "
    "words, so what they left out is not surely absent; it is learnt as absent, which held-out parts "
    "preferred. Its cats are tigers. What ImageNet's thousand classes say of a photo, region by region, is read "
    "too; which of them imply which words was written down by hand. The thresholds are one for VOC's twenty words "
    "and a lower one for all others, fitted on the cross-validated photos (scripts/bundled/thresholds.py); the "
    "figures below are by the folds' "
    "own. Many words are on a handful of photos, and no figure here can be compared "
    "with published ones. On photos of another kind the probabilities do not hold: a label may be named where "
    "there is none. The figures are of two models with the same settings but 8 epochs in place of 12 and "
    "one view of each photo in place of two, each trained on half of the photos."
)


def main() -> None:
    """Write the folder, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--metrics", type=Path, required=True, help="figures of photos that no model of theirs saw")
    parser.add_argument("--rival", type=Path, help="figures of the plain head, such as CV/metrics_baseline.json")
    parser.add_argument("--photo", type=Path, help="a photo to try it with")
    parser.add_argument("--output", type=Path, default=BUNDLE, help="the bundle (default: the one in this checkout)")
    known = parser.parse_args()
    size = write_bundle(
        known.run,
        "cnn-rnn/bundled",
        known.metrics,
        known.output,
        rival=known.rival,
        photo=known.photo,
        data_note=DATA_NOTE,
        sources=photos_by_source(run_config_of(str(known.run)).data),
    )
    graph = write_shipped_graph(known.output)
    print(f"{size + graph.stat().st_size:,} bytes in {known.output}")


def photos_by_source(data: DataConfig) -> dict[str, dict[str, int]]:
    """By label and source, how many photos of that source show the label, under the model's name for it."""
    found: dict[str, dict[str, int]] = {}
    for kind, split in joined_parts(data.name, data.train_split):
        rows = load_source(kind, data.root, split=split)
        renamed = {old: new for old, new in (data.rename_labels or {}).items() if old in label_names(rows)}
        rows = LabelChoice(renamed).of(rows, kind)
        for name, count in zip(label_names(rows), label_counts(rows).tolist(), strict=True):
            if count:
                own = found.setdefault(name, {})
                own[SET_TITLES[kind]] = own.get(SET_TITLES[kind], 0) + count
    return found


if __name__ == "__main__":
    main()
