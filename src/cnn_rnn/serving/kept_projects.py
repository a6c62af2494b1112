"""Where what Label Studio's projects teach is kept, so that a server that starts again knows it."""

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cnn_rnn.data.photos.found_files import OWN_FOLDER
from cnn_rnn.learning.feature_store import FeatureStore, store_beside

logger = logging.getLogger(__name__)
NAME = re.compile(r"\d{1,18}(\.\d{1,18})?")  # as Label Studio calls a project: its number, and when it was made


class KeptProjects:
    """Folders of projects, and what was seen of their photos.

    Args:
        folder: Below whose `.cnn-rnn` all lies; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.place = None if folder is None else folder / OWN_FOLDER / "label_studio"
        self.store = FeatureStore(None if folder is None else store_beside(folder))

    def folder(self, name: str) -> Path | None:
        """The folder of a project, made where it is not there; None where nothing can be kept of it."""
        if self.place is None or not NAME.fullmatch(name):
            return None
        try:
            self.place.parent.mkdir(exist_ok=True)
            self.place.mkdir(exist_ok=True)
        except OSError as error:
            logger.warning("%s: what Label Studio teaches is not kept there (%s)", self.place, error)
            return None
        return self.place / name

    def name_of(self, project: Mapping[str, Any], others: Iterable[str]) -> str:
        """What a project is called of which a webhook tells; where that does not say when it was made, the latest one.

        Args:
            project: As it is told.
            others: Names of projects that are at work.
        """
        number = str(project.get("id"))[:100]
        try:
            made = int(datetime.fromisoformat(str(project.get("created_at"))).timestamp())
        except (ValueError, OverflowError):
            kept = [] if self.place is None or not self.place.is_dir() else self.place.iterdir()
            in_order = sorted((path for path in kept if path.is_dir()), key=lambda path: path.stat().st_mtime)
            names = [name for name in (*(path.name for path in in_order), *others) if name.split(".")[0] == number]
            return names[-1] if names else number
        return f"{number}.{made}"
