"""Data sets at the command line: get a benchmark, look at any set, turn it into Parquet shards.

cnn-rnn data download voc2007 --root data/voc
cnn-rnn data look image_folder --root photos --output look
cnn-rnn data look labels.csv              what an unknown file or folder is, and how to go on
cnn-rnn data convert coco2017 --root data/coco --output shards
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import BENCHMARK_NAMES, SOURCE_NAMES, CommandParser, at_least, output_folder, refusing, share

if TYPE_CHECKING:
    from datasets import DatasetDict

    from cnn_rnn.data.data_config import DataConfig

RULES = "label_rules.yaml"  # to be edited


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Download, look at or convert a data set; returns what the shell is told."""
    options, settings = build_parser().parse_known_args(arguments)
    options.settings = settings

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.settings and options.run is download:
        raise ValueError(f"data download does not know {options.settings[0]!r}")
    options.run(options)
    return 0


def download(options: argparse.Namespace) -> None:
    """Get a benchmark and show what is in it."""
    from cnn_rnn.data.benchmarks.download import download_benchmark
    from cnn_rnn.data.look import describe, look_at

    checksums = dict(_checksum(text) for text in options.sha256)
    data = download_benchmark(options.name, options.root, checksums, keep_archives=not options.remove_archives)
    print(describe(look_at(data), top=10))
    print(f"\n{options.name} lies in {options.root}; to look at it again:")
    print(f"cnn-rnn data look {options.name} --root {options.root}")


def look(options: argparse.Namespace) -> None:
    """Print, and where asked for write, what is in a data set."""
    from cnn_rnn.data.labels.rule_proposals import propose_rules
    from cnn_rnn.data.look import describe, look_at, plot
    from cnn_rnn.foundation.own_files import check_own, kept_aside, record_own
    from cnn_rnn.foundation.whole_files import write_text

    rules = options.output and options.output / RULES
    if rules:
        check_own(rules, RULES)
    data = _load(options, require_images=False)
    seen = look_at(data)
    print(describe(seen, options.top))
    proposals = propose_rules(data[seen.training])
    if proposals.text():
        print(f"\nrules between labels that {seen.training} bears out (--output writes them as a file to edit):")
        print(proposals.text())
    _tell_missing(data)
    _tell_identical(data)
    if options.found:
        print(f"\nThis looks like {options.found.what}; to go on:\n{options.found.commands(options.settings)}")
    if rules:
        options.output.mkdir(parents=True, exist_ok=True)
        positive, negative = seen.pairs(options.top)
        summary = {
            "label_order": seen.label_order(),
            "splits": {
                name: {
                    "images": split.images,
                    "unlabelled": split.unlabelled,
                    "labels_per_image": split.labels_per_image,
                    "counts": dict(zip(seen.names, split.counts.tolist(), strict=True)),
                    "sizes": split.sizes.tolist(),
                }
                for name, split in seen.splits.items()
            },
            "co_occurrence": [asdict(pair) for pair in positive],
            "exclusion": [asdict(pair) for pair in negative],
        }
        shown = [options.output / "look.json", options.output / "look.png"]
        with kept_aside(shown, "that of a look"):
            write_text(shown[0], json.dumps(summary, indent=1, ensure_ascii=False))
            plot(seen, shown[1])
        record_own(proposals.yaml().encode(), RULES)
        write_text(rules, proposals.yaml())
        print(f"\nwritten: {', '.join(map(str, [*shown, rules]))}")


def convert(options: argparse.Namespace) -> None:
    """Write a data set as Parquet shards, and publish them where asked to."""
    from datasets import DatasetDict

    from cnn_rnn.data import drop_unreadable, stratified_split, write_parquet
    from cnn_rnn.data.look import describe, look_at, summary

    data = _load(options, require_images=True)
    print(f"{summary(look_at(data))}\n")
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
    """Publish a folder of shards."""
    from cnn_rnn.foundation.hub_errors import HubError
    from cnn_rnn.publishing.push import dataset_files, push

    message = f"Publish {repo.rpartition('/')[2]}"
    try:
        commit = push(dataset_files(folder), repo, message=message, repo_type="dataset", private=private)
    except HubError as error:
        command = f"cnn-rnn push-to-hub {folder} --repo {repo} --dataset{' --private' if private else ''}"
        raise HubError(f"{error}. {folder} is whole, '{command}' sends it") from error
    print(f"published: {commit.commit_url}")


def _load(options: argparse.Namespace, *, require_images: bool) -> "DatasetDict":
    """The splits that the options name."""
    from datasets import Dataset, DatasetDict

    from cnn_rnn.data import SOURCES, load_source
    from cnn_rnn.data.labels.choosing import joined_name
    from cnn_rnn.data.own_photos.kinds import recognise

    options.found = None
    settings = _data_settings(options.settings)
    if options.source not in SOURCES and Path(options.source).exists():
        options.found = recognise(Path(options.source), system_files=settings.system_files)
        options.source, options.root = options.found.source, options.found.root
    accepts: dict[str, Any] = {"require_images": require_images} if options.source not in {"hub", "digits"} else {}
    accepts |= {"choice": settings.choice(), "reading": settings.reading()}
    if options.splits:
        splits = {name: load_source(options.source, options.root, split=name, **accepts) for name in options.splits}
        return DatasetDict({joined_name(name): rows for name, rows in splits.items()})
    if "+" in options.source:
        raise ValueError(f"{options.source} joins several sets: name a split of each, as in --splits train+train")
    data = load_source(options.source, options.root, **accepts)
    return DatasetDict({str(data.split or "train"): data}) if isinstance(data, Dataset) else data


def _data_settings(settings: list[str]) -> "DataConfig":
    """The block `data` of a command line; without settings nothing of training is loaded, the slowest of all here."""
    from cnn_rnn.data.data_config import DataConfig

    if not settings:
        return DataConfig()
    from cnn_rnn.training.run_config import load_run_config

    return load_run_config(None, settings).data


def _tell_missing(data: "DatasetDict") -> None:
    """Say how many images are not where the labels say."""
    for name, rows in data.items():
        missing = rows.with_format("arrow")[:]["image"].null_count
        if missing:
            print(f"\n{name}: {missing:,} of {len(rows):,} images are missing, as the log above says")


def _tell_identical(data: "DatasetDict") -> None:
    """Say which photos are in two splits, byte for byte, and should not be: VOC's trainval is train and val."""
    from cnn_rnn.data.photos.checks import identical_photos
    from cnn_rnn.data.photos.disk_layout import abbreviate

    apart = {name: rows for name, rows in data.items() if name != "trainval" or not {"train", "val"} & set(data)}
    pairs = identical_photos(apart) if len(apart) > 1 else []
    if pairs:
        named = abbreviate([" and ".join(pair) for pair in pairs])
        print(f"\n{len(pairs):,} photos are in two splits, byte for byte: {named}")


def _checksum(text: str) -> tuple[str, str]:
    """Archive and checksum of `ARCHIVE=HEX`."""
    name, mark, digest = text.partition("=")
    if not mark or len(digest) != 64:
        raise ValueError(f"--sha256 {text!r}: expected ARCHIVE=HEX with 64 digits")
    return name, digest


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    get = commands.add_parser("download", help="get a benchmark's official archives, verify, unpack and load them")
    get.add_argument("name", metavar="NAME", help=f"one of {BENCHMARK_NAMES}")
    get.add_argument("--root", type=Path, required=True, help="where to")
    get.add_argument("--sha256", action="append", default=[], metavar="ARCHIVE=HEX", help="a checksum to believe")
    get.add_argument("--remove_archives", action="store_true", help="remove each archive once it is unpacked")
    get.set_defaults(run=download)

    show = commands.add_parser(
        "look", help="print and plot label frequency, labels per image, co-occurrence, label order"
    )
    _add_source(show)
    show.add_argument("--output", type=output_folder, help="a folder for look.json and look.png")
    show.add_argument("--top", type=at_least(1), default=15, help="how many labels and pairs to show")
    show.set_defaults(run=look)

    turn = commands.add_parser("convert", help="write Parquet shards with the images inside, and a dataset card")
    _add_source(turn)
    turn.add_argument("--output", type=output_folder, required=True, help="a new folder")
    turn.add_argument("--title", help="the card's title")
    turn.add_argument("--license", default="unknown", help="the images' licence as the Hub writes it")
    turn.add_argument("--validation", type=share, metavar="SHARE", help="split this share off train, stratified")
    turn.add_argument("--seed", type=at_least(0), default=0, help="of that split")
    turn.add_argument("--skip_unreadable", action="store_true", help="leave out images that do not decode, by name")
    turn.add_argument("--push", metavar="REPO", help="then push the folder to this data set on the Hub")
    turn.add_argument("--public", action="store_true", help="make a new repository public")
    turn.set_defaults(run=convert)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a data set."""
    named = f"one of {SOURCE_NAMES}, or several joined by +; or a label file or folder"
    parser.add_argument("source", metavar="SOURCE", help=named)
    parser.add_argument("--root", help="its folder, table or Hub name")
    parser.add_argument("--splits", nargs="+", help="only these; of joined sets one of each, as train+train")
    parser.epilog = (
        "Settings that decide what a label file means, such as --data.separator space, --data.no_label 'No Finding'\n"
        "or --data.columns '{file: image_name, labels: tags}', are those of training: 'cnn-rnn train --help' lists\n"
        "them. Any set takes --data.rename_labels '{kitten: cat}' and --data.keep_labels '[cat, dog]'."
    )


if __name__ == "__main__":
    sys.exit(main())
