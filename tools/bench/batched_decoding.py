"""Decoding in batches compared with decoding one by one: how many times as fast?

`--batch_sizes` decodes like mtasr_inference (texts), in batches of similar length and,
for comparison, in batches in the recordings' order. `--batch_seconds` decodes like
`espnet-mtasr transcribe` (words with times and confidences). First the texts are
compared with those of decoding one by one; if any differs, nothing is timed.

Example, on one core:
    OMP_NUM_THREADS=1 python -m tools.bench.batched_decoding --mixtures 96
"""

import argparse
from statistics import median
from typing import Any, Callable, List, Sequence

import numpy as np

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench

ALONE, ALONE_WITH_WORDS = "one by one", "one by one, with words"
MAX_CUT_SECONDS = 1.0
SAMPLES = bench.ROOT / "egs2" / "mini_librimix" / "samples"
OPTIONS = bench.Options(
    __doc__,
    model=("mini", "name, zip, folder or .pth"),
    recordings=(SAMPLES, "a folder, or one of them"),
    mixtures=(96, "per round; if there are fewer, copies with cut ends are added"),
    batch_sizes=[8, 32],
    batch_seconds=[60.0],
    device=bench.DEVICE,
    rounds=7,
)

Texts = List[List[str]]


def repeat_with_cuts(
    waves: Sequence[np.ndarray], number: int, most: int
) -> List[np.ndarray]:
    """Return `number` waves `(N,)`: the given ones, then copies.

    Each copy has a different number of samples cut at its end: up to `most`, and at
    most half of it.
    """
    rng = np.random.default_rng(0)
    repeated = list(waves[:number])
    while len(repeated) < number:
        wave = waves[len(repeated) % len(waves)]
        cut = int(rng.integers(0, min(most, len(wave) // 2) + 1))
        repeated.append(wave[: len(wave) - cut])
    return repeated


def decoders(model: Any, waves: Sequence, args: argparse.Namespace) -> bench.Runs:
    """Return what is timed; each returns the texts of all talkers of all `waves`."""
    from espnet_mtasr.transcription.recordings import Recording

    speech2text = model.speech2text
    recordings = [Recording(str(place), (wave,)) for place, wave in enumerate(waves)]

    def texts(decode: Callable[[], Sequence]) -> Callable[[], Texts]:
        def run() -> Texts:
            # mtasr_inference doesn't compute word times.
            speech2text.align = False
            return [[talker.text for talker in h.talkers] for h in decode()]

        return run

    def words(seconds: float, window: int) -> Callable[[], Texts]:
        how = model.how(seconds)
        parts = [recordings[k : k + window] for k in range(0, len(waves), window)]

        def run() -> Texts:
            speech2text.align = True
            found = [model.decoder.transcribe(p, [None] * len(p), how) for p in parts]
            return [
                [talker.text for talker in t.talkers] for part in found for t in part
            ]

        return run

    def as_they_come(size: int) -> Callable[[], Sequence]:
        firsts = range(0, len(waves), size)
        return lambda: [h for k in firsts for h in speech2text(waves[k : k + size])]

    runs = {ALONE: texts(as_they_come(1))}
    for size in args.batch_sizes:
        runs[f"batches of {size}"] = texts(
            lambda size=size: speech2text.in_batches(waves, size)
        )
        runs[f"batches of {size}, as they come"] = texts(as_they_come(size))
    runs[ALONE_WITH_WORDS] = words(1.0, 1)
    for seconds in args.batch_seconds:
        name = f"batches of {seconds:g} s, with words"
        runs[name] = words(seconds, len(recordings))
    return runs


def baseline(name: str) -> str:
    """Return the name of what a way of decoding is compared with."""
    return ALONE_WITH_WORDS if name.endswith("with words") else ALONE


def check_same_texts(runs: bench.Runs) -> None:
    """Raise `UserError` unless each gives the same texts as decoding one by one."""
    found = {name: run() for name, run in runs.items()}
    for name, texts in found.items():
        alone = baseline(name)
        bench.check_same_texts(name, texts, alone, found[alone])


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare texts and times."""
    from espnet_mtasr.model_zoo.model_files import fetch_model

    files = fetch_model(args.model)
    from espnet_mtasr.transcription.mtasr import MTASR
    from espnet_mtasr.transcription.recordings import open_recording
    from espnet_mtasr.transcription.sources import find_recordings

    model = MTASR.from_files(files, args.device)
    sources = find_recordings([str(args.recordings)])[: args.mixtures]
    found = [
        open_recording(source, model.rate).read().channels[0] for source in sources
    ]
    waves = repeat_with_cuts(found, args.mixtures, round(MAX_CUT_SECONDS * model.rate))
    lengths = [len(wave) / model.rate for wave in waves]
    runs = decoders(model, waves, args)
    check_same_texts(runs)
    print(
        f"{len(waves)} mixtures of {min(lengths):.1f} to {max(lengths):.1f} s; all "
        f"texts are equal"
    )
    times = results.measure(runs)
    for name in runs:
        rtf = median(times[name]) / sum(lengths)
        ratio = bench.Ratio(times[baseline(name)], times[name])
        results.figures[name] = {"real_time_factor": rtf, "times_as_fast": ratio}
        print(f"{name}: RTF {rtf:.5f}, {ratio} as fast as {baseline(name)}")


if __name__ == "__main__":
    run_command_line(main)
