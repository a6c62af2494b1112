"""Generated sidecars: each is extended with everything else unchanged, or left alone byte for byte."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.prediction.sidecar_shapes import sidecar

from cnn_rnn.prediction.xmp_sidecars import SidecarError, sidecar_path, write_sidecar

LABELS = ["Cat", "boat", "animal|wolf", "tv/monitor", "chair, wooden"]
OURS = ("XMP-dc:Subject", "XMP-digiKam:TagsList", "XMP-lr:HierarchicalSubject")


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    """What exiftool reads in every sidecar of a folder, by the file's name."""
    if shutil.which("exiftool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("exiftool is not installed: apt-get install libimage-exiftool-perl")
        pytest.skip("exiftool, the other program, is not installed: apt-get install libimage-exiftool-perl")
    command = ["exiftool", "-j", "-G1", "-struct", "-XMP:all", "-ext", "xmp", str(folder)]
    found = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    return {Path(entry.pop("SourceFile")).name: entry for entry in found}


def as_list(value: Any) -> list[str]:
    """The words of a property as exiftool tells them."""
    return [str(word) for word in (value if isinstance(value, list) else [value]) if word != ""]


def holds_in_order(whole: bytes, part: bytes) -> bool:
    """Whether all bytes of a part stand in the whole in their order, so that the one is the other and additions."""
    rest = iter(whole)
    return all(byte in rest for byte in part)


def check_written(folder: Path, name: str, raw: bytes) -> None:
    """Let a valid sidecar say the labels: it says them once, and its bytes are all there."""
    photo = folder / name.removesuffix(".xmp")
    assert write_sidecar(photo, LABELS), name
    assert b"<rdf:li>" not in raw or holds_in_order(sidecar_path(photo).read_bytes(), raw), name
    assert not write_sidecar(photo, LABELS), name


def check_left_alone(folder: Path, name: str, raw: bytes) -> None:
    """Refuse a broken sidecar, which stays as it is."""
    photo = folder / name.removesuffix(".xmp")
    with pytest.raises(SidecarError, match="stays as it is"):
        write_sidecar(photo, LABELS)
    assert sidecar_path(photo).read_bytes() == raw, name


def check_said(name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """The labels are among the keywords, none twice, and all else is as it was."""
    others = {key: value for key, value in after.items() if key not in OURS and "cnnrnn" not in key.lower()}
    assert others == {key: value for key, value in before.items() if key not in OURS}, name
    words = as_list(after["XMP-dc:Subject"])
    folded = {word.casefold() for word in words}
    assert {"cat", "boat", "wolf", "tv/monitor", "chair, wooden"} <= folded, name
    assert len(folded) == len(words), name
    assert not any(word.endswith("tv/monitor") for word in as_list(after["XMP-digiKam:TagsList"])), name
    for key in OURS:
        there = as_list(before.get(key, ""))
        assert as_list(after[key])[: len(there)] == there, name


SEEDS = [pytest.param(range(60), id="60"), pytest.param(range(500), id="500", marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_sidecar_is_extended_with_all_else_unchanged_or_left_alone(seeds: range, tmp_path: Path) -> None:
    content = {f"{seed}.jpg.xmp": sidecar(seed) for seed in seeds}
    for name, (raw, _) in content.items():
        (tmp_path / name).write_bytes(raw)
    before = read_all(tmp_path)
    for name, (raw, valid) in content.items():
        (check_written if valid else check_left_alone)(tmp_path, name, raw)
    after = read_all(tmp_path)
    written = [name for name, (_, valid) in content.items() if valid]
    for name in written:
        check_said(name, before[name], after[name])
        write_sidecar(tmp_path / name.removesuffix(".xmp"), [])
    undone = read_all(tmp_path)
    for name in written:
        words = as_list(before[name].get("XMP-dc:Subject", ""))
        assert not words or as_list(undone[name]["XMP-dc:Subject"]) == words, name
        assert not [key for key in undone[name] if "cnnrnn" in key.lower()], name
