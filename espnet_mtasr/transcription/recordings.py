"""Read what is to be transcribed: files, standard input, arrays; one channel, one rate.

Whatever libsndfile reads. Several channels are averaged, other rates resampled.
"""

import os
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from espnet_mtasr.data.audio import resample
from espnet_mtasr.data.audio_end import MPEG_SLACK, in_words, missing_seconds
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import files_below

if TYPE_CHECKING:
    import soundfile

STANDARD_INPUT = "-"
# Samples that are read at once: a header may claim more than any memory holds.
BLOCK = 1 << 20
# Hz that a recording may have.
RATES = range(1000, 1_000_001)


class Source(NamedTuple):
    """A file to transcribe.

    Attributes:
        name: Of the recording; no two sources share one.
        path: Audio file, or `-` for standard input.
    """

    name: str
    path: str


class Recording(NamedTuple):
    """A recording as a model wants it.

    Attributes:
        name: Of the recording.
        samples: `(N,)` float32 at the model's rate.
        warning: What isn't as it should be, but no obstacle; None: nothing.
    """

    name: str
    samples: np.ndarray
    warning: Optional[str] = None


def read_recording(source: Source, rate: int) -> Recording:
    """Read an audio file, or standard input.

    Args:
        source: What to read.
        rate: Hz wanted.

    Raises:
        UserError: it is missing, no audio, broken, empty, or has samples that are no
            numbers.
    """
    import soundfile

    # libsndfile must search a file, and a pipe can't be searched.
    piped = source.path == STANDARD_INPUT
    shown = "standard input" if piped else printable(source.path)
    opened: Union[BytesIO, bytes]
    if piped:
        opened = BytesIO(sys.stdin.buffer.read())
    else:
        check_readable(source.path)
        # soundfile takes text only if it is UTF-8.
        opened = os.fsencode(source.path)
    try:
        missing = missing_seconds(opened)
        with soundfile.SoundFile(opened) as file:
            found, declared = file.samplerate, file.frames
            samples = _read_to_the_end(file)
    # TypeError: samples without a header (.raw).
    except (soundfile.LibsndfileError, TypeError) as e:
        reason = getattr(e, "error_string", e)
        raise UserError(f"{shown}: is no readable audio ({reason}); replace it") from e
    wanted = to_model(samples, found, rate, shown)
    if missing is None and len(samples) < declared - MPEG_SLACK:
        missing = (declared - len(samples)) / found
    warning = None
    if missing is not None:
        warning = f"{shown}: breaks off, {in_words(missing, len(samples) / found)}"
    return Recording(source.name, wanted, warning)


def _read_to_the_end(file: "soundfile.SoundFile") -> np.ndarray:
    """Samples `(N, channels)` float32: all there are, whatever the header says."""
    blocks = [np.zeros((0, file.channels), np.float32)]
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        if len(block) == 0:
            return np.concatenate(blocks)
        blocks.append(block)


def printable(name: str) -> str:
    """A file's name as text, where it isn't UTF-8 with a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


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
    """Return `(N',)` float32 at `rate` of `(N,)` or `(N, channels)` at `found` Hz.

    Raises:
        UserError: no samples, too many dimensions, samples that are no numbers, or a
            rate that no recording has.
    """
    if found not in RATES:
        raise UserError(f"{name}: has {found} Hz, as no recording has; replace it")
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise UserError(
            f"{name}: has shape {samples.shape}; give (samples,) or (samples, channels)"
        )
    if samples.dtype.kind == "i":
        # Integers are what a sound card gives: full scale is 1.
        samples = samples / -float(np.iinfo(samples.dtype).min)
    if samples.dtype.kind != "f":
        raise UserError(f"{name}: has {samples.dtype} samples; give numbers")
    if len(samples) == 0:
        raise UserError(f"{name}: has no samples; replace it")
    if samples.ndim == 2 and samples.shape[1] > len(samples):
        raise UserError(
            f"{name}: has {samples.shape[1]} channels of {len(samples)} samples; give "
            f"(samples, channels), transposed"
        )
    if samples.ndim == 2:
        samples = samples.mean(1)
    if not np.isfinite(samples).all():
        raise UserError(f"{name}: has NaN or infinite samples; replace it")
    return resample(samples, found, rate).astype(np.float32)


def find_recordings(arguments: Sequence[str]) -> List[Source]:
    """Return the recordings that files, folders and `-` name, each once.

    Files are taken whatever they are. Of what is in folders and below, only files
    count whose suffix libsndfile knows, or that are Ogg, Opus or MP3, in the order of
    their names. A folder below that can't be read stands among them: reading it fails.

    A recording's name is that of its file without suffix, or its path below the folder
    that was named; where two would be the same, all get paths from the folder that is
    above all, and if need be suffixes.

    Raises:
        UserError: a file that doesn't exist, or a folder without audio files.
    """
    # By the place, which may be named in two ways.
    found: Dict[str, Source] = {}
    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT:
            named = [Source("stdin", argument)]
        elif path.is_dir():
            named = [
                Source(p.relative_to(path).with_suffix("").as_posix(), str(p))
                for p in _audio_files(path)
            ]
        elif path.exists():
            named = [Source(path.stem, argument)]
        else:
            raise UserError(f"{argument}: no such file; name audio files or folders")
        for source in named:
            found.setdefault(os.path.abspath(source.path), source)
    short, paths = zip(*found.values())
    above = os.path.commonpath([os.path.dirname(place) for place in found])
    long = [Path(os.path.relpath(place, above)) for place in found]
    for names in (
        short,
        [path.with_suffix("").as_posix() for path in long],
        [path.as_posix() for path in long],
    ):
        if len(set(names)) == len(names):
            break
    return list(map(Source, map(printable, names), paths))


def _audio_files(folder: Path) -> List[Path]:
    """Audio files in a folder and below, and folders there that can't be read."""
    known = _suffixes()
    found: List[Path] = []

    def cannot_be_read(error: OSError) -> None:
        found.append(Path(error.filename))

    paths = files_below(folder, cannot_be_read)
    found += [path for path in paths if path.suffix.lower() in known]
    found.sort()
    if not found:
        raise UserError(f"{folder}: a folder without audio files; name another")
    return found


def _suffixes() -> List[str]:
    import soundfile

    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    # Raw samples have no header that would say their rate.
    return [*(known - {".raw"}), ".aif", ".oga", ".opus"]
