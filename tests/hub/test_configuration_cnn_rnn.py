"""What a config accepts, refuses and keeps."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForImageClassification

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification

EVERY_FIELD: dict[str, Any] = {
    "backbone": "test_resnet",
    "backbone_args": {"drop_path_rate": 0.1, "block_args": {"attn_layer": "se"}},
    "class_tokens": False,
    "pooling": "attention",
    "embedding_size": 7,
    "hidden_size": 9,
    "cell": "gru",
    "projection_dropout": 0.25,
    "label_order": "aligned",
    "label_counts": [3, 0, 12],
    "counted_images": 13,
    "class_weights": "effective_num",
    "path_loss": "remaining_labels",
    "relevance_loss": "asl",
    "relevance_head": "ml_decoder",
    "implied_by": {"cat": [281, 285]},
    "relevance_hidden_size": 16,
    "relevance_dropout": 0.35,
    "relevance_in_path": True,
    "known_labels": "state",
    "label_rules": {"implies": {"Vögel": ["cat"]}, "excludes": [["cat", "dog, wet"]]},
    "cooccurrence": True,
    "neighbours": 12,
    "path_loss_weight": 0.7,
    "relevance_loss_weight": 1 / 3,
    "fusion": "path",
    "fusion_weights": [0.1, 1e-7, -2.5],
    "beam_width": 2,
    "max_path_length": 11,
    "thresholds": [0.1, 0.2, 1 / 3],
    "set_weights": [0.5, 0.4, 0.1],
    "familiar_from": 0.15,
    "image_size": 64,
    "crop_pct": 0.9,
    "crop_mode": "squash",
    "interpolation": "lanczos",
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "id2label": {0: "cat", 1: "dog, wet", 2: "Vögel"},
}


def test_saving_and_loading_keeps_every_field(tmp_path: Path) -> None:
    config = CnnRnnConfig(**EVERY_FIELD)
    config.save_pretrained(tmp_path)
    loaded = CnnRnnConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert {name: getattr(loaded, name) for name in EVERY_FIELD} == EVERY_FIELD
    assert CnnRnnConfig.from_dict(json.loads(config.to_json_string())).to_dict() == config.to_dict()
    missing = set(CnnRnnConfig.__annotations__) - set(EVERY_FIELD)
    assert missing == {"model_type", "keys_to_ignore_at_inference", "pipeline_registered", "auto_map"}


def test_both_auto_classes_and_the_processor_stay_in_the_auto_map(tmp_path: Path) -> None:
    CnnRnnConfig().save_pretrained(tmp_path)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModel"] == auto_map["AutoModelForImageClassification"]
    assert set(auto_map) == {"AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoImageProcessor"}


def test_names_and_ids_follow_from_the_labels() -> None:
    config = CnnRnnConfig(id2label={0: "cat", 1: "dog", 2: "car"})
    assert config.num_labels == 3
    assert config.label_names == ["cat", "dog", "car"]
    assert config.label2id == {"cat": 0, "dog": 1, "car": 2}
    assert (config.end_id, config.start_id) == (3, 4)
    assert config.problem_type == "multi_label_classification"
    assert CnnRnnConfig(num_labels=4).label_names == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    two = {0: "cat", 1: "dog"}
    for named in ({"0": "cat", "1": "dog"}, ["cat", "dog"], ("cat", "dog"), np.array(["cat", "dog"])):
        assert CnnRnnConfig(id2label=named).id2label == two
    assert CnnRnnConfig(label2id={"cat": 0, "dog": 1}).id2label == two
    setattr(config, "id2label", ["cat", "dog"])  # noqa: B010 - its type says a dictionary
    assert (config.id2label, config.label2id) == (two, {"cat": 0, "dog": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id2label": "cat"}, "or the names in order, got 'cat'"),
        ({"id2label": {"cat"}}, "or the names in order, got"),
        ({"id2label": 3}, "or the names in order, got '3'"),
        ({"id2label": {"cat": 0}}, "ids to names, .* got the id 'cat'"),
        ({"id2label": ["cat", "dog"], "num_labels": 3}, "num_labels is 3, but 2 labels are named"),
        ({"label2id": {"cat": 0}, "num_labels": 3}, "num_labels is 3, but 1 labels are named"),
    ],
    ids=str,
)
def test_labels_that_could_mean_two_things_are_refused(fields: dict[str, Any], message: str) -> None:
    for make in (CnnRnnConfig, functools.partial(CnnRnnForImageClassification.from_backbone, "test_resnet")):
        if make is CnnRnnConfig or "id2label" in fields:
            with pytest.raises(ValueError, match=message):
                make(**fields)


def test_the_papers_setting() -> None:
    paper = CnnRnnConfig.paper(num_labels=20)
    assert (paper.backbone, paper.embedding_size, paper.hidden_size) == ("vgg16", 64, 512)
    assert (paper.cell, paper.label_order, paper.path_loss) == ("relu_lstm", "frequent_first", "cross_entropy")
    assert (paper.projection_dropout, paper.fusion, paper.num_labels) == (0.5, "path", 20)
    assert paper.has_path_decoder
    assert not paper.has_relevance_head
    assert CnnRnnConfig.paper(cell="lstm").cell == "lstm"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id2label": {0: "cat", 1: "cat"}}, "names a label twice"),
    ({"id2label": {1: "cat", 2: "dog"}}, r"keys 0\.\.1, got \[1, 2\]"),
    ({"id2label": {}}, "at least one label"),
    ({"id2label": {0: 3}}, r"ids to names, got \[3\]"),
    ({"id2label": {0: "cat"}, "label2id": {"dog": 0}}, "not the inverse"),
    ({"num_labels": 3, "label_counts": [1, 2]}, "label_counts has 2 entries for 3 labels"),
    ({"num_labels": 2, "label_counts": [1, 9], "counted_images": 8}, "counted_images is 8, but label_counts has 9"),
    (
        {"num_labels": 2, "label_counts": [1, 9], "counted_images": [20, 8]},
        "counted_images is 8, but label_counts has 9",
    ),
    ({"num_labels": 2, "counted_images": [8]}, "counted_images has 1 entries for 2 labels"),
    ({"num_labels": 3, "thresholds": [0.5] * 4}, "thresholds has 4 entries for 3 labels"),
    ({"fusion": "both", "relevance_loss": "none"}, "needs the relevance part.*set fusion='path'"),
    ({"fusion": "relevance", "relevance_loss": "none"}, "needs the relevance part.*set fusion='path'"),
    ({"fusion": "path", "path_loss": "none"}, "needs the path part.*set fusion='relevance'"),
    ({"fusion": "path", "path_loss": "none", "relevance_loss": "none"}, "nothing would be left to train"),
    ({"path_loss": "remaining_labels"}, "set label_order='aligned'"),
    ({"fusion_weights": [1.0, 2.0]}, "fusion_weights must have 3 entries"),
    ({"image_mean": [0.5]}, "image_mean must have 3 entries"),
    ({"image_mean": [0.5, float("inf"), 0.5]}, "image_mean must hold finite numbers"),
    ({"image_std": [0.5, 0.0, 0.5]}, "image_std must be above 0"),
    ({"image_std": 0.0}, "image_std must be above 0"),
    ({"fusion_weights": [float("nan"), 0.5, 0.0]}, "fusion_weights must hold finite numbers"),
    ({"id2label": {0: "cat", 1: ""}}, "gives a label no name"),
    ({"id2label": {0: "cat", 1: " "}}, "gives a label no name"),
    ({"id2label": {0: "cat", 1: "a\ud800"}}, r"names a label 'a\\ud800', which UTF-8 cannot write"),
    ({"num_labels": 2, "label_counts": [3, -1]}, "0 or more, got -1"),
    ({"backbone": "hf-hub:timm/resnet18"}, "'hf-hub:timm/resnet18' is an address"),
    ({"backbone": "timm/resnet18"}, "plain name of a timm model"),
    ({"backbone_args": {"checkpoint_path": "x.pth"}}, "must not set checkpoint_path"),
    ({"backbone_args": {"pretrained": True, "pretrained_cfg": {}}}, "must not set pretrained, pretrained_cfg"),
    ({"max_path_length": 0}, r"must lie in 1\.\.1024, got 0"),
    ({"max_path_length": 10**9}, r"must lie in 1\.\.1024"),
    ({"embedding_size": 0}, "embedding_size must lie in 1..65536"),
    ({"hidden_size": -1}, "hidden_size must lie in 1..65536"),
    ({"beam_width": 0}, "beam_width must lie in 1..1024, got 0"),
    ({"image_size": 0}, "image_size must lie in 1..65536"),
    ({"projection_dropout": 1.0}, r"projection_dropout must lie in \[0, 1\)"),
    ({"crop_pct": 0.0}, "crop_pct must lie in"),
    ({"path_loss_weight": -1.0}, "must not be negative"),
    ({"relevance_loss_weight": float("nan")}, "must not be negative"),
    ({"cell": "rnn"}, "one of .*relu_lstm.*got rnn"),
    ({"label_order": "random"}, "one of .*rare_first"),
    ({"embedding_size": "64"}, "expected int, got str"),
    ({"beam_width": True}, "expected int, got bool"),
    ({"label_counts": ["1", "2"]}, "label_counts"),
    ({"backbone": 18}, "expected str, got int"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[str(fields) for fields, _ in REFUSED])
def test_what_no_model_can_be_built_from_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassError, match=message):
        CnnRnnConfig(**fields)


def test_a_value_that_was_spoilt_later_is_not_saved(tmp_path: Path) -> None:
    config = CnnRnnConfig()
    config.max_path_length = 0
    with pytest.raises(StrictDataclassError, match="max_path_length"):
        config.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_whole_numbers_stand_for_fractions() -> None:
    assert CnnRnnConfig(projection_dropout=0, fusion_weights=[1, 0, 0]).fusion_weights == [1, 0, 0]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("embeding_size", "embedding_size"),
        ("num_beams", "beam_width"),
        ("max_length", "max_path_length"),
        ("image_sizes", "image_size"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_name(misspelt: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"no field '{misspelt}'; did you mean '{meant}'"):
        CnnRnnConfig(**{misspelt: 3})


def test_what_transformers_keeps_in_a_config_is_accepted() -> None:
    others = {
        "_name_or_path": "x/y",
        "name_or_path": "x/y",
        "transformers_version": "5.0.0",
        "transformers_weights": "model.safetensors",
        "architectures": ["CnnRnnForImageClassification"],
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "model_type": "cnn_rnn",
        "quantization_config": {"bits": 8},
        "pipeline": "image-classification",
        "output_attentions": False,
        "output_hidden_states": False,
        "attn_implementation": "eager",
        "_attn_implementation_autoset": True,
        "use_cache": False,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "pad_token_id": None,
        "torchscript": False,
        "label_smoothing": 0.1,
        "custom_pipelines": {},
        "fusion_config": None,
        "distributed_config": None,
    }
    assert CnnRnnConfig(num_labels=3, **others).num_labels == 3


TRAINED: dict[str, Any] = {
    "id2label": dict(enumerate(["cat", "dog", "bird", "car", "tree"])),
    "label_counts": [5, 4, 3, 2, 1],
    "thresholds": [0.3] * 5,
    "fusion_weights": [0.7, 0.9, -0.2],
    "label_rules": {"implies": {"bird": ["cat"]}, "excludes": [["cat", "dog"]]},
    "cooccurrence": True,
    "neighbours": 4,
}
NEW = ["a", "b", "c"]
WAYS: dict[str, dict[str, Any]] = {
    "a number": {"num_labels": 3},
    "a number and nothing else": {"num_labels": 3, "label_counts": None, "thresholds": None},
    "texts for ids": {
        "num_labels": 3,
        "id2label": {str(index): name for index, name in enumerate(NEW)},
        "label2id": {name: str(index) for index, name in enumerate(NEW)},
    },
    "both maps": {"id2label": dict(enumerate(NEW)), "label2id": {name: index for index, name in enumerate(NEW)}},
    "names by id": {"id2label": dict(enumerate(NEW))},
    "names by texts": {"id2label": {str(index): name for index, name in enumerate(NEW)}},
    "numpy's numbers": {
        "id2label": dict(zip(np.arange(3), NEW, strict=True)),
        "label2id": dict(zip(NEW, np.arange(3), strict=True)),
    },
    "ids by name": {"label2id": {name: str(index) for index, name in enumerate(NEW)}},
    "other names, as many": {"id2label": {str(index): name for index, name in enumerate("abcde")}},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("where", ["of the model", "of the config", "on the config"])
def test_other_labels_take_away_what_belonged_to_the_old_ones_with_one_warning(
    changes: dict[str, Any], where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = CnnRnnForImageClassification(CnnRnnConfig(backbone="test_resnet", hidden_size=8, **TRAINED))
    model.save_pretrained(tmp_path)
    load = functools.partial(AutoModelForImageClassification.from_pretrained, tmp_path, ignore_mismatched_sizes=True)
    if where == "of the model":
        config = load(**changes).config
    elif where == "of the config":
        config = load(config=AutoConfig.from_pretrained(tmp_path, **changes)).config
    elif set(changes) == {"label2id"}:
        pytest.skip("on a config, one name for an id that is another's is a mistake")
    else:
        config = AutoConfig.from_pretrained(tmp_path)
        for name, value in changes.items():
            setattr(config, name, value)
        config = load(config=config).config
    named = changes.get("id2label") or {index: f"LABEL_{index}" for index in range(3)}
    expected = NEW if "label2id" in changes else list(named.values())
    assert config.label_names == expected
    assert config.label2id == {name: index for index, name in enumerate(expected)}
    assert (config.label_counts, config.thresholds) == (None, None)
    assert not config.cooccurrence
    assert not config.neighbours
    assert config.label_rules is None
    assert list(config.fusion_weights) == [0.5, 0.5, 0.0]
    warnings = [record.getMessage() for record in caplog.records if "described the old ones" in record.getMessage()]
    assert len(warnings) == 1
    assert "label_counts" in warnings[0] or where == "on the config"


def test_what_is_given_for_the_new_labels_is_taken(tmp_path: Path) -> None:
    CnnRnnConfig(**TRAINED).save_pretrained(tmp_path)
    config = CnnRnnConfig.from_pretrained(tmp_path, thresholds=[0.1, 0.2, 0.3], label_counts=[7, 8, 9], num_labels=3)
    assert (config.thresholds, config.label_counts) == ([0.1, 0.2, 0.3], [7, 8, 9])


def test_the_same_labels_keep_what_belongs_to_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    CnnRnnConfig(**TRAINED).save_pretrained(tmp_path)
    same = {str(index): name for index, name in TRAINED["id2label"].items()}
    for changes in ({"num_labels": 5}, {"id2label": same}, {"id2label": same, "num_labels": 5}):
        config = CnnRnnConfig.from_pretrained(tmp_path, **changes)
        for name, value in TRAINED.items():
            assert getattr(config, name) == value
    assert not caplog.records


def test_a_number_that_contradicts_the_names_is_refused(tmp_path: Path) -> None:
    CnnRnnConfig(**TRAINED).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="num_labels is 4, but 3 labels are named"):
        CnnRnnConfig.from_pretrained(tmp_path, num_labels=4, id2label=dict(enumerate(NEW)))


def test_one_number_stands_for_every_channel() -> None:
    config: Any = CnnRnnConfig(image_mean=0.5, image_std=0.25)
    assert (list(config.image_mean), list(config.image_std)) == ([0.5] * 3, [0.25] * 3)
