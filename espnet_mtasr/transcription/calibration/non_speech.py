"""Sounds without speech, made from seeds: what a model must not find talkers in.

Noise, hum, tones, clicks, music-like and machine-like sounds, and noise whose level
changes as fast as syllables, which is the hardest to tell from speech. The parts dev
and test have different seeds, and different parameters in all kinds that have any.
"""

import zlib
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

from espnet_mtasr.errors import UserError

Range = Tuple[float, float]
SECONDS = (0.5, 20.0)
# The loudest sample of a clip; louder clips are scaled down.
PEAK = 0.9


class Parameters(NamedTuple):
    """What the parts differ in.

    Attributes:
        levels: Of a clip's RMS, in dB of full scale.
        mains: Hz of the hum's fundamental.
        tones: Hz.
        digits: Rows and columns of a telephone's keys: Hz.
        tuning: Hz of the note A.
        scale: Semitones of the notes.
        beats: Per minute.
        modulation: Hz at which levels change in syllabic sounds.
        depth: Exponent of their envelope: the higher, the longer the gaps.
        band: Hz, lower and upper limits of filtered noise's edges.
        pitch: Hz, of buzz and machines.
        impulses: Clicks per second.
    """

    levels: Range
    mains: float
    tones: Range
    digits: Tuple[Tuple[float, ...], Tuple[float, ...]]
    tuning: float
    scale: Tuple[int, ...]
    beats: Range
    modulation: Range
    depth: Range
    band: Range
    pitch: Range
    impulses: Range


PARTS = {
    "dev": Parameters(
        levels=(-45, -20),
        mains=60.0,
        tones=(150, 2500),
        digits=((697.0, 770.0), (1209.0, 1336.0, 1477.0)),
        tuning=440.0,
        scale=(0, 2, 4, 7, 9),
        beats=(70, 110),
        modulation=(3.0, 5.0),
        depth=(1.0, 2.0),
        band=(150, 3000),
        pitch=(80, 180),
        impulses=(0.5, 5),
    ),
    "test": Parameters(
        levels=(-50, -15),
        mains=50.0,
        tones=(80, 4000),
        digits=((852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)),
        tuning=432.0,
        scale=(0, 2, 3, 5, 7, 8, 10),
        beats=(100, 170),
        modulation=(2.5, 8.0),
        depth=(0.7, 3.0),
        band=(80, 5000),
        pitch=(60, 280),
        impulses=(1, 15),
    ),
}


class Draw(NamedTuple):
    """What a clip is drawn with.

    Attributes:
        rng: Random numbers.
        n: Samples.
        rate: Hz.
        p: The part's parameters.
    """

    rng: np.random.Generator
    n: int
    rate: int
    p: Parameters

    @property
    def times(self) -> np.ndarray:
        """Of the samples, in seconds: `(n,)`."""
        return np.arange(self.n) / self.rate

    def uniform(self, low_high: Range) -> float:
        """A number between two."""
        return float(self.rng.uniform(*low_high))

    def log_uniform(self, low_high: Range) -> float:
        """A number between two, of any magnitude alike."""
        return float(np.exp(self.rng.uniform(*np.log(low_high))))

    def noise(self, slope: float = 0.0, band: Range = (0.0, np.inf)) -> np.ndarray:
        """Gaussian noise `(n,)` of variance 1; its power falls by f to the `slope`."""
        wave = self.filtered(self.rng.standard_normal(self.n), band, slope)
        return wave / max(float(wave.std()), 1e-12)

    def filtered(self, wave: np.ndarray, band: Range, slope: float = 0) -> np.ndarray:
        """Filter `(n,)`; the band's edges are an octave wide."""
        hertz = np.maximum(np.fft.rfftfreq(self.n, 1 / self.rate), 10.0)
        above = np.clip(np.log2(hertz / max(band[0], 1.0)) + 1, 0, 1)
        below = np.clip(np.log2(band[1] / hertz) + 1, 0, 1)
        gain = hertz ** (-slope / 2) * above * below
        return np.fft.irfft(np.fft.rfft(wave) * gain, self.n)

    def some_band(self) -> Range:
        """Edges at least an octave apart."""
        low = self.log_uniform((self.p.band[0], self.p.band[1] / 2))
        return low, self.log_uniform((2 * low, 2 * self.p.band[1]))

    def slow(self, hertz: float) -> np.ndarray:
        """A smooth random curve `(n,)` from -1 to 1, with about `hertz` turns."""
        knots = max(int(self.n / self.rate * hertz * 2), 1) + 2
        places = np.linspace(0, knots - 1, self.n)
        return np.interp(places, np.arange(knots), self.rng.uniform(-1, 1, knots))

    def harmonics(self, pitch: np.ndarray, slope: float) -> np.ndarray:
        """A buzz `(n,)` of a changing pitch in Hz `(n,)`."""
        phase = 2 * np.pi * np.cumsum(pitch) / self.rate
        most = int(self.rate / 2 / float(pitch.max()))
        wave = np.zeros(self.n)
        for k in range(1, min(most, 30) + 1):
            wave += np.sin(k * phase + self.rng.uniform(0, 6.28)) / k**slope
        return wave

    def syllables(self) -> np.ndarray:
        """An envelope `(n,)` from 0 to 1 that changes as fast as syllables."""
        rate = self.uniform(self.p.modulation)
        phase = np.cumsum(rate * (1 + 0.4 * self.slow(2.0))) / self.rate
        wave = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
        return wave ** self.uniform(self.p.depth) * (0.6 + 0.4 * self.slow(1.0))

    def notes(self) -> Iterator[Tuple[int, float]]:
        """First samples of beats, and a note in Hz for each."""
        beat = 60 / self.uniform(self.p.beats)
        for at in np.arange(0, self.n, max(int(beat * self.rate / 2), 1)):
            step = self.rng.choice(self.p.scale) + 12 * self.rng.integers(-2, 2)
            yield int(at), self.p.tuning * 2 ** (float(step) / 12)

    def struck(self, at: int, hertz: float, decay: float, wave: np.ndarray) -> None:
        """Add a decaying note with a few overtones to `wave`, from sample `at` on."""
        t = np.arange(min(self.n - at, int(4 * decay * self.rate))) / self.rate
        tone = sum(np.sin(2 * np.pi * k * hertz * t) / k**1.5 for k in (1, 2, 3, 4))
        wave[at : at + len(t)] += np.minimum(t / 0.005, 1) * np.exp(-t / decay) * tone


def _tones(d: Draw) -> np.ndarray:
    some = [d.log_uniform(d.p.tones) for _ in range(d.rng.integers(1, 4))]
    return np.sum([np.sin(2 * np.pi * f * d.times) for f in some], axis=0)


def _beeps(d: Draw) -> np.ndarray:
    period, tone = d.uniform((0.2, 1.5)), d.log_uniform(d.p.tones)
    return np.sin(2 * np.pi * tone * d.times) * (d.times % period < period / 2)


def _chirps(d: Draw) -> np.ndarray:
    low, high = sorted(d.log_uniform(d.p.tones) for _ in range(2))
    place = (d.times / d.log_uniform((0.3, 5.0))) % 1.0
    if d.rng.random() < 0.5:
        place = 1 - np.abs(2 * place - 1)
    hertz = low * (high / low) ** place
    return np.sin(2 * np.pi * np.cumsum(hertz) / d.rate)


def _keys(d: Draw) -> np.ndarray:
    wave, length = np.zeros(d.n), d.uniform((0.08, 0.25))
    for at in np.arange(0, d.n / d.rate, 2 * length):
        on = (d.times >= at) & (d.times < at + length)
        for group in d.p.digits:
            wave[on] += np.sin(2 * np.pi * d.rng.choice(group) * d.times[on])
    return wave


def _hum(d: Draw) -> np.ndarray:
    pitch = np.full(d.n, d.p.mains)
    return d.harmonics(pitch, d.uniform((0.5, 2.0))) + 0.03 * d.noise()


def _clicks(d: Draw) -> np.ndarray:
    wave = 0.001 * d.noise(1.0)
    many = 1 + d.rng.poisson(d.log_uniform(d.p.impulses) * d.n / d.rate)
    for at in d.rng.integers(0, d.n, many):
        wave[at : at + d.rng.integers(1, 20)] += d.rng.uniform(-1, 1)
    return wave


def _knocks(d: Draw) -> np.ndarray:
    wave = 0.001 * d.noise(1.0)
    many = 1 + d.rng.poisson(d.log_uniform(d.p.impulses) * d.n / d.rate)
    for at in d.rng.integers(0, d.n, many):
        d.struck(int(at), d.log_uniform(d.p.tones), d.log_uniform((0.01, 0.08)), wave)
    return wave


def _chords(d: Draw) -> np.ndarray:
    wave, notes = np.zeros(d.n), list(d.notes())
    for first in range(0, len(notes), 4):
        for _, hertz in notes[first : first + 3]:
            d.struck(notes[first][0], hertz, 1.0, wave)
    return wave


def _arpeggio(d: Draw) -> np.ndarray:
    wave, decay = np.zeros(d.n), d.uniform((0.1, 0.6))
    for at, hertz in d.notes():
        d.struck(at, hertz, decay, wave)
    return wave


def _drums(d: Draw) -> np.ndarray:
    wave, hiss, snare = np.zeros(d.n), d.noise(-1.0), d.noise(0.0)
    for number, (at, _) in enumerate(d.notes()):
        t = np.arange(min(d.n - at, d.rate // 3)) / d.rate
        here = slice(at, at + len(t))
        wave[here] += 0.2 * np.exp(-t / 0.03) * hiss[here]
        if number % 4 == 0:
            wave[here] += 2 * np.exp(-t / 0.1) * np.sin(90 * np.exp(-t / 0.05))
        elif number % 4 == 2:
            wave[here] += np.exp(-t / 0.07) * snare[here]
    return wave


def _rain(d: Draw) -> np.ndarray:
    drops = d.rng.random(d.n) < d.log_uniform((50, 2000)) / d.rate
    taps = np.exp(-np.arange(200) / 30) * np.sin(np.arange(200) * d.uniform((0.5, 2)))
    return (
        0.3 * d.noise(0.5) + np.convolve(drops * d.rng.exponential(1, d.n), taps)[: d.n]
    )


def _fan(d: Draw) -> np.ndarray:
    blades = d.harmonics(np.full(d.n, d.uniform(d.p.pitch)), 1.5)
    return d.noise(1.5) + d.uniform((0.05, 0.5)) * blades


def _engine(d: Draw) -> np.ndarray:
    pitch = d.uniform(d.p.pitch) / 2 * (1 + 0.2 * d.slow(0.5))
    return d.harmonics(pitch, 1.0) + d.uniform((0.1, 1.0)) * d.noise(1.0)


def _syllabic_buzz(d: Draw) -> np.ndarray:
    """The level and pitch of speech, without its spectrum."""
    pitch = d.uniform(d.p.pitch) * (1 + 0.15 * d.slow(1.5))
    return d.syllables() * d.harmonics(pitch, d.uniform((0.8, 1.8)))


def _birds(d: Draw) -> np.ndarray:
    wave = 0.01 * d.noise(1.0)
    for at in np.arange(0, d.n, d.log_uniform((0.15, 1.0)) * d.rate):
        t = np.arange(min(d.n - int(at), int(d.uniform((0.05, 0.2)) * d.rate)))
        sweep = d.uniform((2000, 4500)) + d.uniform((-1500, 1500)) * t / d.rate / 0.1
        chirp = np.sin(2 * np.pi * np.cumsum(sweep) / d.rate)
        wave[int(at) : int(at) + len(t)] += chirp * np.hanning(len(t))
    return wave


def _melody(d: Draw) -> np.ndarray:
    """Bowed notes: vibrato, glides, and the resonances of a body."""
    places = list(d.notes())[::2]
    starts = np.array([at for at, _ in places])
    notes = np.array([hertz for _, hertz in places]) / 2
    which = np.searchsorted(starts, np.arange(d.n), side="right") - 1
    glide = np.ones(max(int(0.05 * d.rate), 1))
    smooth = np.convolve(np.pad(notes[which], len(glide), "edge"), glide / len(glide))
    pitch = smooth[len(glide) : len(glide) + d.n]
    pitch = pitch * (1 + 0.01 * np.sin(2 * np.pi * d.uniform((4, 7)) * d.times))
    since = (np.arange(d.n) - starts[which]) / d.rate
    wave = d.harmonics(pitch, 1.0) * np.minimum(since / 0.06, 1) * np.exp(-since / 2)
    low = d.log_uniform(d.p.band)
    return wave + 2 * d.filtered(wave, (low, 1.5 * low))


def _music(d: Draw) -> np.ndarray:
    parts = [_chords(d), _drums(d), _melody(d)]
    return np.sum([part / max(float(part.std()), 1e-9) for part in parts], axis=0)


def _barks(d: Draw) -> np.ndarray:
    wave, at = 0.003 * d.noise(1.0), 0
    while at < d.n:
        t = np.arange(min(d.n - at, int(d.uniform((0.1, 0.3)) * d.rate))) / d.rate
        pitch = 4 * d.uniform(d.p.pitch) * (1 - d.uniform((0, 1.5)) * t)
        bark = d._replace(n=len(t)).harmonics(pitch, 0.7) + d.rng.normal(0, 0.5, len(t))
        wave[at : at + len(t)] += bark * np.hanning(len(t))
        at += len(t) + int(d.log_uniform((0.1, 1.0)) * d.rate)
    return wave


KINDS: Dict[str, Callable[[Draw], np.ndarray]] = {
    "digital zero": lambda d: np.zeros(d.n),
    # The last bit of 16-bit samples.
    "silence": lambda d: d.rng.integers(-1, 2, d.n) / 32768,
    "white noise": lambda d: d.noise(),
    "pink noise": lambda d: d.noise(1.0),
    "brown noise": lambda d: d.noise(2.0),
    "filtered noise": lambda d: d.noise(0.0, d.some_band()),
    "hum": _hum,
    "tones": _tones,
    "beeps": _beeps,
    "chirps": _chirps,
    "telephone keys": _keys,
    "clicks": _clicks,
    "knocks": _knocks,
    "chords": _chords,
    "arpeggio": _arpeggio,
    "drums": _drums,
    "melody": _melody,
    "music": _music,
    "rain": _rain,
    "wind": lambda d: (0.55 + 0.45 * d.slow(0.5)) * d.noise(1.5, (20.0, 800.0)),
    "fan": _fan,
    "engine": _engine,
    "birds": _birds,
    "barks": _barks,
    "syllabic noise": lambda d: d.syllables() * d.noise(1.0, d.some_band()),
    "syllabic buzz": _syllabic_buzz,
}
# Their level is what defines them.
UNSCALED = ("digital zero", "silence")


def make_clip(kind: str, part: str, seed: int, number: int, rate: int) -> np.ndarray:
    """Make one sound.

    Args:
        kind: One of `KINDS`.
        part: One of `PARTS`.
        seed: With kind, part and number, it determines the samples.
        number: Of the clip.
        rate: Hz.

    Returns:
        `(N,)` float32, of 0.5 to 20 s.

    Raises:
        UserError: there is no such part.
    """
    if part not in PARTS:
        raise UserError(f"part {part!r}: choose one of {', '.join(PARTS)}")
    key = zlib.crc32(f"{part} {kind} {number}".encode())
    rng = np.random.default_rng([seed, key])
    seconds = float(np.exp(rng.uniform(*np.log(SECONDS))))
    draw = Draw(rng, int(seconds * rate), rate, PARTS[part])
    wave = KINDS[kind](draw)
    if kind not in UNSCALED:
        gain = 10 ** (draw.uniform(draw.p.levels) / 20) / float(
            np.sqrt((wave**2).mean())
        )
        wave = wave * min(gain, PEAK / float(np.abs(wave).max()))
    return wave.astype(np.float32)


def make_set(
    part: str, clips: int, seed: int, rate: int
) -> Dict[str, List[np.ndarray]]:
    """Make `clips` sounds of each kind; see `make_clip`."""
    return {
        kind: [make_clip(kind, part, seed, number, rate) for number in range(clips)]
        for kind in KINDS
    }
