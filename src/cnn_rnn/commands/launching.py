"""Handing a command over to accelerate's own launcher, with launch settings that ship with the package."""

from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

from cnn_rnn.foundation.shipped_files import shipped_file

from .console import refuse


def launch(module: str, settings: str, arguments: Sequence[str]) -> int:
    """Run a command's module under `accelerate launch`; returns what the shell is told.

    Args:
        module: The command, such as `cnn_rnn.commands.train`.
        settings: Name of launch settings of `hub_configs/accelerate`, or the path of accelerate's own YAML file.
        arguments: The command's arguments, `--launch` and options of accelerate's launcher among them.
    """
    try:
        path = find_launch_settings(settings)
    except FileNotFoundError as error:
        return refuse(error)
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    own, launcher = split_arguments(arguments)
    parser = launch_command_parser()
    options = parser.parse_args(["--config_file", str(path), *launcher, "--module", module, *own])
    # The command has told in its last line what went wrong; a traceback of the launcher would only hide it.
    try:
        check_machine(path)
    except ValueError as error:
        return refuse(error)
    try:
        launch_command(options)
    except CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        told = f"process {failure.local_rank} ended with exit code {failure.exitcode}; its last line, above, says why"
        refuse(RuntimeError(told))
        return int(failure.exitcode)
    return 0


def find_launch_settings(name: str) -> Path:
    """The file of launch settings that a bare name or a path names.

    Raises:
        FileNotFoundError: There are no such settings; the message names those that ship.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_file("hub_configs/accelerate")
    if (shipped / f"{name}.yaml").is_file():
        return shipped / f"{name}.yaml"
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    raise FileNotFoundError(f"--launch {name}: no such launch settings; give {names}, or the path of a YAML file")


def check_machine(path: Path) -> None:
    """Refuse launch settings that need GPUs where there is none: the launcher would start something else, unsaid.

    Raises:
        ValueError: The settings share out work over GPUs, and this machine has none.
    """
    import torch
    from accelerate.commands.config.config_args import load_config_from_file

    kind = str(load_config_from_file(str(path)).distributed_type).rpartition(".")[2]
    if kind in {"MULTI_GPU", "FSDP", "DEEPSPEED"} and not torch.accelerator.is_available():
        raise ValueError(f"--launch {path.stem}: {kind} needs GPUs, and this machine has none; train without --launch")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments and those of the launcher, `--launch` itself left out.

    The command's are `--config`, `--resume` and settings `--block.key`; whatever else begins with `--` is the
    launcher's.
    """
    own: list[str] = []
    launcher: list[str] = []
    target = own
    for argument in arguments:
        name = argument.partition("=")[0]
        if name == "--launch":
            target = []
        elif name.startswith("--"):
            target = own if name in {"--config", "--resume"} or "." in name else launcher
        target.append(argument)
    return own, launcher
