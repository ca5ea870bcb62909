"""The page's mixer: talkers at onsets and levels that a user chooses.

render.py does the mixing; here its spec is made from the page's settings.
"""

from functools import lru_cache
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.data.audio import resample
from espnet_mtasr.demo.hearing import read_wave
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.mixing import overlap_ratio
from espnet_mtasr.mixture.render import Reader, mix_spec, render
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source
from espnet_mtasr.transcription.recordings import Recording

# RMS in dB of full scale that a level of 0 dB stands for.
REFERENCE_DBFS = -26.0
PEAK = 0.99


class Part(NamedTuple):
    """A talker of a mixture.

    Attributes:
        name: What the page calls the recording.
        path: Recording.
        onset: Seconds at which it begins.
        level: dB; talkers of one level have the same RMS.
        text: What is said, if that is known.
    """

    name: str
    path: str
    onset: float = 0.0
    level: float = 0.0
    text: Optional[str] = None


class Mixed(NamedTuple):
    """A mixture and its parts.

    Attributes:
        samples: `(N,)` float32 within [-1, 1].
        rate: Hz.
        parts: First talker to begin first.
        voices: `(N_k,)` for each part, as loud as in the mixture.
    """

    samples: np.ndarray
    rate: int
    parts: Tuple[Part, ...]
    voices: Tuple[np.ndarray, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    @property
    def overlap(self) -> float:
        """Share of the speech time in which two or more recordings sound."""
        return overlap_ratio(
            [
                (part.onset, part.onset + len(voice) / self.rate)
                for part, voice in zip(self.parts, self.voices)
            ]
        )

    @property
    def reference(self) -> Optional[Tuple[str, ...]]:
        """What each talker says; None unless known for all."""
        texts = tuple(part.text for part in self.parts if part.text is not None)
        return texts if len(texts) == len(self.parts) else None

    @property
    def recording(self) -> Recording:
        """What a model takes."""
        return Recording("mixture", (self.samples,))


def render_sample(spec: MixtureSpec, rate: int) -> np.ndarray:
    """Render a sample of the package as `(N,)` float32 at `rate` Hz."""
    return resample(render(spec), spec.rate, rate)


def mix_parts(
    parts: Sequence[Part],
    rate: int,
    max_seconds: float,
    noise: Optional[str] = None,
    noise_level: float = 0.0,
) -> Mixed:
    """Mix the page's parts.

    A mixture that is too loud is made softer as a whole.

    Args:
        parts: Talkers.
        rate: Hz of the mixture.
        max_seconds: A longer recording is refused.
        noise: A recording that is cut or repeated to fit; None: no noise.
        noise_level: dB, on the talkers' scale.

    Raises:
        UserError: no talkers, a recording can't be read, is too long or silent.
    """
    if not parts:
        raise UserError("no talkers in the mixer: choose one or more")
    parts = sorted(parts, key=lambda part: part.onset)
    waves = [_read(part.path, rate, max_seconds) for part in parts]
    gains = [_gain(w, part.level, part.name) for w, part in zip(waves, parts)]
    hiss = None
    if noise is not None:
        gain = _gain(_read(noise, rate, max_seconds), noise_level, "the noise")
        hiss = Noise(noise, gain)
    spec = MixtureSpec(
        tuple(
            Source(part.path, gain, part.name, len(wave) / rate)
            for part, wave, gain in zip(parts, waves, gains)
        ),
        tuple(part.onset for part in parts),
        hiss,
        rate,
    )
    samples = mix_spec(spec, _reader(rate, max_seconds))
    softer = min(1.0, PEAK / max(float(np.abs(samples).max()), 1e-9))
    voices = tuple(wave * (gain * softer) for wave, gain in zip(waves, gains))
    return Mixed(samples * np.float32(softer), rate, tuple(parts), voices)


def _reader(rate: int, max_seconds: float) -> Reader:
    return lambda path, speed, needed: (_read(path, rate, max_seconds), rate)


# Uploaded files are named by their content, so a path always means the same samples.
@lru_cache(maxsize=32)
def _read(path: str, rate: int, max_seconds: float) -> np.ndarray:
    (wave,) = read_wave(path, rate, max_seconds).channels
    return wave


def _gain(wave: np.ndarray, level: float, name: str) -> float:
    """Linear factor that brings `(N,)` samples to a level in dB."""
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    if rms == 0.0:
        raise UserError(f"{name}: is silent; choose another recording")
    return 10 ** ((REFERENCE_DBFS + level) / 20) / rms
