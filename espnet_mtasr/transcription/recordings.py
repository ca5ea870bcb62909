"""Read what is to be transcribed: files and standard input; its channels, one rate.

Whatever libsndfile reads, and the containers that FFmpeg knows. Other rates are
resampled.
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

# Samples of an array that are taken at once.
BLOCK = 1 << 20
# Samples in headers of files whose writer couldn't know.
UNKNOWN_LENGTH = 1 << 62
# Seconds by which a length in a container may differ from what is decoded.
SLACK = 0.5
# Hz that a recording may have.
RATES = range(1000, 1_000_001)


class Waves(NamedTuple):
    """A recording as a model wants it, as it comes.

    Attributes:
        name: Of the recording.
        blocks: What is transcribed, `(n, channels)` float32 each at the model's rate.
        warnings: What isn't as it should be, but no obstacle; complete behind the last
            block.
        channel: What was asked for; see `check_channel`.
        seconds: Its length, as far as it says; None: it doesn't.
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


def open_recording(source: Source, rate: int, channel: Channel = MIX) -> Waves:
    """Begin to read an audio file, or standard input.

    Args:
        source: What to read.
        rate: Hz wanted.
        channel: See `check_channel`.

    Raises:
        UserError: it is missing or no audio. Its blocks raise it where it is empty,
            has samples that are no numbers, or not this channel.
    """
    if source.path == STANDARD_INPUT:
        shown = "standard input"
        sound = open_pipe(sys.stdin.buffer, shown)
    else:
        shown = printable(source.path)
        check_readable(source.path)
        # soundfile takes text only if it is UTF-8.
        sound = open_sound(os.fsencode(source.path), shown)
    return to_waves(source.name, sound, rate, channel, shown)


def to_waves(name: str, sound: Sound, rate: int, channel: Channel, shown: str) -> Waves:
    """Bring samples to a model's rate.

    Args:
        name: Of the recording.
        sound: Its blocks are read as those of what is returned are.
        rate: Hz wanted.
        channel: See `check_channel`.
        shown: What a message calls it.

    Raises:
        UserError: no recording has such a rate; its blocks raise what those of
            `open_recording` do.
    """
    if sound.rate not in RATES:
        raise UserError(
            f"{shown}: has {sound.rate} Hz, as no recording has; replace it"
        )
    picked = _picked(sound, channel, shown)
    blocks = resample_blocks(in_blocks_of(picked, sound.rate), sound.rate, rate)
    return Waves(name, blocks, sound.warnings, channel, sound.seconds)


def _picked(sound: Sound, channel: Channel, shown: str) -> Iterator[np.ndarray]:
    """What is heard, `(n, channels)` float32 each; a warning may come at the end."""
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
    """Begin to read an audio file.

    Args:
        file: Its path, or open and at its beginning.
        shown: What a message calls it.

    Raises:
        UserError: it is no audio, or broken.
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
    """Begin to read a pipe: as it comes, or where it must be searched, whole.

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
    return UserError(f"{shown}: is no readable audio ({reason}); replace it")


def _read_to_the_end(
    file: "soundfile.SoundFile",
    missing: Optional[float],
    warnings: List[str],
    shown: str,
) -> Iterator[np.ndarray]:
    """Yield all samples there are, whatever the header says, `(n, channels)` each."""
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
    """The first track's sound; warns where there are others or its end is missing."""
    sound = Sound((), track.rate, track.declared)
    if track.tracks > 1:
        sound.warnings.append(
            f"{shown}: has {track.tracks} sound tracks; the first is taken"
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
    return [f"{shown}: breaks off, {what}; what is there is transcribed"]


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
    """Return `(N',)` float32 at `rate` Hz of what `sound_of_samples` takes.

    Raises:
        UserError: see `sound_of_samples`.
    """
    sound = sound_of_samples(samples, found, name)
    return to_waves(name, sound, rate, MIX, name).read().channels[0]


def sound_of_samples(samples: np.ndarray, rate: int, name: str) -> Sound:
    """Take samples that are in memory already, in any usual form.

    Args:
        samples: `(N,)`, `(N, channels)` or `(channels, N)`; the shorter dimension is
            that of the channels. Integers are what a sound card gives: full scale is 1.
        rate: Hz.
        name: What a message calls them.

    Raises:
        UserError: too many dimensions, or samples that are no numbers.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise UserError(
            f"{name}: has shape {samples.shape}; give (samples,), (samples, channels) "
            f"or (channels, samples)"
        )
    if samples.dtype.kind not in "if":
        raise UserError(f"{name}: has {samples.dtype} samples; give numbers")
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
