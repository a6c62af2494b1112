"""Data sets at the command line: get a benchmark, look at any set, turn it into Parquet shards.

python scripts/data.py download voc2007 --root data/voc
python scripts/data.py look image_folder --root photos --output look
python scripts/data.py convert coco2017 --root data/coco --output shards
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from cnn_rnn.data import SOURCES, drop_unreadable, load_source, stratified_split, write_parquet
from cnn_rnn.data.archives import ARCHIVES
from cnn_rnn.data.benchmarks import download_benchmark
from cnn_rnn.data.download import DownloadError
from cnn_rnn.data.extract import UnsafeArchiveError
from cnn_rnn.data.look import describe, look_at, plot
from cnn_rnn.hub_errors import HubError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 where it went well, 1 with a message where it did not."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, ImportError, DownloadError, UnsafeArchiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _download(options: argparse.Namespace) -> None:
    checksums = dict(_checksum(text) for text in options.sha256)
    data = download_benchmark(options.name, options.root, checksums, keep_archives=not options.remove_archives)
    print(describe(look_at(data), top=10))
    print(f"\n{options.name} lies in {options.root}; to look at it again:")
    print(f"python scripts/data.py look {options.name} --root {options.root}")


def _look(options: argparse.Namespace) -> None:
    look = look_at(_load(options, require_images=False))
    print(describe(look, options.top))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        positive, negative = look.pairs(options.top)
        summary = {
            "label_order": look.label_order(),
            "splits": {
                name: {
                    "images": split.images,
                    "unlabelled": split.unlabelled,
                    "labels_an_image": split.labels_an_image,
                    "counts": dict(zip(look.names, split.counts.tolist(), strict=True)),
                    "sizes": split.sizes.tolist(),
                }
                for name, split in look.splits.items()
            },
            "company": [asdict(pair) for pair in positive],
            "avoidance": [asdict(pair) for pair in negative],
        }
        (options.output / "look.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
        plot(look, options.output / "look.png")
        print(f"\nwritten: {options.output / 'look.json'}, {options.output / 'look.png'}")


def _convert(options: argparse.Namespace) -> None:
    data = _load(options, require_images=True)
    if options.validation:
        if "train" not in data or "validation" in data:
            raise ValueError(f"--validation splits train; the set has {', '.join(data)}")
        data = DatasetDict({**data, **stratified_split(data["train"], options.validation, options.seed)})
    if options.skip_unreadable:
        data = DatasetDict({split: drop_unreadable(rows)[0] for split, rows in data.items()})
    folder = write_parquet(
        data, options.output, title=options.title or options.source, source=options.source, license_name=options.license
    )
    print(describe(look_at(data), top=10))
    print(f"\nwritten: {folder}; load it with datasets.load_dataset({str(folder)!r}), streaming=True for a stream")
    if options.push:
        _push(folder, options.push, private=not options.public)


def _push(folder: Path, repo: str, *, private: bool) -> None:
    from cnn_rnn.hub import dataset_files, push

    message = f"Publish {repo.rpartition('/')[2]}"
    try:
        commit = push(dataset_files(folder), repo, message=message, repo_type="dataset", private=private)
    except HubError as error:
        command = f"python scripts/push_to_hub.py {folder} --repo {repo} --dataset{' --private' if private else ''}"
        raise HubError(f"{error}. {folder} is whole, '{command}' sends it") from error
    print(f"published: {commit.commit_url}")


def _load(options: argparse.Namespace, *, require_images: bool) -> DatasetDict:
    accepts: dict[str, Any] = {"require_images": require_images} if options.source not in {"hub", "digits"} else {}
    data = load_source(options.source, options.root, **accepts)
    if isinstance(data, Dataset):
        data = DatasetDict({str(data.split or "train"): data})
    if getattr(options, "splits", None):
        missing = [name for name in options.splits if name not in data]
        if missing:
            raise ValueError(f"no split {', '.join(missing)}; the set has {', '.join(data)}")
        data = DatasetDict({name: data[name] for name in options.splits})
    return data


def _checksum(text: str) -> tuple[str, str]:
    name, mark, digest = text.partition("=")
    if not mark or len(digest) != 64:
        raise ValueError(f"--sha256 {text!r}: expected ARCHIVE=HEX with 64 digits")
    return name, digest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    download = commands.add_parser("download", help="get a benchmark's official archives, verify, unpack and load them")
    download.add_argument("name", choices=sorted(ARCHIVES))
    download.add_argument("--root", type=Path, required=True, help="where to")
    download.add_argument("--sha256", action="append", default=[], metavar="ARCHIVE=HEX", help="a checksum to believe")
    download.add_argument("--remove-archives", action="store_true", help="remove each archive once it is unpacked")
    download.set_defaults(run=_download)

    look = commands.add_parser("look", help="print and plot label frequency, labels an image, company, label order")
    _add_source(look)
    look.add_argument("--output", type=Path, help="a folder for look.json and look.png")
    look.add_argument("--top", type=int, default=15, help="how many labels and pairs to show")
    look.set_defaults(run=_look)

    convert = commands.add_parser("convert", help="write Parquet shards with the images inside, and a dataset card")
    _add_source(convert)
    convert.add_argument("--output", type=Path, required=True, help="a new folder")
    convert.add_argument("--title", help="the card's title")
    convert.add_argument("--license", default="unknown", help="the images' licence as the Hub writes it")
    convert.add_argument("--validation", type=float, metavar="SHARE", help="split this share off train, stratified")
    convert.add_argument("--seed", type=int, default=0, help="of that split")
    convert.add_argument("--skip-unreadable", action="store_true", help="leave out images that do not decode, by name")
    convert.add_argument("--push", metavar="REPO", help="then push the folder to this data set on the Hub")
    convert.add_argument("--public", action="store_true", help="make a new repository public")
    convert.set_defaults(run=_convert)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=sorted(SOURCES))
    parser.add_argument("--root", help="its folder, table or Hub name")
    parser.add_argument("--splits", nargs="+", help="only these splits")


if __name__ == "__main__":
    sys.exit(main())
