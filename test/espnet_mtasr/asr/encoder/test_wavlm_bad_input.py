"""Models and options that RoutedWavLMEncoder can't use: one line each."""

import pytest
from helpers.tiny_wavlm import LARGE_FORM, save_wavlm, tiny_config, tiny_wavlm
from transformers import LlamaConfig

from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.errors import UserError


@pytest.mark.parametrize("num_trunk_layers", [0, 4, 12])
def test_a_cut_that_leaves_a_half_empty(tmp_path, num_trunk_layers):
    folder = save_wavlm(tiny_wavlm(**LARGE_FORM), tmp_path, True)
    with pytest.raises(UserError, match=rf"num_trunk_layers: {num_trunk_layers} .* 3 "):
        RoutedWavLMEncoder(model=folder, num_trunk_layers=num_trunk_layers)


@pytest.mark.parametrize(
    "name, text, conf, message",
    [
        ("config.json", "{", {}, "neither a folder with a WavLM config.json"),
        ("config.json", "{}", {}, r"no config.json of a WavLM \(model_type: None\)"),
        ("model.safetensors", "x", {}, "weights of .* can't be read"),
        (None, None, {"hiden_dropout": 0.1}, "wavlm_conf: .* no option hiden_dropout;"),
        (
            None,
            None,
            {"layerdrop": 0.1},
            "wavlm_conf: layerdrop: 0.1 is not used here; ",
        ),
        (None, None, {"mask_time_prob": 0.05}, "is not used here; give .*branch_mask"),
        (None, None, {"apply_spec_augment": True}, "apply_spec_augment: True is not u"),
        (None, None, {"hidden_size": 32}, "weights of .* don't fit"),
        (None, None, {"num_hidden_layers": 6}, r"lacks 38 weights, encoder.layers.4"),
    ],
)
def test_a_model_that_cannot_be_used(tmp_path, name, text, conf, message):
    folder = save_wavlm(tiny_wavlm(**LARGE_FORM), tmp_path, True)
    if name is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        RoutedWavLMEncoder(model=folder, num_trunk_layers=2, wavlm_conf=conf)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there(tmp_path):
    missing = str(tmp_path / "missing" / "model")
    for build in (RoutedWavLMEncoder, RoutedWavLMEncoder.frame_counter):
        with pytest.raises(UserError, match=f"model: {missing} is neither .* stage 6"):
            build(input_size=1, model=missing)
        with pytest.raises(UserError, match="model: is missing; give a folder"):
            build(input_size=1)
        with pytest.raises(UserError, match=r"\(model_type: None\)"):
            build(input_size=1, model=str(tmp_path))


def test_another_model_is_not_taken_for_a_wavlm(tmp_path):
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"\(model_type: llama\)"):
        RoutedWavLMEncoder(model=str(tmp_path))


def test_a_model_without_weights(tmp_path):
    tiny_config(**LARGE_FORM).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"weights of .* can't be read.*OSError"):
        RoutedWavLMEncoder(model=str(tmp_path), num_trunk_layers=2)
