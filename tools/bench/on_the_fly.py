"""The cost of mixing while loading, compared with stored mixtures and a training step.

ESPnet's data set loads the same training examples in four ways: from FLAC recordings of
the mixtures, from their specs (mixture/spec.py) without and with a cache of sources,
and by dynamic mixing with that cache. The same rounds take phase-2 training steps on
mixtures of that length, and the loading time is given as a share of the step's time.
With `--num_workers 0` it is added to the step, as in the mini recipe. Loading processes
on their own cores hide any share below 100 %.

Examples, after `. ./path.sh` of a recipe; the first has the mini recipe's lengths, the
second is for a GPU:
    python -m tools.bench.on_the_fly --seconds 3 --talkers 3
    python -m tools.bench.on_the_fly --step full_size --device cuda --rows 6
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Dict, Mapping

from typeguard import suppress_type_checks

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench
from tools.bench.mixture_generation import generator, make_corpus
from tools.bench.training import FULL_SIZE_CONFIG, TrainingStep, mini_step

STORED = "stored recordings"
STEP = "training step"
OPTIONS = bench.Options(
    __doc__,
    mixtures=(200, "in a round"),
    talkers=(2, "in a mixture"),
    seconds=(10.0, "of an utterance"),
    num_workers=(0, "loading processes; 0: load in the main process"),
    cache_megabytes=(500.0, "each"),
    rounds=5,
    step=bench.Option(
        "mini",
        "phase 2 of the mini recipe, or of egs2/librimix with random weights",
        ("none", "mini", "full_size"),
    ),
    rows=(24, "mixtures per step"),
    steps=(3, "in a round"),
    device=bench.DEVICE,
    folder=bench.SCRATCH,
)


def loading(
    folder: Path, speech: str, num_workers: int, **options
) -> Callable[[], None]:
    """Return a function that loads all examples of a set once, as in an epoch.

    `speech` is a file and a data type, for example `wav.scp,sound`; options are those
    of the preprocessor.
    """
    import torch
    from espnet2.train.dataset import ESPnetDataset

    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.train.preprocessor import MTASRPreprocessor

    name, kind = speech.split(",")
    entries = [(f"{folder}/{name}", "speech", kind)]
    keys = list(read_table(folder / name))

    # As in ESPnet's training: without loading processes the caches last; with them each
    # epoch starts with empty caches.
    preprocess = MTASRPreprocessor(True, **options)
    epochs = itertools.count(1)

    def load() -> None:
        preprocess.set_epoch(next(epochs))
        # Dynamic mixing also returns a text, which isn't tokenized here.
        dataset = ESPnetDataset(
            entries, lambda utt, data: {"speech": preprocess(utt, data)["speech"]}
        )
        loader = torch.utils.data.DataLoader(
            dataset, None, sampler=keys, num_workers=num_workers
        )
        for _, data in loader:
            assert len(data["speech"]) > 0

    return load


def training_step(data: Path, args: argparse.Namespace) -> TrainingStep:
    """Return a step on mixtures of the mean length of a data directory's."""
    import soundfile

    from espnet_mtasr.data.tables import read_table

    recordings = read_table(data / "wav.scp").values()
    mean = statistics.mean(soundfile.info(path).duration for path in recordings)
    if args.step == "mini":
        return mini_step(2, args.rows, mean, args.device)
    return TrainingStep(
        FULL_SIZE_CONFIG, args.rows, mean, device=args.device, dtype="bfloat16"
    )


def format_percent(percent: Mapping[str, float]) -> str:
    """Format percentages of a `bench.Ratio`.

    >>> format_percent({'median': 2.0, 'min': -1.0, 'max': 3.0})
    '2.0 % (-1.0 to 3.0)'
    """
    return f"{percent['median']:.1f} % ({percent['min']:.1f} to {percent['max']:.1f})"


def ways_of_loading(data: Path, args: argparse.Namespace) -> Dict[str, Callable]:
    """Return functions that load the mixtures of a data directory, by name."""
    cache = {"cache_megabytes": args.cache_megabytes}
    tables = (str(data / "utt2mixture"), str(data / "text"))
    workers, specs = args.num_workers, "utt2mixture,text"
    dynamic = {"mixtures": tables, "dynamic_mixing_conf": cache}
    return {
        STORED: loading(data, "wav.scp,sound", workers),
        "on the fly": loading(data, specs, workers, cache_megabytes=0),
        "on the fly, cache": loading(data, specs, workers, **cache),
        "dynamic mixing, cache": loading(data, "utt2mixture,json", workers, **dynamic),
    }


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare times."""
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        root = Path(scratch)
        csv = make_corpus(root, args.mixtures, args.talkers, args.seconds)
        data = generator(root, csv, root)
        runs = ways_of_loading(data, args)
        if args.step != "none":
            step = training_step(data, args)
            runs[STEP] = lambda: step.measure(args.steps)
        # As in training.
        with suppress_type_checks():
            times = dict(results.measure(runs))
    print(
        f"{args.mixtures} mixtures of {args.talkers} talkers and noise, utterances of "
        f"about {args.seconds:g} s, {args.num_workers} workers, {args.rounds} rounds; "
        f"a step ({args.step}) of {args.rows} mixtures on {args.device}"
    )
    steps = times.pop(STEP, None)
    percent = 100 * args.rows * args.steps / args.mixtures
    for name, seconds in times.items():
        each = statistics.median(seconds) / args.mixtures
        ratio = bench.Ratio(seconds, times[STORED])
        figure = {"seconds_per_example": each, "times_as_long_as_stored": ratio}
        line = f"{name:22} {1e3 * each:8.2f} ms per example, {ratio} as long as stored"
        if steps is not None:
            more = [a - b for a, b in zip(seconds, times[STORED])]
            share = bench.Ratio([percent * s for s in seconds], steps)
            rest = bench.Ratio([percent * s for s in more], steps)
            figure.update(percent_of_a_step=share, percent_more_than_stored=rest)
            line += f", {format_percent(share)} of a step, {format_percent(rest)} more"
        results.figures[name] = figure
        print(line)


if __name__ == "__main__":
    run_command_line(main)
