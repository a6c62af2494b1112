"""Checkpoints of a run: written whole or not at all, checked before they are used, the last few kept."""

import json
import pickle
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object, patch_environment
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cnn_rnn.foundation.broken_files import reason
from cnn_rnn.foundation.hub_errors import first_line
from cnn_rnn.foundation.provenance import digest, digest_file, digest_tensors
from cnn_rnn.foundation.whole_files import flush_folder, half_done, remove_whole, whole_file, write_json

from .agreement import decided_by_main, wait_until_seen
from .faults import CheckpointError, disk_advice

MANIFEST = "manifest.json"
# torch's own switch, stronger than what a caller asks for: accelerate asks for everything where it loads objects
# that were registered.
WEIGHTS_ONLY = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}

# What torch's index of spread tensors is made of, beside the types of their numbers.
INDEXED = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    *(("pathlib", name) for name in ("PosixPath", "WindowsPath")),
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            *("BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta"),
            *("TensorProperties", "TensorStorageMetadata", "_MEM_FORMAT_ENCODING"),
        )
    ),
}


def save_checkpoint(
    accelerator: Accelerator, output_dir: Path, name: str, keep: int, settings: Mapping[str, Any] | None = None
) -> Path:
    """Save all that resuming needs as `checkpoints/NAME`, drop all but the last `keep`, and return the folder.

    The same name holds the same state, so a checkpoint that is there already is left alone.

    Args:
        accelerator: Knows what the state is.
        output_dir: The run's folder.
        name: Of `checkpoint_name`.
        keep: How many checkpoints stay.
        settings: What the run is known by; `check_origin` asks for the same.

    Raises:
        CheckpointError: It could not be written, as on a full disk; nothing of it is left, those before are whole.
    """
    final = output_dir / "checkpoints" / name
    temporary = final.with_suffix(".tmp")  # the same in every process; the run has its folder for itself
    if decided_by_main(accelerator, final.exists):
        return final
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with disk_advice(output_dir):
            accelerator.save_state(str(temporary))
            if not accelerator.is_main_process:
                flush_folder(temporary)
            accelerator.wait_for_everyone()  # until then there are files under passing names
            names = set().union(*gather_object([files_of(temporary)]))  # everybody's, whichever machine sees them
            for file in sorted(names):
                wait_until_seen(temporary / file)
            if accelerator.is_main_process:
                write_manifest(temporary, settings or {}, names)
                flush_folder(temporary)
    except CheckpointError:
        shutil.rmtree(temporary, ignore_errors=True)  # half of it would fill the disk for nothing
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        temporary.replace(final)
        for old in complete_checkpoints(output_dir)[:-keep]:
            remove_whole(old)
    accelerator.wait_for_everyone()
    return final


def write_manifest(checkpoint: Path, settings: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Write down a digest of every file of a checkpoint, or of those named, and the settings of the run it is of."""
    digests = {name: digest_file(checkpoint / name) for name in sorted(names or files_of(checkpoint))}
    content = {"settings": dict(settings), "files": digests}
    write_json(checkpoint / MANIFEST, content | {"digest": digest(content)})


def files_of(checkpoint: Path) -> set[str]:
    """The files of a checkpoint but its manifest."""
    return {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()} - {MANIFEST}


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises:
        CheckpointError: It says nothing, or nothing that can be read.
    """
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        content = {"settings": dict(manifest["settings"]), "files": dict(manifest["files"])}
        whole = digest(content) == manifest["digest"]
    except Exception as error:  # of whatever stands there
        told = f"{checkpoint} has no readable {MANIFEST}, so it cannot be checked ({reason(error)})"
        raise CheckpointError(told) from error
    if not whole:
        raise CheckpointError(f"{checkpoint / MANIFEST} is damaged: it is not what was written")
    return content


def check_digests(checkpoint: Path) -> None:
    """Read every file of a checkpoint against its digest.

    Raises:
        CheckpointError: One is missing, cut off, changed, or was not there when the checkpoint was written.
    """
    digests = read_manifest(checkpoint)["files"]
    there = files_of(checkpoint)
    for name in sorted(there | set(digests)):
        if name not in digests:
            raise CheckpointError(f"{checkpoint / name} does not belong to this checkpoint")
        if name not in there:
            raise CheckpointError(f"{checkpoint / name} is missing")
        if digest_file(checkpoint / name) != digests[name]:
            raise CheckpointError(f"{checkpoint / name} is damaged: it is not what was written")


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> None:
    """Bring everything that the accelerator knows to where it stood; nothing that a file holds is run.

    Raises:
        CheckpointError: A file holds more than tensors and plain values, or does not fit the run.
    """
    try:
        for index in checkpoint.rglob("*.metadata"):
            with index.open("rb") as file:
                IndexReader(file).load()
        with patch_environment(**WEIGHTS_ONLY), torch.serialization.safe_globals(_records(accelerator)):
            accelerator.load_state(str(checkpoint))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{checkpoint} holds more than tensors and plain values and is not loaded, since that could run anything "
            f"({first_line(error)}). Take a checkpoint of your own"
        ) from error
    except (RuntimeError, KeyError, OSError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} does not fit this run: {first_line(error)}") from error


class IndexReader(pickle.Unpickler):
    """Reads the index that torch writes beside tensors which FSDP spreads: it is a pickle, and torch runs all in it."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the names that an index consists of.

        Raises:
            UnpicklingError: Another name.
        """
        kind = getattr(torch, name, None) if module == "torch" and "." not in name else None
        if isinstance(kind, torch.dtype) or (module, name) in INDEXED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in the index of spread tensors")


def _records(accelerator: Accelerator) -> list[Any]:
    """The plain records that DeepSpeed writes among the tensors of its optimiser; nothing of them is run."""
    if accelerator.distributed_type != DistributedType.DEEPSPEED:
        return []
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name as safetensors with their digest, whole or not at all."""
    whole = {name: tensor.contiguous() for name, tensor in weights.items()}
    with whole_file(path) as temporary:
        save_file(whole, temporary, metadata={"digest": digest_tensors(whole)})


def weights_digest(path: Path) -> str | None:
    """The digest that `save_weights` wrote; None where the file is not there, or has none."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("digest")
    except (SafetensorError, OSError):
        return None


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors that `save_weights` wrote.

    Raises:
        CheckpointError: The file is missing, or not what was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            expected = (file.metadata() or {}).get("digest")
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is missing: the run's best weights so far. Put it back, or train anew in another "
            "--train.output_dir"
        ) from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; train anew in another --train.output_dir") from error
    if expected is not None and expected != digest_tensors(weights):
        raise CheckpointError(
            f"{path} is damaged: it is not what was written; train anew in another --train.output_dir"
        )
    return weights


def checkpoint_name(step: int, epoch: int, batch: int) -> str:
    """A name by which checkpoints sort by age: the end of an epoch comes after its last step."""
    return f"step-{step:08d}" if batch else f"step-{step:08d}-epoch-{epoch:04d}"


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """The run's checkpoints that were written to their end, oldest first."""
    return sorted(path for path in output_dir.glob("checkpoints/step-*") if not path.suffix)


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The run's newest checkpoint, if there is one; it may have been damaged since."""
    checkpoints = complete_checkpoints(output_dir)
    return checkpoints[-1] if checkpoints else None


def holds_a_run(output_dir: Path) -> bool:
    """Whether a run was begun here that reached a checkpoint or the end of an epoch."""
    return (output_dir / "history.jsonl").exists() or latest_checkpoint(output_dir) is not None


def latest_whole_checkpoint(output_dir: Path) -> tuple[Path | None, dict[Path, CheckpointError]]:
    """The run's newest checkpoint whose files are what was written, and what is wrong with each newer one.

    Raises:
        CheckpointError: There are checkpoints, and all of them are damaged.
    """
    damaged: dict[Path, CheckpointError] = {}
    for checkpoint in reversed(complete_checkpoints(output_dir)):
        try:
            check_digests(checkpoint)
        except CheckpointError as error:
            damaged[checkpoint] = error
        else:
            return checkpoint, damaged
    if damaged:
        raise CheckpointError(
            f"{next(iter(damaged.values()))}; no other checkpoint in {output_dir / 'checkpoints'} is "
            "whole. Train anew in another --train.output_dir"
        )
    return None, damaged


def remove_leftovers(output_dir: Path, damaged: Iterable[Path] = ()) -> list[Path]:
    """Remove what a killed run left half written, and damaged checkpoints; returns their paths."""
    for checkpoint in damaged:
        remove_whole(checkpoint)  # else it would stand in the way of the whole one that training comes to again
    checkpoints = output_dir / "checkpoints"
    begun = [path for path in checkpoints.glob("step-*.tmp") if path.is_dir()]
    leftovers = {*begun, *half_done(checkpoints), *half_done(output_dir), *output_dir.glob(".saving")}
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return [*damaged, *sorted(leftovers)]
