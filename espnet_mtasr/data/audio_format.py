"""Bring recordings into one form: rate, speed, one channel, 16 bits; cut segments.

Like ESPnet's format_wav_scp, but without Kaldi or sox. Several channels are averaged.
Entries of wav.scp may be commands or places in archives (kaldi_entries.py). kaldiio
writes archives (`flac.ark`, `wav.ark`): FLAC or WAV instead of Kaldi's matrices, which
ESPnet reads as data of type `kaldi_ark`, and lines `UTTERANCE ARCHIVE:OFFSET`.
"""

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from espnet_mtasr.data.audio_check import AudioInfo, check_audio
from espnet_mtasr.data.kaldi_entries import held_by
from espnet_mtasr.errors import UserError
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.progress import progress

FORMATS = {"flac": "FLAC", "wav": "WAV", "flac.ark": "FLAC", "wav.ark": "WAV"}
ARCHIVE_SIZE = 200
# Ends of segments are often rounded to hundredths of a second.
ROUNDING_SECONDS = 0.01


class Cut(NamedTuple):
    """An utterance's part of a recording; `end` in seconds, None: all of it."""

    utt: str
    path: str
    start: float = 0.0
    end: Optional[float] = None


class Done(NamedTuple):
    """An utterance's new path, its samples, and its problem, if any."""

    utt: str
    path: str
    num_samples: int
    problem: str = ""


@dataclass(frozen=True)
class AudioForm:
    """Wanted form.

    Attributes:
        out_dir: Where converted recordings go.
        fs: Rate in Hz.
        audio_format: One of `FORMATS`.
        speed: Times faster, for instance "0.9".
    """

    out_dir: Path
    fs: int
    audio_format: str
    speed: str = "1"


# Segments of one recording, or of its two sides, are adjacent.
@lru_cache(maxsize=2)
def _open(path: str) -> Tuple[AudioInfo, Optional[bytes]]:
    """Return a recording's header, and its content if `path` is not a file."""
    held = held_by(path)
    return check_audio(path, held=held), held


def _convert(cut: Cut, form: AudioForm) -> Optional[np.ndarray]:
    """Return (N,) float32 at `form.fs`, or None if the recording needs no conversion.

    Raises:
        UserError: a bad recording, or a segment that ends after it.
    """
    import soundfile
    from scipy.signal import resample_poly

    name = f"{cut.path} (utterance {cut.utt})"
    if cut.end is None:
        held = held_by(cut.path, f" (utterance {cut.utt})")
        info = check_audio(cut.path, cut.utt, held)
        wanted = AudioInfo(
            info.num_samples, form.fs, 1, FORMATS[form.audio_format], "PCM_16"
        )
        fits = info == wanted and form.speed == "1" and held is None
        if fits and not form.audio_format.endswith(".ark"):
            return None
        first, last = 0, info.num_samples
    else:
        info, held = _open(cut.path)
        seconds = info.num_samples / info.rate
        if cut.end > seconds + ROUNDING_SECONDS:
            raise UserError(
                f"{name}: its segment ends at {cut.end} s, but the recording ends at "
                f"{seconds:.2f} s; fix segments"
            )
        first = round(cut.start * info.rate)
        last = min(round(cut.end * info.rate), info.num_samples)
        if first >= last:
            raise UserError(f"{name}: its segment has no samples; fix segments")
    try:
        samples, _ = soundfile.read(
            cut.path if held is None else BytesIO(held),
            dtype="float32",
            always_2d=True,
            start=first,
            stop=last,
        )
    except soundfile.LibsndfileError as e:
        raise UserError(f"{name}: is damaged ({e}); replace it") from e
    # Playing `speed` times faster leaves 1 / speed of the samples.
    ratio = Fraction(form.fs, info.rate) / Fraction(form.speed).limit_denominator(100)
    return resample_poly(samples.mean(1), ratio.numerator, ratio.denominator)


def _write_file(cut: Cut, form: AudioForm) -> List[Done]:
    """Convert to a separate file."""
    import soundfile

    try:
        samples = _convert(cut, form)
    except UserError as e:
        return [Done(cut.utt, cut.path, 0, str(e))]
    if samples is None:
        return [Done(cut.utt, cut.path, soundfile.info(cut.path).frames)]
    target = form.out_dir / f"{cut.utt}.{form.audio_format}"
    part = target.with_name(target.name + ".part")
    soundfile.write(part, samples, form.fs, "PCM_16", format=FORMATS[form.audio_format])
    os.replace(part, target)
    return [Done(cut.utt, str(target.absolute()), len(samples))]


def _write_archive(job: Tuple[int, List[Cut]], form: AudioForm) -> List[Done]:
    """Convert to an archive, which is written atomically."""
    import kaldiio

    number, cuts = job
    target = (form.out_dir / f"audio.{number}.ark").absolute()
    part = target.with_name(target.name + ".part")
    done = []
    with part.open("wb") as f:
        for cut in cuts:
            try:
                samples = _convert(cut, form)
            except UserError as e:
                done.append(Done(cut.utt, cut.path, 0, str(e)))
                continue
            assert samples is not None, "an archive takes every recording"
            # Readers start after the key and its space.
            offset = f.tell() + len(cut.utt.encode()) + 1
            kaldiio.save_ark(
                f,
                {cut.utt: (form.fs, samples)},
                write_function="soundfile",
                write_kwargs={
                    "format": FORMATS[form.audio_format],
                    "subtype": "PCM_16",
                },
            )
            done.append(Done(cut.utt, f"{target}:{offset}", len(samples)))
    os.replace(part, target)
    return done


def _run(cuts: List[Cut], form: AudioForm, nj: int) -> Iterator[List[Done]]:
    """Convert in `nj` processes; results in the order of `cuts`."""
    jobs: Sequence[Any]
    work: Callable[[Any], List[Done]]
    if form.audio_format.endswith(".ark"):
        jobs = [
            (number, cuts[first : first + ARCHIVE_SIZE])
            for number, first in enumerate(range(0, len(cuts), ARCHIVE_SIZE), 1)
        ]
        work, chunksize = partial(_write_archive, form=form), 1
    else:
        jobs, work, chunksize = cuts, partial(_write_file, form=form), 16
    if nj > 1:
        with worker_pool(nj) as pool:
            yield from pool.map(work, jobs, chunksize=chunksize)
    else:
        yield from map(work, jobs)


def format_audio(
    tables: Dict[str, Dict[str, str]], form: AudioForm, nj: int
) -> Tuple[Dict[str, Dict[str, str]], List[str]]:
    """Bring the recordings of a data directory into one form.

    A recording that already has this form stays where it is, unless archives are made.

    Args:
        tables: From `read_data_dir`; if there are `segments`, utterances are cut out.
        form: The requested form.
        nj: Processes.

    Returns:
        Tables of the good utterances, with `utt2num_samples` and without `segments`,
        and a line for each bad one.
    """
    form.out_dir.mkdir(parents=True, exist_ok=True)
    cuts = list_cuts(tables)
    label = f"{form.out_dir.parent.name}: recordings"
    found = chain.from_iterable(_run(cuts, form, nj))
    results = list(progress(found, len(cuts), label))
    bad = [f"{done.utt} {done.problem}" for done in results if done.problem]
    good = {done.utt: done for done in results if not done.problem}
    kept = {
        name: {utt: value for utt, value in table.items() if utt in good}
        for name, table in tables.items()
        if name != "segments"
    }
    kept["wav.scp"] = {utt: done.path for utt, done in good.items()}
    kept["utt2num_samples"] = {utt: str(done.num_samples) for utt, done in good.items()}
    return kept, bad


def list_cuts(tables: Dict[str, Dict[str, str]]) -> List[Cut]:
    """Return what to read for each utterance of tables from `read_data_dir`."""
    wavs = tables["wav.scp"]
    if "segments" not in tables:
        return [Cut(utt, path) for utt, path in wavs.items()]
    cuts = []
    for utt, line in tables["segments"].items():
        recording, start, end = line.split()
        cuts.append(Cut(utt, wavs[recording], float(start), float(end)))
    return cuts
