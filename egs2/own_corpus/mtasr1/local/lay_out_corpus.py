"""Lay out recordings of single talkers for the mixture tools, by links.

The corpus is CORPUS/TALKER/.../NAME.wav (or any format of libsndfile, at any rate) with
NAME.txt beside it, or below another folder (VCTK: wav48 and txt). It is never changed.
The output is in LibriSpeech's layout, OUT/{train,dev,test}/TALKER/0/ID.{wav,flac} and
TALKER.trans.txt; no talker is in two of the three.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import files_below, write_list

SETS = ("train", "dev", "test")
# The mixture tools read these; other formats are converted to FLAC once.
LINKED = (".wav", ".flac")
# A mixture's file name contains up to three ids and may have 255 bytes.
MAX_ID_BYTES = 75


@dataclass(frozen=True)
class Recording:
    """A recording of one talker.

    Attributes:
        id: Unique in the corpus, starts with the talker.
        talker: Name of its first folder.
        audio: Its file.
        text: Normalized words; empty: there are none.
    """

    id: str
    talker: str
    audio: Path
    text: str


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_corpus_options(parser, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def add_corpus_options(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add the options that select recordings and split talkers."""
    parser.add_argument("--corpus", type=Path, required=required)
    parser.add_argument("--transcripts", type=Path, help="default: beside recordings")
    parser.add_argument("--audio_ending", help="e.g. _mic1.flac; default: any audio")
    parser.add_argument(
        "--max_recordings", type=int, help="per talker, the first; default: all"
    )
    parser.add_argument("--split", type=Path, help="lines TALKER train|dev|test")
    for name in ("dev", "test"):
        parser.add_argument(
            f"--{name}_talkers", type=int, help="default: a tenth of all"
        )
    parser.add_argument(
        "--min_talkers", type=int, default=3, help="minimum in each set"
    )
    parser.add_argument("--seed", type=int, default=1)


def normalize(text: str) -> str:
    """Keep words: letters, digits and apostrophes inside words, in lower case.

    >>> normalize("Please call Stella: 'Mother\\u2019s   caf\\u00e9'!")
    "please call stella mother's café"
    """
    text = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    kept = (c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    words = (word.strip("'") for word in "".join(kept).split())
    return " ".join(word for word in words if word)


def name_of(text: str) -> str:
    """Return `text` with only characters that are allowed in file names and ids.

    >>> name_of("Anna Maria (2)")
    'Anna_Maria_2'
    """
    return re.sub(r"[^\w.-]+", "_", text).strip("_")


def id_of(talker: str, folders: Sequence[str], stem: str) -> str:
    """Return the id of a recording in `folders` of a talker's folder.

    >>> id_of("p225", [], "p225_001"), id_of("1", ["day 2"], "10")
    ('p225_001', '1-day_2-10')
    """
    stem = name_of(stem)
    if re.match(rf"{re.escape(talker)}[-_.]", stem):
        return stem
    return "-".join([talker, *map(name_of, folders), stem])


def audio_endings() -> Tuple[str, ...]:
    """Return file endings that libsndfile reads, except formats without a header."""
    import soundfile

    formats = (name.lower() for name in soundfile.available_formats() if name != "RAW")
    return tuple(f".{name}" for name in (*formats, "aif", "opus", "oga", "sph"))


def read_text(path: Path) -> str:
    """Return a transcript's normalized words.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return normalize(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8; convert it") from None


def find_recordings(
    corpus: Path, transcripts: Path, audio_ending: Optional[str]
) -> Tuple[List[Recording], List[str]]:
    """List recordings that have a transcript, and what was left out.

    Raises:
        UserError: there are no recordings, some are outside of talkers' folders, or two
            have the same id.
    """
    endings = (audio_ending.lower(),) if audio_ending else audio_endings()
    recordings: Dict[str, Recording] = {}
    folders: Dict[str, str] = {}
    left_out: List[str] = []
    transcribed = set()
    for audio in files_below(corpus):
        ending = next((e for e in endings if audio.name.lower().endswith(e)), None)
        if ending is None:
            continue
        relative = audio.relative_to(corpus)
        if len(relative.parts) < 2:
            raise UserError(
                f"{audio}: is not in a talker's folder; move it into {corpus}/TALKER"
            )
        talker = name_of(relative.parts[0])
        if folders.setdefault(talker, relative.parts[0]) != relative.parts[0]:
            raise UserError(
                f"{corpus}: talkers {folders[talker]} and {relative.parts[0]} would "
                f"both be called {talker}; rename one"
            )
        stem = audio.name[: -len(ending)]
        text_file = transcripts / relative.parent / f"{stem}.txt"
        transcribed.add(text_file)
        if not text_file.is_file():
            left_out.append(f"{audio} has no transcript {text_file}")
            continue
        name = id_of(talker, relative.parts[1:-1], stem)
        recording = Recording(name, talker, audio, read_text(text_file))
        _check_id(recording, recordings)
        recordings[recording.id] = recording
        if not recording.text:
            left_out.append(f"{text_file} has no words")
    left_out += [
        f"{path} has no recording"
        for path in files_below(transcripts)
        if path.suffix == ".txt"
        and path.parent != transcripts
        and path not in transcribed
    ]
    usable = [r for r in recordings.values() if r.text]
    if not usable:
        what = f"*{audio_ending}" if audio_ending else "*.wav, *.flac or the like"
        raise UserError(
            f"{corpus}: has no TALKER/{what} with TALKER/*.txt in {transcripts}; "
            f"check --corpus, --transcripts and --audio_ending"
        )
    return usable, left_out


def _check_id(recording: Recording, others: Dict[str, Recording]) -> None:
    if recording.id in others:
        raise UserError(
            f"{recording.audio}: {others[recording.id].audio} has the same id "
            f"{recording.id}; rename one, or choose between kinds of files by "
            f"--audio_ending"
        )
    if len(recording.id.encode()) > MAX_ID_BYTES:
        raise UserError(
            f"{recording.audio}: its id {recording.id} is too long for the names of "
            f"mixtures; rename it to at most {MAX_ID_BYTES} bytes"
        )


def _problem(recording: Recording) -> Optional[str]:
    from espnet_mtasr.data.audio_check import check_audio

    try:
        check_audio(recording.audio)
    except UserError as e:
        return str(e)
    return None


def without_bad_audio(
    recordings: Sequence[Recording], nj: int
) -> Tuple[List[Recording], List[str]]:
    """Split off recordings that can't be read."""
    from espnet_mtasr.lifetime import worker_pool
    from espnet_mtasr.progress import progress

    with worker_pool(nj) as pool:
        problems = pool.map(_problem, recordings, chunksize=64)
        found = list(progress(problems, len(recordings), "reading headers"))
    good = [r for r, problem in zip(recordings, found) if problem is None]
    return good, [problem for problem in found if problem is not None]


def draw_split(
    talkers: Iterable[str],
    n_dev: Optional[int],
    n_test: Optional[int],
    least: int,
    seed,
) -> Dict[str, str]:
    """Draw the talkers of training, dev and test: talker to set.

    >>> draw_split(["a", "b", "c"], None, None, 1, 0)
    {'a': 'test', 'b': 'dev', 'c': 'train'}

    Raises:
        UserError: there are too few talkers.
    """
    order = sorted(talkers)
    random.Random(f"{seed} talkers").shuffle(order)
    tenth = max(least, round(0.1 * len(order)))
    n_dev = tenth if n_dev is None else n_dev
    n_test = tenth if n_test is None else n_test
    if min(n_dev, n_test) < least or len(order) < n_dev + n_test + least:
        raise UserError(
            f"there are {len(order)} talkers, {n_dev} for dev and {n_test} for test "
            f"(--dev_talkers, --test_talkers); mixtures need {least} in each of train, "
            f"dev and test: lower --talker_counts, or add talkers"
        )
    sets = ["test"] * n_test + ["dev"] * n_dev
    sets += ["train"] * (len(order) - len(sets))
    return dict(zip(order, sets))


def read_split(path: Path, talkers: Iterable[str], least: int) -> Dict[str, str]:
    """Read which talkers are for training, dev and test.

    Raises:
        UserError: a talker or a set is unknown, or a set has fewer than `least`.
    """
    split: Dict[str, str] = {}
    wanted = set(talkers)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in SETS:
            raise UserError(f"{path}:{number}: {line!r}: give TALKER train|dev|test")
        if fields[0] not in wanted:
            raise UserError(f"{path}:{number}: no recording of {fields[0]}; remove it")
        if fields[0] in split:
            raise UserError(f"{path}:{number}: {fields[0]} is listed twice; keep one")
        split[fields[0]] = fields[1]
    for talker in sorted(wanted - set(split)):
        raise UserError(f"{path}: lacks {talker}; add a line")
    for name in SETS:
        n = list(split.values()).count(name)
        if n < least:
            raise UserError(
                f"{path}: {name} has {n} talkers, and mixtures need {least}; move some"
            )
    return split


def lay_out(recording: Recording, chapter: Path) -> None:
    """Link a recording, or write it as FLAC if the mixture tools need that."""
    import soundfile

    audio = recording.audio
    suffix = audio.suffix.lower()
    if suffix in LINKED:
        (chapter / f"{recording.id}{suffix}").symlink_to(audio.resolve())
        return
    samples, rate = soundfile.read(audio, dtype="float32")
    soundfile.write(chapter / f"{recording.id}.flac", samples, rate, subtype="PCM_16")


def make_layout(
    recordings: Sequence[Recording], split: Dict[str, str], out: Path
) -> None:
    """Make the folders of all three sets; `out` is created atomically."""
    from espnet_mtasr.progress import progress

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    lines: Dict[Path, List[str]] = {}
    for recording in progress(recordings, len(recordings), "laying out"):
        chapter = part / split[recording.talker] / recording.talker / "0"
        if chapter not in lines:
            chapter.mkdir(parents=True)
        lay_out(recording, chapter)
        lines.setdefault(chapter, []).append(f"{recording.id} {recording.text}")
    for chapter, transcripts in lines.items():
        write_list(chapter / f"{chapter.parent.name}.trans.txt", transcripts)
    write_list(part / "split", [f"{talker} {name}" for talker, name in split.items()])
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)


def digest_of(recordings: Sequence[Recording], split: Dict[str, str]) -> str:
    """Return a hash of everything that the layout depends on."""
    files = [
        (r.id, str(r.audio.resolve()), r.text, r.audio.stat().st_size)
        for r in recordings
    ]
    described = json.dumps([files, split])
    return hashlib.sha256(described.encode()).hexdigest() + "\n"


def recordings_of(args: argparse.Namespace) -> Tuple[List[Recording], List[str]]:
    """Return the recordings that the options select, and what was left out.

    Raises:
        UserError: a folder or file is missing; see `find_recordings`.
    """
    transcripts = args.transcripts or args.corpus
    for folder in (args.corpus, transcripts):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder (--corpus, --transcripts)")
    if args.split is not None and not args.split.is_file():
        raise UserError(f"--split {args.split}: no such file")
    found, left_out = find_recordings(args.corpus, transcripts, args.audio_ending)
    if args.max_recordings is not None:
        found.sort(key=lambda r: (r.talker, r.id))
        talkers = itertools.groupby(found, key=lambda r: r.talker)
        found = [r for _, own in talkers for r in list(own)[: args.max_recordings]]
    return found, left_out


def split_of(
    recordings: Sequence[Recording], args: argparse.Namespace
) -> Dict[str, str]:
    """Return which talkers are for training, dev and test, as the options say.

    Raises:
        UserError: see `read_split` and `draw_split`.
    """
    talkers = {r.talker for r in recordings}
    if args.split is not None:
        return read_split(args.split, talkers, args.min_talkers)
    return draw_split(
        talkers, args.dev_talkers, args.test_talkers, args.min_talkers, args.seed
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Lay out the corpus, unless it already is."""
    args = get_parser().parse_args(cmd)
    found, left_out = recordings_of(args)
    recordings, bad = without_bad_audio(found, args.nj)
    split = split_of(recordings, args)
    listing = args.out.with_name(f"{args.out.name}.left_out")
    write_list(listing, [*left_out, *bad])
    if left_out or bad:
        print(
            f"{args.corpus}: left out {len(left_out) + len(bad)} files, listed in "
            f"{listing}, as: {[*left_out, *bad][0]}"
        )
    digest = digest_of(recordings, split)
    note = args.out / ".settings"
    if note.is_file() and note.read_text() == digest:
        print(f"{args.out}: is complete")
        return
    make_layout(recordings, split, args.out)
    note.write_text(digest)
    for name in SETS:
        n_talkers = list(split.values()).count(name)
        n = sum(split[r.talker] == name for r in recordings)
        print(f"{args.out / name}: {n_talkers} talkers, {n} recordings")


if __name__ == "__main__":
    run_command_line(main)
