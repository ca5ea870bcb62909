"""Decoding in batches beside decoding one by one: how many times as fast?

`--batch_sizes` decodes as mtasr_inference does (texts), in batches of like length and,
for comparison, in batches as the recordings come. `--batch_seconds` decodes as
`espnet-mtasr transcribe` does (words with times and confidences). Before anything is
timed, the texts are compared with those of decoding one by one: it goes no further
where one differs.

Example, on one core:
    OMP_NUM_THREADS=1 python -m tools.bench.batched_decoding --mixtures 96
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

ALONE, ALONE_WITH_WORDS = "one by one", "one by one, with words"

Texts = List[List[str]]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini", help="name, zip, folder or .pth")
    parser.add_argument(
        "--recordings", type=Path, help="wav.scp or folder; default: the samples"
    )
    parser.add_argument(
        "--mixtures",
        type=int,
        default=96,
        help="decoded in a round; more than there are: copies, cut at the end",
    )
    parser.add_argument(
        "--max_cut", type=float, default=1.0, help="seconds that a copy may lack"
    )
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[8, 32])
    parser.add_argument("--batch_seconds", type=float, nargs="*", default=[60.0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for an option that can't be."""
    check_positive(args, "mixtures", "rounds")
    if args.max_cut < 0:
        raise UserError(f"--max_cut {args.max_cut}: give 0 or more")
    for option in ("batch_sizes", "batch_seconds"):
        for value in getattr(args, option):
            if not value > 0:
                raise UserError(f"--{option} {value}: give more than 0")
    if not args.batch_sizes and not args.batch_seconds:
        raise UserError("--batch_sizes, --batch_seconds: both empty; give one of them")
    if args.recordings is not None and not args.recordings.exists():
        raise UserError(f"--recordings {args.recordings}: no such file; name another")


def decoders(
    model: Any, waves: Sequence, args: argparse.Namespace
) -> Dict[str, Callable[[], Texts]]:
    """Return what is timed; each gives the texts of all talkers of all `waves`."""
    from espnet_mtasr.transcription.recordings import Recording

    speech2text = model.speech2text
    recordings = [Recording(str(place), wave) for place, wave in enumerate(waves)]

    def texts(decode: Callable[[], Sequence]) -> Callable[[], Texts]:
        def run() -> Texts:
            # mtasr_inference asks for no times of words.
            speech2text.align = False
            return [[talker.text for talker in h.talkers] for h in decode()]

        return run

    def words(seconds: float, window: int) -> Callable[[], Texts]:
        def run() -> Texts:
            speech2text.align = True
            found = []
            for first in range(0, len(recordings), window):
                part = recordings[first : first + window]
                found += model.transcribe_read(part, [None] * len(part), seconds)
            return [[talker.text for talker in t.talkers] for t in found]

        return run

    def as_they_come(size: int) -> Callable[[], Sequence]:
        firsts = range(0, len(waves), size)
        return lambda: [h for k in firsts for h in speech2text(waves[k : k + size])]

    runs = {}
    if args.batch_sizes:
        runs[ALONE] = texts(as_they_come(1))
        for size in args.batch_sizes:
            runs[f"batches of {size}"] = texts(
                lambda size=size: speech2text.in_batches(waves, size)
            )
            runs[f"batches of {size}, as they come"] = texts(as_they_come(size))
    if args.batch_seconds:
        runs[ALONE_WITH_WORDS] = words(1.0, 1)
        for seconds in args.batch_seconds:
            name = f"batches of {seconds:g} s, with words"
            runs[name] = words(seconds, len(recordings))
    return runs


def baseline(name: str) -> str:
    """Return what a way of decoding is compared with."""
    return ALONE_WITH_WORDS if name.endswith("with words") else ALONE


def check_same_texts(runs: Dict[str, Callable[[], Texts]]) -> None:
    """Raise `UserError` unless each decodes all mixtures as one by one does."""
    found = {name: run() for name, run in runs.items()}
    for name, texts in found.items():
        pairs = list(zip(texts, found[baseline(name)]))
        different = sum(a != b for a, b in pairs)
        if different:
            raise UserError(
                f"{name}: {different} of {len(pairs)} mixtures have other texts than "
                f"{baseline(name)}; the times of different results aren't compared"
            )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Check, time and print."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    from espnet_mtasr.model_zoo.model_files import fetch_model
    from tools.bench.recordings import SAMPLES, read_waves, repeat_with_cuts

    files = fetch_model(args.model)
    from espnet_mtasr.transcription.mtasr import MTASR

    model = MTASR.from_files(files, args.device)
    found = list(
        read_waves(args.recordings or SAMPLES, model.rate, args.mixtures).values()
    )
    cut = round(args.max_cut * model.rate)
    waves = repeat_with_cuts(found, args.mixtures, cut)
    audio = sum(map(len, waves)) / model.rate
    runs = decoders(model, waves, args)
    check_same_texts(runs)
    print(
        f"{len(waves)} mixtures of {min(map(len, waves)) / model.rate:.1f} to "
        f"{max(map(len, waves)) / model.rate:.1f} s; all texts are equal"
    )
    seconds = measure(runs, args.rounds)
    figures = {}
    for name in runs:
        figures[name] = {
            "real_time_factor": median(seconds[name]) / audio,
            "times_as_fast": ratios(seconds[baseline(name)], seconds[name]),
        }
        print(
            f"{name}: RTF {figures[name]['real_time_factor']:.5f}, "
            f"{format_ratio(figures[name]['times_as_fast'])} as fast as "
            f"{baseline(name)}"
        )
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
