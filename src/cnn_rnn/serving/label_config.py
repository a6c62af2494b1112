"""How a project of Label Studio is labelled: choices and taxonomies over a photo, read from its XML."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

from cnn_rnn.data.files.xml_files import parse_xml

from .refusals import RefusedError

logger = logging.getLogger(__name__)

LONGEST_CONFIG = 2**20  # signs
Path = tuple[str, ...]
"""A choice as a taxonomy names it: from the root to what is chosen."""


@dataclass(frozen=True)
class Control:
    """One thing that a person chooses from.

    Attributes:
        kind: "choices", or "taxonomy" for a tree of them.
        name: What the answer comes from.
        image: The name of the photo's tag.
        field: Of a task's data, which says where the photo is.
        single: Whether one at most is chosen.
        paths: By what the model calls it, in small letters, each choice.
    """

    kind: Literal["choices", "taxonomy"]
    name: str
    image: str
    field: str
    single: bool
    paths: Mapping[str, Path]

    def chosen(self, label: str) -> Path | None:
        """The choice that a label is; None where there is none."""
        return self.paths.get(label.casefold())

    def value(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What was chosen, as an annotation says it."""
        if self.kind == "taxonomy":
            return {"taxonomy": [list(path) for path in paths]}
        return {"choices": [path[-1] for path in paths]}

    def labels_of(self, value: Any) -> list[str]:
        """Labels of what an annotation says was chosen; of a path all that it goes through."""
        given = value.get(self.kind) if isinstance(value, Mapping) else None
        chosen = given if isinstance(given, list) else []
        parts = [part for one in chosen for part in (one if isinstance(one, list) else [one])]
        known = {path[-1] for path in self.paths.values()}
        return [part for part in dict.fromkeys(str(part) for part in parts) if part in known]

    @property
    def labels(self) -> list[str]:
        """All that can be chosen."""
        return [path[-1] for path in self.paths.values()]


def read_controls(xml: Any) -> list[Control]:
    """What is chosen from in a project, in the order of its XML.

    Raises:
        RefusedError: It is no configuration, or has no choices and no taxonomy over a photo.
    """
    if not isinstance(xml, str) or len(xml) > LONGEST_CONFIG:
        raise RefusedError(422, f"the labelling configuration must be text of at most {LONGEST_CONFIG:,} signs")
    try:
        root = parse_xml(xml)
    except ValueError as error:
        raise RefusedError(422, f"the labelling configuration: {error}") from error
    fields = {tag.get("name"): (tag.get("value") or "").removeprefix("$") for tag in root.iter("Image")}
    found = [control for tag in root.iter() if tag.tag in {"Choices", "Taxonomy"} for control in _controls(tag, fields)]
    if not found:
        raise RefusedError(
            422,
            "the project has neither <Choices> nor <Taxonomy> over an <Image>; expected one with toName of the image",
        )
    return found


def labels_in(results: Any, controls: Sequence[Control]) -> list[str]:
    """Labels that an annotation's results choose."""
    by_name: dict[Any, Control] = {control.name: control for control in controls}
    found: dict[str, None] = {}
    for result in results if isinstance(results, list) else ():
        name = result.get("from_name") if isinstance(result, dict) else None
        control = by_name.get(name) if isinstance(name, str) else None
        if control is not None:
            found |= dict.fromkeys(control.labels_of(result.get("value")))
    return list(found)


def _controls(tag: ET.Element, fields: Mapping[str | None, str]) -> Iterator[Control]:
    """The control that a tag is; nothing where it is not about a photo, or its choices come with each task."""
    name, image = tag.get("name"), tag.get("toName")
    if name and image and fields.get(image):
        kind: Literal["choices", "taxonomy"] = "choices" if tag.tag == "Choices" else "taxonomy"
        single = (tag.get("choice") or "single") != "multiple" if kind == "choices" else tag.get("maxUsages") == "1"
        paths = list(_paths(tag, ()))
        words = [path[-1].casefold() for path in paths]
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            logger.warning("%s: %s stand there twice, so none of them is chosen", name, ", ".join(twice[:5]))
        once = {word: path for word, path in zip(words, paths, strict=True) if word not in twice}
        if once:
            yield Control(kind, name, image, fields[image], single, once)


def _paths(tag: ET.Element, above: Path) -> Iterable[Path]:
    """All choices below a tag, by what an annotation calls them."""
    for choice in tag.iterfind("Choice"):
        word = choice.get("alias") or choice.get("value")
        if word:
            yield (*above, word)
            yield from _paths(choice, (*above, word))
