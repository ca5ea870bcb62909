"""What `speech` is: the list of a data directory, and the meaning of its lines.

A set's speech is in `wav.scp` (recordings, or places in Kaldi archives) or, if there is
none, in `utt2mixture` (specs of mixtures, spec.py). A training may read new mixtures in
each epoch, or cached outputs of the trunk. mtasr.sh uses bin/speech_entries.py to find
out, and the preprocessor `kind_of_loaded`.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.data.audio_check import AudioInfo, check_audio
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.render import Reader, render
from espnet_mtasr.mixture.spec import parse_spec, recordings_of

IN_ARCHIVE = re.compile(r"(.+\.ark):(\d+)")


class Kind(Enum):
    """A kind of speech: its list, and ESPnet's data type."""

    RECORDING = ("wav.scp", "sound")
    ARCHIVE = ("wav.scp", "kaldi_ark")
    # ESPnet passes the line on, and train/preprocessor.py makes the mixture.
    MIXTURE = ("utt2mixture", "text")
    # Dynamic mixing: another mixture in each epoch.
    DYNAMIC = ("utt2mixture", "json")
    # Outputs of the trunk (asr/trunk_cache.py).
    CACHED = ("trunk.scp", "text")


@dataclass(frozen=True)
class Speech:
    """The speech of an utterance.

    Attributes:
        kind: RECORDING, ARCHIVE or MIXTURE.
        value: Path, `ARCHIVE:OFFSET`, or a spec of a mixture.
    """

    kind: Kind
    value: str

    def read(self, read_source: Reader = read_recording) -> np.ndarray:
        """Return (N,), or (N, C) of several channels, float32.

        Args:
            read_source: Reads the recordings of a mixture; may be a cache.

        Raises:
            UserError: not readable.
        """
        if self.kind is Kind.MIXTURE:
            return render(parse_spec(self.value, "utt2mixture"), read_source)
        if self.kind is Kind.ARCHIVE:
            return self._read_archive("")[1]
        import soundfile

        return soundfile.read(self.value, dtype="float32")[0]

    def check(self, whose: str) -> AudioInfo:
        """Return length, rate and number of channels.

        Args:
            whose: Utterance id for messages.

        Raises:
            UserError: a recording is missing or unusable; see `check_audio`.
        """
        if self.kind is Kind.MIXTURE:
            spec = parse_spec(self.value, whose)
            for path in recordings_of(spec):
                _check_source(path)
            length = round(spec.seconds * spec.rate)
            return AudioInfo(length, spec.rate, 1, "", "PCM_16")
        if self.kind is Kind.ARCHIVE:
            rate, samples = self._read_archive(f" (utterance {whose})")
            channels = samples.shape[1] if samples.ndim > 1 else 1
            return AudioInfo(len(samples), rate, channels, "FLAC", "PCM_16")
        return check_audio(self.value, whose)

    def files(self) -> List[str]:
        """Return the files that the speech is read from."""
        if self.kind is Kind.MIXTURE:
            return recordings_of(parse_spec(self.value, "utt2mixture"))
        if self.kind is Kind.ARCHIVE:
            return [self.value.rpartition(":")[0]]
        return [self.value]

    def _read_archive(self, whose: str) -> Tuple[int, np.ndarray]:
        import kaldiio

        try:
            rate, samples = kaldiio.load_mat(self.value)
        # With a truncated or replaced file, kaldiio fails in many ways.
        except Exception as e:
            raise UserError(
                f"{self.value}{whose}: can't be read from the archive "
                f"({type(e).__name__}); run stage 3 again"
            ) from e
        return rate, samples.astype(np.float32)


@lru_cache(maxsize=None)
def _check_source(path: str) -> None:
    check_audio(path)


def stored_kind(directory: Union[str, Path]) -> Kind:
    """Return how a data directory stores its speech; recordings come first.

    Raises:
        UserError: there is no list of speech.
    """
    wavs = Path(directory) / "wav.scp"
    if not wavs.exists() and (Path(directory) / "utt2mixture").exists():
        return Kind.MIXTURE
    first = next(iter(read_table(wavs).values()))
    return Kind.ARCHIVE if IN_ARCHIVE.fullmatch(first) else Kind.RECORDING


def speech_entry(directory: Union[str, Path]) -> Tuple[str, str, str]:
    """Return path, name and data type for ESPnet's data sets.

    Raises:
        UserError: there is no list of speech.
    """
    file, espnet_type = stored_kind(directory).value
    return str(Path(directory) / file), "speech", espnet_type


def read_speech_list(directory: Union[str, Path]) -> Dict[str, Speech]:
    """Read the speech of a data directory by utterance id."""
    kind = stored_kind(directory)
    table = read_table(Path(directory) / kind.value[0])
    return {utt: Speech(kind, value) for utt, value in table.items()}


def read_by_id(folder: Path) -> Callable[[str, str], np.ndarray]:
    """Return a function that reads an utterance of a set in `folder`.

    It takes the set's name and the utterance id, and raises `UserError` if the speech
    can't be read.
    """
    read_list = lru_cache(maxsize=None)(read_speech_list)

    def read(name: str, utt: str) -> np.ndarray:
        speech = read_list(folder / name).get(utt)
        if speech is None:
            raise UserError(f"{folder / name}: has no recording of {utt}")
        try:
            speech.check(utt)
            return speech.read()
        except (OSError, RuntimeError) as e:
            raise UserError(f"{utt}: can't be read ({e}); run stage 3 again") from e

    return read


def kind_of_entry(path: Union[str, Path], espnet_type: str) -> Optional[Kind]:
    """Return the kind of a list and a data type for ESPnet; None: not one of ours.

    Raises:
        UserError: a list of type `text` is missing, so its kind is unknown.
    """
    if espnet_type != "text":
        kinds = {kind.value[1]: kind for kind in Kind}
        return kinds.get(espnet_type)
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; run the stage that makes it")
    with open(path, encoding="utf-8") as f:
        return kind_of_loaded(f.readline().partition(" ")[2])


def kind_of_loaded(value: Any) -> Kind:
    """Return the kind of what ESPnet's data set loads as speech.

    For recordings and archives, these are already samples.
    """
    if isinstance(value, Mapping):
        return Kind.DYNAMIC
    if not isinstance(value, str):
        return Kind.RECORDING
    # Specs are JSON objects.
    return Kind.MIXTURE if value.lstrip().startswith("{") else Kind.CACHED
