#!/usr/bin/env python3
"""What does it cost to mix while loading? Times as long as reading stored mixtures.

ESPnet's data set loads the same training examples in four ways: from FLAC recordings of
the mixtures, from their recipes (mixture/on_the_fly.py) without and with a cache of
sources, and by dynamic mixing with that cache.

Example:
    python tools/bench/on_the_fly.py --mixtures 400 --num_workers 4 --json out.json
"""

import argparse
import contextlib
import io
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Optional, Sequence

from mixture_generation import make_corpus
from side_by_side import check_positive, format_ratio, measure, ratios, write_figures

from espnet_mtasr.errors import UserError, run_command_line

STORED = "stored recordings"


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost of mixing while loading.")
    parser.add_argument("--mixtures", type=int, default=200, help="in a round")
    parser.add_argument("--talkers", type=int, default=2, help="in a mixture")
    parser.add_argument("--seconds", type=float, default=10.0, help="of an utterance")
    parser.add_argument(
        "--num_workers", type=int, default=0, help="processes that load; 0: none more"
    )
    parser.add_argument("--cache_megabytes", type=float, default=500.0, help="each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="for scratch files (default: /tmp)")
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def make_data(root: Path, csv: Path) -> Path:
    """Make recordings and lists as bin/simulate.py does; return the data directory."""
    from espnet_mtasr.mixture.describe import Corpus
    from espnet_mtasr.mixture.generate import generate_sets

    corpus = Corpus(root / "LibriSpeech", root / "wham_noise")
    sets = [("train_bench", str(csv), "noisy")]
    with contextlib.redirect_stdout(io.StringIO()):
        generate_sets(sets, {}, corpus, root / "audio", root / "data", 1)
    return root / "data" / "train_bench_noisy"


def loading(
    folder: Path, speech: str, num_workers: int, **options
) -> Callable[[], None]:
    """Return a function that loads all examples of a set once, as in an epoch.

    Args:
        folder: Data directory.
        speech: File and data type, for instance `wav.scp,sound`.
        num_workers: Of torch's data loader.
        options: Of the preprocessor.
    """
    import torch
    from espnet2.train.dataset import ESPnetDataset

    from espnet_mtasr.mixture.data_dir import read_table
    from espnet_mtasr.train.preprocessor import MTASRPreprocessor

    name, kind = speech.split(",")
    entries = [(f"{folder}/{name}", "speech", kind)]
    keys = list(read_table(folder / name))

    def load() -> None:
        # As in ESPnet's training, each epoch begins with an empty cache.
        preprocess = MTASRPreprocessor(True, **options)
        preprocess.set_epoch(1)
        dataset = ESPnetDataset(
            entries, lambda utt, data: _speech(preprocess, utt, data)
        )
        loader = torch.utils.data.DataLoader(
            dataset, None, sampler=keys, num_workers=num_workers
        )
        for _, data in loader:
            assert len(data["speech"]) > 0

    return load


def _speech(preprocess: Callable, utt: str, data: dict) -> dict:
    # Dynamic mixing gives a text too, which nothing tokenizes here.
    return {"speech": preprocess(utt, data)["speech"]}


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    check_positive(args, "mixtures", "talkers", "rounds", "seconds")
    for option in ("num_workers", "cache_megabytes"):
        if getattr(args, option) < 0:
            raise UserError(f"--{option} {getattr(args, option)}: give 0 or more")
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        root = Path(scratch)
        csv = make_corpus(root, args.mixtures, args.talkers, args.seconds)
        data = make_data(root, csv)
        cache = {"cache_megabytes": args.cache_megabytes}
        tables = (str(data / "utt2mixture"), str(data / "text"))
        workers = args.num_workers
        recipes = "utt2mixture,text"
        runs = {
            STORED: loading(data, "wav.scp,sound", workers),
            "on the fly": loading(data, recipes, workers, cache_megabytes=0),
            "on the fly, cache": loading(data, recipes, workers, **cache),
            "dynamic mixing, cache": loading(
                data,
                "utt2mixture,json",
                workers,
                mixtures=tables,
                dynamic_mixing_conf=cache,
            ),
        }
        times = measure(runs, args.rounds)
    figures = {
        name: {
            "seconds_per_example": statistics.median(seconds) / args.mixtures,
            "times_as_long_as_stored": ratios(seconds, times[STORED]),
        }
        for name, seconds in times.items()
    }
    print(
        f"{args.mixtures} mixtures of {args.talkers} talkers and noise, utterances of "
        f"about {args.seconds:g} s, {workers} workers, {args.rounds} rounds"
    )
    for name, figure in figures.items():
        ratio = figure["times_as_long_as_stored"]
        print(
            f"{name:22} {1e3 * figure['seconds_per_example']:8.2f} ms an example   "
            f"{format_ratio(ratio)} as long as stored"
        )
    if args.json is not None:
        write_figures(args.json, vars(args), times, figures)


if __name__ == "__main__":
    run_command_line(main)
