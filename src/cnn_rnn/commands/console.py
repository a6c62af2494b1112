"""What all commands share: one line for a refused input, how their settings are written, and a quick start."""

import argparse
import atexit
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from cnn_rnn.foundation.one_line import visible
from cnn_rnn.foundation.resting_collector import collector_resting
from cnn_rnn.nearest_names import did_you_mean

# For the help, which loads no library; a test holds them against the packages that know them.
SOURCE_NAMES = (
    "voc2007, voc2012, coco2014, coco2017, nus-wide-81, nus-wide-1000, image_folder, table, class_folders, voc_xml, "
    "hub, digits"
)
BENCHMARK_NAMES = "voc2007, voc2012, coco2014, coco2017, nus-wide-81, nus-wide-1000"
PROTOCOL_NAMES = "voc2007, coco2014, nus-wide-81, nus-wide-1000, corel5k"
OF_THE_RUN = (
    "Where MODEL is a run's folder, the data block of its run_config.yaml gives the defaults of --data.*,\n"
    "which 'cnn-rnn train --help' lists."
)
OPTION = re.compile(r"--?[^-\s]\S*")  # as argparse takes a word for one, which may be a file's name, too
NUMBER = re.compile(r"-[\d.][\d.eE_+-]*")  # below zero
INTERRUPTED = 130  # as shells tell of Ctrl-C
ENOUGH = 141  # as shells tell of a program whose reader, such as `head`, has read enough
TOKEN = "CNN_RNN_TOKEN"  # noqa: S105 - where one is found
LEAST_SIGNS = 16  # of a token that somebody chose
REFUSED = 2  # what a shell is told where an input, a setting or the machine stands in the way, as argparse does it


def refuse(error: BaseException, hint: str = "") -> int:
    """Say on stderr in one line what is wrong and the way out; returns what the shell is told, `REFUSED` mostly."""
    told = missing_package(error) or str(error)
    message = visible(" ".join(line.strip() for line in told.splitlines() if line.strip()))
    message = message or type(error).__name__
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where nothing more goes, nothing more is tried
    if isinstance(error, BrokenPipeError) and not sys.stdout.isatty():
        return ENOUGH
    print(f"error: {message}{hint and f'; {hint}'}", file=sys.stderr, flush=True)
    return REFUSED


def refusing(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """A command's `main` that says in one line which input, setting, file or missing library stands in the way."""

    @wraps(main)
    def told(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments)
        except (ValueError, OSError, ImportError) as error:
            return refuse(error)

    return told


def missing_package(error: BaseException) -> str:
    """What is not installed, and what brings it, where an import failed for that; else nothing."""
    from importlib.metadata import PackageNotFoundError, requires
    from importlib.util import find_spec

    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name or name in sys.modules or find_spec(name) is not None:
        return ""
    try:
        needed = [line for line in requires("cnn-rnn") or () if re.split(r"[^\w-]", line)[0].lower() == name]
    except PackageNotFoundError:  # as where the source alone is on the path
        needed = []
    found = [re.search(r"extra == ['\"]([\w-]+)", line) for line in needed]
    extras = [one[1] for one in found if one and one[1] != "dev"]
    brings = f"'cnn-rnn[{extras[0]}]'" if extras and None not in found else "cnn-rnn" if needed else name
    return f"{name} is not installed: pip install {brings}"


def open_closed_streams() -> None:
    """Let streams that a shell has closed lead nowhere.

    Else the next file that is opened takes the place of one, and what a library says on stderr goes into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the process


class HelpWithDefaults(argparse.RawDescriptionHelpFormatter):
    """Help with the default of each option that has one and does not tell of it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        """The sentence on one option."""
        told = isinstance(action.default, int | float | str) and not isinstance(action.default, bool)
        if not told or action.default == argparse.SUPPRESS or "(default" in (action.help or ""):
            return action.help
        return f"{action.help} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """The arguments of a command: whatever it does not know, or lacks, is refused in one line.

    Args:
        hands_on: An option with which other options are another program's, and not looked at.
        blocks: Blocks of settings that the help lists.
        **options: Of `argparse.ArgumentParser`.
    """

    def __init__(self, *, hands_on: str | None = None, blocks: Sequence[str] = (), **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpWithDefaults, "allow_abbrev": False, **options})
        self.hands_on, self.blocks = hands_on, blocks

    def format_help(self) -> str:
        """The help, after the options each setting with its type, default and meaning."""
        if not self.blocks:
            return super().format_help()
        from cnn_rnn.training.declared_settings import declared_settings

        self.usage = f"{self.format_usage().removeprefix('usage: ').rstrip()} [--BLOCK.KEY VALUE ...]"
        for block in self.blocks:  # not before: they are checked and read as the YAML file's are
            group = self.add_argument_group(f"settings of the block {block}")
            for one in declared_settings(block):
                meaning = re.sub(r"\bNone\b", "null", one.meaning)  # as it is written here
                told = f"{meaning} (default: {one.default_text})".replace("%", "%%")
                group.add_argument(f"--{block}.{one.name}", metavar=one.kind, help=told)
        return super().format_help()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does it, after an option that is misspelt is refused: it may be the one that is missing."""
        args = sys.argv[1:] if args is None else args
        self._refuse_empty(args)
        if self._subparsers is None and self.hands_on not in {one.partition("=")[0] for one in args}:
            self._refuse_unknown(args)
        known: tuple[argparse.Namespace, list[str]] = super().parse_known_args(args, namespace)
        return known

    def _refuse_empty(self, args: Sequence[str]) -> None:
        """Refuse a value that is empty, as that of a shell's variable that is not set is; settings may be null so."""
        for before, one in pairwise(["", *args]):
            name, equals, value = one.partition("=")
            option = name if equals and not value else before
            is_setting = option.startswith("--") and "." in option and option not in self._option_string_actions
            if (not one and not is_setting) or (equals and not value and option in self._option_string_actions):
                told = f"argument {option}: its value" if option in self._option_string_actions else "an argument"
                self.error(f"{told} is empty; is a variable of the shell not set?")

    def _refuse_unknown(self, args: Sequence[str]) -> None:
        """Refuse an option that is neither one of these nor a setting `--block.key`, with the nearest one.

        What begins with a dash may be meant for a value: how that is written is told.
        """
        options = self._option_string_actions
        of_setting = False  # whether this is a setting's value, which may begin as it likes
        for before, one in pairwise(["", *args]):
            name, equals, _ = one.partition("=")
            is_option = bool(OPTION.fullmatch(name)) and not NUMBER.fullmatch(one) and not of_setting
            is_setting = name.startswith("--") and "." in name
            meant = did_you_mean(name, options, cutoff=0.85 if "." in name else 0.6)
            if is_option and name not in options and (meant or not is_setting):
                if not meant and before in options and options[before].nargs != 0:
                    meant = f"as the value of {before} it is written {before}={one} or, where it is a path, ./{one}"
                elif not meant and not one.startswith("--"):
                    meant = f"where it is a path it is written ./{one}"
                self.error(f"{name} is not known" + (f"; {meant}" if meant else ""))
            of_setting = is_option and is_setting and name not in options and not equals

    def error(self, message: str) -> NoReturn:
        """Say on stderr what is wrong, in one line, and leave with `REFUSED`."""
        self.exit(REFUSED, f"error: {visible(message)} ('{self.prog} --help' says what it takes)\n")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The option of a page or a server that says what runs the backbone."""
    parser.add_argument(
        "--engine",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what runs the backbone: auto takes onnxruntime where it is installed (extra 'export'), and exports once",
    )


def at_least(least: int) -> Callable[[str], int]:
    """What makes a whole number of an option's text; argparse is told where it is smaller, or none."""

    def number_of(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
        return number

    number_of.__name__ = "int"  # as argparse calls it where the text is no number
    return number_of


def port_number(text: str) -> int:
    """The port that an option's text tells; argparse is told where it is none."""
    port = int(text)
    if not 0 <= port < 2**16:  # libraries would take it modulo that, or break off
        raise argparse.ArgumentTypeError(f"must lie in 0..65535, got {port}")
    return port


def share(text: str) -> float:
    """The share that an option's text tells; argparse is told where it is none."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to below 1, got {text}")
    return number


def output_folder(text: str) -> Path:
    """The folder that an option names, which may not be there yet; argparse is told where it is a file."""
    if Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file; expected a folder")
    return Path(text)


def output_file(text: str) -> Path:
    """The file that an option names, which may not be there yet; argparse is told where it is a folder."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; expected the name of a file")
    return Path(text)


@contextmanager
def loading(extra: str | None = None) -> Iterator[None]:
    """No search for garbage while libraries and a model are loaded, nor when the process ends.

    Nearly all that they make is there to stay, and looking through it again and again takes a third of the time that
    one photo takes from the command line to its labels.

    Args:
        extra: Of the package, called as the command is, that brings what may not be installed.

    Raises:
        ValueError: It is not; what is missing is named.
    """
    atexit.register(gc.freeze)
    try:
        with collector_resting():
            yield
    except ImportError as error:
        if extra is None or error.name is None:
            raise
        raise ValueError(f"cnn-rnn {extra} needs {error.name}: pip install 'cnn-rnn[{extra}]'") from error


def token_for(*, is_local: bool) -> str | None:
    """The token that is asked for; none on this machine alone where none was given.

    Raises:
        ValueError: The one that was given is too short, or cannot be sent.
    """
    given = os.environ.get(TOKEN)
    if given is not None and len(given) < LEAST_SIGNS:
        raise ValueError(f"{TOKEN} has {len(given)} signs; expected at least {LEAST_SIGNS}")
    if given is not None and not (given.isascii() and given.isprintable() and given == given.strip()):
        raise ValueError(f"{TOKEN} holds what no header carries as it is; expected ASCII without a space at its ends")
    if given is None and not is_local:
        import secrets

        given = secrets.token_urlsafe(24)
        print(f"other machines may ask, with the token {given} ({TOKEN} sets one)", file=sys.stderr)
    return given
