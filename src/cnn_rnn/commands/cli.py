"""`cnn-rnn COMMAND ...`: the package's commands by name. A command is loaded when it is called, its libraries later."""

import sys
from importlib import import_module

from cnn_rnn.foundation.one_line import calm_terminal
from cnn_rnn.nearest_names import did_you_mean

from .console import INTERRUPTED, missing_package, open_closed_streams, refuse

COMMANDS = {
    "train": "train a model on a data set or on your own photos",
    "validate": "measure a model on a split: figures, tables, intervals, predictions",
    "ablate": "train a list of settings over seeds and compare them on held-out training data",
    "predict": "label images, one or a hundred thousand",
    "app": "label photos in the browser with a model's help",
    "serve": "label photos over HTTP, for other programs and for Label Studio",
    "report": "one HTML page that shows how a model does",
    "review": "photos whose labels are probably wrong or missing, and those most worth labelling",
    "data": "download, look at and convert data sets",
    "export-onnx": "write a model as an ONNX graph, beam search included",
    "push-to-hub": "publish a model, or a data set, with its card",
}
USAGE = "usage: cnn-rnn COMMAND ...\n\nMulti-label image classification as a path of labels.\n\ncommands:\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names, with the rest; returns what its shell is told."""
    open_closed_streams()
    try:
        with calm_terminal():
            code = run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if not missing_package(error):
            raise
        return refuse(error)
    except OSError as error:  # where all is done but what was printed
        return refuse(error)


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns what its shell is told."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        listed = "".join(f"  {name:<12} {what}\n" for name, what in COMMANDS.items())
        print(f"{USAGE}{listed}\n'cnn-rnn COMMAND --help' says what a command takes.")
        return 0
    name, *rest = arguments
    name = name.replace("_", "-")
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"there is {', '.join(COMMANDS)}"
        return refuse(ValueError(f"cnn-rnn has no command {name!r}; {hint}"))
    sys.argv[0] = f"cnn-rnn {name}"  # for the command's own help
    return int(import_module(f"cnn_rnn.commands.{name.replace('-', '_')}").main(rest))


if __name__ == "__main__":
    sys.exit(main())
