"""Publish a model: cnn-rnn push-to-hub RUN --repo org/cnn-rnn-NAME --metrics TEST/metrics.json.

With --dataset, publish a folder of Parquet shards that cnn-rnn data convert made; with --space, the page of
cnn-rnn app with RUN's model, as a Space.
"""

import argparse
import sys
from pathlib import Path

from .console import CommandParser, refusing


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Check, show and publish; 0 where it went well, 2 with a message where it did not."""
    known = build_parser().parse_args(arguments)

    from cnn_rnn.publishing.push import dataset_files, model_files, push

    if known.dataset:
        files = dataset_files(known.folder)
    elif known.space:
        from cnn_rnn.publishing.space import space_files

        files = space_files(known.folder, known.repo, known.license_name or "apache-2.0")
    elif known.metrics is None:
        raise ValueError(
            "--metrics is missing: a card reports figures of a test split, which "
            f"`cnn-rnn validate {known.folder} --data.split test --output DIR` writes as DIR/metrics.json"
        )
    else:
        files = model_files(
            known.folder,
            known.repo,
            known.metrics,
            data_note=known.data_note,
            license_name=known.license_name,
            photo=known.photo,
        )
    for name, content in files.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        print(f"{size:>14,}  {name}")
    if known.dry_run:
        card = files["README.md"]
        print((card if isinstance(card, bytes) else card.read_bytes()).decode())
        print(f"dry run: nothing was sent to {known.repo}")
        return 0
    commit = push(
        files,
        known.repo,
        message=known.message or f"Publish {known.repo.rpartition('/')[2]}",
        repo_type="dataset" if known.dataset else "space" if known.space else "model",
        private=known.private,
        revision=known.revision,
        create_pr=known.create_pr,
    )
    print(f"published: {commit.pr_url or commit.commit_url}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a run, or of a data set with --dataset")
    parser.add_argument("--repo", required=True, help="name on the Hub, such as org/cnn-rnn-coco")
    parser.add_argument("--metrics", type=Path, help="metrics.json that cnn-rnn validate wrote for a test split")
    parser.add_argument("--data_note", help="where the training photos come from, and how that biases the model")
    parser.add_argument("--photo", type=Path, help="a photo to try the model with on its page; it is published too")
    parser.add_argument("--license", dest="license_name", help="licence of the weights (default: that of the run)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--dataset", action="store_true", help="the folder holds a data set")
    kinds.add_argument("--space", action="store_true", help="publish the page of cnn-rnn app with this model")
    parser.add_argument("--private", action="store_true", help="a new repository is seen by its owner alone")
    parser.add_argument("--revision", help="branch to commit to (default: main)")
    parser.add_argument("--message", help="message of the commit")
    parser.add_argument("--create_pr", action="store_true", help="propose a pull request in place of committing")
    parser.add_argument("--dry_run", action="store_true", help="show the files and the card, and publish nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
