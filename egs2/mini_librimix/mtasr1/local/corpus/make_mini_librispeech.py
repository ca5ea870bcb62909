#!/usr/bin/env python3
"""Make a small corpus in LibriSpeech's layout with free speech synthesizers.

flite, espeak-ng and SVOX Pico (PyPI's py-nanotts) speak sentences of a closed grammar
(grammar.py) as the talkers of talkers.py. Talkers are disjoint between the splits, and
no sentence occurs twice in the corpus. Everything is drawn per utterance from the seed,
so the same versions of the synthesizers give the same files in any order of work.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from grammar import draw_sentences
from talkers import TALKERS, Talker
from voices import (
    ENGINES,
    RATE,
    STRETCH,
    available_engines,
    finish,
    synthesize,
    utterance_rng,
)

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.progress import progress

MIN_TALKERS = {"train-clean-100": 12, "dev-clean": 4, "test-clean": 4}
# LibriMix's reader takes the 12th line of SPEAKERS.TXT as the header.
SPEAKERS_HEAD = (
    "; Synthetic talkers in LibriSpeech's layout\n"
    + ";\n" * 10
    + ";ID  |SEX| SUBSET           |MINUTES| NAME\n"
)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make a synthetic corpus in LibriSpeech's layout."
    )
    parser.add_argument("out", type=Path, help="folder that gets LibriSpeech/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    for split, utterances in (("train", 62), ("dev", 20), ("test", 20)):
        parser.add_argument(
            f"--{split}_talkers", type=int, help="take only the first N talkers"
        )
        parser.add_argument(
            f"--{split}_utts", type=int, default=utterances, help="utterances a talker"
        )
    return parser


def choose_talkers(
    engines: Sequence[str], wanted: Dict[str, Optional[int]]
) -> Dict[str, List[Talker]]:
    """Return each split's talkers that the engines can synthesize, at most `wanted`.

    Raises:
        UserError: too few talkers remain in a split.
    """
    missing = "; ".join(name for e, name in ENGINES.items() if e not in engines)
    chosen = {}
    for split, talkers in TALKERS.items():
        limit = len(talkers) if wanted[split] is None else wanted[split]
        usable = [t for t in talkers if t.engine in engines][:limit]
        if len(usable) < min(MIN_TALKERS[split], limit):
            raise UserError(
                f"{split}: {len(usable)} talkers can be synthesized, "
                f"{MIN_TALKERS[split]} are needed; install {missing}"
            )
        chosen[split] = usable
    if missing:
        counts = ", ".join(f"{s} {len(t)}" for s, t in chosen.items())
        print(f"warning: lacks {missing}; talkers left: {counts}", file=sys.stderr)
    return chosen


def make_talker(
    job: Tuple[Path, int, Talker, List[str]],
) -> Tuple[str, int, float]:
    """Speak all sentences of a talker, in two chapters.

    Args:
        job: The split's folder, the seed, the talker and the sentences.

    Returns:
        Engine, number of utterances, seconds of audio.
    """
    import soundfile

    folder, seed, talker, sentences = job
    seconds = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw.wav"
        for chapter in (0, 1):
            stem = f"{talker.id}-{talker.id * 10 + chapter}"
            directory = folder / str(talker.id) / f"{talker.id * 10 + chapter}"
            directory.mkdir(parents=True, exist_ok=True)
            lines = []
            for number, text in enumerate(sentences[chapter::2]):
                utt = f"{stem}-{number:04d}"
                lines.append(f"{utt} {text}\n")
                path = directory / f"{utt}.flac"
                if path.exists():
                    seconds += soundfile.info(path).duration
                    continue
                rng = utterance_rng(seed, utt)
                stretch = talker.stretch * rng.uniform(*STRETCH)
                synthesize(talker, text, stretch, raw)
                samples, rate = soundfile.read(raw, dtype="float64", always_2d=True)
                samples = finish(samples[:, 0], rate, talker.warp, rng)
                part = path.with_suffix(".part")
                soundfile.write(part, samples, RATE, subtype="PCM_16", format="FLAC")
                os.replace(part, path)
                seconds += len(samples) / RATE
            (directory / f"{stem}.trans.txt").write_text("".join(lines))
    return talker.engine, len(sentences), seconds


def draw_texts(
    talkers: Dict[str, List[Talker]], n_utts: Dict[str, int], seed: int
) -> Dict[str, List[List[str]]]:
    """Draw every talker's sentences; dev and test only use words of train.

    Raises:
        UserError: the grammar has too few sentences.
    """
    taken: set = set()
    words: Optional[set] = None
    texts: Dict[str, List[List[str]]] = {}
    for split, members in talkers.items():
        rng = random.Random(f"{seed} {split}")
        n = n_utts[split]
        try:
            drawn = draw_sentences(rng, n * len(members), taken, words)
        except ValueError as e:
            raise UserError(f"{split}: {e}; ask for fewer utterances") from None
        if words is None:
            words = {word for text in drawn for word in text.split()}
        texts[split] = [drawn[i * n : (i + 1) * n] for i in range(len(members))]
    return texts


def prepare_folder(root: Path, settings: str) -> bool:
    """Prepare the corpus folder; False if the same corpus is already there.

    Raises:
        UserError: the folder has a corpus that this script didn't make.
    """
    note = root / ".settings"
    if root.exists() and not note.exists():
        raise UserError(f"{root}: wasn't made by this script; choose another OUT")
    if root.exists() and note.read_text() != settings:
        print(f"{root}: was made with other settings; making it again", file=sys.stderr)
        shutil.rmtree(root)
    if (root / ".complete").exists():
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    if not root.exists():
        scratch = Path(tempfile.mkdtemp(dir=root.parent))
        scratch.chmod(0o755)
        (scratch / ".settings").write_text(settings)
        os.replace(scratch, root)
    return True


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    short = {"train-clean-100": "train", "dev-clean": "dev", "test-clean": "test"}
    engines = available_engines()
    talkers = choose_talkers(
        engines, {s: getattr(args, f"{o}_talkers") for s, o in short.items()}
    )
    n_utts = {s: getattr(args, f"{o}_utts") for s, o in short.items()}
    texts = draw_texts(talkers, n_utts, args.seed)
    root = args.out / "LibriSpeech"
    plan = {s: [astuple(t) for t in members] for s, members in talkers.items()}
    settings = json.dumps({"seed": args.seed, "talkers": plan, "texts": texts})
    if not prepare_folder(root, settings):
        print(f"{root}: is complete")
        return

    start = time.time()
    jobs = [
        (root / split, args.seed, talker, sentences)
        for split, members in talkers.items()
        for talker, sentences in zip(members, texts[split])
    ]
    rows = []
    totals: Dict[str, List[float]] = {}
    with worker_pool(args.nj) as pool:
        results = progress(pool.map(make_talker, jobs), len(jobs), "talkers")
        for (folder, _, talker, _), (engine, n, seconds) in zip(jobs, results):
            rows.append(
                f"{talker.id:<5}| {talker.sex} | {folder.name:<16} | "
                f"{seconds / 60:5.2f} | {talker.name} "
                f"({talker.engine} {talker.voice})\n"
            )
            total = totals.setdefault(engine, [0, 0.0])
            total[0] += n
            total[1] += seconds
    (root / "SPEAKERS.TXT").write_text(SPEAKERS_HEAD + "".join(rows))
    (root / ".complete").touch()
    for engine, (n, seconds) in totals.items():
        print(f"{engine}: {n:.0f} utterances, {seconds / 60:.1f} min")
    n, seconds = map(sum, zip(*totals.values()))
    print(
        f"{root}: {n:.0f} utterances of {len(jobs)} talkers, {seconds / 60:.1f} min of "
        f"speech, made in {time.time() - start:.0f} s"
    )


if __name__ == "__main__":
    run_command_line(main)
