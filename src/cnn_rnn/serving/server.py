"""A server from its settings to its end: who may ask, what works for it, and the order in which it starts and stops."""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnn_rnn.foundation.own_names import OwnNames, own_names
from cnn_rnn.prediction.kept_graphs import Engine

from .application import make_application
from .at_work import ModelAtWork
from .connections import make_server
from .counts import Counts
from .decoders import Decoders
from .gate import Gate, Limits
from .label_studio import LabelStudio
from .service import Service


@dataclass(frozen=True)
class Serving:
    """What is served, and to whom.

    Attributes:
        model: Folder of a run, or name on the Hub.
        host: Address to listen at.
        port: Port to listen at; 0 for one that is free.
        root_path: Its address as others write it, where there is a proxy in front of it.
        token: What whoever asks must know; None for nothing.
        engine: What runs the backbone.
        decoders: Processes that decode photos.
        photos: Folders in which the photos of Label Studio's tasks lie.
        kept: Where what its annotations teach is kept; in the first of these folders where None.
        limits: How much it takes on.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    root_path: str | None = None
    token: str | None = None
    engine: Engine = "auto"
    decoders: int = 2
    photos: Sequence[Path] = ()
    kept: Path | None = None
    limits: Limits = field(default_factory=Limits)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address, which takes no connections yet.

    Raises:
        OSError: There is no such address, or somebody else listens there.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise OSError(f"cannot listen at {host}, port {port}: {error}; --port takes another") from error
    return bound


def run_server(serving: Serving) -> None:
    """Serve until a signal ends it; what is at work then is answered first.

    Raises:
        ValueError, OSError, ImportError: The model or the address cannot be had.
    """
    with listen(serving.host, serving.port) as bound:
        model = ModelAtWork.load(serving.model, serving.engine)
        print(model.engine, file=sys.stderr)
        counts = Counts()
        of_model = serving.model, model.preprocessing
        decoders = Decoders(of_model, serving.decoders, serving.limits.decode_seconds, counts.replace)
        service = Service(model, decoders, serving.limits, counts)
        kept = serving.kept or next(iter(serving.photos), None)
        try:
            studio = LabelStudio(service, counts, serving.photos, kept)
            app = Gate(make_application(service, counts, studio), serving.limits, counts, serving.token)
            server = make_server(OwnNames(app, own_names(serving.host, serving.root_path)), serving.limits)
            name = f"[{serving.host}]" if ":" in serving.host.strip("[]") else serving.host
            address = f"http://{name}:{bound.getsockname()[1]}"
            bound.listen(serving.limits.connections)  # whoever reads the next line may ask
            print(f"serving {serving.model} at {address} (its page: {address}/docs; Ctrl-C ends it)", flush=True)
            server.run([bound])
        finally:
            service.close()
    print("ended; what was at work is answered", file=sys.stderr)
