"""Lay out Mini LibriSpeech and speechocean762 as one LibriSpeech-shaped folder.

It makes OUT/SPLIT_CORPUS/TALKER/0/ID.flac and TALKER.trans.txt for the splits train,
dev and test of the corpora ml (Mini LibriSpeech) and so (speechocean762), test_dc from
Mini LibriSpeech's dev-clean-2 if present, and SPEAKERS.TXT. Silence at both ends of a
recording is cut, because it would shift onsets. No talker is in two splits. Sentences
of dev and test that also occur in training are left out and counted.
"""

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from espnet_mtasr.corpora.cleaning import (
    MARGIN_FRAMES,
    SILENCE_DB,
    speech_span,
    words_of,
)
from espnet_mtasr.corpora.librispeech import gender_of, scan_corpus
from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_list
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.progress import progress

RATE = 16000
TEST_TALKERS = "163 1970 2136 3664 4640 7859"
DEV_TALKERS = "19 32 7312"
# speechocean762 has its own test talkers; these of its 125 others are for dev.
EVERY_DEV = 12
DEV_SUBSET = "dev-clean-2"


@dataclass(frozen=True)
class Recording:
    """A recording of one talker.

    Attributes:
        id: Starts with the talker.
        talker: A name that no talker of the other corpus has.
        gender: M, F or empty: unknown.
        audio: Its file.
        text: Words in lower case.
        split: `train_ml` and the like.
    """

    id: str
    talker: str
    gender: str
    audio: Path
    text: str
    split: str

    @property
    def is_training(self) -> bool:
        return self.split.startswith("train_")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, help="has train-clean-5")
    parser.add_argument("--speechocean762", type=Path, help="has train, test and WAVE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--train_subsets",
        default="train-clean-5",
        help="of LibriSpeech, separated by spaces; include the dev and test talkers",
    )
    parser.add_argument("--dev_talkers", default=DEV_TALKERS, help="of LibriSpeech")
    parser.add_argument("--test_talkers", default=TEST_TALKERS, help="of LibriSpeech")
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def librispeech_recordings(
    root: Path, subsets: str, dev: Sequence[str], test: Sequence[str]
) -> List[Recording]:
    """List LibriSpeech's recordings; one in two subsets counts once.

    Raises:
        UserError: a folder, a file in it, or a dev or test talker is missing.
    """
    nested = root / "LibriSpeech"
    root = nested if nested.is_dir() else root
    wanted = subsets.split()
    if (root / DEV_SUBSET).is_dir():
        wanted.append(DEV_SUBSET)
    splits = {**dict.fromkeys(dev, "dev_ml"), **dict.fromkeys(test, "test_ml")}
    found: Dict[str, Recording] = {}
    for subset in wanted:
        scan = scan_corpus(root, subset)
        if scan.missing:
            raise UserError(
                f"{root / subset}: {scan.missing[0]} is transcribed but has no FLAC or "
                f"WAV; restore it"
            )
        for utt in scan.utterances:
            split = splits.get(utt.talker, "train_ml")
            if subset == DEV_SUBSET:
                split = "test_dc"
            gender = gender_of(str(root / utt.path), utt.talker) or ""
            audio = root / utt.path
            found.setdefault(
                utt.id,
                Recording(utt.id, utt.talker, gender, audio, words_of(utt.text), split),
            )
    for option, talkers in (("dev_talkers", dev), ("test_talkers", test)):
        for talker in set(talkers) - {r.talker for r in found.values()}:
            raise UserError(
                f"{root}: has no talker {talker} in {subsets}; give others with "
                f"--ml_{option}"
            )
    return list(found.values())


def speechocean_recordings(root: Path) -> List[Recording]:
    """List speechocean762's recordings.

    Raises:
        UserError: a table or a recording is missing.
    """
    nested = root / "speechocean762"
    root = nested if nested.is_dir() else root
    found = []
    for part in ("train", "test"):
        tables = {
            name: read_table(root / part / name)
            for name in ("wav.scp", "text", "utt2spk", "spk2gender")
        }
        talkers = sorted(set(tables["utt2spk"].values()))
        dev = set(talkers[::EVERY_DEV][:10]) if part == "train" else set()
        for utt, path in sorted(tables["wav.scp"].items()):
            talker = tables["utt2spk"][utt]
            if not (root / path).is_file():
                raise UserError(f"{root / path}: no such file; restore it")
            split = "dev_so" if talker in dev else f"{part}_so"
            gender = tables["spk2gender"].get(talker, "").upper()
            text = words_of(tables["text"][utt])
            name = f"so{talker}"
            found.append(
                Recording(f"{name}-{utt}", name, gender, root / path, text, split)
            )
    return found


def without_known_sentences(
    recordings: Sequence[Recording],
) -> Tuple[List[Recording], List[Recording]]:
    """Split into recordings to use, and those of dev and test with training texts."""
    trained = {r.text for r in recordings if r.is_training}
    known = [r for r in recordings if not r.is_training and r.text in trained]
    left_out = {r.id for r in known}
    return [r for r in recordings if r.id not in left_out], known


def write_trimmed(
    recording: Recording, out: Path
) -> Optional[Tuple[str, float, float]]:
    """Write a recording without the silence at its ends.

    Returns:
        None and its seconds before and after; or the problem with it.
    """
    import soundfile

    try:
        samples = read_audio(recording.audio, RATE)
    except UserError as e:
        return str(e), 0.0, 0.0
    first, last = speech_span(samples)
    folder = out / recording.split / recording.talker / "0"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recording.id}.flac"
    soundfile.write(path, samples[first:last], RATE, subtype="PCM_16")
    return "", len(samples) / RATE, (last - first) / RATE


def write_texts(recordings: Iterable[Recording], out: Path) -> None:
    """Write the transcripts of all talkers, and their genders."""
    lines: Dict[Path, List[str]] = {}
    genders = {}
    for r in recordings:
        file = out / r.split / r.talker / "0" / f"{r.talker}.trans.txt"
        lines.setdefault(file, []).append(f"{r.id} {r.text}")
        genders[r.talker] = r.gender
    for file, transcripts in lines.items():
        write_list(file, sorted(transcripts))
    known = [f"{talker} | {g}" for talker, g in sorted(genders.items()) if g]
    write_list(out / "SPEAKERS.TXT", known)


def lay_out(recordings: Sequence[Recording], out: Path, nj: int) -> None:
    """Make the folders of all splits; `out` is created atomically.

    Raises:
        UserError: bad audio outside of training.
    """
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    good, bad = [], []
    seconds: Dict[str, List[float]] = {}
    with worker_pool(nj) as pool:
        done = pool.map(partial(write_trimmed, out=part), recordings, chunksize=32)
        for r, (problem, before, after) in zip(
            recordings, progress(done, len(recordings), "trimming silence")
        ):
            if problem and not r.is_training:
                raise UserError(f"{problem} ({r.split} is not made with bad audio)")
            if problem:
                bad.append(problem)
                continue
            good.append(r)
            total = seconds.setdefault(r.split, [0.0, 0.0])
            total[0] += before
            total[1] += after
    write_list(out.with_name(f"{out.name}.bad_audio"), bad)
    write_texts(good, part)
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)
    for split, (before, after) in sorted(seconds.items()):
        talkers = {r.talker for r in good if r.split == split}
        print(
            f"{out / split}: {len(talkers)} talkers, "
            f"{sum(r.split == split for r in good)} recordings, {after / 3600:.2f} h "
            f"({before / 3600:.2f} h with silence at the ends)"
        )
    if bad:
        print(f"left out {len(bad)} bad recordings of training, e.g.: {bad[0]}")


def digest_of(recordings: Sequence[Recording]) -> str:
    """Return a hash of everything that the layout depends on."""
    described = [
        (*map(str, asdict(r).values()), r.audio.stat().st_size) for r in recordings
    ]
    settings = json.dumps([SILENCE_DB, MARGIN_FRAMES, described])
    return hashlib.sha256(settings.encode()).hexdigest() + "\n"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Lay out the corpora, unless they already are."""
    args = get_parser().parse_args(cmd)
    found: List[Recording] = []
    if args.librispeech is not None:
        found += librispeech_recordings(
            args.librispeech,
            args.train_subsets,
            args.dev_talkers.split(),
            args.test_talkers.split(),
        )
    if args.speechocean762 is not None:
        found += speechocean_recordings(args.speechocean762)
    if not found:
        raise UserError("nothing to lay out; give --librispeech or --speechocean762")
    recordings, known = without_known_sentences(found)
    listing = args.out.with_name(f"{args.out.name}.known_sentences")
    write_list(listing, [f"{r.split} {r.id} {r.text}" for r in known])
    for split in sorted({r.split for r in known}):
        n = sum(r.split == split for r in known)
        of = sum(r.split == split for r in found)
        print(
            f"{split}: left out {n} of {of} recordings, whose sentences are said in "
            f"training too; listed in {listing}"
        )
    digest = digest_of(recordings)
    note = args.out / ".settings"
    if note.is_file() and note.read_text() == digest:
        print(f"{args.out}: is complete")
        return
    lay_out(recordings, args.out, args.nj)
    note.write_text(digest)


if __name__ == "__main__":
    run_command_line(main)
