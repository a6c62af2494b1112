"""Every setting of a run as its class declares it: name, type, default and sentence.

The declarations are read, not run: `CnnRnnConfig` alone would load transformers, and help that takes seconds is not
asked for.
"""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a model's config gets from the data, not from the run's file.
FROM_THE_DATA = {"auto_map", "counted_images", "familiar_from", "label_counts", "set_weights", "thresholds"}
DECLARED_IN = {
    "model": (("configuration_cnn_rnn.py", "CnnRnnConfig"), ("training/run_config.py", "FirstWeights")),
    "data": tuple(
        (f"data/{file}.py", name)
        for file, name in (("data_config", "Photos"), ("reading", "Reading"), ("data_config", "DataConfig"))
    ),
    "train": (("training/run_config.py", "TrainConfig"),),
    "hub": (("training/run_config.py", "HubConfig"),),
}
TYPES_TOLD = {"bool": "true|false", "int": "INT", "float": "FLOAT", "str": "TEXT", "list": "LIST", "tuple": "LIST"}
TYPES_TOLD |= {"dict": "PAIRS", "Any": "VALUE"}
ENTRY = re.compile(r"^    (\w+): ", re.MULTILINE)  # of a docstring's section


@dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Attributes:
        block: The block it stands in.
        name: Its name there.
        kind: What may be given, as a command's help writes it, such as `INT` or `{cosine,linear}`.
        default: What it is where nothing is given.
        meaning: Its sentence.
    """

    block: str
    name: str
    kind: str
    default: Any
    meaning: str

    @property
    def default_text(self) -> str:
        """The default as a command line or a YAML file writes it."""
        return self.default if isinstance(self.default, str) else json.dumps(self.default)


def declared_settings(block: str) -> list[Setting]:
    """The settings of a block, in the order of their declaration."""
    found = []
    for file, name in DECLARED_IN[block]:
        tree = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))
        [declaration] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        meanings = _meanings(ast.get_docstring(declaration) or "")
        for node in declaration.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in meanings:
                own = node.target.id
                assert node.value is not None, f"{name}.{own} has no default"
                found.append(
                    Setting(block, own, _type_told(node.annotation), ast.literal_eval(node.value), meanings[own])
                )
    return [setting for setting in found if setting.block != "model" or setting.name not in FROM_THE_DATA]


def _meanings(docstring: str) -> dict[str, str]:
    """What the section `Args` or `Attributes` of a docstring says, by name."""
    section = re.split(r"^(?:Args|Attributes):\n", docstring, maxsplit=1, flags=re.MULTILINE)[-1].split("\n\n")[0]
    _, *parts = ENTRY.split(section)
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _type_told(annotation: ast.expr) -> str:
    """What an annotation allows, in a word."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            kinds = dict.fromkeys(one for one in (_type_told(left), _type_told(right)) if one)
            return "FLOAT" if set(kinds) == {"INT", "FLOAT"} else "|".join(kinds)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return "{" + ",".join(ast.literal_eval(choices)) + "}"
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name):
            return TYPES_TOLD[name]
    return ""  # None, which the default tells
