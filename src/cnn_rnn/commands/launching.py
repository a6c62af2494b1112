"""Handing a command over to accelerate's own launcher, with launch settings that ship with the package."""

from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

from .console import refuse


def launch(module: str, settings: str, arguments: Sequence[str]) -> int:
    """Run a command's module under `accelerate launch`; returns what the shell is told.

    Args:
        module: The command, such as `cnn_rnn.commands.train`.
        settings: Name of launch settings of `hub_configs/accelerate`, or the path of accelerate's own YAML file.
        arguments: The command's arguments, `--launch` and options of accelerate's launcher among them.

    Raises:
        FileNotFoundError: There are no such settings.
        ValueError: They need GPUs, and this machine has none.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from cnn_rnn.training.run_config import find_settings

    path = find_settings(settings, "hub_configs/accelerate")
    own, launcher = split_arguments(arguments)
    parser = launch_command_parser()
    options = parser.parse_args(["--config_file", str(path), *launcher, "--module", module, *own])
    check_machine(path)
    try:  # the command has told in its last line what went wrong; a traceback of the launcher would only hide it
        launch_command(options)
    except CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        told = f"process {failure.local_rank} ended with exit code {failure.exitcode}; its last line, above, says why"
        refuse(RuntimeError(told))
        return int(failure.exitcode)
    return 0


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
