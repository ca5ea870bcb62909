"""Recordings of single talkers as a user may have them, and the page about them."""

import re
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import soundfile
import yaml
from helpers.recipe_copy import ROOT

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()
RECIPE = ROOT / "egs2" / "own_corpus" / "mtasr1"
PAGE = RECIPE / "README.md"
SMALL_CONFORMER = dict(output_size=16, attention_heads=2, linear_units=24, num_blocks=1)


def write_tone(path: Path, hertz: float, rate: int = 16000, seconds: float = 1.5):
    """Write a recording; its suffix says of which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(round(hertz))
    tone = 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, tone + 0.01 * rng.standard_normal(len(tone)), rate)


def make_own_corpus(
    root: Path,
    n_talkers: int = 9,
    n_utts: int = 2,
    suffixes: Sequence[str] = ("wav",),
    rate: int = 16000,
) -> Path:
    """Write `root/talkerT/U.wav` and `U.txt`, a word for the talker and one for U.

    Suffixes take turns. Returns `root`.
    """
    for t in range(n_talkers):
        for u in range(n_utts):
            suffix = suffixes[(t * n_utts + u) % len(suffixes)]
            file = root / f"talker{t}" / f"{u}.{suffix}"
            write_tone(file, 200 + 50 * t, rate)
            words = f"{WORDS[t % 10].title()}, {WORDS[(t + u) % 10]}!\n"
            file.with_suffix(".txt").write_text(words)
    return root


def snippets(language: str) -> List[str]:
    """Return the page's snippets of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def snippet(language: str, part: str) -> str:
    """Return the one snippet of the page that has `part` in it."""
    [found] = [text for text in snippets(language) if part in text]
    return found


def small_config(*changes: Dict[str, Any]) -> Dict[str, Any]:
    """Return the recipe's training configuration, changed, for one epoch, and tiny."""
    config = yaml.safe_load((RECIPE / "conf" / "train_phase2.yaml").read_text())
    for half in ("trunk_conf", "branch_conf"):
        config["encoder_conf"][half].update(SMALL_CONFORMER)
    config["separator_conf"] = dict(hidden_size=8)
    config["count_head_conf"] = dict(hidden_size=8, attention_size=4)
    config.update(max_epoch=1, num_workers=0, use_tensorboard=False, batch_seconds=30)
    for change in changes:
        config.update(change)
    return config
