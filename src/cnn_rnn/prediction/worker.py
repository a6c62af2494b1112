"""One process of a bulk job: its model, and the job's folder, from the settings of the job."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.launched import is_launched
from cnn_rnn.foundation.provenance import Identity, Provenance, digest

from .answers import digest_answers, read_answers
from .bulk_prediction import labeller_of
from .graph_model import GraphModel
from .input_kinds import open_inputs
from .job import Job
from .job_folder import JobFolder
from .kept_graphs import WEIGHTS, Engine, cores, may_have_a_gpu
from .onnx_pipeline import CnnRnnOnnx
from .stored_weights import stored_weights

if TYPE_CHECKING:  # a model that has its graph needs no torch
    from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline


@dataclass(frozen=True)
class JobSettings:
    """What a bulk job is asked for.

    Attributes:
        model: Folder of a run, or name on the Hub.
        input: Images, as `open_inputs` takes them.
        output: The folder of the job.
        root: Folder of the data set that `input` names.
        reading: What is decided where a label file could mean two things.
        threshold: Least probability of a label; the model's own where None.
        known: A file of what is known of the images.
        limit: Only so many images, the first ones.
        batch_size: Images that the model sees at once.
        num_workers: Threads that read images, for each process.
        part_size: Images after which a killed run can go on.
        parts_per_file: Parts that become one file.
        changes_by: How far to look for images that changed.
        keep_lost: Whether a row that says that its image could not be had counts as done.
        engine: What runs the backbone.
        actors: Processes that Ray starts; one per GPU, else one per core, where None.
    """

    model: str
    input: str
    output: Path
    root: str | None = None
    reading: Reading = field(default_factory=Reading)
    threshold: float | None = None
    known: Path | None = None
    limit: int | None = None
    batch_size: int = 16
    num_workers: int = 2
    part_size: int = 2000
    parts_per_file: int = 500
    changes_by: Identity = "time"
    keep_lost: bool = False
    engine: Engine = "auto"
    actors: int | None = None

    @property
    def batch_threads(self) -> int | None:
        """Threads of a graph for one batch: one, which waits for nobody, where batches are worked on side by side."""
        return 1 if self.num_workers else None


@dataclass(frozen=True)
class Opened:
    """What labels the images of a job.

    Attributes:
        classify: The pipeline, by torch or in onnxruntime.
        provenance: What its labels depend on.
        engine: A sentence that says what runs it.
        threads: That read images, and in onnxruntime label them.
    """

    classify: Any
    provenance: Provenance
    engine: str
    threads: int


def open_pipeline(
    model: str, device: Any = None, threshold: float | None = None
) -> "MultiLabelImageClassificationPipeline":
    """A saved model as a pipeline by torch on a device.

    Raises:
        ValueError: It is no such model, or the threshold is no probability.
        OSError: There is none.
    """
    from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

    from .saved_model import SavedModel

    saved = SavedModel.load(model)
    return MultiLabelImageClassificationPipeline(
        model=saved.model, image_processor=saved.processor, device=device, threshold=threshold
    )


def opened_without_torch(settings: JobSettings) -> Opened | None:
    """The pipeline of a model that has its graph, on a machine without a GPU; None where torch has to decide or do it.

    Raises:
        ValueError: The threshold is no probability.
    """
    if settings.engine == "torch" or is_launched() or (settings.engine == "auto" and may_have_a_gpu()):
        return None
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    model = GraphModel.find(settings.model, threads=settings.batch_threads)
    return None if model is None else in_onnxruntime(model, settings)


def in_onnxruntime(model: GraphModel, settings: JobSettings) -> Opened:
    """The pipeline of a model's graph."""
    classify = CnnRnnOnnx(model, settings.model, threshold=settings.threshold)
    threads = settings.num_workers if is_launched() or not settings.num_workers else max(settings.num_workers, cores())
    return Opened(
        classify, Provenance.of_graph(model, stored_weights(model.folder / WEIGHTS)), "engine onnx on cpu", threads
    )


def opened_by_torch(settings: JobSettings, device: Any) -> Opened:
    """The pipeline on a device, in onnxruntime where that is asked for or, with "auto", can be.

    Raises:
        ImportError, ValueError: "onnx" was asked for and cannot be had, or a setting stands in the way.
        OSError: There is no such model.
    """
    import torch

    from .onnx_engine import UnfitGraphError, choose_engine
    from .torch_engine import PiecewiseBackbone

    device = torch.device(device)
    reason = ""
    classify = open_pipeline(settings.model, device, settings.threshold)
    if choose_engine(settings.engine, device) == "onnx":
        from .graph_making import graph_of

        try:
            graph = graph_of(classify.model, settings.model)
            return in_onnxruntime(GraphModel.of(graph, settings.model, threads=settings.batch_threads), settings)
        except UnfitGraphError as error:
            if settings.engine == "onnx":
                raise
            reason = f": {error}"
    provenance = Provenance.of_model(classify.model, classify.image_processor)
    if device.type == "cpu":
        classify.model.backbone = PiecewiseBackbone(classify.model.backbone)
    return Opened(classify, provenance, f"engine torch on {device}{reason}", settings.num_workers)


def open_folder(settings: JobSettings, opened: Opened) -> JobFolder:
    """The folder that the settings name; nothing is claimed yet.

    Raises:
        ValueError: A setting stands in the way.
        OSError: A file does.
    """
    provenance = opened.provenance
    Job(provenance, "", 0, settings.threshold, settings.part_size, settings.parts_per_file)  # refuses wrong sizes
    inputs = open_inputs(
        settings.input, settings.root, settings.limit, settings.part_size, settings.output, reading=settings.reading
    )
    if not inputs.parts:
        raise FileNotFoundError(f"{settings.input} holds no image")
    names = digest({"kind": type(inputs).__name__, "names": inputs.names})
    labeller = labeller_of(opened.classify)
    config, known = labeller.config, settings.known
    answers = {} if known is None else read_answers(known, inputs, config.label_names, labeller.answers.known)
    job = Job(
        provenance,
        names,
        inputs.parts,
        settings.threshold,
        settings.part_size,
        settings.parts_per_file,
        digest_answers(answers),
    )
    more: dict[str, Any] = {"keep_lost": settings.keep_lost, "answers": answers, "config": config}
    return JobFolder(settings.output, job, inputs, settings.changes_by, **more)
