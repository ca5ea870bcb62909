"""Phase 2 of the mini recipe with the trunk's outputs cached, beside without.

The recipe's configuration and pretrained models, on noise with the recipe's sentences:
recordings, since the mixtures of dynamic mixing are never the same twice. Each round
trains both, from the same seed; compared are the seconds per epoch (training and
validation) from the second on. Their losses must agree. After `. ./path.sh` of a
recipe:

    python -m tools.bench.cached_trunk --json out.json
    python -m tools.bench.cached_trunk --device cuda --json out.json
"""

import argparse
import contextlib
import importlib.util
import io
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    ratios,
    write_figures,
)
from tools.bench.training import (
    MINI_MODELS,
    MINI_RECIPE,
    MINI_SECONDS,
    MINI_VOCABULARY,
    SAMPLING_RATE,
    check_file,
)

WITHOUT, CACHED = "without", "cached"
SPEECH = {WITHOUT: "wav.scp,speech,sound", CACHED: "trunk.scp,speech,text"}
PARTS = ("train", "valid")
TOLERANCE = 1e-3
# Below this a mixture's text is one clause of the grammar: two may not fit.
SHORT_SECONDS = 3.0


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", type=Path, default=MINI_RECIPE / "conf" / "train_phase2.yaml"
    )
    parser.add_argument("--mixtures", type=int, default=480, help="a training epoch")
    parser.add_argument("--valid_mixtures", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=MINI_SECONDS, help="of each")
    parser.add_argument("--epochs", type=int, default=4, help="of a training, from 2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cache_dtype", default="float16", choices=("float16", "float32")
    )
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument(
        "--training_options",
        default="",
        help="further options of mtasr_train, quoted, for instance "
        "'--model_conf ctc_weight=1.0' for a training without teacher",
    )
    parser.add_argument("--folder", type=Path, help="for scratch files (default: /tmp)")
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def load_grammar() -> Any:
    """The mini recipe's local/grammar.py, which is no part of a package."""
    path = MINI_RECIPE / "local" / "grammar.py"
    spec = importlib.util.spec_from_file_location("mini_grammar", path)
    grammar = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(grammar)
    return grammar


def make_lists(root: Path, args: argparse.Namespace) -> None:
    """Write recordings and `lists/*` as stage 10 leaves them, and CTC units.

    Mixtures have 2 or 3 talkers in turn, and up to 15 % more or fewer seconds.
    """
    import numpy as np
    import soundfile

    from espnet_mtasr.bin import make_token_list
    from espnet_mtasr.data.tables import write_table
    from espnet_mtasr.text.sot import join_sot

    grammar, rng = load_grammar(), random.Random(0)
    draw = grammar.clause if args.seconds < SHORT_SECONDS else grammar.sentence
    noise = np.random.default_rng(0)
    (root / "audio").mkdir()
    for part, size in zip(PARTS, (args.mixtures, args.valid_mixtures)):
        tables: Dict[str, Dict[str, Any]] = {
            name: {} for name in ("wav.scp", "text", "speech_shape", "text_shape")
        }
        for k in range(size):
            utt, count = f"{part}{k:05d}", 2 + k % 2
            length = args.seconds * rng.uniform(0.85, 1.15)
            samples = 0.1 * noise.standard_normal(int(length * SAMPLING_RATE))
            path = root / "audio" / f"{utt}.wav"
            soundfile.write(path, samples, SAMPLING_RATE, "PCM_16")
            text = join_sot([draw(rng).lower() for _ in range(count)])
            # The shape of a text weighs a batch, and here batches have a fixed size.
            row = (path, text, len(samples), len(text.split()))
            for table, value in zip(tables.values(), row):
                table[utt] = value
        for name, table in tables.items():
            write_table(root / "stats" / "lists" / part / name, table)
    text = root / "stats" / "lists" / "train" / "text"
    make_token_list.main(
        ["--text", str(text), "--output_dir", str(root / "units")]
        + ["--nbpe", str(MINI_VOCABULARY)]
    )


def options_of(root: Path, args: argparse.Namespace) -> List[str]:
    """Options that training and caching share."""
    units = root / "units"
    return [
        *("--config", str(args.config), *MINI_MODELS),
        *("--token_type", "bpe", "--bpemodel", f"{units}/bpe.model"),
        *("--token_list", f"{units}/tokens.txt"),
        # It needs recipes of the mixtures, which noise has not.
        *("--preprocessor_conf", "flat_start_epochs=0"),
        *args.training_options.split(),
    ]


def fill_cache(root: Path, args: argparse.Namespace) -> float:
    """Cache the outputs of the trunk, as stage 10 does; return the seconds it took."""
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
    """Train from the beginning; return ESPnet's statistics of each epoch."""
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
    """Median from the second epoch on, of training and validation together."""
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
                    f"epoch {number}, {part}: a loss of {a}; give more --seconds"
                )
            gap = abs(a - b) / a
            if not gap <= TOLERANCE:
                raise UserError(
                    f"epoch {number}, {part}: a loss of {a} without, of {b} with the "
                    f"cache: these must be one to {TOLERANCE:g}"
                )
            largest = max(largest, gap)
    return largest


def compare(root: Path, args: argparse.Namespace) -> Tuple[Dict, Dict[str, Any]]:
    """Seconds per epoch of each training, and the figures."""
    with contextlib.redirect_stdout(io.StringIO()):
        make_lists(root, args)
        filling = fill_cache(root, args)
    seconds: Dict[str, List[float]] = {WITHOUT: [], CACHED: []}
    gaps = []
    for number in range(args.rounds):
        order = (WITHOUT, CACHED) if number % 2 == 0 else (CACHED, WITHOUT)
        with contextlib.redirect_stdout(io.StringIO()):
            stats = {how: train(root, how, args) for how in order}
        gaps.append(check_same(stats[WITHOUT], stats[CACHED]))
        for how in order:
            seconds[how].append(seconds_per_epoch(stats[how]))
    return seconds, {
        "times_as_fast": ratios(seconds[WITHOUT], seconds[CACHED]),
        "filling_in_epochs_without": filling / statistics.median(seconds[WITHOUT]),
        "largest_difference_of_losses": max(gaps),
    }


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "mixtures", "valid_mixtures", "seconds", "rounds")
    if args.epochs < 2:
        raise UserError(f"--epochs {args.epochs}: the first one doesn't count; give 2")
    check_file("config", args.config)
    check_device(args.device)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        seconds, figures = compare(Path(scratch), args)
    print(
        f"{args.mixtures} mixtures of about {args.seconds:g} s, {args.device}, "
        f"{args.rounds} rounds of {args.epochs} epochs"
    )
    for how, each in seconds.items():
        print(f"{how:8} {statistics.median(each):8.2f} s an epoch")
    print(
        f"cached: {format_ratio(figures['times_as_fast'])} as fast from the second "
        f"epoch on; filling the cache took as long as "
        f"{figures['filling_in_epochs_without']:.2f} epochs without; losses differ by "
        f"up to {figures['largest_difference_of_losses']:.0e}"
    )
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
