"""Phase 2 of the mini recipe with and without cached outputs of the trunk.

It uses the recipe's configuration and pretrained models, on noise with the recipe's
sentences. The noise is stored as recordings, because the mixtures of dynamic mixing are
never the same twice. Each round trains both from the same seed. It compares seconds per
epoch (training and validation) from the second epoch on. The losses must agree. After
`. ./path.sh` of a recipe:

    python -m tools.bench.cached_trunk --json out.json
    python -m tools.bench.cached_trunk --device cuda --json out.json
"""

import argparse
import contextlib
import io
import random
import runpy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench
from tools.bench import training

WITHOUT, CACHED = "without", "cached"
SPEECH = {WITHOUT: "wav.scp,speech,sound", CACHED: "trunk.scp,speech,text"}
PARTS = ("train", "valid")
TOLERANCE = 1e-3
# In shorter mixtures, a text is one clause of the grammar, because two may not fit.
SHORT_SECONDS = 3.0
OPTIONS = bench.Options(
    __doc__,
    config=training.MINI_RECIPE / "conf" / "train_phase2.yaml",
    mixtures=(480, "per training epoch"),
    valid_mixtures=24,
    seconds=(training.MINI_SECONDS, "of each"),
    epochs=(4, "of a training; at least 2"),
    rounds=3,
    cache_dtype=bench.Option("float16", choices=("float16", "float32")),
    device=bench.DEVICE,
    training_options=training.TRAINING_OPTIONS,
    folder=bench.SCRATCH,
)


def make_lists(root: Path, args: argparse.Namespace) -> None:
    """Write recordings, `lists/*` like those of stage 10, and CTC units.

    Mixtures alternately have 2 or 3 talkers; lengths vary by up to 15 %.
    """
    import numpy as np
    import soundfile

    from espnet_mtasr.bin import make_token_list
    from espnet_mtasr.data.tables import write_table
    from espnet_mtasr.text.sot import join_sot

    # It isn't part of a package.
    grammar = runpy.run_path(
        str(training.MINI_RECIPE / "local" / "corpus" / "grammar.py")
    )
    draw = grammar["clause" if args.seconds < SHORT_SECONDS else "sentence"]
    rng = random.Random(0)
    noise = np.random.default_rng(0)
    (root / "audio").mkdir()
    for part, size in zip(PARTS, (args.mixtures, args.valid_mixtures)):
        tables: Dict[str, Dict[str, Any]] = {
            name: {} for name in ("wav.scp", "text", "speech_shape", "text_shape")
        }
        for k in range(size):
            utt, count = f"{part}{k:05d}", 2 + k % 2
            length = args.seconds * rng.uniform(0.85, 1.15)
            samples = 0.1 * noise.standard_normal(int(length * bench.SAMPLING_RATE))
            path = root / "audio" / f"{utt}.wav"
            soundfile.write(path, samples, bench.SAMPLING_RATE, "PCM_16")
            text = join_sot([draw(rng).lower() for _ in range(count)])
            # Text shapes are for weighting batches, but here batches have a fixed size.
            row = (path, text, len(samples), len(text.split()))
            for table, value in zip(tables.values(), row):
                table[utt] = value
        for name, table in tables.items():
            write_table(root / "stats" / "lists" / part / name, table)
    text = root / "stats" / "lists" / "train" / "text"
    make_token_list.main(
        ["--text", str(text), "--output_dir", str(root / "units")]
        + ["--nbpe", str(training.MINI_VOCABULARY)]
    )


def options_of(root: Path, args: argparse.Namespace) -> List[str]:
    """Return the options that training and caching share."""
    units = root / "units"
    return [
        *("--config", str(args.config), *training.MINI_MODELS),
        *("--token_type", "bpe", "--bpemodel", f"{units}/bpe.model"),
        *("--token_list", f"{units}/tokens.txt"),
        # These need specs of mixtures, which noise doesn't have.
        *("--preprocessor_conf", "flat_start_epochs=0"),
        *("--model_conf", "activity_weight=0"),
        *args.training_options.split(),
    ]


def fill_cache(root: Path, args: argparse.Namespace) -> float:
    """Cache the trunk's outputs like stage 10; return the seconds it took."""
    from espnet_mtasr.bin import cache_trunk

    options = [
        *options_of(root, args),
        *("--stats_dir", str(root / "stats"), "--cache_dir", str(root / "trunk")),
        *("--cache_dtype", args.cache_dtype),
    ]
    start = time.perf_counter()
    cache_trunk.main([*options, "--ngpu", str(int(args.device == "cuda"))])
    seconds = time.perf_counter() - start
    cache_trunk.main([*options, "--join", "true"])
    return seconds


def train(root: Path, how: str, args: argparse.Namespace) -> Dict[int, Dict[str, Any]]:
    """Train from scratch; return ESPnet's statistics of each epoch."""
    import torch

    from espnet_mtasr.bin import mtasr_train

    with tempfile.TemporaryDirectory(dir=root) as exp:
        options = [
            *options_of(root, args),
            *("--ngpu", str(int(args.device == "cuda")), "--output_dir", exp),
            *("--max_epoch", str(args.epochs), "--keep_nbest_models", "1"),
            *("--use_tensorboard", "false", "--log_level", "WARNING"),
        ]
        for part in PARTS:
            lists = root / "stats" / "lists" / part
            for entry in (SPEECH[how], "text,text,text"):
                option = f"--{part}_data_path_and_name_and_type"
                options += [option, f"{lists}/{entry}"]
            for shape in ("speech_shape", "text_shape"):
                options += [f"--{part}_shape_file", f"{lists}/{shape}"]
        mtasr_train.main(options)
        checkpoint = torch.load(f"{exp}/checkpoint.pth", map_location="cpu")
    return checkpoint["reporter"]["stats"]


def seconds_per_epoch(stats: Dict[int, Dict[str, Any]]) -> float:
    """Return the median over epochs from the second, training plus validation."""
    return statistics.median(
        sum(epoch[part]["time"]["__timedelta_seconds__"] for part in PARTS)
        for number, epoch in stats.items()
        if number > 1
    )


def check_same(without: Dict[int, Any], cached: Dict[int, Any]) -> float:
    """Return the largest relative difference of the losses.

    Raises:
        UserError: it is above the tolerance, or no mixture could be aligned.
    """
    largest = 0.0
    for number, epoch in without.items():
        for part in PARTS:
            a, b = (stats[part]["loss"] for stats in (epoch, cached[number]))
            if not a > 0:
                raise UserError(
                    f"epoch {number}, {part}: the loss is {a}; give more --seconds"
                )
            gap = abs(a - b) / a
            if not gap <= TOLERANCE:
                raise UserError(
                    f"epoch {number}, {part}: the loss is {a} without and {b} with the "
                    f"cache: these must agree to {TOLERANCE:g}"
                )
            largest = max(largest, gap)
    return largest


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Train in turn, compare losses and times."""
    if args.epochs < 2:
        raise UserError(
            f"--epochs {args.epochs}: the first one doesn't count; give 2 or more"
        )
    stats: Dict[str, List[Dict]] = {WITHOUT: [], CACHED: []}
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        with contextlib.redirect_stdout(io.StringIO()):
            make_lists(Path(scratch), args)
            filling = fill_cache(Path(scratch), args)
            for _, how in bench.rotate(list(stats), args.rounds):
                stats[how].append(train(Path(scratch), how, args))
    gap = max(map(check_same, stats[WITHOUT], stats[CACHED]))
    print(
        f"{args.mixtures} mixtures of about {args.seconds:g} s, {args.device}, "
        f"{args.rounds} rounds of {args.epochs} epochs"
    )
    for how, each in stats.items():
        results.seconds[how] = [seconds_per_epoch(epochs) for epochs in each]
        median = statistics.median(results.seconds[how])
        print(f"{how:8} {median:8.2f} s per epoch")
    ratio = bench.Ratio(results.seconds[WITHOUT], results.seconds[CACHED])
    filling /= statistics.median(results.seconds[WITHOUT])
    results.figures = {
        "times_as_fast": ratio,
        "filling_in_epochs_without": filling,
        "largest_difference_of_losses": gap,
    }
    print(
        f"cached: {ratio} as fast from the second epoch on; filling the cache took as "
        f"long as {filling:.2f} epochs without; losses differ by up to {gap:.0e}"
    )


if __name__ == "__main__":
    run_command_line(main)
