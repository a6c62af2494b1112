"""Serve a model over HTTP: cnn-rnn serve --model RUN, then curl -F photo=@photo.jpg localhost:8000/predict.

The same address is a machine learning backend for Label Studio. It answers this machine alone, unless --host says
otherwise; then whoever asks needs a token: the one in CNN_RNN_TOKEN, else one that is made and shown.
"""

import argparse
import os
import sys
from pathlib import Path

from .console import CommandParser, add_engine, loading, port_number, refuse, refusing, token_for


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    known = build_parser().parse_args(arguments)
    with loading("serve"):
        from cnn_rnn.foundation.own_token import is_local
        from cnn_rnn.foundation.shipped_files import bundled_model
        from cnn_rnn.serving.gate import MIB, Limits
        from cnn_rnn.serving.server import Serving, run_server
    for name in ("photos", "kept"):
        missing = [folder for folder in getattr(known, name) if not folder.is_dir()]
        if missing:
            raise ValueError(f"--{name} {missing[0]} is no folder")
    if min(known.waiting, known.largest, known.decoders) < 1:
        raise ValueError("--waiting, --largest and --decoders must be at least 1")
    serving = Serving(
        str(known.model or bundled_model()),
        known.host,
        known.port,
        known.root_path,
        token_for(is_local=is_local(known.host) and known.root_path is None),
        known.engine,
        known.decoders,
        known.photos,
        next(iter(known.kept), None),
        Limits(waiting=known.waiting, body=known.largest * MIB),
    )
    try:
        run_server(serving)
    except RuntimeError as error:  # as where decoders do not start, or memory runs out
        return refuse(error)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--model", help="folder of a run, or name on the Hub (default: the model in the box)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument(
        "--port", type=port_number, default=8000, help="port to listen at, 0 for a free one (default: 8000)"
    )
    parser.add_argument(
        "--root_path",
        help="the server's address as others write it, with a proxy in front of it; it answers to no other names than "
        "this one's, --host's and this machine's own",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="where the photos of Label Studio's tasks lie: its folder media, or what it serves as local files",
    )
    parser.add_argument(
        "--kept",
        type=Path,
        nargs=1,
        default=[],
        metavar="FOLDER",
        help="where what Label Studio's annotations teach is kept, below .cnn-rnn (default: in the first of --photos)",
    )
    add_engine(parser)
    parser.add_argument("--decoders", type=int, default=os.cpu_count() or 1, help="processes that decode photos")
    parser.add_argument("--waiting", type=int, default=128, help="photos that may wait; more are told to come again")
    parser.add_argument("--largest", type=int, default=32, metavar="MIB", help="MiB of the largest request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
