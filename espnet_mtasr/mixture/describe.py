"""Describe a mixture of a list: its spec, talkers, texts and times.

Kinds are those of LibriMix: `clean` (mix_clean: all talkers), `noisy` (mix_both: all
talkers and noise), `single` (mix_single: the first talker and noise, as long as the
mixture of all).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Tuple, Union

from espnet_mtasr.corpora.librispeech import find_audio, find_noise, talker_of, text_of
from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.data.audio_end import in_words, missing_seconds
from espnet_mtasr.data.names import check_link
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source

KINDS = ("clean", "noisy", "single")
# A list's and a recording's duration may differ by this many seconds.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Corpus:
    """Where sources are, and how mixtures are made and stored.

    Attributes:
        librispeech: Root of the source paths.
        wham_noise: Root of the noise paths; may be missing for clean mixtures.
        rate: Hz of the mixtures; sources of other rates are resampled.
        audio_format: flac or wav, 16 bits.
        mode: `max`: a mixture ends when the last talker ends. `min`: when the first
            does; this cuts words, so such mixtures have no text.
    """

    librispeech: Path
    wham_noise: Optional[Path]
    rate: int = 16000
    audio_format: str = "flac"
    mode: str = "max"


@dataclass(frozen=True)
class Mixture:
    """A generated mixture; talkers in onset order.

    Attributes:
        utt: Utterance id.
        audio: Absolute path of its recording.
        talkers: Names.
        texts: Lower case; () if the recording cuts words.
        intervals: (onset, end) of each talker in seconds.
        spec: What it is made of.
    """

    utt: str
    audio: str
    talkers: Tuple[str, ...]
    texts: Tuple[str, ...]
    intervals: Tuple[Tuple[float, float], ...]
    spec: MixtureSpec

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.spec.seconds

    @property
    def gaps(self) -> List[float]:
        """Seconds between each onset and the next."""
        onsets = [start for start, _ in self.intervals]
        return [b - a for a, b in zip(onsets, onsets[1:])]


def check_mixture(mixture: Mixture) -> None:
    """Check one mixture before its audio is made.

    Talkers may all begin at 0, as in stock LibriMix, which has no order of onsets.
    Otherwise no two may begin at the same time.

    Raises:
        UserError: a talker occurs twice, onsets are not sorted or not distinct, a text
            is empty, or a talker begins after the end of a cut recording.
    """
    if len(set(mixture.talkers)) < len(mixture.talkers):
        raise UserError(
            f"{mixture.utt}: talkers {', '.join(mixture.talkers)} do not differ; "
            "remove the mixture from its metadata"
        )
    if any(gap < 0 for gap in mixture.gaps):
        raise UserError(f"{mixture.utt}: onsets are not sorted: {mixture.intervals}")
    if 0 in mixture.gaps and any(start != 0 for start, _ in mixture.intervals):
        onsets = ", ".join(f"{start:g}" for start, _ in mixture.intervals)
        raise UserError(
            f"{mixture.utt}: two talkers begin at the same time (onsets {onsets} s); "
            "give them different onsets, or all 0 for stock LibriMix"
        )
    if any(end <= start for start, end in mixture.intervals):
        raise UserError(
            f"{mixture.utt}: a talker begins after the end of the first to end "
            f"({mixture.seconds:g} s); remove the mixture or use --mode max"
        )
    if not all(mixture.texts):
        raise UserError(
            f"{mixture.utt}: a talker has no words; remove it from its metadata"
        )


def source_file(corpus: Corpus, path: str) -> Path:
    """Return the recording of a source path, with the corpus's suffix."""
    return find_audio(corpus.librispeech / path)


def probe_seconds(path: Path) -> Union[float, str]:
    """Return a recording's duration from its header, or what is wrong with it."""
    import soundfile

    try:
        info = soundfile.info(path)
        if info.frames == 0:
            return f"{path}: holds no samples; restore it"
        seconds = info.frames / info.samplerate
        missing = missing_seconds(path)
        if missing is not None:
            return f"{path}: is truncated, {in_words(missing, seconds)}; restore it"
        return seconds
    except soundfile.SoundFileError as e:
        try:
            read_recording(path)
        except UserError as problem:
            return str(problem)
        return f"{path}: cannot be read ({e}); restore it"


def describe(
    row: MixtureRow,
    utt: str,
    audio: Path,
    corpus: Corpus,
    kind: str,
    seconds: Mapping[Path, Union[float, str]],
) -> Mixture:
    """Look up talkers, texts and durations of a row; talkers sorted by onset.

    Args:
        row: From a list.
        utt: Utterance id.
        audio: Where the recording is or will be.
        corpus: Sources.
        kind: One of `KINDS`.
        seconds: Durations of the sources' files, or what is wrong with them; see
            `probe_seconds`.

    Raises:
        UserError: a source is missing or unreadable, has no line in its transcripts or
            differs from the list, or `check_mixture` fails.
    """
    order = sorted(range(row.n_talkers), key=lambda k: row.onsets[k])
    parts = [_source(row, k, corpus, seconds) for k in range(row.n_talkers)]
    heard = [0] if kind == "single" else order
    spec = MixtureSpec(
        tuple(parts[k] for k in heard),
        tuple(row.onsets[k] for k in heard),
        None if kind == "clean" else _noise(row, corpus),
        corpus.rate,
        corpus.mode,
        tuple(row.onsets[k] + parts[k].seconds for k in order if k not in heard),
    )
    texts = tuple(_text(row, k, corpus) for k in heard)
    mixture = Mixture(
        utt,
        os.path.abspath(audio),
        tuple(source.talker for source in spec.sources),
        texts if corpus.mode == "max" else (),
        tuple(
            (onset, min(onset + source.seconds, spec.seconds))
            for onset, source in zip(spec.onsets, spec.sources)
        ),
        spec,
    )
    check_mixture(mixture)
    return mixture


def _source(
    row: MixtureRow,
    k: int,
    corpus: Corpus,
    seconds: Mapping[Path, Union[float, str]],
) -> Source:
    path = source_file(corpus, row.source_paths[k])
    length = seconds[path]
    if isinstance(length, str):
        raise UserError(length)
    if row.seconds is not None and abs(row.seconds[k] - length) > TOLERANCE:
        raise UserError(
            f"{path}: lasts {length:g} s, {row.origin} says {row.seconds[k]:g} s; "
            f"restore the one that is wrong"
        )
    talker = talker_of(row.source_paths[k])
    return Source(os.path.abspath(path), row.source_gains[k], talker, length)


def _text(row: MixtureRow, k: int, corpus: Corpus) -> str:
    name, text = text_of(corpus.librispeech, row.source_paths[k])
    path = corpus.librispeech / row.source_paths[k]
    if text is None:
        raise UserError(
            f"{path}: {name} has no line in the chapter's *.trans.txt; add it"
        )
    if row.texts is not None and row.texts[k].lower().split() != text.lower().split():
        raise UserError(
            f"{path}: the transcript is {text!r}, {row.origin} says {row.texts[k]!r}; "
            f"restore the one that is wrong"
        )
    return text.lower()


def _noise(row: MixtureRow, corpus: Corpus) -> Noise:
    # generate.py has checked this for all rows of a set.
    assert corpus.wham_noise is not None
    assert row.noise_path is not None and row.noise_gain is not None
    path, speed = find_noise(corpus.wham_noise / row.noise_path)
    if not path.is_file():
        raise UserError(f"{path}: no such noise; restore it or remove its mixtures")
    return Noise(os.path.abspath(path), row.noise_gain, speed=speed)


def _files_and_roots(row: MixtureRow, corpus: Corpus) -> List[Tuple[Path, Path]]:
    found = [(source_file(corpus, p), corpus.librispeech) for p in row.source_paths]
    if row.noise_path is not None and corpus.wham_noise is not None:
        noise, _ = find_noise(corpus.wham_noise / row.noise_path)
        found.append((noise, corpus.wham_noise))
    return found


def files_of(row: MixtureRow, corpus: Corpus) -> Tuple[Path, ...]:
    """List the recordings in a row's mixtures, of any kind."""
    return tuple(path for path, _ in _files_and_roots(row, corpus))


def check_links(row: MixtureRow, corpus: Corpus) -> None:
    """Raise `UserError` if links lead from a row's recordings out of the corpus."""
    for path, root in _files_and_roots(row, corpus):
        check_link(path, root)
