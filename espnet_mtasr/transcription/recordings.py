"""Read what is to be transcribed: files and standard input; its channels, one rate.

Whatever libsndfile reads, and the containers that FFmpeg knows. Other rates are
resampled.
"""

import os
import sys
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from espnet_mtasr.data.audio import resample
from espnet_mtasr.data.audio_end import MPEG_SLACK, in_words, missing_seconds
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.channels import MIX, Channel, pick_channels
from espnet_mtasr.transcription.containers import Track, read_track
from espnet_mtasr.transcription.sources import STANDARD_INPUT, Source, printable

if TYPE_CHECKING:
    import soundfile

# Samples that are read at once: a header may claim more than any memory holds.
BLOCK = 1 << 20
# Hz that a recording may have.
RATES = range(1000, 1_000_001)


class Recording(NamedTuple):
    """A recording as a model wants it.

    Attributes:
        name: Of the recording.
        channels: What is transcribed, each by itself: `(N,)` float32 at the model's
            rate.
        warnings: What isn't as it should be, but no obstacle.
        channel: What was asked for; see `check_channel`.
    """

    name: str
    channels: Tuple[np.ndarray, ...]
    warnings: Tuple[str, ...] = ()
    channel: Channel = MIX

    @property
    def num_samples(self) -> int:
        """Samples to transcribe, of all channels together."""
        return sum(map(len, self.channels))


class Sound(NamedTuple):
    """What is in a file.

    Attributes:
        samples: `(N, channels)` float32.
        rate: Hz.
        warnings: What isn't as it should be.
    """

    samples: np.ndarray
    rate: int
    warnings: List[str]


def read_recording(source: Source, rate: int, channel: Channel = MIX) -> Recording:
    """Read an audio file, or standard input.

    Args:
        source: What to read.
        rate: Hz wanted.
        channel: See `check_channel`.

    Raises:
        UserError: it is missing, no audio, broken, empty, has samples that are no
            numbers, or not this channel.
    """
    # libsndfile must search a file, and a pipe can't be searched.
    if source.path == STANDARD_INPUT:
        shown = "standard input"
        sound = read_sound(BytesIO(sys.stdin.buffer.read()), shown)
    else:
        shown = printable(source.path)
        check_readable(source.path)
        # soundfile takes text only if it is UTF-8.
        sound = read_sound(os.fsencode(source.path), shown)
    return to_recording(source.name, sound, rate, channel, shown)


def to_recording(
    name: str, sound: Sound, rate: int, channel: Channel, shown: str
) -> Recording:
    """Bring samples to a model's rate.

    Args:
        name: Of the recording.
        sound: Its samples may be of any shape and type that `transcribe` takes.
        rate: Hz wanted.
        channel: See `check_channel`.
        shown: What a message calls it.

    Raises:
        UserError: see `read_recording`.
    """
    samples = check_samples(sound.samples, sound.rate, shown)
    channels, warning = pick_channels(samples, channel, shown)
    resampled = tuple(
        resample(wave, sound.rate, rate).astype(np.float32) for wave in channels
    )
    warnings = (*sound.warnings, *([] if warning is None else [warning]))
    return Recording(name, resampled, warnings, channel)


def read_sound(file: Union[bytes, BinaryIO], shown: str) -> Sound:
    """Read all samples of an audio file.

    Args:
        file: Its path, or open and at its beginning.
        shown: What a message calls it.

    Raises:
        UserError: it is no audio, or broken.
    """
    import soundfile

    try:
        missing = missing_seconds(file)
        with soundfile.SoundFile(file) as opened:
            found, declared = opened.samplerate, opened.frames
            samples = _read_to_the_end(opened)
    # TypeError: samples without a header (.raw).
    except (soundfile.LibsndfileError, TypeError) as e:
        track = read_track(file)
        if track is not None:
            return _sound_of(track, shown)
        reason = getattr(e, "error_string", e)
        raise UserError(f"{shown}: is no readable audio ({reason}); replace it") from e
    if missing is None and len(samples) < declared - MPEG_SLACK:
        missing = (declared - len(samples)) / found
    return Sound(samples, found, _breaks_off(missing, len(samples) / found, shown))


def _sound_of(track: Track, shown: str) -> Sound:
    seconds = len(track.samples) / track.rate
    warnings = _breaks_off(track.missing, seconds, shown)
    if track.tracks > 1:
        warnings.append(f"{shown}: has {track.tracks} sound tracks; the first is taken")
    return Sound(track.samples, track.rate, warnings)


def _breaks_off(missing: Optional[float], there: float, shown: str) -> List[str]:
    if missing is None:
        return []
    what = in_words(missing, there)
    return [f"{shown}: breaks off, {what}; what is there is transcribed"]


def _read_to_the_end(file: "soundfile.SoundFile") -> np.ndarray:
    """Samples `(N, channels)` float32: all there are, whatever the header says."""
    blocks = [np.zeros((0, file.channels), np.float32)]
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        if len(block) == 0:
            return np.concatenate(blocks)
        blocks.append(block)


def check_readable(path: str) -> None:
    """Raise `UserError` unless it is a file that can be opened."""
    shown = printable(path)
    try:
        if not os.path.isdir(path):
            with open(path, "rb"):
                return
    except FileNotFoundError:
        pass
    except OSError as e:
        raise UserError(
            f"{shown}: can't be read ({e.strerror}); check its permissions and those "
            f"of its folders"
        ) from e
    else:
        raise UserError(f"{shown}: a folder that can't be read; check its permissions")
    raise UserError(f"{shown}: no such file; name an audio file or a folder")


def to_model(samples: np.ndarray, found: int, rate: int, name: str) -> np.ndarray:
    """Return `(N',)` float32 at `rate` Hz of what `check_samples` takes.

    Raises:
        UserError: see `check_samples`.
    """
    recording = to_recording(name, Sound(samples, found, []), rate, MIX, name)
    return recording.channels[0]


def check_samples(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
    """Return `(N, channels)` floats within [-1, 1] of samples in any usual form.

    Args:
        samples: `(N,)`, `(N, channels)` or `(channels, N)`; the shorter dimension is
            that of the channels.
        rate: Hz.
        name: What a message calls them.

    Raises:
        UserError: no samples, too many dimensions, samples that are no numbers, or a
            rate that no recording has.
    """
    if rate not in RATES:
        raise UserError(f"{name}: has {rate} Hz, as no recording has; replace it")
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise UserError(
            f"{name}: has shape {samples.shape}; give (samples,), (samples, channels) "
            f"or (channels, samples)"
        )
    if samples.dtype.kind == "i":
        # Integers are what a sound card gives: full scale is 1.
        samples = samples / -float(np.iinfo(samples.dtype).min)
    if samples.dtype.kind != "f":
        raise UserError(f"{name}: has {samples.dtype} samples; give numbers")
    if samples.size == 0:
        raise UserError(f"{name}: has no samples; replace it")
    if samples.ndim == 1:
        samples = samples[:, None]
    elif samples.shape[1] > len(samples):
        samples = samples.T
    if not np.isfinite(samples).all():
        raise UserError(f"{name}: has NaN or infinite samples; replace it")
    return samples
