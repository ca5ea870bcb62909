"""Make recordings and data directories from mixture metadata.

The metadata may be ours (make_metadata.py) or LibriMix's own CSVs. A mixture whose
recording is there is not made again, so a stopped run goes on where it was. Training
sets skip, count and list mixtures with bad sources; others stop before any is made.
"""

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.corpus import talker_of, text_of
from espnet_mtasr.mixture.data_dir import check_same_ids, write_data_dir
from espnet_mtasr.mixture.metadata import MixtureRow, read_metadata
from espnet_mtasr.mixture.mixing import mix, read_audio
from espnet_mtasr.mixture.progress import progress
from espnet_mtasr.mixture.recipe import MixtureRecipe, Noise, Source
from espnet_mtasr.mixture.report import (
    Mixture,
    SetReport,
    check_length,
    check_mixture,
    data_tables,
    format_report,
    summarize,
)

VARIANTS = ("clean", "noisy", "both", "alternate")


@dataclass(frozen=True)
class Corpus:
    """Where sources lie and how mixtures are stored.

    Attributes:
        librispeech: Root of the source paths.
        wham_noise: Root of the noise paths; may be missing for clean mixtures.
        rate: Hz of the mixtures; sources of other rates are resampled.
        audio_format: flac or wav, 16 bits.
    """

    librispeech: Path
    wham_noise: Optional[Path]
    rate: int = 16000
    audio_format: str = "flac"


@dataclass(frozen=True)
class Job:
    """One recording to make."""

    row: MixtureRow
    noisy: bool
    audio: Path
    mixture: Mixture


def prefix_of(set_name: str) -> str:
    """Return what begins a set's utterance ids.

    >>> prefix_of("train_mini2mix")
    'mini2mix'
    """
    return set_name.split("_", 1)[-1]


def data_dir_names(set_name: str, variant: str) -> Dict[str, str]:
    """Return data directory name to the variant it holds.

    `alternate` keeps the set's name: every other mixture is noisy.
    """
    if variant == "alternate":
        return {set_name: "alternate"}
    chosen = ("clean", "noisy") if variant == "both" else (variant,)
    return {f"{set_name}_{v}": v for v in chosen}


def describe(
    row: MixtureRow, utt: str, audio: Path, corpus: Corpus, noisy: bool
) -> Mixture:
    """Look up talkers, texts and durations of a row; talkers sorted by onset.

    Raises:
        UserError: a source is missing or unreadable, has no line in its transcripts,
            or `check_mixture` fails.
    """
    root = corpus.librispeech
    order = sorted(range(row.n_talkers), key=lambda k: row.onsets[k])
    talkers, texts, intervals, sources = [], [], [], []
    for k in order:
        path = row.source_paths[k]
        seconds = _duration(root / path)
        name, text = text_of(root, path)
        if text is None:
            raise UserError(
                f"{root / path}: {name} has no line in the chapter's *.trans.txt; "
                f"add it"
            )
        talkers.append(talker_of(path))
        texts.append(text.lower())
        intervals.append((row.onsets[k], row.onsets[k] + seconds))
        sources.append(
            Source(
                os.path.abspath(root / path), row.source_gains[k], talkers[-1], seconds
            )
        )
    noise = None
    if noisy:
        noise = Noise(
            os.path.abspath(corpus.wham_noise / row.noise_path), row.noise_gain
        )
    mixture = Mixture(
        utt,
        os.path.abspath(audio),
        tuple(talkers),
        tuple(texts),
        tuple(intervals),
        MixtureRecipe(
            tuple(sources), tuple(row.onsets[k] for k in order), noise, corpus.rate
        ),
    )
    check_mixture(mixture)
    return mixture


def _duration(path: Path) -> float:
    import soundfile

    try:
        info = soundfile.info(path)
    except soundfile.SoundFileError:
        read_audio(path, 16000)  # raises the error that says why
        raise
    if info.frames == 0:
        raise UserError(f"{path}: holds no samples; restore it")
    return info.frames / info.samplerate


def render(job: Job, corpus: Corpus) -> Optional[str]:
    """Make one recording; return what is wrong with a source, else None."""
    import soundfile

    if job.audio.exists():
        return None
    row, rate = job.row, corpus.rate
    try:
        sources = [read_audio(corpus.librispeech / p, rate) for p in row.source_paths]
        noise = None
        if job.noisy:
            noise = read_audio(corpus.wham_noise / row.noise_path, rate)
    except UserError as e:
        return str(e)
    onsets = [int(onset * rate) for onset in row.onsets]
    mixture = mix(sources, row.source_gains, onsets, noise, row.noise_gain, rate)
    job.audio.parent.mkdir(parents=True, exist_ok=True)
    part = job.audio.with_name(job.audio.name + ".part")
    soundfile.write(
        part,
        np.clip(mixture, -1.0, 1.0),
        rate,
        format=corpus.audio_format.upper(),
        subtype="PCM_16",
    )
    os.replace(part, job.audio)
    return None


def _probe(path: Path) -> Optional[str]:
    try:
        read_audio(path, 16000)
    except UserError as e:
        return str(e)
    return None


class SetBuilder:
    """The mixtures of one metadata file, in one or two variants."""

    def __init__(
        self, name: str, csv: Path, variant: str, corpus: Corpus, audio_root: Path
    ) -> None:
        if variant not in VARIANTS:
            raise UserError(f"--set {name}: variant {variant!r}: choose of {VARIANTS}")
        self.name, self.csv, self.variant, self.corpus = name, csv, variant, corpus
        self.folder = audio_root / name
        self.skips_bad_audio = name.startswith("train")
        self.rows = read_metadata(csv)
        self.skipped: Dict[str, str] = {}
        if variant != "clean" and self.rows[0].noise_path is None:
            raise UserError(f"{csv}:1: lacks column noise_path; choose variant clean")
        if variant != "clean" and corpus.wham_noise is None:
            raise UserError(f"--set {name} {variant} needs --wham_noise")
        self.jobs = {
            directory: self._jobs(kind)
            for directory, kind in data_dir_names(name, variant).items()
        }

    def _jobs(self, kind: str) -> List[Job]:
        jobs = []
        for number, row in enumerate(self.rows):
            noisy = kind == "noisy" or (kind == "alternate" and number % 2 == 1)
            label = "noisy" if noisy else "clean"
            file = f"{row.mixture_id}.{self.corpus.audio_format}"
            audio = self.folder / label / file
            utt = f"{prefix_of(self.name)}_{label}_{row.mixture_id}"
            try:
                mixture = describe(row, utt, audio, self.corpus, noisy)
            except UserError as e:
                self._skip(utt, str(e))
                continue
            jobs.append(Job(row, noisy, audio, mixture))
        return jobs

    def _skip(self, utt: str, why: str) -> None:
        if not self.skips_bad_audio:
            raise UserError(f"{self.csv}: {why}")
        self.skipped[utt] = why

    def _digest(self) -> str:
        sizes = {}
        for row in self.rows:
            paths = [self.corpus.librispeech / p for p in row.source_paths]
            if row.noise_path is not None and self.corpus.wham_noise is not None:
                paths.append(self.corpus.wham_noise / row.noise_path)
            for path in paths:
                if str(path) not in sizes:
                    sizes[str(path)] = path.stat().st_size if path.exists() else -1
        stored = {k: str(v) for k, v in asdict(self.corpus).items()}
        described = json.dumps([stored, self.csv.read_text("utf-8"), sizes])
        return hashlib.sha256(described.encode()).hexdigest()

    def drop_stale(self) -> None:
        """Remove recordings that were made from other metadata or sources."""
        note = self.folder / ".settings"
        digest = self._digest()
        if self.folder.exists() and not note.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder}: holds other files; choose another --audio")
        if note.exists() and note.read_text() != digest:
            print(f"{self.folder}: made from other metadata, is made anew")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(digest)

    def pending_sources(self) -> List[Path]:
        """List the files that recordings still to be made are mixed from."""
        paths = {}
        for job in self.pending():
            paths.update((self.corpus.librispeech / p, 0) for p in job.row.source_paths)
            if job.noisy:
                paths[self.corpus.wham_noise / job.row.noise_path] = 0
        return list(paths)

    def pending(self) -> List[Job]:
        return [j for jobs in self.jobs.values() for j in jobs if not j.audio.exists()]

    def generate(self, pool: ProcessPoolExecutor) -> None:
        """Make the recordings that are missing."""
        pending = self.pending()
        results = pool.map(partial(render, corpus=self.corpus), pending, chunksize=8)
        label = f"{self.name}: mixtures"
        for job, why in zip(pending, progress(results, len(pending), label)):
            if why is not None:
                self._skip(job.mixture.utt, why)

    def finish(self) -> Dict[str, List[Mixture]]:
        """Say and list what was skipped; return data directory to its mixtures."""
        listing = self.folder / "skipped"
        lines = [f"{utt} {why}" for utt, why in self.skipped.items()]
        write_list(listing, lines)
        if lines:
            print(
                f"{self.name}: skipped {len(lines)} of {len(self.rows)} mixtures, "
                f"listed in {listing}, as: {lines[0]}",
                file=sys.stderr,
            )
        kept = {
            directory: [j.mixture for j in jobs if j.mixture.utt not in self.skipped]
            for directory, jobs in self.jobs.items()
        }
        for directory, mixtures in kept.items():
            if not mixtures:
                raise UserError(f"{directory}: no mixture is left; see {listing}")
        return kept


def generate_sets(
    sets: Sequence[Tuple[str, Path, str]],
    combined: Mapping[str, Sequence[str]],
    corpus: Corpus,
    audio_root: Path,
    data_root: Path,
    nj: int,
) -> Dict[str, SetReport]:
    """Make recordings and data directories, print the report.

    Args:
        sets: (name, metadata CSV, variant); variants: clean, noisy, both (a data
            directory each, `NAME_clean` and `NAME_noisy`), alternate (one, `NAME`).
        combined: Data directory to make out of others: name to its parts.
        corpus: Sources.
        audio_root: Gets `NAME/{clean,noisy}/MIXTURE_ID.{flac,wav}`.
        data_root: Gets the data directories.
        nj: Parallel processes.

    Raises:
        UserError: bad metadata; bad sources of a set that is no training set; unknown
            or overlapping parts.
    """
    known = [d for name, _, variant in sets for d in data_dir_names(name, variant)]
    for name, parts in combined.items():
        for part in parts:
            if part not in known:
                raise UserError(
                    f"--combine {name}: no set {part}; there are {', '.join(known)}"
                )
    builders = [SetBuilder(*spec, corpus, audio_root) for spec in sets]
    for builder in builders:
        builder.drop_stale()
    data: Dict[str, List[Mixture]] = {}
    with ProcessPoolExecutor(max(1, nj)) as pool:
        strict = [b for b in builders if not b.skips_bad_audio]
        sources = list(dict.fromkeys(p for b in strict for p in b.pending_sources()))
        probes = pool.map(_probe, sources, chunksize=32)
        bad = [why for why in progress(probes, len(sources), "checking audio") if why]
        if bad:
            more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
            raise UserError(f"{bad[0]}{more}; nothing was generated")
        for builder in builders:
            builder.generate(pool)
            data.update(builder.finish())
        for mixtures in data.values():
            list(
                pool.map(
                    partial(check_length, rate=corpus.rate), mixtures, chunksize=64
                )
            )
    for name, parts in combined.items():
        data[name] = [m for part in parts for m in data[part]]
        if len({m.utt for m in data[name]}) < len(data[name]):
            raise UserError(f"--combine {name}: the parts share ids; name each once")
    for name, mixtures in data.items():
        tables = data_tables(mixtures)
        check_same_ids({f"{data_root / name}/{t}": v for t, v in tables.items()})
        write_data_dir(data_root / name, tables)
    reports = {name: summarize(data[name]) for name in data}
    print(format_report(reports))
    return reports
