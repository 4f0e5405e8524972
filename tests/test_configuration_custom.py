"""The config: labels derive each other, contradictions raise, and JSON holds everything."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from transformers import AutoConfig, BertConfig

from irti_custom import MaskedSeqModelingConfig
from irti_custom.configuration_custom import OpaqueEncoderConfig, attr_name_of
from irti_custom.rule import Rule
from tests.tiny import tiny_config

NAMES = {0: "person", 1: "place", 2: "thing"}
IDS = {"person": 0, "place": 1, "thing": 2}


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": NAMES},
        {"label2id": IDS},
        {"id2label": NAMES, "label2id": IDS, "num_labels": 3},
        {"id2label": {"2": "thing", "0": "person", "1": "place"}},
    ],
)
def test_either_label_map_derives_the_other_and_the_count(given):
    config = MaskedSeqModelingConfig(**given)
    assert (config.id2label, config.label2id, config.num_labels) == (NAMES, IDS, 3)
    assert list(config.id2label) == [0, 1, 2]


CONTRADICTIONS = {
    "maps": ({"id2label": NAMES, "label2id": {"person": 1, "place": 0, "thing": 2}}, "inverse"),
    "sizes": ({"id2label": NAMES, "label2id": {"person": 0}}, "inverse"),
    "count": ({"id2label": NAMES, "num_labels": 2}, "`num_labels` is 2, but .* 3 labels"),
    "gap": ({"id2label": {0: "a", 2: "b"}}, r"0..L-1 without gaps, got \[0, 2\]"),
    "one id twice": ({"label2id": {"a": 0, "b": 0}}, "inverse|without gaps"),
    "one name twice": ({"id2label": {0: "a", 1: "a"}}, "must differ"),
    "no labels": ({"num_labels": 0}, "at least 1, got 0"),
    "empty map": ({"id2label": {}}, "without gaps"),
    "task": ({"task": "regression"}, r"`task` must be one of .* got 'regression'"),
    "problem": ({"task": "multiclass", "problem_type": "multi_label_classification"}, "follows"),
    "one class": ({"task": "multiclass", "num_labels": 1}, "at least 2 labels"),
    "type": ({"base_model_config": BertConfig(), "base_model_type": "roberta"}, "describes 'bert'"),
}


@pytest.mark.parametrize(("given", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_raise(given, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqModelingConfig(**given)


def test_config_without_arguments_stands():
    config = MaskedSeqModelingConfig()
    assert (config.num_labels, config.task, config.base_model_config) == (2, "multilabel", None)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_json_holds_what_a_reader_looks_for(task, tmp_path):
    encoder = tiny_config("xlm-roberta")
    MaskedSeqModelingConfig(
        task=task, num_labels=2, base_model_config=encoder, base_model_name_or_path="org/base"
    ).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "irti_masked_seq_modeling"
    assert saved["num_labels"] == 2
    assert saved["task"] == task
    assert saved["problem_type"].endswith("label_classification")
    assert saved["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert saved["label2id"] == {"LABEL_0": 0, "LABEL_1": 1}
    assert saved["base_model_type"] == "xlm-roberta"
    assert saved["base_model_attr_name"] == "xlm_roberta"
    assert saved["base_model_name_or_path"] == "org/base"
    encoders = encoder.to_dict()
    for name in ("hidden_size", "vocab_size", "layer_norm_eps", "model_type"):
        assert saved["base_model_config"][name] == encoders[name]


def test_saving_what_was_loaded_writes_the_same_file(tmp_path):
    config = MaskedSeqModelingConfig(id2label=NAMES, base_model_config=tiny_config("deberta-v2"))
    config.save_pretrained(tmp_path / "one")
    AutoConfig.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    one, two = ((tmp_path / name / "config.json").read_text() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "xlm-roberta"])
def test_a_config_that_is_saved_read_and_saved_again_is_equal(model_type, tmp_path):
    """As Transformers' own common tests ask of a config, and of a config in it."""
    config = MaskedSeqModelingConfig(
        id2label=NAMES,
        groups={"kind": ["person", "place"]},
        temperature=2.0,
        thresholds=0.3,
        base_model_config=tiny_config(model_type),
        base_model_name_or_path="org/base",
    )
    config.save_pretrained(tmp_path / "one")
    again = MaskedSeqModelingConfig.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "two")
    third = MaskedSeqModelingConfig.from_pretrained(tmp_path / "two")
    assert config == again == third == copy.deepcopy(config)
    assert config.to_dict() == again.to_dict() == third.to_dict()
    assert config.to_dict()["_name_or_path"] == ""
    assert again != MaskedSeqModelingConfig(id2label=NAMES)

    encoder = again.base_model_config
    assert type(encoder) is type(config.base_model_config)
    alone = type(encoder).from_pretrained(tmp_path / "one")  # finds itself in the whole file
    settings = alone.to_dict()
    settings.pop("transformers_version")
    assert settings == config.to_dict()["base_model_config"]
    alone.save_pretrained(tmp_path / "encoder")
    assert type(encoder).from_pretrained(tmp_path / "encoder").to_dict() == alone.to_dict()


def test_the_size_of_the_vocabulary_is_the_encoders():
    config = MaskedSeqModelingConfig(base_model_config=tiny_config())
    config.vocab_size = 123
    assert config.vocab_size == config.base_model_config.vocab_size == 123
    assert config.to_dict()["base_model_config"]["vocab_size"] == 123
    empty = MaskedSeqModelingConfig()
    assert empty.vocab_size is None
    with pytest.raises(AttributeError, match="`base_model_config` is None"):
        empty.vocab_size = 5


def test_the_rule_of_a_config_follows_its_settings_and_sets_them():
    config = MaskedSeqModelingConfig(
        id2label=NAMES, thresholds=0.3, groups={"a": ["thing", "place"]}
    )
    rule = config.rule
    assert rule == Rule("multilabel", list(NAMES.values()), {"a": ["thing", "place"]}, None, 0.3)
    assert rule.group_ids == config.group_ids == [[2, 1]]
    config.thresholds = [0.1, 0.2, 0.3]
    assert config.rule.thresholds == (0.1, 0.2, 0.3)
    config.thresholds[0] = 0.7  # in place, past all checks
    assert config.rule.thresholds == (0.7, 0.2, 0.3)
    config.rule = Rule("multiclass", ["x", "y"], temperature=2.0, thresholds=0.6)
    assert (config.task, config.label2id, config.groups) == ("multiclass", {"x": 0, "y": 1}, None)
    assert (config.temperature, config.thresholds) == (2.0, 0.6)
    assert config.problem_type == "single_label_classification"
    assert MaskedSeqModelingConfig.from_dict(config.to_dict()) == config
    config.class_weight = [1.0, 2.0]
    with pytest.raises(ValueError, match="must hold 3 finite factors"):
        config.rule = Rule("multiclass", ["x", "y", "z"])
    assert config.rule.label_names == ("x", "y")


def test_encoder_of_unknown_type_is_kept_as_data(tmp_path):
    code = {"AutoModel": "m.M"}
    settings = {"model_type": "new-encoder", "width": 7, "auto_map": code}
    config = MaskedSeqModelingConfig(num_labels=2, base_model_config=settings)
    assert isinstance(config.base_model_config, OpaqueEncoderConfig)
    config.save_pretrained(tmp_path)
    again = MaskedSeqModelingConfig.from_pretrained(tmp_path).base_model_config
    assert (again.model_type, again.width, again.auto_map) == (
        "new-encoder",
        7,
        {"AutoModel": "m.M"},
    )


def test_text_settings_are_the_encoders():
    encoder = tiny_config()
    assert MaskedSeqModelingConfig(base_model_config=encoder).get_text_config() is encoder
    empty = MaskedSeqModelingConfig()
    assert empty.get_text_config() is empty


def test_encoder_without_a_type_is_refused():
    with pytest.raises(ValueError, match="must name its `model_type`"):
        MaskedSeqModelingConfig(base_model_config={"hidden_size": 8})


def test_overrides_replace_what_the_dict_says_of_labels_and_task():
    saved = MaskedSeqModelingConfig(id2label=NAMES).to_dict()
    assert MaskedSeqModelingConfig.from_dict(dict(saved), num_labels=3).id2label == NAMES
    assert MaskedSeqModelingConfig.from_dict(dict(saved), num_labels=5).num_labels == 5
    two = MaskedSeqModelingConfig.from_dict(dict(saved), id2label={0: "a", 1: "b"})
    assert two.label2id == {"a": 0, "b": 1}
    other = MaskedSeqModelingConfig.from_dict(dict(saved), task="multiclass")
    assert other.problem_type == "single_label_classification"
    assert other.id2label == NAMES
    with pytest.raises(ValueError, match="but the label maps name 2"):
        MaskedSeqModelingConfig.from_dict(dict(saved), num_labels=3, id2label={0: "a", 1: "b"})


def test_a_file_cannot_say_what_only_the_caller_may():
    saved = MaskedSeqModelingConfig(base_model_config=tiny_config()).to_dict()
    saved.update(trust_remote_code=True, attn_implementation="someone/kernel")
    saved["base_model_config"].update(trust_remote_code=True, _attn_implementation="x/kernel")
    config = MaskedSeqModelingConfig.from_dict(saved)
    for part in (config, config.base_model_config):
        assert not hasattr(part, "trust_remote_code")
        assert part._attn_implementation is None
    chosen = MaskedSeqModelingConfig.from_dict(saved, attn_implementation="eager")
    assert chosen.base_model_config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("model_type", "name"),
    [("bert", "bert"), ("data2vec-text", "data2vec_text"), ("3-D", "m_3_d"), ("--", "encoder")],
)
def test_attribute_name_is_an_identifier(model_type, name):
    assert attr_name_of(model_type) == name
    assert name.isidentifier()


def test_loss_settings_are_saved_with_the_checkpoint(tmp_path):
    MaskedSeqModelingConfig(
        num_labels=2, pos_weight=[1, 2.5], focal_gamma=2, base_model_config=tiny_config()
    ).save_pretrained(tmp_path)
    again = MaskedSeqModelingConfig.from_pretrained(tmp_path)
    assert (again.pos_weight, again.class_weight, again.focal_gamma) == ([1.0, 2.5], None, 2.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pos_weight": [1.0]}, r"`pos_weight` must hold 2 finite factors .* got \[1.0\]"),
        ({"pos_weight": [1.0, float("nan")]}, "finite"),
        ({"pos_weight": [1.0, -1.0]}, "at least 0"),
        ({"class_weight": [1.0, 1.0]}, "'multiclass' takes `class_weight`"),
        ({"task": "multiclass", "pos_weight": [1.0, 1.0]}, "'multilabel' takes `pos_weight`"),
        ({"focal_gamma": -1}, "`focal_gamma` must be at least 0, got -1"),
    ],
)
def test_loss_settings_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqModelingConfig(**{"num_labels": 2, **given})


def test_thresholds_and_weights_have_one_form_whenever_they_are_assigned():
    config = MaskedSeqModelingConfig(id2label={0: "a", 1: "b"})
    for thresholds in ({"b": 0.7, "a": 0.2}, np.array([0.2, 0.7]), (0.2, 0.7)):
        config.thresholds = thresholds
        assert config.thresholds == [0.2, 0.7]
    config.thresholds = 0.5
    assert config.thresholds == [0.5, 0.5]
    config.pos_weight = np.array([1, 2])
    assert config.pos_weight == [1.0, 2.0]
    config.thresholds = config.pos_weight = None
    assert config.thresholds is config.pos_weight is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("thresholds", [0.5], "one entry per label, got 1 for the 2 labels"),
        ("thresholds", {"a": 0.5}, "must name each label"),
        ("thresholds", 1.5, r"probabilities in \[0, 1\]"),
        ("pos_weight", [1.0], "must hold 2 finite factors"),
        ("class_weight", [1.0, 1.0], "does not fit the task"),
        ("focal_gamma", -1, "at least 0"),
        ("task", "both", "must be one of"),
        ("task", "multiclass", "`pos_weight` does not fit the task"),
        ("id2label", {0: "a", 2: "b"}, "without gaps"),
        ("id2label", {0: "a", 1: "b", 2: "c"}, "must hold 3 finite factors"),
        ("label2id", {"a": 0}, "must hold 1 finite factors"),
        ("id2label", None, "must name the labels"),
        ("num_labels", 3, "must hold 3 finite factors"),
    ],
)
def test_an_assignment_that_contradicts_the_rest_raises_and_changes_nothing(name, value, message):
    config = MaskedSeqModelingConfig(id2label={0: "a", 1: "b"}, pos_weight=[1, 2])
    before = config.to_dict()
    with pytest.raises(ValueError, match=message):
        setattr(config, name, value)
    assert config.to_dict() == before


def test_assigning_labels_or_task_brings_what_follows_from_them():
    config = MaskedSeqModelingConfig(num_labels=2)
    config.id2label = {"1": "b", "0": "a"}
    assert (config.label_names, config.label2id) == (["a", "b"], {"a": 0, "b": 1})
    config.label2id = {"y": 1, "x": 0, "z": 2}
    assert (config.label_names, config.num_labels) == (["x", "y", "z"], 3)
    config.task = "multiclass"
    assert config.problem_type == "single_label_classification"
    assert MaskedSeqModelingConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
