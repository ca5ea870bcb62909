"""Compare the speed of the mixture generator with that of a plain loop.

A plain loop reads, adds and writes one mixture after another in one process, without
checks, data directories or resuming. The generator (bin/simulate.py) does all of its
work, with 1 and with N jobs. N plain loops at a time, each with its share of the
mixtures, show what N jobs could gain on the machine.

Example:
    python -m tools.bench.mixture_generation --mixtures 400 --nj 4 --json out.json
"""

import argparse
import contextlib
import io
import multiprocessing
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Dict

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench

RATE = bench.SAMPLING_RATE
OPTIONS = bench.Options(
    __doc__,
    mixtures=(200, "in a round"),
    talkers=(2, "in a mixture"),
    seconds=(10.0, "of an utterance"),
    nj=(2, "jobs of the parallel run"),
    rounds=5,
    folder=bench.SCRATCH,
)


def make_corpus(root: Path, n_mixtures: int, n_talkers: int, seconds: float) -> Path:
    """Write speech-like noise in LibriSpeech's and WHAM!'s layout, and a CSV.

    Each talker has 10 utterances, and each noise is used in 10 mixtures. Returns the
    CSV.
    """
    import numpy as np
    import soundfile

    from espnet_mtasr.mixture.metadata import MixtureRow, write_metadata

    rng = np.random.default_rng(0)

    def write(path: Path, length: float) -> None:
        # Low-passed with a slow level: FLAC compresses it about as well as speech.
        samples = np.convolve(rng.standard_normal(int(length * RATE)), np.ones(8) / 8)
        level = 0.1 * np.abs(np.sin(np.arange(len(samples)) / RATE * 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples * level, RATE, subtype="PCM_16")

    for talker in range(n_talkers):
        chapter = root / "LibriSpeech" / "test-clean" / str(talker) / "0"
        lines = []
        for u in range(10):
            name = f"{talker}-0-{u:04d}"
            write(chapter / f"{name}.flac", seconds * (0.7 + 0.06 * u))
            lines.append(f"{name} WORDS OF {talker}\n")
        (chapter / f"{talker}-0.trans.txt").write_text("".join(lines))
    for k in range(-(-n_mixtures // 10)):
        write(root / "wham_noise" / "tt" / f"{k}.wav", 2 * seconds)
    talkers, rows = range(n_talkers), []
    for m in range(n_mixtures):
        names = (f"{t}/0/{t}-0-{(m + 3 * t) % 10:04d}.flac" for t in talkers)
        sources = tuple(f"test-clean/{name}" for name in names)
        onsets, gains = tuple(1.5 * t for t in talkers), (0.5,) * n_talkers
        noise = f"tt/{m // 10}.wav"
        rows.append(MixtureRow(f"m{m}", sources, gains, onsets, noise, 0.2))
    write_metadata(root / "mixtures.csv", rows)
    return root / "mixtures.csv"


def plain_loop(root: Path, csv: Path, out: Path, share: slice = slice(None)) -> None:
    """Make the mixtures, or a share of them, one after another."""
    import numpy as np
    import soundfile

    from espnet_mtasr.mixture.metadata import read_metadata

    out.mkdir(exist_ok=True)
    for row in read_metadata(csv)[share]:
        parts = [
            soundfile.read(root / "LibriSpeech" / path, dtype="float32")[0] * gain
            for path, gain in zip(row.source_paths, row.source_gains)
        ]
        starts = [int(onset * RATE) for onset in row.onsets]
        n = max(start + len(part) for start, part in zip(starts, parts))
        noise_path = root / "wham_noise" / row.noise_path
        noise = soundfile.read(noise_path, dtype="float32", stop=n)[0]
        mixture = np.zeros(n, dtype=np.float32)
        for start, part in zip(starts, parts):
            mixture[start : start + len(part)] += part
        mixture[: len(noise)] += noise * row.noise_gain
        soundfile.write(out / f"{row.mixture_id}.flac", mixture, RATE, "PCM_16")


def plain_loops(root: Path, csv: Path, out: Path, nj: int) -> None:
    """Make the mixtures with plain loops in several processes."""
    shares = [(root, csv, out, slice(k, None, nj)) for k in range(nj)]
    with multiprocessing.Pool(nj) as pool:
        pool.starmap(plain_loop, shares, chunksize=1)


def generator(root: Path, csv: Path, out: Path, nj: int = 1) -> Path:
    """Make the mixtures like bin/simulate.py; return the data directory."""
    from espnet_mtasr.mixture.describe import Corpus
    from espnet_mtasr.mixture.generate import generate_sets

    corpus = Corpus(root / "LibriSpeech", root / "wham_noise", RATE)
    # A training set, because test sets are read twice, to fail before any work.
    sets = [("train_bench", str(csv), "noisy")]
    with contextlib.redirect_stdout(io.StringIO()):
        generate_sets(sets, {}, corpus, out / "audio", out / "data", nj)
    return out / "data" / "train_bench_noisy"


def in_new_folder(scratch: Path, run: Callable[[Path], object]) -> Callable[[], None]:
    """Return `run` with a new folder, which is removed afterwards."""

    def call() -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            run(Path(folder) / "out")

    return call


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare times."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder)
        csv = make_corpus(root, args.mixtures, args.talkers, args.seconds)
        runs: Dict[str, Callable[[Path], object]] = {
            "plain loop": lambda out: plain_loop(root, csv, out)
        }
        for nj in sorted({1, args.nj}):
            name = f"generator, {nj} job{'s' if nj > 1 else ''}"
            runs[name] = lambda out, nj=nj: generator(root, csv, out, nj)
        if args.nj > 1:
            name = f"{args.nj} plain loops"
            runs[name] = lambda out: plain_loops(root, csv, out, args.nj)
        times = results.measure(
            {name: in_new_folder(root, run) for name, run in runs.items()}
        )
    print(
        f"{args.mixtures} mixtures of {args.talkers} talkers, utterances of about "
        f"{args.seconds:g} s, {args.rounds} rounds"
    )
    for name, seconds in times.items():
        speed = args.mixtures / statistics.median(seconds)
        ratio = bench.Ratio(times["plain loop"], seconds)
        results.figures[name] = {
            "mixtures_per_second": speed,
            "times_as_fast_as_plain_loop": ratio,
        }
        print(f"{name:20} {speed:8.1f} mixtures/s   {ratio} as fast as the plain loop")


if __name__ == "__main__":
    run_command_line(main)
