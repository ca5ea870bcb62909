"""Which list of a data directory holds the speech, and what its lines stand for.

A set's speech is given by `wav.scp` (recordings, or places in Kaldi archives) or, where
there is none, by `utt2mixture` (recipes of mixtures, recipe.py). mtasr.sh's `speech_of`
follows the same rule.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Tuple, Union

import numpy as np

from espnet_mtasr.data.audio_check import AudioInfo, check_audio
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.recipe import parse_recipe, recordings_of
from espnet_mtasr.mixture.render import render

SOUND = "sound"
ARCHIVE = "kaldi_ark"
# ESPnet hands the line on; train/preprocessor.py mixes.
RECIPE = "text"
IN_ARCHIVE = re.compile(r"(.+\.ark):(\d+)")


@dataclass(frozen=True)
class Speech:
    """The speech of an utterance.

    Attributes:
        kind: ESPnet's data type: sound, kaldi_ark or text.
        value: Path, `ARCHIVE:OFFSET`, or a recipe of a mixture.
    """

    kind: str
    value: str

    def read(self) -> np.ndarray:
        """Return (N,), or (N, C) of several channels, float32.

        Raises:
            UserError: not readable.
        """
        if self.kind == RECIPE:
            return render(parse_recipe(self.value, "utt2mixture"))
        if self.kind == ARCHIVE:
            return self._read_archive("")[1]
        import soundfile

        return soundfile.read(self.value, dtype="float32")[0]

    def check(self, whose: str) -> AudioInfo:
        """Return length, rate and number of channels.

        Args:
            whose: Utterance id for messages.

        Raises:
            UserError: a recording is missing or unfit, see `check_audio`.
        """
        if self.kind == RECIPE:
            recipe = parse_recipe(self.value, whose)
            for path in recordings_of(recipe):
                _check_source(path)
            length = round(recipe.seconds * recipe.rate)
            return AudioInfo(length, recipe.rate, 1, "", "PCM_16")
        if self.kind == ARCHIVE:
            rate, samples = self._read_archive(f" (utterance {whose})")
            channels = samples.shape[1] if samples.ndim > 1 else 1
            return AudioInfo(len(samples), rate, channels, "FLAC", "PCM_16")
        return check_audio(self.value, whose)

    def files(self) -> List[str]:
        """Return the files that the speech is read from."""
        if self.kind == RECIPE:
            return recordings_of(parse_recipe(self.value, "utt2mixture"))
        if self.kind == ARCHIVE:
            return [self.value.rpartition(":")[0]]
        return [self.value]

    def _read_archive(self, whose: str) -> Tuple[int, np.ndarray]:
        import kaldiio

        try:
            rate, samples = kaldiio.load_mat(self.value)
        # A file that is cut off or replaced fails in kaldiio in many ways.
        except Exception as e:
            raise UserError(
                f"{self.value}{whose}: can't be read from the archive "
                f"({type(e).__name__}); run stage 3 again"
            ) from e
        return rate, samples.astype(np.float32)


@lru_cache(maxsize=None)
def _check_source(path: str) -> None:
    check_audio(path)


def speech_entry(directory: Union[str, Path]) -> Tuple[str, str, str]:
    """Return path, name and data type, as ESPnet's data sets take them.

    Raises:
        UserError: there is no list of speech.
    """
    wavs = Path(directory) / "wav.scp"
    recipes = Path(directory) / "utt2mixture"
    if not wavs.exists() and recipes.exists():
        return str(recipes), "speech", RECIPE
    first = next(iter(read_table(wavs).values()))
    kind = ARCHIVE if IN_ARCHIVE.fullmatch(first) else SOUND
    return str(wavs), "speech", kind


def read_speech_list(directory: Union[str, Path]) -> Dict[str, Speech]:
    """Read the speech of a data directory by utterance id."""
    path, _, kind = speech_entry(directory)
    return {utt: Speech(kind, value) for utt, value in read_table(path).items()}


def lists_recipes(path: Union[str, Path]) -> bool:
    """Say whether a list of data type `text` is there and holds recipes of mixtures."""
    if not Path(path).is_file():
        return False
    with open(path, encoding="utf-8") as f:
        return is_recipe(f.readline().partition(" ")[2])


def is_recipe(line: str) -> bool:
    """Say whether a line without its id is a recipe: they are JSON objects."""
    return line.lstrip().startswith("{")
