"""What Transformers 5 saved loads with 4, and computes the same; and the other way round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig, MaskedSeqProcessor
from irti_custom.versions import IS_4, for_this_version, with_older_names
from tests.tiny import assert_same_logits, tiny_config, tiny_model, word_tokenizer

BASE = {"rope_type": "default", "rope_theta": 30000.0}
# As version 5 writes them, with the same base for all layers, as mmBERT has.
ROPE = {"full_attention": BASE, "sliding_attention": BASE}
LAYERS = ["full_attention", "sliding_attention"] * 2


def written_by_5(**settings) -> dict:
    """Return the settings of a ModernBERT as version 5 alone writes them."""
    mine = tiny_config("modernbert", num_hidden_layers=4).to_dict()
    older = ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers", "rope_scaling")
    kept = {name: value for name, value in mine.items() if name not in older}
    return {**kept, "rope_parameters": ROPE, "layer_types": LAYERS, **settings}


def test_rotary_bases_and_layers_of_5_are_read():
    base = MaskedSeqModelingConfig(base_model_config=written_by_5()).base_model_config
    if IS_4:
        assert (base.global_rope_theta, base.local_rope_theta) == (30000.0, 30000.0)
        assert base.global_attn_every_n_layers == 2
    else:
        assert base.rope_parameters["sliding_attention"]["rope_theta"] == 30000.0
        assert base.layer_types == LAYERS


def test_a_checkpoint_names_rotary_bases_for_both_versions(tmp_path):
    config = MaskedSeqModelingConfig(num_labels=2, base_model_config=written_by_5())
    model = AutoModelForMaskedSeqModeling(config).eval()
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["base_model_config"]
    assert (saved["global_rope_theta"], saved["local_rope_theta"]) == (30000.0, 30000.0)
    assert saved["global_attn_every_n_layers"] == 2
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    assert_same_logits(model, again)
    again.save_pretrained(tmp_path / "again")
    text = (tmp_path / "again" / "config.json").read_text()
    assert json.loads(text)["base_model_config"]["local_rope_theta"] == 30000.0


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, {}),
        ({"rope_parameters": BASE}, {"rope_theta": 30000.0}),
        ({"rope_parameters": {**BASE, "rope_type": "yarn", "factor": 4.0}}, {}),
        ({"layer_types": ["full_attention"] + ["sliding_attention"] * 2}, {"every": 3}),
        ({"layer_types": ["sliding_attention", "full_attention"]}, {}),
        ({"layer_types": ["full_attention", "linear_attention"]}, {}),
    ],
)
def test_older_names_are_added_only_where_they_say_the_same(settings, names):
    names = {{"every": "global_attn_every_n_layers"}.get(n, n): v for n, v in names.items()}
    assert with_older_names(settings) == {**settings, **names}


@pytest.mark.skipif(not IS_4, reason="Transformers 5 reads its own names")
@pytest.mark.parametrize(
    "settings",
    [
        {"rope_parameters": {**ROPE, "full_attention": {**BASE, "rope_type": "yarn"}}},
        {"layer_types": LAYERS[::-1]},
    ],
)
def test_what_4_cannot_say_is_refused(settings):
    with pytest.raises(ValueError, match=r"pip install .transformers>=5"):
        MaskedSeqModelingConfig(base_model_config=written_by_5(**settings))
    with pytest.raises(ValueError, match="BertConfig"):
        for_this_version(settings, type(tiny_config("bert")))


@pytest.mark.parametrize("read", ["start", "marker"])
def test_a_processor_with_a_tokenizer_as_5_writes_it_loads(read, tmp_path):
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[CELL]"]})
    processor = MaskedSeqProcessor(tokenizer, read=read, max_length=32)
    processor.save_pretrained(tmp_path)
    path = Path(tmp_path, "tokenizer_config.json")
    settings = json.loads(path.read_text())
    added = settings.pop("additional_special_tokens", None) or ["[CELL]"]
    settings |= {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": added}
    path.write_text(json.dumps(settings))
    rows = ["Ann [CELL] Rome"], [[(0, 3)]]
    again = MaskedSeqProcessor.from_pretrained(tmp_path)
    assert again.encode_spans(*rows)["input_ids"] == processor.encode_spans(*rows)["input_ids"]


def test_missing_weights_of_another_version_name_it(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["transformers_version"] = "3.5.1"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("head.0.bias")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"head.0.bias.*Transformers 3.5.1"):
        AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
