"""Thresholds of the model in the box by the set that a word is from.

Command: python scripts/bundled/thresholds.py CV/predictions.parquet ... --data.root DATA [--write]

CV is what `cnn-rnn review bundled` predicted: each photo is judged by a model that never saw it. O-F1 is greatest where
what is named has half of that O-F1 as its least probability. VOC's photos are told far better than Corel5k's, so that
one threshold for all labels is too low for VOC's words. All others share the one that is best on all photos. VOC's
share the highest that is as good as the best on VOC's photos, but for LOST: the curve is flat there, and the higher it
is, the fewer of its words are named on photos that show none. Of several files, with seeds and so parts of their own,
the mean is taken, as the flatter the curve, the more its best moves with the parts.

Printed are the figures before and after, the new thresholds fitted on one half of the photos and measured on the other,
both ways. With --write the means of those fitted on all photos are put into the model's config.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from elsewhere import OTHER_NAMES
from numpy.typing import NDArray

from cnn_rnn import bundled_model
from cnn_rnn.data import VOC_CLASSES, load_coco, load_voc
from cnn_rnn.foundation.whole_files import whole_file
from cnn_rnn.metrics.stored_predictions import StoredPredictions, read_predictions
from cnn_rnn.metrics.thresholds import fit_threshold

LOST = 0.003  # of O-F1, well within chance


def main() -> None:
    """Print the figures, and write the thresholds where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", nargs="+", type=Path, help="predictions.parquet of 'cnn-rnn review bundled'")
    parser.add_argument("--data.root", dest="root", type=Path, required=True, help="folder with VOCdevkit/ and coco/")
    parser.add_argument("--write", action="store_true", help="put them into the config of the model in the box")
    known = parser.parse_args()
    of_voc, of_coco = map(set, ids_of(known.root))
    found = [thresholds_of(read_predictions(path), of_voc, of_coco) for path in known.predictions]
    at = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    print(f"mean: VOC's {at['person']:.3f}, the others {at['water']:.3f}")
    if known.write:
        path = bundled_model() / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["thresholds"] = [at[config["id2label"][str(label)]] for label in range(len(config["id2label"]))]
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def thresholds_of(predicted: StoredPredictions, voc: set[str], coco: set[str]) -> dict[str, float]:
    """The thresholds by word, fitted on all photos; what they are worth on photos not fitted on is printed.

    Args:
        predicted: Photos predicted out of fold.
        voc: The image ids of VOC's photos.
        coco: Those of COCO's.
    """
    words = np.isin(predicted.label_names, [OTHER_NAMES.get(name, name) for name in VOC_CLASSES])
    of_voc, of_coco = (np.array([image_id in own for image_id in predicted.image_ids]) for own in (voc, coco))
    parts = {"all": of_voc | True, "VOC": of_voc, "COCO": of_coco, "Corel5k": ~of_voc & ~of_coco}
    before = np.tile(np.array(predicted.info["thresholds"]), (len(of_voc), 1))
    after = before.copy()
    half = np.random.default_rng(0).permutation(len(of_voc)) % 2
    for own in (half == 0, half == 1):
        after[own] = fitted(predicted.select(np.flatnonzero(~own)), words, of_voc[~own])
    for title, thresholds in (("before", before), ("after", after)):
        named = (predicted.scores >= thresholds) & (predicted.truth >= 0)
        f1 = "  ".join(
            f"{name} {micro_f1(named[rows], predicted.truth[rows] == 1):.1%}" for name, rows in parts.items()
        )
        none = of_coco & ~(predicted.truth[:, words] == 1).any(axis=1)
        at_all = named[none][:, words].any(axis=1).mean()
        print(f"{title}: O-F1 {f1}; of COCO's {none.sum()} photos with none of VOC's 20 one is named on {at_all:.0%}")
    everywhere = fitted(predicted, words, of_voc)
    print(f"on all photos: VOC's {everywhere[words][0]:.3f}, the others {everywhere[~words][0]:.3f}")
    return dict(zip(predicted.label_names, everywhere.tolist(), strict=True))


def ids_of(root: Path) -> tuple[list[str], list[str]]:
    """The image ids of VOC's photos, and of COCO's."""
    voc = [image_id for year in (2007, 2012) for rows in load_voc(root, year).values() for image_id in rows["image_id"]]
    return voc, [image_id for rows in load_coco(root, 2017).values() for image_id in rows["image_id"]]


def fitted(predicted: StoredPredictions, words: NDArray[np.bool_], of_voc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The thresholds (C): of VOC's words that of its own photos, of the others that of all photos and labels."""
    thresholds = np.full(len(words), fit_threshold(predicted.scores, predicted.truth))
    own = np.ix_(of_voc, words)
    looked_at = predicted.truth[own] >= 0
    thresholds[words] = highest_as_good(predicted.scores[own][looked_at], predicted.truth[own][looked_at] == 1)
    return thresholds


def highest_as_good(scores: NDArray[np.float32], there: NDArray[np.bool_]) -> float:
    """The highest of the scores (N) from which naming is as good as from the best, by F1 and but for LOST."""
    order = np.argsort(-scores, kind="stable")
    hits, named = there[order].cumsum(), np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (named + there.sum())
    return float(scores[order][np.argmax(f1 >= f1.max() - LOST)])


def micro_f1(named: NDArray[np.bool_], there: NDArray[np.bool_]) -> float:
    """F1 over all pairs of photo and label (N, C)."""
    return float(2 * (named & there).sum() / (named.sum() + there.sum()))


if __name__ == "__main__":
    main()
