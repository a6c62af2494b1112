"""onnxruntime without the reports on its use that 1.32 keeps for its maker, with a number for the machine."""

import os
from types import ModuleType

SILENT = "ORT_DISABLE_TELEMETRY"  # read once, while it is imported


def load_onnxruntime() -> ModuleType:
    """The library; it keeps to itself what it is used for, unless the environment says otherwise.

    Raises:
        ImportError: It is not installed.
    """
    os.environ.setdefault(SILENT, "1")
    import onnxruntime

    return onnxruntime
