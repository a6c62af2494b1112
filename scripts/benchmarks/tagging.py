"""What labelling costs a person beside whom a learner learns, on photos whose labels are known: JSON on one line.

Command: python scripts/benchmarks/tagging.py FOLDER --start none|bundled|RUN --order chance|uncertain|alike --seed N

FOLDER holds `metadata.jsonl`, or `train/metadata.jsonl`. The simulated person does what the page lets one do, through
the object that the page asks: accepting costs one action, a wrong suggestion taken back one, a missing label one where
it is among the nine labels shown and three where it must be typed. Nine of those are shown about which nothing is said
yet. It learns after every photo. `right_at_once` is the share of the second half of which nothing had to be put right;
`refit_seconds` are the median and the largest.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnn_rnn.app.saved_labels import METADATA, read_saved
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.learning.feature_store import FeatureStore, store_beside
from cnn_rnn.learning.learner import PARTS, Learner, Seen
from cnn_rnn.learning.simulated_person import label_photo

FIRST = 50  # photos


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="photos with metadata.jsonl, or train/ with it")
    parser.add_argument("--start", default="none", help="none, bundled, or the folder of a run (default: none)")
    parser.add_argument("--order", choices=("chance", "uncertain", "alike"), default="chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", choices=PARTS, nargs="+", default=[], help="parts left out, to see what they give")
    parser.add_argument("--as_it_is", action="store_true", help="nothing is learnt: the start alone")
    known = parser.parse_args(arguments)
    folder: Path = known.folder / "train" if (known.folder / "train" / METADATA).is_file() else known.folder
    try:
        truth = read_saved(folder).labels
        if not truth:
            raise ValueError(f"{folder} holds no labels; expected {METADATA} beside the photos, or train/{METADATA}")  # noqa: TRY301
        print(json.dumps(measure(folder, truth, known)))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


class Unmoved(Learner):
    """A learner that learns nothing."""

    def tell_all(self, told: Mapping[str, tuple[Seen, Mapping[str, bool]]]) -> None:
        """Hear nothing."""


def measure(folder: Path, truth: dict[str, list[str]], asked: argparse.Namespace) -> dict[str, object]:
    """The figures of one person who goes through all photos."""
    order, seed = asked.order, asked.seed
    names = sorted(truth)
    shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    eyes = Eyes.load(asked.start)
    learner = (Unmoved if asked.as_it_is else Learner)(eyes.label_names, asked.without)
    album = Album(eyes, {name: folder / name for name in shuffled}, learner=learner)
    album.store = FeatureStore(store_beside(folder))  # seen once for all runs
    for photo in shuffled:
        album.see(photo)
    done, refits = [], []
    name: str | None = shuffled[0]
    while name is not None:
        done.append(label_photo(album, name, truth[name]))
        began = time.perf_counter()
        album.learner.refit()
        refits.append(time.perf_counter() - began + done[-1].told_seconds)
        name = album.next_photo(name, "folder" if order == "chance" else order)
    actions, half = [one.actions for one in done], len(done) // 2
    assert sum(actions) == album.known.actions
    return {
        "photos": len(done),
        "labels": len({label for labels in truth.values() for label in labels}),
        "start": asked.start,
        "without": ["learning"] if asked.as_it_is else asked.without,
        "order": order,
        "seed": seed,
        "actions_a_photo": round(float(np.mean(actions)), 4),
        "first_50": round(float(np.mean(actions[:FIRST])), 4),
        "second_half": round(float(np.mean(actions[half:])), 4),
        "right_at_once": round(float(np.mean([one.right for one in done[half:]])), 4),
        "refit_seconds": [round(float(np.median(refits)), 4), round(max(refits), 4)],
    }


if __name__ == "__main__":
    sys.exit(main())
