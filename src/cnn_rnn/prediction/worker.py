"""One process of a bulk job: its model, and the job's folder, from the settings of the job."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.provenance import Identity, Provenance, digest
from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

from .answers import digest_answers, read_answers
from .input_kinds import open_inputs
from .job import Job
from .job_folder import JobFolder
from .saved_model import SavedModel

Pipeline = MultiLabelImageClassificationPipeline


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
        num_workers: Processes that read images, for each process.
        part_size: Images after which a killed run can go on.
        parts_per_file: Parts that become one file.
        changes_by: How far to look for images that changed.
        keep_lost: Whether a row that says that its image could not be had counts as done.
        engine: What runs the backbone.
        actors: Processes that Ray starts; one a GPU, else one a core, where None.
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
    engine: Literal["auto", "torch", "onnx"] = "auto"
    actors: int | None = None


def open_pipeline(model: str, device: Any = None, threshold: float | None = None) -> Pipeline:
    """A saved model as a pipeline on a device.

    Raises:
        ValueError: It is no such model, or the threshold is no probability.
        OSError: There is none.
    """
    saved = SavedModel.load(model)
    return Pipeline(model=saved.model, image_processor=saved.processor, device=device, threshold=threshold)


def open_job(settings: JobSettings, device: Any = None) -> tuple[Pipeline, JobFolder]:
    """The pipeline and the folder that the settings name; nothing is claimed yet.

    Raises:
        ValueError: A setting stands in the way.
        OSError: A file does.
    """
    classify = open_pipeline(settings.model, device, settings.threshold)
    provenance = Provenance.of_model(classify.model, classify.image_processor)
    Job(provenance, "", 0, settings.threshold, settings.part_size, settings.parts_per_file)  # refuses wrong sizes
    inputs = open_inputs(
        settings.input, settings.root, settings.limit, settings.part_size, settings.output, reading=settings.reading
    )
    if not inputs.parts:
        raise FileNotFoundError(f"{settings.input} holds no image")
    names = digest({"kind": type(inputs).__name__, "names": inputs.names})
    labels = classify.model.config.label_names
    answers = read_answers(settings.known, inputs, labels) if settings.known else {}
    job = Job(
        provenance,
        names,
        inputs.parts,
        settings.threshold,
        settings.part_size,
        settings.parts_per_file,
        digest_answers(answers),
    )
    folder = JobFolder(settings.output, job, inputs, settings.changes_by, keep_lost=settings.keep_lost, answers=answers)
    return classify, folder
