#!/usr/bin/env python3
"""Make a corpus of sentences spoken word by word, so word times are known.

The dev and test talkers of the mini corpus say new sentences of its grammar. Each word
is synthesized alone and placed after a short pause. words.ctm is beside LibriSpeech's
files: UTTERANCE 1 START DURATION WORD, times in seconds from the utterance's beginning.
A word is what is louder than 2 % of its peak (20 ms windows).
"""

import argparse
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from grammar import draw_sentences
from make_mini_librispeech import choose_talkers
from talkers import Talker
from voices import (
    RATE,
    STRETCH,
    available_engines,
    leveled,
    loud_part,
    synthesize,
    utterance_rng,
    warped,
)

from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.progress import progress

# Folders of the corpus, and the split whose talkers speak in each.
SUBSETS = {"dev-placed": "dev-clean", "test-placed": "test-clean"}
PAUSE_SECONDS = (0.02, 0.12)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder that gets LibriSpeech/")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="the mini corpus's LibriSpeech/"
    )
    parser.add_argument("--utts", type=int, default=8, help="utterances a talker")
    parser.add_argument("--talkers", type=int, help="only the first N of each split")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def speak_placed(talker: Talker, text: str, utt: str, seed: int):
    """Speak `text` word by word.

    Returns:
        (N,) float32 at 16 kHz, and (word, start, duration) in seconds of each word.
    """
    import numpy as np
    import soundfile

    rng = utterance_rng(seed, utt)
    stretch = talker.stretch * rng.uniform(*STRETCH)
    pieces, words, length = [], [], 0
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.wav"
        for word in text.split():
            synthesize(talker, word, stretch, raw)
            samples, rate = soundfile.read(raw, dtype="float64", always_2d=True)
            samples = warped(samples[:, 0], rate, talker.warp)
            first, last = loud_part(samples)
            pause = np.zeros(round(rng.uniform(*PAUSE_SECONDS) * RATE))
            spoken = samples[first : last + 1]
            start = length + len(pause)
            words.append((word, start / RATE, len(spoken) / RATE))
            pieces += [pause, spoken / np.abs(spoken).max()]
            length = start + len(spoken)
    return leveled(np.concatenate([*pieces, np.zeros(RATE // 20)]), rng), words


def make_talker(job: Tuple[Path, int, Talker, List[str]]) -> List[str]:
    """Speak all sentences of a talker; return the lines of words.ctm."""
    import soundfile

    folder, seed, talker, sentences = job
    stem = f"{talker.id}-{talker.id * 10 + 2}"
    directory = folder / str(talker.id) / f"{talker.id * 10 + 2}"
    directory.mkdir(parents=True)
    transcripts, lines = [], []
    for number, text in enumerate(sentences):
        utt = f"{stem}-{number:04d}"
        samples, words = speak_placed(talker, text, utt, seed)
        soundfile.write(directory / f"{utt}.flac", samples, RATE, subtype="PCM_16")
        transcripts.append(f"{utt} {text}\n")
        lines += [f"{utt} 1 {t:.4f} {d:.4f} {w.lower()}\n" for w, t, d in words]
    (directory / f"{stem}.trans.txt").write_text("".join(transcripts))
    return lines


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Make the corpus; an existing one is kept."""
    args = get_parser().parse_args(cmd)
    root = args.out / "LibriSpeech"
    if root.exists():
        print(f"{root}: already exists")
        return
    # No sentence that the model may have heard, and only words that it may know.
    splits = ("train-clean-100", *SUBSETS.values())
    taken = {
        u.text for split in splits for u in scan_corpus(args.corpus, split).utterances
    }
    wanted = dict.fromkeys(splits, args.talkers)
    talkers = choose_talkers(available_engines(), wanted)
    known = {word for text in taken for word in text.split()}
    args.out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=args.out))
    try:
        jobs = []
        for subset, split in SUBSETS.items():
            rng = random.Random(f"{args.seed} {subset}")
            for talker in talkers[split]:
                sentences = draw_sentences(rng, args.utts, taken, known)
                jobs.append((scratch / subset, args.seed, talker, sentences))
        with worker_pool(args.nj) as pool:
            done = progress(pool.map(make_talker, jobs), len(jobs), "talkers")
            lines = [line for of_talker in done for line in of_talker]
        (scratch / "words.ctm").write_text("".join(lines))
        scratch.chmod(0o755)
        os.replace(scratch, root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{root}: {len(lines)} words of {len(jobs)} talkers")


if __name__ == "__main__":
    run_command_line(main)
