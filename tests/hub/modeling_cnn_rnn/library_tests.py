"""The library's own test classes, from its source distribution on the package index; they are not in the wheel.

They are fetched once a version into the user's cache, by pip, and never copied into the tree.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import transformers

PACKAGE = "transformers_own_tests"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnn_rnn_tests"

# What the classes import from other tests of the library, which its source distribution leaves out.
LEFT_OUT = {
    f"{PACKAGE}.exporters.test_export": ["ExportTesterMixin"],
    f"{PACKAGE}.generation.test_utils": ["GenerationTesterMixin"],
    f"{PACKAGE}.utils.test_configuration_utils": ["config_common_kwargs"],
    "fetch_hub_objects_for_ci": ["url_to_local_path"],
}


def library_tests(name: str) -> ModuleType:
    """A file of the library's tests, such as `test_modeling_common`; without it who asks skips, or fails in CI."""
    try:
        folder = fetch_tests(transformers.__version__)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = error.stderr.strip().splitlines()[-1] if isinstance(error, subprocess.CalledProcessError) else str(error)
        reason = f"the source distribution of transformers {transformers.__version__} is out of reach: {said}"
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(folder)]
        package.__spec__ = ModuleSpec(PACKAGE, None, is_package=True)
        sys.modules[PACKAGE] = package
        for module, names in LEFT_OUT.items():
            stub = ModuleType(module)
            for each in names:
                setattr(stub, each, {} if each.islower() else type(each, (), {}))
            sys.modules[module] = stub
    return importlib.import_module(f"{PACKAGE}.{name}")


def fetch_tests(version: str) -> Path:
    """The folder of the tests of one version of transformers.

    Raises:
        CalledProcessError: pip cannot get it.
        ValueError: The distribution holds no tests.
    """
    folder = CACHE / f"transformers-{version}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command = [*pip, "--dest", scratch, f"transformers=={version}"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        (archive,) = Path(scratch).glob("transformers-*.tar.gz")
        with tarfile.open(archive) as files:
            tests = [member for member in files.getmembers() if Path(member.name).parts[1:2] == ("tests",)]
            files.extractall(scratch, tests, filter="data")
        unpacked = archive.with_name(archive.name.removesuffix(".tar.gz")) / "tests"
        if not (unpacked / "test_modeling_common.py").is_file():
            raise ValueError(f"{archive.name} holds no tests/test_modeling_common.py")
        try:
            unpacked.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder
