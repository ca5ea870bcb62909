"""Encoder-only decoding at full size beside decoding by the language model.

The model of a phase-2 configuration (default: WavLM-Large and Llama-3.2-1B) with random
weights writes down mixtures of noise: by branch, separator and CTC, part by part and as
a whole, and by its language model, greedily, with a key-value cache, LoRA merged, and a
fixed number of tokens. Printed are real-time factors, language model / encoder-only,
and how many times the floor of its work (floors.py, work.py) each takes. From anywhere,
after `. ./path.sh` of a recipe:

    python -m tools.bench.decoding --device cuda --dtype bfloat16 --json out.json
    OMP_NUM_THREADS=2 python -m tools.bench.decoding --json out.json

Times include moving the samples to the device and the tokens back. Beside them stand
the figures that Shi et al., Interspeech 2026 (arXiv 2603.10587), reported.
"""

import argparse
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, DTYPES, check_device, describe, wait_for
from tools.bench.floors import (
    Limits,
    Work,
    floors_of,
    measure_limits,
    sizes_for,
    with_lstm_of,
)
from tools.bench.full_size_models import (
    CONFIG,
    build_model,
    check_config,
    make_decoder,
    merge_adapters,
    never_end,
    noise,
    quietly,
)
from tools.bench.side_by_side import (
    Seconds,
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)
from tools.bench.work import count_work, llm_work

# Real-time factors on one H100 at batch 1: encoder-only, LLaMA-1B decoder.
REPORTED = {2: (0.0043, 0.1150), 3: (0.0106, 0.0981)}
BATCH_SIZES = {"cpu": [1], "cuda": [1, 32]}
ROUNDS = {"cpu": 3, "cuda": 20}
WARM_UP_ROUNDS = {"cpu": 0, "cuda": 3}


class Piece(NamedTuple):
    """Something to be timed, and how much work it is."""

    run: Callable[[], Any]
    work: Work


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--config", type=Path, default=CONFIG, help="training configuration, phase 2")
    add("--device", default="cpu", choices=DEVICES)
    add("--dtype", default="float32", choices=DTYPES, help="of all models")
    add("--seconds", type=float, default=10.0, help="of a mixture")
    add("--talker_counts", type=int, nargs="+", default=[2, 3])
    add(
        "--llm_tokens",
        type=int,
        nargs="*",
        default=[45, 70],
        help="that the language model writes for each of --talker_counts, end of "
        "sentence included; without numbers: no language model",
    )
    add("--batch_sizes", type=int, nargs="+", help="default: 1, on a GPU 1 32")
    add(
        "--llm_batch_sizes",
        type=int,
        nargs="+",
        default=[1],
        help="those of --batch_sizes at which the language model decodes too",
    )
    add("--rounds", type=int, help="default: 3, on a GPU 20")
    add("--limit_size", type=int, help="of the matrices that floors are measured with")
    add("--json", type=Path, help="gets the figures")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Fill in what depends on the device; raise `UserError` for what can't be."""
    args.batch_sizes = args.batch_sizes or BATCH_SIZES[args.device]
    args.rounds = ROUNDS[args.device] if args.rounds is None else args.rounds
    check_positive(args, "rounds", "seconds")
    if args.limit_size is not None:
        check_positive(args, "limit_size")
    for option in ("talker_counts", "llm_tokens", "batch_sizes", "llm_batch_sizes"):
        for n in getattr(args, option):
            if n < 1:
                raise UserError(f"--{option} {n}: give 1 or more")
    if args.llm_tokens and len(args.llm_tokens) != len(args.talker_counts):
        raise UserError(
            f"--llm_tokens: {len(args.llm_tokens)} numbers for "
            f"{len(args.talker_counts)} of --talker_counts; give as many"
        )
    unknown = set(args.llm_batch_sizes) - set(args.batch_sizes)
    if args.llm_tokens and unknown:
        raise UserError(
            f"--llm_batch_sizes {min(unknown)}: is none of --batch_sizes "
            f"{args.batch_sizes}; choose from these"
        )
    check_config(args.config)
    check_device(args.device)


def whole(count: int) -> str:
    """Name of encoder-only decoding of mixtures of so many talkers."""
    return f"{count} talkers, encoder-only"


def by_llm(count: int) -> str:
    """Name of decoding by the language model."""
    return f"{count} talkers, language model"


def parts_of(count: int) -> Dict[str, str]:
    """Name of each part that decodes `count` talkers, to what it is."""
    names = {"trunk": "trunk", "talker-count head": "talker-count head"}
    for part in ("branch", "separator", "CTC heads"):
        names[f"{part}, {count} talkers"] = part
    return names


class Decoding:
    """The model, and what decodes with it.

    Args:
        args: Options of this command line.

    Raises:
        UserError: the configuration is wrong, lacks a part, or doesn't know one of
            `--talker_counts`.
    """

    @quietly()
    def __init__(self, args: argparse.Namespace):
        from espnet_mtasr.inference import Speech2Text
        from espnet_mtasr.inference_llm import Speech2TextLLM

        self.args = args
        self.tokens = dict(zip(args.talker_counts, args.llm_tokens))
        self.model, train_args = build_model(
            args.config, args.device, args.dtype, with_llm=bool(self.tokens)
        )
        for count in args.talker_counts:
            if count not in self.model.talker_counts:
                raise UserError(
                    f"--talker_counts {count}: {args.config} has "
                    f"{list(self.model.talker_counts)}; choose from these"
                )
        if self.model.count_head is None:
            raise UserError(
                f"--config {args.config}: trains no talker-count head; name one of "
                f"phase 2"
            )
        options = dict(device=args.device, dtype=args.dtype)
        self.ours = make_decoder(Speech2Text, self.model, train_args, **options)
        self.llms = {}
        if self.tokens:
            merge_adapters(self.model)
            never_end(self.model)
        for count, tokens in self.tokens.items():
            self.llms[count] = make_decoder(
                Speech2TextLLM,
                self.model,
                train_args,
                # The end of sentence comes when the limit is reached, and is the last.
                maxlen_ratio=(tokens - 0.5) / args.seconds,
                **options,
            )

    def pieces(self, rows: int) -> Dict[str, Piece]:
        """All that is timed for batches of `rows` mixtures, by name."""
        waves = noise(rows, self.args.seconds)
        pieces: Dict[str, Piece] = {}
        for count in self.args.talker_counts:
            parts = self._parts(waves, count)
            pieces.update(parts)
            work = Work()
            for part in parts.values():
                work = work.plus(part.work)
            pieces[whole(count)] = Piece(self._decode(self.ours, waves, count), work)
            if count in self.llms and rows in self.args.llm_batch_sizes:
                pieces[by_llm(count)] = Piece(
                    self._decode(self.llms[count], waves, count),
                    self._llm_work(parts, waves, count),
                )
        return pieces

    def _decode(self, decoder: Any, waves: Sequence[Any], count: int):
        return lambda: decoder(waves, [count] * len(waves))

    def _run_parts(self, waves: Sequence[Any], count: int) -> Dict[str, Callable]:
        """Each part of decoding, given what the parts before it give."""
        import torch

        args, model = self.args, self.model
        speech = torch.stack([torch.as_tensor(wave) for wave in waves])
        speech = speech.to(args.device, getattr(torch, args.dtype))
        lengths = torch.full((len(waves),), speech.size(1), device=args.device)
        rows = torch.arange(len(waves), device=args.device)
        ctc, separator = model.ctc[str(count)], model.separator[str(count)]
        with torch.no_grad():
            trunk = model.encode_trunk(speech, lengths)
            hidden, frames = model.encoder.encode_branch(trunk, count, rows)
            streams = separator(hidden, frames)
        runs = (
            lambda: model.encode_trunk(speech, lengths),
            lambda: model.count_talkers(trunk).argmax(-1).tolist(),
            lambda: model.encoder.encode_branch(trunk, count, rows),
            lambda: separator(hidden, frames),
            lambda: ctc.greedy_search(streams, frames),
        )
        return dict(zip(parts_of(count), runs))

    def _parts(self, waves: Sequence[Any], count: int) -> Dict[str, Piece]:
        model = self.model
        modules = (
            model.encoder.trunk,
            model.count_head,
            model.encoder.branches[str(count)],
            model.separator[str(count)],
            model.ctc[str(count)],
        )
        # A batch has the work of its rows, but reads each weight once.
        of_one_row = self._run_parts(waves[:1], count).values()
        works = [count_work(run, m) for run, m in zip(of_one_row, modules)]
        works = [w._replace(operations=len(waves) * w.operations) for w in works]
        runs = self._run_parts(waves, count)
        self._check_same(runs, waves, count)
        return {name: Piece(runs[name], work) for name, work in zip(runs, works)}

    def _check_same(
        self, runs: Dict[str, Callable], waves: Sequence[Any], count: int
    ) -> None:
        """Raise `RuntimeError` if the parts don't give what decoding gives."""
        import torch

        with torch.no_grad():
            *_, from_parts = (run() for run in runs.values())
        decoded = [
            [talker.token_ids for talker in mixture.talkers]
            for mixture in self._decode(self.ours, waves, count)()
        ]
        if from_parts != decoded:
            raise RuntimeError(f"{count} talkers: the parts give other tokens")

    def _llm_work(
        self, parts: Dict[str, Piece], waves: Sequence[Any], count: int
    ) -> Work:
        """Trunk, count head, branch, adaptor, projection and language model."""
        import torch

        self._check_tokens(waves, count)
        teacher, rows, tokens = self.model.teacher, len(waves), self.tokens[count]
        work = Work()
        for name, part in parts_of(count).items():
            if part not in ("separator", "CTC heads"):
                work = work.plus(parts[name].work)
        with torch.no_grad():
            hidden, frames = self._run_parts(waves[:1], count)[
                f"branch, {count} talkers"
            ]()
            _, shortened = teacher.adaptor(hidden, frames)
        adapted = count_work(
            lambda: teacher.projection(teacher.adaptor(hidden, frames)[0]),
            teacher.adaptor,
            teacher.projection,
        )
        work = work.plus(adapted._replace(operations=rows * adapted.operations))
        # And the begin of sentence.
        prefix = int(shortened[0]) + 1
        return work.plus(llm_work(teacher.llm, rows, prefix, tokens))

    def _check_tokens(self, waves: Sequence[Any], count: int) -> None:
        """Raise `RuntimeError` if a transcript hasn't as many tokens as it should."""
        for mixture in self._decode(self.llms[count], waves, count)():
            separators = mixture.num_talkers - 1
            written = sum(len(talker.token_ids) for talker in mixture.talkers)
            # The end of sentence is not among them.
            if written + separators + 1 != self.tokens[count]:
                raise RuntimeError(
                    f"{count} talkers: the language model wrote "
                    f"{written + separators + 1} tokens, not {self.tokens[count]}"
                )


def time_all(
    pieces: Dict[str, Piece], device: str, rounds: int, warm_up_rounds: int
) -> Seconds:
    """Seconds of all pieces, side by side."""
    import torch

    def finished(run: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with torch.no_grad():
                run()
            wait_for(device)

        return call

    runs = {name: finished(piece.run) for name, piece in pieces.items()}
    if warm_up_rounds > 0:
        measure(runs, warm_up_rounds)
    return measure(runs, rounds)


def summarize(
    pieces: Dict[str, Piece], seconds: Seconds, audio_seconds: float, limits: Limits
) -> Dict[str, Dict[str, Any]]:
    """Figures of each piece.

    Args:
        pieces: What was timed.
        seconds: Of each in each round.
        audio_seconds: That a batch holds.
        limits: Of the device.
    """
    figures = {}
    for name, piece in pieces.items():
        floors = floors_of(piece.work, limits)
        bound, floor = floors.largest
        median = statistics.median(seconds[name])
        figures[name] = {
            "seconds": ratios(seconds[name], [1.0] * len(seconds[name])),
            "rtf": median / audio_seconds,
            "work": piece.work._asdict(),
            "floors": asdict(floors),
            "largest_floor": bound,
            "times_the_floor": median / floor,
        }
    return figures


def compare(
    seconds: Seconds, figures: Dict[str, Dict[str, Any]], tokens: Dict[int, int]
) -> Dict[int, Dict[str, Any]]:
    """Language model / encoder-only of each talker count, and seconds a token."""
    compared = {}
    for count in tokens:
        if by_llm(count) not in seconds:
            continue
        before = ("trunk", "talker-count head", f"branch, {count} talkers")
        encoder = sum(figures[name]["seconds"]["median"] for name in before)
        llm = figures[by_llm(count)]["seconds"]["median"] - encoder
        compared[count] = {
            "times_as_long": ratios(seconds[by_llm(count)], seconds[whole(count)]),
            "seconds_per_token": llm / tokens[count],
        }
    return compared


def print_batch(
    rows: int,
    figures: Dict[str, Dict[str, Any]],
    compared: Dict[int, Dict[str, Any]],
    args: argparse.Namespace,
) -> None:
    """Print the table of one batch size."""
    columns = f"{'ms':>11} {'(min to max)':>24}{'RTF':>10}   times its floor"
    print(f"{f'batch of {rows}':28}{columns}")
    for count in args.talker_counts:
        print_row(whole(count), figures[whole(count)])
        rest = figures[whole(count)]["seconds"]["median"]
        for name, part in parts_of(count).items():
            print_row(f"  {part}", figures[name])
            rest -= figures[name]["seconds"]["median"]
        print(f"{'  rest':28}{1e3 * rest:11.3f}")
        if count in compared:
            print_row(by_llm(count), figures[by_llm(count)])
            token = compared[count]["seconds_per_token"]
            print(f"{'  a token':28}{1e3 * token:11.3f}")
            ratio = format_ratio(compared[count]["times_as_long"])
            print(f"{count} talkers, language model / encoder-only: {ratio}")


def print_row(name: str, figure: Dict[str, Any]) -> None:
    """Print what one piece takes."""
    median, low, high = (1e3 * figure["seconds"][k] for k in ("median", "min", "max"))
    spread = f"({low:.3f} to {high:.3f})"
    bound = figure["largest_floor"].replace("_", " ")
    print(
        f"{name:28}{median:11.3f} {spread:>24}{figure['rtf']:10.5f}   "
        f"{figure['times_the_floor']:.1f} x ({bound})"
    )


def print_reported(counts: List[int]) -> None:
    """Print the paper's figures."""
    print("\nreported by Shi et al. (one H100, batch 1), not measured here:")
    for count in counts:
        if count in REPORTED:
            ours, llm = REPORTED[count]
            print(
                f"{count} talkers: RTF {ours:.4f} encoder-only, {llm:.4f} by a "
                f"LLaMA-1B decoder, {llm / ours:.1f} x"
            )


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    decoding = Decoding(args)
    sizes = with_lstm_of(sizes_for(args.device), decoding.model.separator)
    if args.limit_size is not None:
        copied = 4 * args.limit_size**2
        sizes = sizes._replace(matrix=args.limit_size, copy_bytes=copied)
    limits, limit_seconds = measure_limits(args.device, args.dtype, sizes)
    print(f"{args.config.stem}, {args.dtype}, {describe(args.device)}")
    print(f"limits: {limits}", flush=True)
    seconds: Seconds = {f"limits, {k}": v for k, v in limit_seconds.items()}
    figures: Dict[str, Any] = {
        "limits": asdict(limits),
        "reported": {"source": "arXiv 2603.10587, one H100, batch 1", "rtf": REPORTED},
        "batches": {},
    }
    for rows in args.batch_sizes:
        print(
            f"\nmixtures of {args.seconds:g} s, batch of {rows}, {args.rounds} rounds",
            flush=True,
        )
        pieces = decoding.pieces(rows)
        times = time_all(pieces, args.device, args.rounds, WARM_UP_ROUNDS[args.device])
        of_batch = summarize(pieces, times, rows * args.seconds, limits)
        compared = compare(times, of_batch, decoding.tokens)
        print_batch(rows, of_batch, compared, args)
        figures["batches"][rows] = {
            "pieces": of_batch,
            "language_model_over_encoder_only": compared,
        }
        seconds.update({f"batch of {rows}, {k}": v for k, v in times.items()})
    print_reported(args.talker_counts)
    if args.json is not None:
        settings = {**vars(args), "config": str(args.config)}
        settings["device_name"] = describe(args.device)
        write_figures(args.json, settings, seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
