"""What does it cost to mix while loading? Beside stored mixtures and a training step.

ESPnet's data set loads the same training examples in four ways: from FLAC recordings of
the mixtures, from their recipes (mixture/on_the_fly.py) without and with a cache of
sources, and by dynamic mixing with that cache. In the same rounds phase-2 training
steps are taken on mixtures of that length; of such a step's time, loading its mixtures
is a share. With `--num_workers 0` it comes on top of the step, as in the mini recipe;
loading processes on cores of their own hide all of it below 100 %.

Examples, after `. ./path.sh` of a recipe; the first has the mini recipe's lengths, the
second is for a GPU:
    python -m tools.bench.on_the_fly --seconds 3 --talkers 3
    python -m tools.bench.on_the_fly --step full_size --device cuda --rows 6
"""

import argparse
import contextlib
import io
import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence

from typeguard import suppress_type_checks

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.mixture_generation import make_corpus
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

STORED = "stored recordings"
STEP = "training step"


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
    parser.add_argument(
        "--step",
        default="mini",
        choices=("none", "mini", "full_size"),
        help="phase 2 of the mini recipe, or of egs2/librimix with random weights",
    )
    parser.add_argument("--rows", type=int, default=24, help="mixtures a step")
    parser.add_argument("--steps", type=int, default=3, help="in a round")
    parser.add_argument("--device", default="cpu", choices=DEVICES)
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

    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.train.preprocessor import MTASRPreprocessor

    name, kind = speech.split(",")
    entries = [(f"{folder}/{name}", "speech", kind)]
    keys = list(read_table(folder / name))

    # As in ESPnet's training: without further processes its caches last, with them
    # each epoch begins with empty ones.
    preprocess = MTASRPreprocessor(True, **options)
    epochs = itertools.count(1)

    def load() -> None:
        preprocess.set_epoch(next(epochs))
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


def training_steps(data: Path, args: argparse.Namespace) -> Callable[[], None]:
    """Return a function that takes `--steps` steps on mixtures as long as those here.

    Args:
        data: Data directory, whose mean length counts.
        args: Options of the command line.
    """
    import soundfile

    from espnet_mtasr.data.tables import read_table
    from tools.bench.training import full_size_step, mini_step

    recordings = read_table(data / "wav.scp").values()
    mean = statistics.mean(soundfile.info(path).duration for path in recordings)
    make_step = mini_step if args.step == "mini" else full_size_step
    step = make_step(2, args.rows, mean, args.device)

    def run() -> None:
        for _ in range(args.steps):
            step()

    return run


def shares_of_step(
    times: Dict[str, List[float]], args: argparse.Namespace
) -> Dict[str, Dict[str, Dict[str, float]]]:
    """Percent of a step's time that loading its mixtures takes, by way of loading."""
    steps = times[STEP]
    percent = 100 * args.rows * args.steps / args.mixtures
    shares = {}
    for name, seconds in times.items():
        if name != STEP:
            more = [a - b for a, b in zip(seconds, times[STORED])]
            shares[name] = {
                "percent_of_a_step": ratios([percent * s for s in seconds], steps),
                "percent_more_than_stored": ratios([percent * s for s in more], steps),
            }
    return shares


def format_percent(percent: Mapping[str, float]) -> str:
    """Write percentages that `ratios` returned.

    >>> format_percent({'median': 2.0, 'min': -1.0, 'max': 3.0})
    '2.0 % (-1.0 to 3.0)'
    """
    return f"{percent['median']:.1f} % ({percent['min']:.1f} to {percent['max']:.1f})"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    check_positive(args, "mixtures", "talkers", "rounds", "seconds", "rows", "steps")
    for option in ("num_workers", "cache_megabytes"):
        if getattr(args, option) < 0:
            raise UserError(f"--{option} {getattr(args, option)}: give 0 or more")
    if args.step != "none":
        check_device(args.device)
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
        if args.step != "none":
            runs[STEP] = training_steps(data, args)
        # As in training.
        with suppress_type_checks():
            times = measure(runs, args.rounds)
    shares = shares_of_step(times, args) if args.step != "none" else {}
    figures = {
        name: {
            "seconds_per_example": statistics.median(seconds) / args.mixtures,
            "times_as_long_as_stored": ratios(seconds, times[STORED]),
            **shares.get(name, {}),
        }
        for name, seconds in times.items()
        if name != STEP
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
    if shares:
        print(f"Of a training step ({args.step}, {args.rows} mixtures, {args.device}):")
    for name, share in shares.items():
        print(
            f"{name:22} {format_percent(share['percent_of_a_step'])}; more than stored "
            f"ones: {format_percent(share['percent_more_than_stored'])}"
        )
    if args.json is not None:
        write_figures(args.json, vars(args), times, figures)


if __name__ == "__main__":
    run_command_line(main)
