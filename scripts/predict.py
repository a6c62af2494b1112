"""Label images: scripts/predict.py --model MODEL --input FILE|FOLDER|LIST --output DIR."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm.auto import tqdm

from cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.data import SOURCES, UnreadableImageError, decode_image, label_names, load_source
from cnn_rnn.pictures import Caption, draw_page
from cnn_rnn.training import SavedModel

IMAGE_SUFFIXES = set(Image.registered_extensions())
PICTURED = 24  # images on the page


def find_images(source: str) -> list[Path]:
    """Image files that a file, a folder (searched through) or a text file with a path a line names.

    Raises:
        FileNotFoundError: There is no such file or folder, or it holds no image.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{path} holds no image file ({', '.join(sorted(IMAGE_SUFFIXES)[:8])}, ...)")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {source!r}; data sets are written NAME:SPLIT, such as digits:test")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path]
    lines = path.read_text(encoding="utf-8").splitlines()
    return [path.parent / line.strip() for line in lines if line.strip()]


def read_images(source: str, root: str | None, limit: int | None) -> Iterator[tuple[str, Any, list[str] | None]]:
    """Name, undecoded image and, for a data set, true labels of each image."""
    name, _, split = source.partition(":")
    if name in SOURCES and split:
        from datasets import Image as ImageFeature

        dataset = load_source(name, root, split=split).cast_column("image", ImageFeature(decode=False))
        names = label_names(dataset)
        for row in dataset.select(range(min(limit or len(dataset), len(dataset)))):
            yield row["image_id"], row["image"], [names[label] for label in row["labels"]]
        return
    for file in find_images(source)[:limit]:
        yield str(file), {"path": str(file), "bytes": None}, None


def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write predictions.parquet and a page of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a run, or name on the Hub")
    parser.add_argument("--input", required=True, help="image, folder, text file with a path a line, or NAME:SPLIT")
    parser.add_argument("--output", type=Path, required=True, help="folder for predictions.parquet and paths.png")
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--batch_size", type=int, default=16)
    known = parser.parse_args(arguments)
    try:
        saved = SavedModel.load(known.model)
        inputs = list(read_images(known.input, known.root, known.limit))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    classify = MultiLabelImageClassificationPipeline(model=saved.model, image_processor=saved.processor)
    rows: list[dict[str, Any]] = []
    pictured: list[Image.Image] = []
    captions: list[Caption] = []
    for start in tqdm(range(0, len(inputs), known.batch_size), desc="predicting", unit="batch"):
        images, named = [], []
        for name, encoded, truth in inputs[start : start + known.batch_size]:
            try:
                images.append(decode_image(encoded, name))
                named.append((name, truth))
            except UnreadableImageError as error:
                rows.append({"image_id": name, "error": str(error)})
        results = classify(images, batch_size=known.batch_size, threshold=known.threshold, return_path=True)
        for image, (name, truth), result in zip(images, named, results, strict=True):
            rows.append({"image_id": name, "error": None, **result})
            path = [(step["label"], step["score"]) for step in result["path"]]
            if len(pictured) < PICTURED:
                pictured.append(image)
                captions.append(Caption(path, truth))
    write_predictions(rows, known.output)
    if pictured:
        draw_page(pictured, captions).save(known.output / "paths.png")
    unread = [row for row in rows if row["error"]]
    print(f"{len(rows) - len(unread)} images labelled, {len(unread)} unreadable, written to {known.output}")
    for row in unread[:20]:
        print(f"unreadable: {row['error']}", file=sys.stderr)
    return 0


def write_predictions(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write predictions.parquet, a row an image, whole or not at all."""
    scored = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            ("labels", scored),
            ("path", scored),
            ("path_score", pa.float32()),
            ("error", pa.string()),
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "predictions.parquet.tmp"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
    temporary.replace(folder / "predictions.parquet")


if __name__ == "__main__":
    sys.exit(main())
