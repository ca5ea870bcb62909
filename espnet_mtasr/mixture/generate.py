"""Make recordings and data directories from lists of mixtures.

The lists may be ours (make_metadata.py), LibriMix's own CSVs or LibriSpeechMix's.
Existing recordings are not made again, so a stopped run can be resumed. Training sets
skip, count and list mixtures with bad sources; other sets stop before any is made. A
spec has the parts of a mixture (describe.py); render.py mixes it.
"""

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from espnet_mtasr.data.audio import pcm16, read_recording
from espnet_mtasr.data.tables import check_same_ids, write_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list, write_whole
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.mixture.describe import (
    KINDS,
    Corpus,
    Mixture,
    check_links,
    describe,
    files_of,
    probe_seconds,
    source_file,
)
from espnet_mtasr.mixture.lists import read_lists, single_talker_rows
from espnet_mtasr.mixture.metadata import MixtureRow
from espnet_mtasr.mixture.render import mix_spec
from espnet_mtasr.mixture.report import (
    SetReport,
    check_length,
    data_tables,
    format_report,
    summarize,
)
from espnet_mtasr.mixture.spec import MODES, recordings_of
from espnet_mtasr.progress import progress

VARIANTS = (*KINDS, "both", "alternate")
ALIASES = {"mix_clean": "clean", "mix_both": "noisy", "mix_single": "single"}
# Recordings also depend on this version of the arithmetic: increase it to remake them.
ARITHMETIC = 2


def prefix_of(set_name: str) -> str:
    """Return the beginning of a set's utterance ids.

    >>> prefix_of("train_mini2mix")
    'mini2mix'
    """
    return set_name.split("_", 1)[-1]


def data_dir_names(set_name: str, variant: str) -> Dict[str, str]:
    """Return data directory name to its kind.

    `alternate` keeps the set's name: every other mixture is noisy.

    >>> data_dir_names("dev_x", "clean,mix_single")
    {'dev_x_clean': 'clean', 'dev_x_single': 'single'}

    Raises:
        UserError: it is neither one of `VARIANTS` nor several kinds.
    """
    if variant == "alternate":
        return {set_name: "alternate"}
    named = "clean,noisy" if variant == "both" else variant
    kinds = [ALIASES.get(kind, kind) for kind in named.split(",")]
    if not all(kind in KINDS for kind in kinds):
        raise UserError(
            f"--set {set_name}: variant {variant!r}: choose from {', '.join(VARIANTS)}"
        )
    return {f"{set_name}_{kind}": kind for kind in kinds}


def write_recording(mixture: Mixture, corpus: Corpus) -> Optional[str]:
    """Make one recording; return what is wrong with a source, or None."""
    import soundfile

    audio = Path(mixture.audio)
    if audio.exists():
        return None
    try:
        samples = pcm16(mix_spec(mixture.spec))
    except UserError as e:
        return str(e)
    audio.parent.mkdir(parents=True, exist_ok=True)
    part = audio.with_name(audio.name + ".part")
    soundfile.write(
        part,
        samples,
        corpus.rate,
        format=corpus.audio_format.upper(),
        subtype="PCM_16",
    )
    os.replace(part, audio)
    return None


def _probe(path: str) -> Optional[str]:
    try:
        read_recording(path)
    except UserError as e:
        return str(e)
    return None


@dataclass
class SetBuilder:
    """The mixtures of one set, of one or more kinds.

    Attributes:
        name: Of the set; one that starts with `train` skips bad audio.
        rows: Its mixtures.
        kinds: Data directory to its kind: clean, noisy, single or alternate.
        corpus: Sources.
        folder: For `KIND/MIXTURE_ID.{flac,wav}`.
        in_place: Mixtures are the sources' own files; nothing is generated.
        listing: File for what is skipped, instead of `folder/skipped`.
    """

    name: str
    rows: Sequence[MixtureRow]
    kinds: Mapping[str, str]
    corpus: Corpus
    folder: Path
    in_place: bool = False
    listing: Optional[Path] = None

    def __post_init__(self) -> None:
        self.skips_bad_audio = self.name.startswith("train")
        self.skipped: Dict[str, str] = {}
        self.data: Dict[str, List[Mixture]] = {}
        if set(self.kinds.values()) <= {"clean"}:
            return
        for row in self.rows:
            if row.noise_path is None:
                raise UserError(
                    f"{row.origin}: the list has no column noise_path; choose variant "
                    f"clean"
                )
        if self.corpus.wham_noise is None:
            raise UserError(f"--set {self.name} with noise needs --wham_noise")

    def sources(self) -> List[Path]:
        """List the recordings of all talkers, each once."""
        paths = (source_file(self.corpus, p) for r in self.rows for p in r.source_paths)
        return list(dict.fromkeys(paths))

    def describe(self, seconds: Mapping[Path, Union[float, str]]) -> None:
        """Look up the parts of all mixtures; skip bad ones, or raise `UserError`."""
        for directory, kind in self.kinds.items():
            self.data[directory] = list(self._mixtures(kind, seconds))

    def _mixtures(
        self, kind: str, seconds: Mapping[Path, Union[float, str]]
    ) -> Iterator[Mixture]:
        for number, row in enumerate(self.rows):
            label = kind
            if kind == "alternate":
                label = ("clean", "noisy")[number % 2]
            utt = f"{prefix_of(self.name)}_{label}_{row.mixture_id}"
            audio = self.folder / label / f"{row.mixture_id}.{self.corpus.audio_format}"
            if self.in_place:
                utt = f"{prefix_of(self.name)}_{row.mixture_id}"
                audio = source_file(self.corpus, row.source_paths[0])
            try:
                yield describe(row, utt, audio, self.corpus, label, seconds)
            except UserError as e:
                self._skip(utt, str(e), row.origin)

    def _skip(self, utt: str, why: str, origin: str = "") -> None:
        if not self.skips_bad_audio:
            raise UserError(f"{origin or self.name}: {why}")
        self.skipped[utt] = why

    def _digest(self) -> str:
        sizes = {}
        for row in self.rows:
            for path in files_of(row, self.corpus):
                if path not in sizes:
                    sizes[path] = path.stat().st_size if path.exists() else -1
        stored = {k: str(v) for k, v in asdict(self.corpus).items()}
        files = {str(path): size for path, size in sizes.items()}
        described = json.dumps([ARITHMETIC, stored, list(map(repr, self.rows)), files])
        return hashlib.sha256(described.encode()).hexdigest()

    def drop_stale(self) -> None:
        """Remove recordings that were made from other metadata or sources.

        Raises:
            UserError: the folder has recordings of another mode, rate or format, which
                may still be wanted, or files that aren't ours.
        """
        if self.in_place:
            return
        note = self.folder / ".settings"
        c = self.corpus
        form = f"mode {c.mode}, {c.rate} Hz, {c.audio_format}"
        described = f"{form}\n{self._digest()}\n"
        if self.folder.exists() and not note.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder}: has other files; choose another --audio")
        if note.exists() and note.read_text() != described:
            there = note.read_text().split("\n")[0]
            if there.startswith("mode ") and there != form:
                raise UserError(
                    f"{self.folder}: has mixtures of {there}, not {form}; choose "
                    "another --audio, or remove the folder"
                )
            print(f"{self.folder}: was made from other metadata, making it again")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(described)

    def pending_sources(self) -> List[str]:
        """List the sources of recordings that must still be made."""
        paths = (p for mixture in self.pending() for p in recordings_of(mixture.spec))
        return list(dict.fromkeys(paths))

    def pending(self) -> List[Mixture]:
        """List the mixtures without a recording."""
        mixtures = (m for kept in self.data.values() for m in kept)
        return [m for m in mixtures if not os.path.exists(m.audio)]

    def generate(self, pool: ProcessPoolExecutor) -> None:
        """Make the recordings that are missing."""
        pending = self.pending()
        write = partial(write_recording, corpus=self.corpus)
        results = pool.map(write, pending, chunksize=8)
        label = f"{self.name}: mixtures"
        for mixture, why in zip(pending, progress(results, len(pending), label)):
            if why is not None:
                self._skip(mixture.utt, why)

    def kept(self) -> List[Mixture]:
        """List the mixtures that are not skipped."""
        mixtures = (m for found in self.data.values() for m in found)
        return [m for m in mixtures if m.utt not in self.skipped]

    def finish(self) -> Dict[str, List[Mixture]]:
        """Report what was skipped; return data directory to its mixtures."""
        listing = self.listing or self.folder / "skipped"
        lines = [f"{utt} {why}" for utt, why in self.skipped.items()]
        write_list(listing, lines)
        if lines:
            total = len(self.rows) * len(self.kinds)
            print(
                f"{self.name}: skipped {len(lines)} of {total} mixtures, "
                f"listed in {listing}, as: {lines[0]}",
                file=sys.stderr,
            )
        for directory, mixtures in self.data.items():
            kept = [m for m in mixtures if m.utt not in self.skipped]
            if not kept:
                raise UserError(f"{directory}: no mixture is left; see {listing}")
            self.data[directory] = kept
        return self.data


def _builders(
    sets: Sequence[Tuple[str, str, str]],
    singles: Sequence[Tuple[str, str]],
    corpus: Corpus,
    audio_root: Path,
) -> List[SetBuilder]:
    builders = []
    for name, lists, variant in sets:
        kinds = data_dir_names(name, variant)
        rows = read_lists(lists)
        builders.append(SetBuilder(name, rows, kinds, corpus, audio_root / name))
    whole = replace(corpus, mode="max")
    for name, subsets in singles:
        rows = single_talker_rows(corpus.librispeech, subsets)
        builders.append(
            SetBuilder(name, rows, {name: "clean"}, whole, audio_root / name, True)
        )
    directories = [d for builder in builders for d in builder.kinds]
    for directory in directories:
        if directories.count(directory) > 1:
            raise UserError(f"two sets make {directory}; give them different names")
    return builders


def _check_combined(
    combined: Mapping[str, Sequence[str]], directories: Sequence[str]
) -> None:
    for name, parts in combined.items():
        for part in parts:
            if part not in directories:
                raise UserError(
                    f"--combine {name}: no set {part}; there are "
                    f"{', '.join(directories)}"
                )


def _stop_on_bad_audio(
    builders: Sequence[SetBuilder], pool: ProcessPoolExecutor
) -> None:
    strict = [b for b in builders if not b.skips_bad_audio]
    sources = list(dict.fromkeys(p for b in strict for p in b.pending_sources()))
    probes = pool.map(_probe, sources, chunksize=32)
    bad = [why for why in progress(probes, len(sources), "checking audio") if why]
    if bad:
        more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{more}; nothing was generated")


def generate_sets(
    sets: Sequence[Tuple[str, str, str]],
    combined: Mapping[str, Sequence[str]],
    corpus: Corpus,
    audio_root: Path,
    data_root: Path,
    nj: int,
    singles: Sequence[Tuple[str, str]] = (),
    on_the_fly: bool = False,
    follow_links: bool = False,
) -> Dict[str, SetReport]:
    """Make recordings and data directories, print the report.

    Args:
        sets: (name, lists, variant). Lists: see `read_lists`. Variants: clean, noisy,
            single, several separated by commas, or both for clean,noisy (a data
            directory each, `NAME_clean` and so on); alternate (one, `NAME`).
        combined: Data directories that combine others: name to its parts.
        corpus: Sources, and how mixtures are made.
        audio_root: For `NAME/{clean,noisy,single}/MIXTURE_ID.{flac,wav}`.
        data_root: For the data directories, each with its figures in `report.json`.
        nj: Parallel processes.
        singles: (name, LibriSpeech subsets separated by commas): data directories of
            single utterances; recordings stay where they are.
        on_the_fly: Make no recordings: data directories get no `wav.scp`, and mixtures
            are made from their specs while loading.
        follow_links: Links in the corpora may lead out of them.

    Raises:
        UserError: metadata are bad, a link leads out of a corpus, sources of a set that
            isn't for training are bad, or parts are unknown or overlap.
    """
    if corpus.mode not in MODES:
        raise UserError(f"--mode {corpus.mode}: choose one of {MODES}")
    builders = _builders(sets, singles, corpus, audio_root)
    _check_combined(combined, [d for builder in builders for d in builder.kinds])
    if not follow_links:
        for builder in builders:
            for row in builder.rows:
                check_links(row, builder.corpus)
    data: Dict[str, List[Mixture]] = {}
    with worker_pool(nj) as pool:
        files = list(
            dict.fromkeys(p for builder in builders for p in builder.sources())
        )
        lengths = pool.map(probe_seconds, files, chunksize=64)
        seconds = dict(zip(files, progress(lengths, len(files), "reading headers")))
        for builder in builders:
            builder.describe(seconds)
        if not on_the_fly:
            _make_recordings(builders, pool)
    for builder in builders:
        if on_the_fly:
            # Its folder is for recordings, and may have some.
            builder.listing = data_root / "local" / f"{builder.name}.skipped"
        data.update(builder.finish())
    for name, parts in combined.items():
        data[name] = [m for part in parts for m in data[part]]
        if len({m.utt for m in data[name]}) < len(data[name]):
            raise UserError(f"--combine {name}: the parts share ids; give each once")
    reports = {name: summarize(mixtures) for name, mixtures in data.items()}
    for name, mixtures in data.items():
        tables = data_tables(mixtures)
        if on_the_fly:
            del tables["wav.scp"]
        check_same_ids({f"{data_root / name}/{t}": v for t, v in tables.items()})
        write_data_dir(data_root / name, tables)
        figures = json.dumps(asdict(reports[name]), indent=2)
        write_whole(data_root / name / "report.json", figures + "\n")
    print(format_report(reports))
    if on_the_fly:
        made = [d for b in builders if not b.in_place for d in b.kinds]
        hours = sum(reports[directory].hours for directory in made)
        folders = [data_root / name for name in reports]
        print(_compare_sizes(folders, hours, corpus.rate))
    return reports


def _make_recordings(builders: Sequence[SetBuilder], pool: ProcessPoolExecutor) -> None:
    for builder in builders:
        builder.drop_stale()
    _stop_on_bad_audio(builders, pool)
    for builder in builders:
        builder.generate(pool)
        if not builder.in_place:
            check = partial(check_length, rate=builder.corpus.rate)
            list(pool.map(check, builder.kept(), chunksize=64))


def _compare_sizes(folders: Sequence[Path], hours: float, rate: int) -> str:
    """Return how large the lists are and how large recordings would be."""
    lists = sum(path.stat().st_size for f in folders for path in f.iterdir())
    recordings = hours * 3600 * rate * 2
    return (
        f"{len(folders)} data directories with {lists / 1e6:.1f} MB of lists and no "
        f"recordings, which would take {recordings / 1e9:.2f} GB as 16-bit WAV"
    )
