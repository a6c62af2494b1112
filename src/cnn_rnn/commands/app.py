"""Label photos in the browser with a model's help: cnn-rnn app --input PHOTOS.

Of a folder it learns your own labels while you label; every step is kept below PHOTOS/.cnn-rnn, and another start goes
on from it. Without --input photos are dropped on the page. Labels are saved as metadata.jsonl, as training reads them.
"""

import argparse
import sys
from pathlib import Path

from .console import CommandParser, add_engine, loading, port_number, refusing, token_for

NOTHING = "none"


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    known = build_parser().parse_args(arguments)
    with loading("app"):
        from cnn_rnn.app.learning_desk import LearningDesk
        from cnn_rnn.app.page_server import serve
        from cnn_rnn.app.photo_session import PhotoSession
        from cnn_rnn.app.photo_tagger import Tagger
        from cnn_rnn.app.tagging_page import Desk
        from cnn_rnn.foundation.own_token import is_local
        from cnn_rnn.foundation.shipped_files import bundled_model
        from cnn_rnn.learning.album import Album
        from cnn_rnn.learning.eyes import Eyes
        from cnn_rnn.prediction.input_kinds import find_images

    token = token_for(is_local=is_local(known.host))
    if known.root_path and token is None:
        print(f"whoever {known.root_path} lets in may write labels: let it ask for a password", file=sys.stderr)
    if known.model is None:
        print("labels come from the model in the box (COCO's labels, Corel5k's words); --model takes one of your own")
    files = []
    if known.input is not None:
        if not known.input.is_dir():
            raise ValueError(f"{known.input} is no folder; expected one that holds photos")
        files = find_images(str(known.input), system_files=known.system_files == "true")
        opened = PhotoSession.of_folder(known.input, files)  # labels of another kind are refused before it opens
    print("loading; the first time with onnxruntime the model is exported to it, which takes half a minute")
    nothing = known.model == NOTHING
    tagger = Tagger.load(bundled_model() if nothing else known.model or bundled_model(), known.engine)
    print(tagger.engine)
    if known.input is not None and known.learn:
        eyes = Eyes(tagger.saved, knows=not nothing, seeing=tagger.seeing)
        try:
            album = Album(eyes, {photo.name: photo.path for photo in opened.photos}, known.input)
        except OSError as error:
            raise OSError(f"{error}; with --no_learn nothing is kept there") from error
        desk: Desk = LearningDesk(tagger, known.input, files, album=album)
    else:
        desk = Desk(tagger, known.input, files)
    serve(desk, host=known.host, port=known.port, root_path=known.root_path, token=token)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "--model",
        help="folder of a run, or name on the Hub, or none to start without any labels (default: the model in the box)",
    )
    parser.add_argument(
        "--learn",
        action="store_true",
        default=True,
        help="learn from every photo of --input that is accepted (default)",
    )
    parser.add_argument("--no_learn", dest="learn", action="store_false", help="only ask the model")
    parser.add_argument("--input", type=Path, help="folder of photos to go through, such as PHOTOS/train")
    add_engine(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: this machine alone); other machines then need the token in "
        "CNN_RNN_TOKEN, else one that is made and shown",
    )
    parser.add_argument("--port", type=port_number, help="port to listen at (default: the first free one from 7860)")
    parser.add_argument(
        "--root_path",
        help="the page's address as others write it, such as https://example.org/label, with a proxy in front of it; "
        "it answers to no other names than this one's, --host's and this machine's own",
    )
    parser.add_argument(
        "--data.system_files",
        dest="system_files",
        choices=("true", "false"),
        default="false",
        help="whether what systems leave among photos (thumbnails, waste bins, hidden folders) is taken in",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
