"""One process of a bulk job: its model, and the job's folder, from the settings of the command."""

from argparse import Namespace
from typing import Any

from cnn_rnn.foundation.provenance import Provenance, digest
from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

from .answers import digest_answers, read_answers
from .input_kinds import open_inputs
from .job import Job
from .job_folder import JobFolder
from .saved_model import SavedModel

Pipeline = MultiLabelImageClassificationPipeline


def open_pipeline(model: str, device: Any = None, threshold: float | None = None) -> Pipeline:
    """A saved model as a pipeline on a device.

    Raises:
        ValueError: It is no such model, or the threshold is no probability.
        OSError: There is none.
    """
    saved = SavedModel.load(model)
    return Pipeline(model=saved.model, image_processor=saved.processor, device=device, threshold=threshold)


def open_job(known: Namespace, device: Any = None) -> tuple[Pipeline, JobFolder]:
    """The pipeline and the folder that the arguments of `cnn-rnn predict` name; nothing is claimed yet.

    Raises:
        ValueError: A setting stands in the way.
        OSError: A file does.
    """
    classify = open_pipeline(known.model, device, known.threshold)
    provenance = Provenance.of_model(classify.model, classify.image_processor)
    Job(provenance, "", 0, known.threshold, known.part_size, known.parts_per_file)  # refuses wrong sizes
    inputs = open_inputs(known.input, known.root, known.limit, known.part_size, known.output, reading=known.reading)
    if not inputs.parts:
        raise FileNotFoundError(f"{known.input} holds no image")
    names = digest({"kind": type(inputs).__name__, "names": inputs.names})
    labels = classify.model.config.label_names
    answers = read_answers(known.known, inputs, labels) if known.known else {}
    job = Job(
        provenance,
        names,
        inputs.parts,
        known.threshold,
        known.part_size,
        known.parts_per_file,
        digest_answers(answers),
    )
    folder = JobFolder(known.output, job, inputs, known.changes_by, keep_lost=known.keep_lost, answers=answers)
    return classify, folder
