"""Every setting with its type, default and meaning, against the classes that the declarations make."""

from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest
from transformers import PreTrainedConfig

from cnn_rnn.commands.train import build_parser
from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.training.declared_settings import DECLARED_IN, FROM_THE_DATA, declared_settings
from cnn_rnn.training.run_config import BLOCKS, FirstWeights, load_run_config
from cnn_rnn.training.settings_file import RunConfigError, wanted

OF_ALL_MODELS = {entry.name for entry in fields(PreTrainedConfig)}
CLASSES: dict[str, tuple[Any, ...]] = {name: (block,) for name, block in BLOCKS.items()}
CLASSES["model"] = (CnnRnnConfig, FirstWeights)
FIELDS = {
    block: {
        entry.name: entry
        for one in classes
        for entry in fields(one)
        if block != "model" or entry.name not in OF_ALL_MODELS | FROM_THE_DATA
    }
    for block, classes in CLASSES.items()
}


@pytest.mark.parametrize("block", DECLARED_IN)
def test_all_fields_are_declared_with_their_defaults_and_a_sentence(block: str) -> None:
    declared = {setting.name: setting for setting in declared_settings(block)}
    assert declared.keys() == FIELDS[block].keys()
    for name, setting in declared.items():
        assert FIELDS[block][name].default is not MISSING
        assert setting.default == FIELDS[block][name].default
        assert setting.meaning.endswith(".")
        if setting.kind.startswith("{"):
            [words] = [get_args(one) for one in wanted(FIELDS[block][name].type)]
            assert setting.kind == "{" + ",".join(words) + "}"


@pytest.mark.parametrize("block", DECLARED_IN)
def test_a_default_may_be_given_as_it_is_told(block: str) -> None:
    given = [f"--{block}.{setting.name}={setting.default_text}" for setting in declared_settings(block)]
    config = load_run_config(None, given)
    own = config.model if block == "model" else vars(getattr(config, block))
    assert {name: entry.default for name, entry in FIELDS[block].items()} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in own.items()
    }


@pytest.mark.parametrize("block", BLOCKS)  # the model's are refused by its config
def test_what_is_of_another_kind_is_refused_with_its_name(block: str) -> None:
    for setting in declared_settings(block):
        if setting.kind not in {"TEXT", "VALUE"}:
            with pytest.raises(RunConfigError, match=rf"^{block}\.{setting.name} is '\?!', expected "):
                load_run_config(None, [f"--{block}.{setting.name}", "?!"])


def test_the_help_of_training_tells_every_one_of_them() -> None:
    told = " ".join(build_parser().format_help().split())
    for block in DECLARED_IN:
        for setting in declared_settings(block):
            assert f"--{block}.{setting.name} {setting.kind} " in told
            assert f"(default: {setting.default_text})" in told
    assert "--BLOCK.KEY VALUE" in told
