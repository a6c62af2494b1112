"""A finished run as a small folder that can ship: weights in 16 and 8 bits, card and figures, no code."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cnn_rnn.foundation.whole_files import whole_file, write_json
from cnn_rnn.prediction.kept_graphs import WEIGHTS

from .model_card import EXAMPLE, Sources, example_address
from .push import endpoint_files, model_files

LARGEST = 25_000_000  # bytes of the whole folder
# Kept in 8 bits, as nothing is lost by it: each of their numbers is one of hundreds in a sum.
EIGHT_BITS = {"backbone.classifier.weight", "neighbours.keys", "relevance_head.hidden.weight"}


def write_bundle(
    run: Path,
    name: str,
    metrics: Path,
    folder: Path,
    *,
    rival: Path | None = None,
    photo: Path | None = None,
    data_note: str | None = None,
    sources: Sources | None = None,
) -> int:
    """Write the folder; returns its size in bytes. `from_pretrained` takes it and computes in single precision.

    Args:
        run: The folder of a finished run.
        name: What the card calls the model.
        metrics: Figures of photos that the model, or a twin of it, never saw.
        folder: Where to; what is there of an earlier bundle is replaced.
        rival: Figures of a plain head that was trained and measured alike.
        photo: A photo to try it with.
        data_note: Where the training images come from and how that biases the model, see `make_card`.
        sources: Photos of each label by the set that they come from, see `make_card`.

    Raises:
        CardError: Something that the card must say is not known.
        ValueError: The folder would be larger than 25 MB, or weights do not fit half precision.
    """
    published = model_files(run, name, metrics, data_note=data_note, photo=photo, rival=rival, sources=sources)
    no_code = published.keys() - endpoint_files().keys()
    files = {file: content for file, content in published.items() if file in no_code and not file.endswith(".py")}
    files["README.md"] = usable_at_home(bytes(files["README.md"]).decode(), name).encode()
    weights = halve(load_file(run / WEIGHTS))
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        with whole_file(folder / file) as temporary:
            if file == WEIGHTS:
                save_file(weights, temporary, metadata={"format": "pt"})
            else:
                temporary.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves them to their owner alone
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key in ("auto_map", "custom_pipelines"):
        config.pop(key, None)  # its code is the package's own
    write_json(folder / "config.json", config | {"dtype": "float32"})
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > LARGEST:
        raise ValueError(f"{folder} has {size:,} bytes, more than {LARGEST:,}: train a smaller model")
    return size


def usable_at_home(card: str, name: str) -> str:
    """The card with an example, and a photo to try it with, that need no Hub.

    Raises:
        ValueError: Its template has another example by now.
    """
    import_line, call = "from transformers import pipeline\n", f'model="{name}", trust_remote_code=True'
    if import_line not in card or call not in card:
        raise ValueError(f"the card's example does not load {name!r} as expected: mend `usable_at_home`")
    card = card.replace(import_line, f"import cnn_rnn\n{import_line}").replace(call, "model=cnn_rnn.bundled_model()")
    return card.replace(example_address(name), EXAMPLE)


def halve(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights with matrices of fractions in half precision, or in 8 bits; vectors, such as statistics, stay.

    Raises:
        ValueError: A value is too large for that.
    """
    halved = {}
    for name, tensor in weights.items():
        small = tensor
        if tensor.is_floating_point() and tensor.dim() > 1:
            small = tensor.to(torch.float8_e4m3fn if name in EIGHT_BITS else torch.float16)
        if not small.float().isfinite().all():
            raise ValueError(f"{name} holds values beyond those of {str(small.dtype).removeprefix('torch.')}")
        halved[name] = small.contiguous()
    return halved
