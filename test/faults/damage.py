"""What goes wrong with files: each function damages what it is given."""

import os
import pickle
from pathlib import Path
from typing import Callable, Dict

import sentencepiece
import torch
import yaml
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], None]


def cut(share: float) -> Damage:
    """A file that was broken off."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def replaced(content: bytes) -> Damage:
    """A file with another content."""

    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def missing(path: Path) -> None:
    """A file that isn't there."""
    path.unlink()


def a_folder(path: Path) -> None:
    """A folder in a file's place."""
    path.unlink()
    path.mkdir()


def other_units(path: Path) -> None:
    """The sentencepiece model of other texts."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["strange words are here", "so others"] * 9),
        model_prefix=str(path.with_suffix("")),
        vocab_size=25,
        hard_vocab_limit=False,
        minloglevel=2,
    )


def weights(change: Callable[[Dict[str, torch.Tensor]], object]) -> Damage:
    """A checkpoint that is read, changed and written again."""

    def damage(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        changed = change(state)
        torch.save(state if changed is None else changed, path)

    return damage


def one_weight(value: float) -> Damage:
    """A checkpoint in which one number is `value`."""

    def change(state: Dict[str, torch.Tensor]) -> None:
        name = next(k for k in state if k.startswith("ctc."))
        state[name].view(-1)[0] = value

    return weights(change)


def first_weight(value: float) -> Damage:
    """A file of any weights in which one number is `value`."""

    def change(state: Dict[str, torch.Tensor]) -> None:
        name = next(k for k, v in state.items() if v.is_floating_point() and v.numel())
        state[name].view(-1)[0] = value

    return weights(change)


def one_packed_weight(value: float) -> Damage:
    """A safetensors file in which one number is `value`."""

    def damage(path: Path) -> None:
        state = load_file(path)
        state[next(k for k in state if k.startswith("ctc."))].view(-1)[0] = value
        save_file(state, path)

    return damage


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


def pickled_code(path: Path) -> None:
    """A pickle that runs code: it makes `ran` in the folder above its own."""
    torch.save({"model": Evil(str(path.parent.parent / "ran"))}, path)


def plain_pickle(path: Path) -> None:
    """The same, not in torch's format."""
    path.write_bytes(pickle.dumps(Evil(str(path.parent.parent / "ran"))))


def config(change: Callable[[dict], object]) -> Damage:
    """A YAML or JSON file that is read, changed and written again."""

    def damage(path: Path) -> None:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    return damage


def without(*keys: str) -> Damage:
    """A configuration that lacks entries."""
    return config(lambda content: [content.pop(key) for key in keys])


def sound(path: Path, samples=None, rate: int = 16000, **options) -> None:
    """A recording that is in order but for what the caller makes of it."""
    import numpy as np
    import soundfile

    if samples is None:
        samples = 0.1 * np.random.default_rng(0).standard_normal(8000)
    options = {"format": "WAV", **options}
    soundfile.write(os.fsencode(path), samples, rate, **options)


def flac_of_many_samples(path: Path) -> None:
    """A FLAC file whose header claims 2^36 - 1 samples, 50 days of them."""
    sound(path, format="FLAC")
    content = bytearray(path.read_bytes())
    # STREAMINFO: the total is the last 36 of 64 bits that begin at byte 18.
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(bytes(content))


def wav_of_rate(rate: int) -> Damage:
    """A WAV file whose header has this rate."""

    def damage(path: Path) -> None:
        sound(path, subtype="PCM_16", format="WAV")
        content = bytearray(path.read_bytes())
        content[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(bytes(content))

    return damage


def samples_of(value: float) -> Damage:
    """A WAV file of samples that are all the same number."""

    def damage(path: Path) -> None:
        import numpy as np

        sound(path, np.full(8000, value, np.float32), subtype="FLOAT", format="WAV")

    return damage


def no_samples(path: Path) -> None:
    """A WAV file with a header alone."""
    import numpy as np

    sound(path, np.zeros(0), format="WAV")


def broken_flac(path: Path) -> None:
    """A FLAC file whose second half was overwritten."""
    sound(path, format="FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\0" * (len(content) // 2))


def link_to_nothing(path: Path) -> None:
    """A symbolic link whose target is gone."""
    path.symlink_to("nowhere.wav")
