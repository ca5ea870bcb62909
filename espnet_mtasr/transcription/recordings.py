"""Read recordings to transcribe, from files and standard input, at one rate.

Reads every format of libsndfile, and containers of FFmpeg. Other rates are resampled.
"""

import math
import os
import sys
from typing import (
    TYPE_CHECKING,
    BinaryIO,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

import numpy as np

from espnet_mtasr.data.audio_end import MPEG_SLACK, in_words, missing_seconds
from espnet_mtasr.data.block_resampler import resample_blocks
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.channels import MIX, Channel, ChannelPicker
from espnet_mtasr.transcription.containers import Track, open_track
from espnet_mtasr.transcription.pipes import Pipe, open_piped_track
from espnet_mtasr.transcription.sound import Sound, in_blocks_of
from espnet_mtasr.transcription.sources import STANDARD_INPUT, Source, printable

if TYPE_CHECKING:
    import soundfile

# Samples of an array per block.
BLOCK = 1 << 20
# Number of samples in headers whose writer didn't know it.
UNKNOWN_LENGTH = 1 << 62
# Seconds by which a container's declared length may differ from the decoded one.
SLACK = 0.5
# Hz that a recording may have.
RATES = range(1000, 1_000_001)


class Waves(NamedTuple):
    """A recording in the form that a model needs, read block by block.

    Attributes:
        name: Of the recording.
        blocks: What is transcribed, `(n, channels)` float32 each at the model's rate.
        warnings: Problems that don't prevent transcription; complete after the last
            block.
        channel: The requested channel; see `check_channel`.
        seconds: Its declared length; None: unknown.
    """

    name: str
    blocks: Iterator[np.ndarray]
    warnings: List[str]
    channel: Channel = MIX
    seconds: Optional[float] = None

    def read(self) -> "Recording":
        """Read it to its end."""
        channels = np.concatenate(list(self.blocks)).T
        found = tuple(map(np.ascontiguousarray, channels))
        return Recording(self.name, found, tuple(self.warnings), self.channel)


class Recording(NamedTuple):
    """A recording that has been read.

    Attributes:
        name: Of the recording.
        channels: What is transcribed, each by itself: `(N,)` float32 at the model's
            rate.
        warnings: Problems that don't prevent transcription.
        channel: The requested channel; see `check_channel`.
    """

    name: str
    channels: Tuple[np.ndarray, ...]
    warnings: Tuple[str, ...] = ()
    channel: Channel = MIX

    @property
    def num_samples(self) -> int:
        """Samples to transcribe, of all channels together."""
        return sum(map(len, self.channels))


def open_recording(source: Source, rate: int, channel: Channel = MIX) -> Waves:
    """Open an audio file, or standard input.

    Args:
        source: What to read.
        rate: Requested Hz.
        channel: See `check_channel`.

    Raises:
        UserError: it is missing or not audio. Its blocks raise it if it is empty, has
            samples that are not finite, or lacks the channel.
    """
    if source.path == STANDARD_INPUT:
        shown = "standard input"
        sound = open_pipe(sys.stdin.buffer, shown)
    else:
        shown = printable(source.path)
        check_readable(source.path)
        # soundfile accepts strings only if they are UTF-8.
        sound = open_sound(os.fsencode(source.path), shown)
    return to_waves(source.name, sound, rate, channel, shown)


def to_waves(name: str, sound: Sound, rate: int, channel: Channel, shown: str) -> Waves:
    """Bring samples to a model's rate.

    Args:
        name: Of the recording.
        sound: Its blocks are read while those of the result are.
        rate: Requested Hz.
        channel: See `check_channel`.
        shown: Its name in messages.

    Raises:
        UserError: an impossible rate; its blocks raise the same as those of
            `open_recording`.
    """
    if sound.rate not in RATES:
        raise UserError(
            f"{shown}: has an impossible rate of {sound.rate} Hz; replace it"
        )
    picked = _picked(sound, channel, shown)
    blocks = resample_blocks(in_blocks_of(picked, sound.rate), sound.rate, rate)
    return Waves(name, blocks, sound.warnings, channel, sound.seconds)


def _picked(sound: Sound, channel: Channel, shown: str) -> Iterator[np.ndarray]:
    """The picked channels, `(n, channels)` float32 each; may warn at the end."""
    picker = ChannelPicker(channel, shown)
    for block in sound.blocks:
        if not np.isfinite(block).all():
            raise UserError(f"{shown}: has NaN or infinite samples; replace it")
        if block.size:
            yield picker.pick(block).astype(np.float32)
    if picker.samples == 0:
        raise UserError(f"{shown}: has no samples; replace it")
    sound.warnings.extend(picker.warnings())


def open_sound(file: Union[bytes, BinaryIO], shown: str) -> Sound:
    """Open an audio file.

    Args:
        file: Its path, or an open file at its beginning.
        shown: Its name in messages.

    Raises:
        UserError: it is not audio, or damaged.
    """
    import soundfile

    try:
        missing = missing_seconds(file)
        opened = soundfile.SoundFile(file)
    # TypeError: samples without a header (.raw).
    except (soundfile.LibsndfileError, TypeError) as e:
        if not isinstance(file, bytes):
            file.seek(0)
        track = open_track(file)
        if track is not None:
            return sound_of_track(track, shown)
        raise _unreadable(shown, e) from e
    sound = Sound((), opened.samplerate)
    if 0 < opened.frames < UNKNOWN_LENGTH:
        sound.seconds = opened.frames / opened.samplerate
    sound.blocks = _read_to_the_end(opened, missing, sound.warnings, shown)
    return sound


def open_pipe(pipe: BinaryIO, shown: str) -> Sound:
    """Open a pipe; it is read as it arrives, or completely if seeking is needed.

    Raises:
        UserError: see `open_sound`.
    """
    again = Pipe(pipe)
    track = open_piped_track(again)
    if track is not None:
        return sound_of_track(track, shown)
    return open_sound(again.whole(), shown)


def _unreadable(shown: str, error: Exception) -> UserError:
    reason = getattr(error, "error_string", error)
    return UserError(f"{shown}: is not readable audio ({reason}); replace it")


def _read_to_the_end(
    file: "soundfile.SoundFile",
    missing: Optional[float],
    warnings: List[str],
    shown: str,
) -> Iterator[np.ndarray]:
    """Yield all samples `(n, channels)` of the file, whatever the header says."""
    import soundfile

    there = 0
    with file:
        while True:
            try:
                block = file.read(file.samplerate, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as e:
                raise _unreadable(shown, e) from e
            if len(block) == 0:
                break
            there += len(block)
            yield block
        if missing is None and there < file.frames - MPEG_SLACK:
            missing = (file.frames - there) / file.samplerate
    warnings.extend(_breaks_off(missing, there / file.samplerate, shown))


def sound_of_track(track: Track, shown: str) -> Sound:
    """The first track's audio; warns if there are others or its end is missing."""
    sound = Sound((), track.rate, track.declared)
    if track.tracks > 1:
        sound.warnings.append(
            f"{shown}: has {track.tracks} audio tracks; the first is used"
        )

    def blocks() -> Iterator[np.ndarray]:
        samples = 0
        for block in track.blocks:
            samples += len(block)
            yield block
        there = samples / track.rate
        missing = math.nan if track.broken else None
        if track.declared is not None and track.declared - there > SLACK:
            missing = track.declared - there
        sound.warnings.extend(_breaks_off(missing, there, shown))

    sound.blocks = blocks()
    return sound


def _breaks_off(missing: Optional[float], there: float, shown: str) -> List[str]:
    if missing is None:
        return []
    what = in_words(missing, there)
    return [f"{shown}: is truncated, {what}; the rest is transcribed"]


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
    """Convert an input of `sound_of_samples` to `(N',)` float32 at `rate` Hz.

    Raises:
        UserError: see `sound_of_samples`.
    """
    sound = sound_of_samples(samples, found, name)
    return to_waves(name, sound, rate, MIX, name).read().channels[0]


def sound_of_samples(samples: np.ndarray, rate: int, name: str) -> Sound:
    """Wrap samples in memory, in any usual form.

    Args:
        samples: `(N,)`, `(N, channels)` or `(channels, N)`; the shorter dimension is
            that of the channels. Integers are scaled so that full scale is 1.
        rate: Hz.
        name: Name in messages.

    Raises:
        UserError: too many dimensions, or samples that are not numbers.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise UserError(
            f"{name}: has shape {samples.shape}; give (samples,), (samples, channels) "
            f"or (channels, samples)"
        )
    if samples.dtype.kind not in "if":
        raise UserError(
            f"{name}: has {samples.dtype} samples; give floats or signed integers"
        )
    if samples.ndim == 1:
        samples = samples[:, None]
    elif samples.shape[1] > len(samples):
        samples = samples.T
    blocks = (
        _within_1(samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK)
    )
    return Sound(blocks, rate, len(samples) / max(rate, 1))


def _within_1(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "i":
        return samples / -float(np.iinfo(samples.dtype).min)
    return samples
