"""A process that makes photos ready for the model: bytes in, pixel values out, one photo after the other.

What comes from strangers is decoded here, in a process that may crash, hang or be killed: another takes its place.
Lengths and numbers go before the bytes, on the process's own input and output.
"""

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

REQUEST = struct.Struct("<Q")  # bytes of the photo
ANSWER = struct.Struct("<4IQ")  # whether it could be read, channels, height, width, and how many bytes follow
READY = b"R"
UNREADABLE, READ = 0, 1


def main(model: str, preprocessing: str) -> None:
    """Answer until the input ends, as it does when the server does."""
    photos = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    prepare = preparer(model, preprocessing)
    answers.write(READY)
    answers.flush()
    while size := photos.read(REQUEST.size):
        answer(prepare, photos.read(*REQUEST.unpack(size)), answers)


def preparer(model: str, preprocessing: str) -> Callable[[bytes], "Pixels | str"]:
    """What makes pixel values (3, h, w) of a photo, or says why there are none.

    Args:
        model: The model's folder or name.
        preprocessing: Its settings as JSON; by torch where numpy knows them not.
    """
    from cnn_rnn.pixel_values import PixelValues
    from cnn_rnn.prediction.bulk_prediction import Failure, prepare_image
    from cnn_rnn.prediction.inputs import Input

    try:
        making: Any = PixelValues(json.loads(preprocessing))
    except ValueError:
        from cnn_rnn.prediction.saved_model import checked_processor
        from cnn_rnn.prediction.torch_labeller import preparing

        making = preparing(checked_processor(model))

    def prepare(photo: bytes) -> Pixels | str:
        made = prepare_image(making, Input("the photo", photo))
        return made.reason if isinstance(made, Failure) else np.ascontiguousarray(made)

    return prepare


def answer(prepare: Callable[[bytes], "Pixels | str"], photo: bytes, answers: BinaryIO) -> None:
    """Write what was made of a photo."""
    made = prepare(photo)
    if isinstance(made, str):
        reason = made.encode("utf-8", "backslashreplace")
        answers.write(ANSWER.pack(UNREADABLE, 0, 0, 0, len(reason)) + reason)
    else:
        answers.write(ANSWER.pack(READ, *made.shape, made.nbytes))
        answers.write(made.data)
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
