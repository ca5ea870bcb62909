"""Read corpora in LibriSpeech's layout: SUBSET/TALKER/CHAPTER/ID.{flac,wav}.

LibriSpeech: Panayotov et al., ICASSP 2015. Texts are in `*.trans.txt` of each chapter.
The folder names are the talkers; SPEAKERS.TXT has their gender, and may be missing. Any
of the folders may be links.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import files_below

AUDIO_SUFFIXES = (".flac", ".wav")
PERTURBED = re.compile(r"(.+?)_?sp(\d)(\d+)")


@dataclass(frozen=True)
class Utterance:
    """One utterance of a talker.

    Attributes:
        id: The audio file's name without suffix.
        path: Relative to the corpus folder.
        talker: Name of the folder above the chapter.
        text: As in the transcript file.
    """

    id: str
    path: str
    talker: str
    text: str


@dataclass(frozen=True)
class Scan:
    """Contents of a subset: usable utterances, and the ids of skipped ones."""

    utterances: List[Utterance]
    empty: List[str]
    missing: List[str]


def talker_of(path: str) -> str:
    """Return the talker of an audio path.

    >>> talker_of("test-clean/61/70968/61-70968-0000.flac")
    '61'
    """
    return Path(path).parts[-3]


@lru_cache(maxsize=None)
def _genders_above(folder: Path) -> Dict[str, str]:
    """Read the SPEAKERS.TXT of the folder or of the nearest above: talker to M or F."""
    file = folder / "SPEAKERS.TXT"
    if not file.is_file():
        return {} if folder == folder.parent else _genders_above(folder.parent)
    # Names come last, in encodings that differ between copies; they aren't needed.
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [[f.strip() for f in line.split("|")] for line in lines if line[:1] != ";"]
    return {row[0]: row[1] for row in rows if row[1:] and row[1] in ("M", "F")}


def gender_of(path: str, talker: str) -> Optional[str]:
    """Return a talker's gender, M or F, by LibriSpeech's SPEAKERS.TXT.

    Args:
        path: A recording; the file is in a folder above it.
        talker: As `talker_of` names them.

    Returns:
        None if there is no such file, or it doesn't have the talker.
    """
    return _genders_above(Path(path).absolute().parent).get(talker)


def find_audio(path: Path) -> Path:
    """Return `path`, or the file beside it with the other suffix if only that exists.

    LibriSpeechMix's lists, for instance, name WAV files where LibriSpeech has FLAC.
    """
    if path.is_file():
        return path
    others = (path.with_suffix(suffix) for suffix in AUDIO_SUFFIXES)
    return next((p for p in others if p.is_file()), path)


def find_noise(path: Path) -> Tuple[Path, float]:
    """Return the file of a noise and its playing speed.

    LibriMix's training lists name noise at 0.8 and 1.2 of its speed, `Xsp08.wav` and
    `Xsp12.wav`, which LibriMix's augment_train_noise.py adds to WHAM! by sox. If such a
    file is missing but `X.wav` exists, that is perturbed while it is read, and nothing
    is written beside it.

    >>> PERTURBED.fullmatch("01aa_0.3sp12").groups()
    ('01aa_0.3', '1', '2')
    """
    path = find_audio(path)
    name = PERTURBED.fullmatch(path.stem)
    if path.is_file() or name is None:
        return path, 1.0
    base = find_audio(path.with_name(name[1] + path.suffix))
    return (base, float(f"{name[2]}.{name[3]}")) if base.is_file() else (path, 1.0)


@lru_cache(maxsize=None)
def chapter_texts(chapter: Path) -> Dict[str, str]:
    """Read all `*.trans.txt` of a chapter: utterance id to text, perhaps empty.

    Raises:
        UserError: no transcript file, an unreadable one, or a duplicate id.
    """
    texts: Dict[str, str] = {}
    files = sorted(chapter.glob("*.trans.txt"))
    if not files:
        raise UserError(f"{chapter}: has no *.trans.txt; restore it")
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"{file}: is not UTF-8; convert it") from None
        for number, line in enumerate(lines, 1):
            fields = line.split(maxsplit=1)
            if not fields:
                continue
            if fields[0] in texts:
                raise UserError(f"{file}:{number}: duplicate id {fields[0]}; keep one")
            texts[fields[0]] = " ".join(fields[1].split()) if fields[1:] else ""
    return texts


def text_of(root: Path, path: str) -> Tuple[str, Optional[str]]:
    """Return (utterance id, its text) of an audio path; None if there is no line."""
    audio = root / path
    return audio.stem, chapter_texts(audio.parent).get(audio.stem)


def scan_corpus(root: Path, subsets: str) -> Scan:
    """List the utterances of subsets (names separated by spaces), sorted.

    Raises:
        UserError: a folder is missing or has no transcribed audio.
    """
    scan = Scan([], [], [])
    for subset in subsets.split():
        _scan_subset(root, subset, scan)
    return scan


def _scan_subset(root: Path, subset: str, scan: Scan) -> None:
    folder = root / subset
    if not folder.is_dir():
        there = sorted(p.name for p in root.glob("*") if p.is_dir())
        raise UserError(
            f"{folder}: no such folder; {root} has {', '.join(there) or 'no folder'}"
        )
    before = len(scan.utterances)
    transcripts = (p for p in files_below(folder) if p.name.endswith(".trans.txt"))
    for chapter in sorted({path.parent for path in transcripts}):
        if len(chapter.relative_to(root).parts) < 3:
            raise UserError(f"{chapter}: is not SUBSET/TALKER/CHAPTER; move the files")
        for utt, text in sorted(chapter_texts(chapter).items()):
            found = [chapter / f"{utt}{suffix}" for suffix in AUDIO_SUFFIXES]
            path = next((p for p in found if p.is_file()), None)
            if path is None:
                scan.missing.append(utt)
            elif not text:
                scan.empty.append(utt)
            else:
                relative = path.relative_to(root).as_posix()
                talker = talker_of(relative)
                scan.utterances.append(Utterance(utt, relative, talker, text))
    if len(scan.utterances) == before:
        raise UserError(
            f"{folder}: has no TALKER/CHAPTER/*.trans.txt with FLAC or WAV files"
        )


def scan_noise(root: Path, split: str) -> List[str]:
    """List the noise files of a WHAM! split (tr, cv, tt), relative to `root`.

    Raises:
        UserError: there is none.
    """
    files = [p for p in (root / split).glob("*") if p.suffix in AUDIO_SUFFIXES]
    if not files:
        raise UserError(f"{root / split}: has no WAV or FLAC noise; check the folder")
    return sorted(p.relative_to(root).as_posix() for p in files)
