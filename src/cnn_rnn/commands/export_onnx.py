"""Export a model: cnn-rnn export-onnx MODEL --output F.onnx, and with --int8 G.onnx a smaller copy of it.

Both sizes are said, and a copy that is no smaller is refused. It is faster as well where --calibrate names images.

With --data.name (and --data.root) both are measured on a split, so that what the smaller one costs is known.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_rnn.foundation.one_line import visible

from .console import CommandParser, at_least, output_file, refusing

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.publishing.onnx_graph import OnnxModel

CALIBRATION = 128  # images at most


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Write the files, run them once beside the model, and measure them where a split is given."""
    known, overrides = build_parser().parse_known_args(arguments)
    if known.calibrate and not known.int8:
        raise ValueError("--calibrate is for the 8-bit copy: name its file with --int8")
    if known.int8 and known.int8.absolute() == known.output.absolute():
        raise ValueError(f"--int8 {known.int8} is --output too: give the 8-bit copy a name of its own")

    from cnn_rnn.foundation.own_files import kept_aside
    from cnn_rnn.foundation.whole_files import write_json
    from cnn_rnn.metrics.tables import figures_table
    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.publishing.onnx_graph import OnnxModel, export_onnx, quantize_onnx
    from cnn_rnn.training import Split, run_config_of

    saved = SavedModel.load(known.model)
    split = Split(run_config_of(known.model, overrides).data, known.split) if overrides else None
    if split is not None:
        saved.check_labels(split.rows)
    images = calibration_images(saved, known.calibrate, known.uint8) if known.calibrate else None
    graphs = [known.output, *([known.int8] if known.int8 else [])]
    with kept_aside(graphs, "a graph"):
        export_onnx(saved.model, known.output, known_labels=known.known_labels, uint8=known.uint8)
        if known.int8:
            quantize_onnx(known.output, known.int8, images)
    for graph in graphs:
        difference = largest_difference(saved.model, OnnxModel(graph))
        size = told_size(graph, known.output, known.model)
        print(f"{size}; probabilities differ from the model's by at most {difference:.1e} on noise")
        if split is not None:
            figures = measure_graph(OnnxModel(graph), saved, split.rows, known.batch_size)
            print(figures_table({graph.name: figures}).text())
            file = graph.with_suffix(".metrics.json")
            with kept_aside([file], "that of a graph"):
                write_json(file, figures | {"split": known.split})
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or name on the Hub")
    parser.add_argument("--output", type=output_file, required=True, metavar="F.onnx", help="where the graph goes")
    parser.add_argument(
        "--known_labels", action="store_true", help="a second input known_labels: 1 confirmed, -1 ruled out, 0 open"
    )
    parser.add_argument("--int8", type=output_file, metavar="G.onnx", help="where a copy with 8-bit weights goes")
    parser.add_argument(
        "--calibrate",
        metavar="FOLDER",
        help="some dozens of images like those to come: with them the convolutions of the 8-bit copy compute in 8 bits",
    )
    parser.add_argument("--uint8", action="store_true", help="images come as bytes, and the graph normalises them")
    parser.add_argument("--data.split", dest="split", default="test", help="split to measure on (default: test)")
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="images that the model sees at once")
    return parser


def told_size(graph: Path, whole: Path, model: str) -> str:
    """Size of a file, compared with the whole graph where that is another, and with the model's weights where here."""
    size = graph.stat().st_size
    others = {} if graph == whole else {str(whole): whole.stat().st_size}
    if weights := list(Path(model).glob("*.safetensors")):
        others["the model's weights"] = sum(file.stat().st_size for file in weights)
    beside = ", ".join(f"{size / other:.2f} of {name} ({other:,})" for name, other in others.items())
    return f"{graph}: {size:,} bytes" + (f", {beside}" if beside else "")


def largest_difference(model: Any, graph: "OnnxModel") -> float:
    """The most by which a label's probability differs between the model and its graph, on four images of noise."""
    import torch

    size = model.config.image_size
    octets = torch.randint(256, (4, 3, size, size), generator=torch.Generator().manual_seed(0))
    noise = (octets - graph.mean) / graph.std
    with torch.inference_mode():
        return float((graph(noise)["logits"].sigmoid() - model(noise).logits.sigmoid()).abs().max())


def calibration_images(saved: "SavedModel", folder: str, uint8: bool) -> "Tensor":
    """Images (N, 3, h, w) of a folder, at most `CALIBRATION`, as the graph takes them."""
    import torch

    from cnn_rnn.data.photos.found_files import PassedOver
    from cnn_rnn.data.photos.images import decode_image
    from cnn_rnn.prediction.found_images import walk_images

    passed_over = PassedOver()
    pictures = [decode_image(path) for path in islice(walk_images(folder, passed_over), CALIBRATION)]
    for line in passed_over.lines():
        print(visible(f"{folder}: {line}"), file=sys.stderr)
    if not pictures:
        raise ValueError(f"--calibrate {folder}: no image to calibrate on; give a folder of photos")
    pixels: Tensor = saved.processor(
        images=pictures, return_tensors="pt", **({"do_rescale": False, "do_normalize": False} if uint8 else {})
    )["pixel_values"]
    return pixels.to(torch.uint8) if uint8 else pixels


def measure_graph(graph: "OnnxModel", saved: "SavedModel", dataset: "Dataset", batch_size: int) -> dict[str, Any]:
    """The figures of a graph on the rows of a data set."""
    from accelerate import Accelerator

    from cnn_rnn.data.batching.batches import eval_loader
    from cnn_rnn.prediction import measure
    from cnn_rnn.prediction.predictions import Predictions, gather_batches

    def answer(batch: dict[str, Any]) -> dict[str, "Tensor"]:
        """What the graph says of a batch."""
        outputs = graph(batch["pixel_values"])
        return {"logits": outputs["logits"]} | ({"paths": outputs["paths"][:, 0]} if "paths" in outputs else {})

    config = saved.model.config
    loader = eval_loader(dataset, saved.processor, batch_size, num_workers=0)
    found = Predictions.concatenate(gather_batches(answer, loader, Accelerator(), "measuring"))
    return measure(found, config.label_names, config.thresholds, rules=saved.model.rules)


if __name__ == "__main__":
    sys.exit(main())
