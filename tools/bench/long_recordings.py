"""Long recordings: word errors that windows cost, and time and memory by length.

Test mixtures become recordings in two ways: with pauses between them, and cross-faded
without pauses, in groups with at most three talkers per window. The windows are
compared with the same mixtures decoded one by one, at the same places, by
time-constrained ORC-WER (meeteval), so it doesn't matter who is called talker 1. Then
the recording with pauses is repeated to different lengths, and each is transcribed in a
process of its own.

After stages 1 to 3 of egs2/mini_librimix, on one core:
    OMP_NUM_THREADS=1 python -m tools.bench.long_recordings
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench

MINI = bench.ROOT / "egs2" / "mini_librimix" / "mtasr1"
RATE = bench.SAMPLING_RATE
# Seconds of a pause (range) and of a cross-fade; tolerance for the times of words.
PAUSES, FADE, COLLAR = (0.6, 2.0), 0.25, 5.0
GROUP = 20
OPTIONS = bench.Options(
    __doc__,
    recipe=(MINI, "folder of the recipe whose data is used"),
    sets=["test_mini2mix_clean", "test_mini3mix_clean"],
    model="mini",
    window_seconds=(20.0, "as for transcribe"),
    minutes=[1.0, 5.0, 60.0, 180.0],
    seed=(0, "for pauses and order"),
)


class Piece(NamedTuple):
    """A mixture: samples `(N,)`, a text per talker, and who they are."""

    samples: np.ndarray
    texts: List[str]
    talkers: Set[str]


# First and last sample of a piece in a recording, and its number.
Places = List[Tuple[int, int, int]]


def read_pieces(recipe: Path, sets: Sequence[str]) -> List[Piece]:
    """Read data directories of mini_librimix."""
    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.mixture.speech_list import read_speech_list

    pieces = []
    for name in sets:
        folder = recipe / "data" / name
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; run the recipe's stages 1 to 3")
        speech, texts = read_speech_list(folder), read_table(folder / "text")
        for utt, text in sorted(texts.items()):
            # mini2mix_clean_TALKER-CHAPTER-NUMBER_TALKER-CHAPTER-NUMBER
            talkers = {part.split("-")[0] for part in utt.split("_")[2:]}
            samples = np.asarray(speech[utt].read(), np.float32)
            pieces.append(Piece(samples, text.split(" <sc> "), talkers))
    return pieces


def with_pauses(pieces: Sequence[Piece], seed: int) -> Tuple[np.ndarray, Places]:
    """Concatenate pieces in random order, with silence between them."""
    rng = np.random.default_rng(seed)
    parts: List[np.ndarray] = []
    places: Places = []
    length = 0
    for number in rng.permutation(len(pieces)):
        samples = pieces[number].samples
        places.append((length, length + len(samples), int(number)))
        pause = np.zeros(int(rng.uniform(*PAUSES) * RATE), np.float32)
        parts += [samples, pause]
        length += len(samples) + len(pause)
    return np.concatenate(parts), places


def cross_faded(pieces: Sequence[Piece], seed: int) -> Tuple[np.ndarray, Places]:
    """Cross-fade pieces in groups of at most three talkers, 1 s between groups."""
    rng = np.random.default_rng(seed)
    everyone = sorted(set().union(*(piece.talkers for piece in pieces)))
    triples = list(itertools.combinations(everyone, 3))
    rng.shuffle(triples)
    left = set(range(len(pieces)))
    fade = int(FADE * RATE)
    rise = np.linspace(0, 1, fade, dtype=np.float32)
    wave = np.zeros(0, np.float32)
    places: Places = []
    while left:
        for triple in triples:
            some = [int(n) for n in rng.permutation(sorted(left))]
            group = [n for n in some if pieces[n].talkers <= set(triple)][:GROUP]
            left -= set(group)
            for place, number in enumerate(group):
                samples = pieces[number].samples.copy()
                if place:
                    samples[:fade] = samples[:fade] * rise + wave[-fade:] * (1 - rise)
                    wave = wave[:-fade]
                elif len(wave):
                    wave = np.concatenate([wave, np.zeros(RATE, np.float32)])
                places.append((len(wave), len(wave) + len(samples), number))
                wave = np.concatenate([wave, samples])
    return wave, places


def errors(pieces: Sequence[Piece], places: Places, streams: Sequence[Sequence]) -> Any:
    """Count errors of talkers' words; times are of the recording."""
    from meeteval.io import SegLST
    from meeteval.wer import tcorcwer

    reference = [
        dict(speaker=str(n), words=text, start_time=start / RATE, end_time=end / RATE)
        for start, end, number in places
        for n, text in enumerate(pieces[number].texts)
    ]
    hypothesis = [
        dict(speaker=str(n), words=w.text, start_time=w.start, end_time=w.end)
        for n, words in enumerate(streams)
        for w in words
    ]
    both = [
        SegLST([dict(session_id="recording", **entry) for entry in entries])
        for entries in (reference, hypothesis)
    ]
    return tcorcwer(*both, collar=COLLAR)["recording"]


def one_by_one(found: Sequence[Any], places: Places) -> List[List[Any]]:
    """Return the words of pieces decoded alone, at their places in the recording."""
    streams: List[List[Any]] = [[] for _ in range(max(t.num_talkers for t in found))]
    for start, _, number in places:
        for stream, talker in zip(streams, found[number].talkers):
            stream += talker.later(start / RATE).words
    return streams


def compare_words(args: argparse.Namespace, results: bench.Results) -> np.ndarray:
    """Print error rates; return the recording with pauses."""
    from espnet_mtasr import MTASR

    model = MTASR.from_pretrained(args.model, device="cpu")
    pieces = read_pieces(args.recipe, args.sets)
    alone = model.transcribe([piece.samples for piece in pieces])
    made = {"pauses": with_pauses, "cross-faded": cross_faded}
    for name, make in made.items():
        wave, places = make(pieces, args.seed)
        transcript = model.transcribe(wave, window_seconds=args.window_seconds)
        expected = errors(pieces, places, one_by_one(alone, places))
        found = errors(pieces, places, [t.words for t in transcript.talkers])
        silent = sum(not any(t.words for t in p.talkers) for p in transcript.parts)
        ratio = found.error_rate / expected.error_rate
        results.figures[name] = dict(
            minutes=len(wave) / RATE / 60,
            pieces=len(places),
            parts=len(transcript.parts),
            seams=sum(part.continues for part in transcript.parts),
            parts_without_words=silent,
            words=found.length,
            one_by_one=_counts(expected),
            windows=_counts(found),
            ratio=ratio,
        )
        print(
            f"{name}: {len(places)} mixtures in {len(wave) / RATE / 60:.1f} min, "
            f"{len(transcript.parts)} windows, {silent} of them without words; "
            f"ORC-WER one by one {expected.error_rate:.1%}, in windows "
            f"{found.error_rate:.1%}, ratio {ratio:.3f}"
        )
    return with_pauses(pieces, args.seed)[0]


def _counts(error: Any) -> Dict[str, float]:
    return dict(
        error_rate=error.error_rate,
        substitutions=error.substitutions,
        deletions=error.deletions,
        insertions=error.insertions,
    )


def transcribe(path: str, model: str) -> Tuple[float, float]:
    """Return how many seconds a recording takes, and peak memory in GiB."""
    from espnet_mtasr import MTASR

    loaded = MTASR.from_pretrained(model, device="cpu")
    loaded.transcribe(np.zeros(RATE, np.float32), vad_threshold=0.0)
    start = time.perf_counter()
    loaded.transcribe(path)
    seconds = time.perf_counter() - start
    return seconds, bench.peak_memory("cpu")


def compare_lengths(
    args: argparse.Namespace, results: bench.Results, wave: np.ndarray
) -> None:
    """Print the RTF and peak memory, and their ratios to the shortest recording's."""
    import soundfile

    rows: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            path = Path(folder, "long.wav")
            with soundfile.SoundFile(path, "w", RATE, 1) as file:
                left = round(minutes * 60 * RATE)
                while left > 0:
                    file.write(wave[:left])
                    left -= len(wave)
            seconds, peak = bench.in_own_process(transcribe, str(path), args.model)
            factor = seconds / (minutes * 60)
            rows[f"{minutes:g} min"] = dict(rtf=factor, peak_gib=peak)
            first = next(iter(rows.values()))
            print(
                f"{minutes:g} min: {factor:.4f} s per second "
                f"({factor / first['rtf']:.2f} times the shortest's), {peak:.2f} GiB "
                f"({peak / first['peak_gib']:.2f} times)"
            )
    results.figures["lengths"] = rows


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare words, then lengths."""
    compare_lengths(args, results, compare_words(args, results))


if __name__ == "__main__":
    run_command_line(main)
