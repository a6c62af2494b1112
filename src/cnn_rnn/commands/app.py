"""Label photos in the browser with a model's help: cnn-rnn app --input PHOTOS/train.

Without --input photos are dropped on the page. Labels are saved as metadata.jsonl, the layout that training reads.
"""

import argparse
import sys
from pathlib import Path

from .console import CommandParser, loading, refuse


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    known = build_parser().parse_args(arguments)

    try:
        with loading():
            from cnn_rnn.foundation.shipped_files import bundled_model
            from cnn_rnn.prediction.input_kinds import find_images

            try:
                from cnn_rnn.app.tagging_page import Desk, serve
            except ImportError as error:
                raise ValueError(f"the page needs {error.name}: pip install 'cnn-rnn[app]'") from error
            from cnn_rnn.app.photo_session import PhotoSession
            from cnn_rnn.app.photo_tagger import Tagger

        if known.model is None:
            print(
                "labels come from the model in the box (COCO's labels, Corel5k's words); --model takes one of your own"
            )
        files = []
        if known.input is not None:
            if not known.input.is_dir():
                raise ValueError(f"{known.input} is no folder; expected one that holds photos")  # noqa: TRY301
            files = find_images(str(known.input), system_files=known.system_files == "true")
            PhotoSession.of_folder(known.input, files)  # labels of another kind are refused before the page opens
        print("loading; the first time with onnxruntime the model is exported to it, which takes half a minute")
        tagger = Tagger.load(known.model or bundled_model(), known.engine)
        print(tagger.engine)
        serve(Desk(tagger, known.input, files), host=known.host, port=known.port, root_path=known.root_path)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--model", help="folder of a run, or name on the Hub (default: the model in the box)")
    parser.add_argument("--input", type=Path, help="folder of photos to go through, such as PHOTOS/train")
    parser.add_argument(
        "--engine",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what runs the backbone: auto takes onnxruntime where it is installed (extra 'export'), and exports once",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, help="port to listen at (default: the first free one from 7860)")
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
