#!/usr/bin/env python3
"""Let synthetic voices read sentences, as one more training subset of a corpus.

It makes CORPUS/SUBSET/TALKER/0/ID.flac and TALKER.trans.txt, by all talkers of
talkers.py whose engine is installed. Sentences of CORPUS's subsets dev_* and test_* are
left out. Who reads what depends on the seed. Run again, it makes what is missing.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
from talkers import TALKERS, Talker
from voices import (
    ENGINES,
    RATE,
    STRETCH,
    available_engines,
    leveled,
    synthesize,
    utterance_rng,
    warped,
)

from espnet_mtasr.corpora.cleaning import speech_span, words_of
from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_list
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.progress import progress

MAX_WORDS = 40
# Of a recording without the silence at its ends; others don't match their text.
SECONDS_PER_WORD = (0.08, 1.5)


@dataclass(frozen=True)
class Reading:
    """A recording to be made.

    Attributes:
        id: Begins with the talker.
        talker: Who reads.
        sentence: As it is read.
        words: As the transcript has them.
    """

    id: str
    talker: Talker
    sentence: str
    words: str


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="LibriSpeech-shaped, gets SUBSET")
    parser.add_argument("--subset", default="train_sy")
    parser.add_argument("--sentences", type=Path, help="one per line, English")
    parser.add_argument("--n", type=int, default=2000, help="recordings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    parser.add_argument(
        "--check_engines", action="store_true", help="only look for engines"
    )
    return parser


def installed_talkers() -> List[Talker]:
    """List the talkers whose engines are installed; print which engines aren't.

    Raises:
        UserError: there is no engine.
    """
    there = available_engines()
    missing = "; ".join(what for name, what in ENGINES.items() if name not in there)
    if not there:
        raise UserError(
            f"--synthetic_share: no synthesizer is installed; install one or more of: "
            f"{missing}"
        )
    if missing:
        print(f"synthetic voices: without {missing}")
    everyone = [talker for members in TALKERS.values() for talker in members]
    return [talker for talker in everyone if talker.engine in there]


def known_texts(corpus: Path) -> Set[str]:
    """Return the texts of the subsets dev_* and test_* of a corpus."""
    subsets = [p.name for p in corpus.iterdir() if p.name.startswith(("dev_", "test_"))]
    scan = scan_corpus(corpus, " ".join(sorted(subsets)))
    return {words_of(utt.text) for utt in scan.utterances}


def read_sentences(path: Path, known: Set[str]) -> Dict[str, str]:
    """Map words to the sentence to be read; print what is left out.

    Args:
        path: One sentence per line.
        known: Texts of dev and test.

    Raises:
        UserError: the file is missing, isn't UTF-8, or has no usable sentence.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"--synthetic_sentences {path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8; convert it") from None
    sentences: Dict[str, str] = {}
    left_out: Counter = Counter()
    for line in filter(str.strip, lines):
        words = words_of(line)
        if words in known:
            left_out["occur in dev or test"] += 1
        elif words in sentences:
            left_out["occur twice"] += 1
        elif not re.fullmatch("[a-z' ]*[a-z][a-z' ]*", words):
            left_out["have no letters, or letters other than a to z"] += 1
        elif len(words.split()) > MAX_WORDS:
            left_out[f"have more than {MAX_WORDS} words"] += 1
        else:
            # Nothing that a program might take for an option or for markup.
            sentence = re.sub("[^A-Za-z' ,.!?;:-]", " ", line)
            sentences[words] = re.sub("^[^A-Za-z]+", "", sentence)
    for reason, n in left_out.items():
        print(f"{path}: left out {n} sentences that {reason}")
    if not sentences:
        raise UserError(f"{path}: has no usable sentence; give others")
    return sentences


def plan_readings(
    sentences: Dict[str, str], talkers: Sequence[Talker], n: int, seed: int
) -> List[Reading]:
    """Draw who reads what: all sentences come once before one comes again.

    The first readings are the same for any `n`.
    """
    readings: List[Reading] = []
    while len(readings) < n:
        rng = random.Random(f"{seed} {len(readings)}")
        order = list(sentences)
        rng.shuffle(order)
        for words in order:
            talker = rng.choice(talkers)
            name = f"sy-{talker.name}-{len(readings):05d}"
            readings.append(Reading(name, talker, sentences[words], words))
    return readings[:n]


def speak(reading: Reading, seed: int) -> np.ndarray:
    """Let the talker read the sentence.

    Returns:
        (N,) float32 at 16 kHz, without the silence at its ends.

    Raises:
        UserError: the engine fails, or what it wrote is too short or too long for its
            words.
    """
    import soundfile

    talker = reading.talker
    rng = utterance_rng(seed, reading.id)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        stretch = talker.stretch * rng.uniform(*STRETCH)
        synthesize(talker, reading.sentence, stretch, raw)
        samples, rate = soundfile.read(raw, dtype="float64", always_2d=True)
    heard = warped(samples[:, 0], rate, talker.warp)
    first, last = speech_span(heard)
    seconds = (last - first) / RATE / len(reading.words.split())
    lowest, highest = SECONDS_PER_WORD
    if not lowest <= seconds <= highest or not np.abs(heard).max() > 0.01:
        raise UserError(
            f"{talker.engine}, voice {talker.voice}: is silent or has {seconds:.2f} s "
            f"a word in {reading.words!r}"
        )
    return leveled(heard[first:last], rng)


def write_reading(reading: Reading, out: Path, seed: int) -> Tuple[str, float]:
    """Write a recording unless it is there.

    Returns:
        What is wrong, or an empty string; and its seconds.
    """
    import soundfile

    path = out / f"sy-{reading.talker.name}" / "0" / f"{reading.id}.flac"
    if not path.is_file():
        try:
            samples = speak(reading, seed)
        except (UserError, soundfile.SoundFileError) as e:
            return f"{reading.id}: {e}", 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        soundfile.write(part, samples, RATE, subtype="PCM_16", format="FLAC")
        os.replace(part, path)
    return "", soundfile.info(path).duration


def make_subset(readings: Sequence[Reading], out: Path, seed: int, nj: int) -> None:
    """Make the recordings that are missing, and then all transcripts.

    Raises:
        UserError: none could be made.
    """
    bad: List[str] = []
    lines: Dict[str, List[str]] = {}
    total = 0.0
    with worker_pool(nj) as pool:
        write = partial(write_reading, out=out, seed=seed)
        made = pool.map(write, readings, chunksize=16)
        for reading, (problem, seconds) in zip(
            readings, progress(made, len(readings), "synthetic voices")
        ):
            if problem:
                bad.append(problem)
                continue
            total += seconds
            transcripts = lines.setdefault(f"sy-{reading.talker.name}", [])
            transcripts.append(f"{reading.id} {reading.words}")
    write_list(out.with_name(f"{out.name}.bad_audio"), bad)
    if not lines:
        raise UserError(
            f"{out}: no sentence could be synthesized, for example: {bad[0]}"
        )
    for old in out.glob("*/0/*.trans.txt"):
        old.unlink()
    for talker, transcripts in lines.items():
        write_list(out / talker / "0" / f"{talker}.trans.txt", sorted(transcripts))
    words = {word for reading in readings for word in reading.words.split()}
    print(
        f"{out}: {len(lines)} talkers, {len(readings) - len(bad)} recordings, "
        f"{total / 3600:.2f} h, {len(words)} different words"
    )
    if bad:
        print(f"left out {len(bad)} recordings that failed, for example: {bad[0]}")


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Make the subset, or what is missing of it."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    talkers = installed_talkers()
    if args.check_engines:
        return
    if args.corpus is None or args.sentences is None:
        parser.error("give --corpus and --sentences")
    sentences = read_sentences(args.sentences, known_texts(args.corpus))
    described = json.dumps([list(map(astuple, talkers)), sentences, args.seed])
    digest = hashlib.sha256(described.encode()).hexdigest() + "\n"
    out = args.corpus / args.subset
    note = out / ".settings"
    if out.exists() and not (note.is_file() and note.read_text() == digest):
        print(f"{out}: was made from other sentences or voices; making it again")
        shutil.rmtree(out)
    out.mkdir(exist_ok=True)
    note.write_text(digest)
    readings = plan_readings(sentences, talkers, args.n, args.seed)
    make_subset(readings, out, args.seed, args.nj)


if __name__ == "__main__":
    run_command_line(main)
