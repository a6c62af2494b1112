"""What goes wrong on the way to a data set's rows, told in one line with a way out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import DatasetBuilder, load_dataset_builder
from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError, DatasetsError
from huggingface_hub import HfApi

from cnn_rnn.hub_errors import HTTP_ERROR, WAYS_OUT, HubError, first_line, reason_of

WAYS_TO_READ = WAYS_OUT | {
    403: "the token may not read it: use one that may",
    404: "there is no such data set or revision, or the token may not see it",
}
LOG_IN = "check the name; for a private or gated one log in with `hf auth login`, or set HF_TOKEN"
SHARDS = "expected Parquet shards, as 'python scripts/data.py convert' writes them"
NO_SCRIPTS = (
    "code of a data set is never run here: take one of Parquet files; the Hub often has it as revision "
    "refs/convert/parquet"
)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn whatever `datasets` and its clients raise into one sentence.

    Args:
        name: What the sentence calls the data set.

    Raises:
        HubError: The data set is not there, not reached, not to be read, or wants to run code.
    """
    try:
        yield
    except HubError:
        raise
    except DatasetNotFoundError as error:
        raise HubError(f"{name} was not read; {first_line(error).rstrip('.')}: {LOG_IN}") from error
    except DataFilesNotFoundError as error:
        raise HubError(f"{name} was not read; {first_line(error)}: {SHARDS}") from error
    except (HTTP_ERROR, DatasetsError, OSError, pa.ArrowException) as error:
        raise HubError(f"{name} was not read; {reason_of(error, WAYS_TO_READ)}") from error
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        raise HubError(f"{name} was not read; {first_line(error)}; {NO_SCRIPTS}") from error


def open_dataset(name: str, revision: str | None = None, **options: Any) -> DatasetBuilder:
    """What `datasets` reads a folder, or a data set of the Hub, with.

    Args:
        name: A local folder; or a name on the Hub: `org/photos`, or `org/photos@v2` for a branch, tag or commit.
        revision: That branch, tag or commit, where the name does not tell it.
        options: Further arguments of ``datasets.load_dataset_builder``.

    Raises:
        HubError: It is not there, not reached, not to be read, or wants to run code.
    """
    path, _, named = (name, "", "") if Path(name).exists() else name.partition("@")
    revision = revision or named
    with explained(name):
        if not revision:
            return load_dataset_builder(path, **options)
        commit = HfApi().dataset_info(path, revision=revision).sha
        builder = load_dataset_builder(path, revision=commit, **options)
    if builder.hash != commit:  # where the Hub falls silent, datasets takes whatever its cache holds of the name
        raise HubError(f"{name} was not read; the Hub did not answer, and the cache holds another revision: try again")
    return builder
