"""The photos that learning while labelling was developed on, as folders that `tagging.py` takes.

Command: python scripts/benchmarks/tagging_sets.py DATA OUTPUT

DATA holds VOCdevkit/, coco/ and Corel5k as an image folder. OUTPUT gets voc (VOC 2007 test), coco (both parts of COCO
2017 that are there) and corel5k (600 of train, drawn with seed 0), each with links to its photos and metadata.jsonl.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from datasets import Dataset, Image, concatenate_datasets

from cnn_rnn.data import label_names, load_coco, load_image_folder, load_voc

OF_COREL5K = 600


def main(arguments: list[str] | None = None) -> None:
    """Write the three folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    known = parser.parse_args(arguments)
    coco = load_coco(known.data, 2017)
    corel5k = load_image_folder(known.data / "corel5k", split="train")
    drawn = np.random.default_rng(0).choice(len(corel5k), OF_COREL5K, replace=False)
    write_folder(known.output / "voc", load_voc(known.data, 2007, split="test"))
    write_folder(known.output / "coco", concatenate_datasets([*coco.values()]))
    write_folder(known.output / "corel5k", corel5k.select(np.sort(drawn)))


def write_folder(folder: Path, rows: Dataset) -> None:
    """Links to the photos of rows, with their labels."""
    folder.mkdir(parents=True)
    names = label_names(rows)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for row in rows.cast_column("image", Image(decode=False)):
            photo = Path(row["image"]["path"])
            (folder / photo.name).symlink_to(photo.resolve())
            labels = [names[label] for label in row["labels"]]
            file.write(json.dumps({"file_name": photo.name, "labels": labels}) + "\n")


if __name__ == "__main__":
    main()
