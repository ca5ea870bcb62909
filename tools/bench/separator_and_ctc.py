"""Separator and CTC heads of a branch beside the same with a Python-loop LSTM.

Sizes of egs2/librimix's phase 2, random weights, inference up to each frame's most
probable unit. The loops have the weights of our LSTM: one calls torch's LSTMCell for
each frame, one writes its gates out. A second figure: the heads alone, over 1,000 units
and over a language model's 128,256. After `. ./path.sh` of a recipe:

    python -m tools.bench.separator_and_ctc --json out.json
    python -m tools.bench.separator_and_ctc --device cuda --json out.json
"""

import argparse
from pathlib import Path
from typing import Any, Callable, Dict, List

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

OURS = "ours"
TOLERANCE = 1e-4


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--talker_counts", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--frames", type=int, default=500, help="10 s of WavLM's")
    parser.add_argument("--width", type=int, default=1024, help="of a branch's output")
    parser.add_argument("--hidden_size", type=int, default=896)
    parser.add_argument("--num_layers", type=int, default=2)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--large_units", type=int, default=128256)
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def loop_of_cells(lstm: Any) -> Callable[[Any], Any]:
    """A function like `lstm` `(B, T, D)` to `(B, T, H)`: a cell call for each frame."""
    import torch

    layers = []
    for k in range(lstm.num_layers):
        width = lstm.input_size if k == 0 else lstm.hidden_size
        cell = torch.nn.LSTMCell(width, lstm.hidden_size)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(cell, name, getattr(lstm, f"{name}_l{k}"))
        layers.append(cell)

    def run(xs: torch.Tensor) -> torch.Tensor:
        for cell in layers:
            state, outputs = None, []
            for x in xs.unbind(1):
                state = cell(x, state)
                outputs.append(state[0])
            xs = torch.stack(outputs, 1)
        return xs

    return run


def loop_of_gates(lstm: Any) -> Callable[[Any], Any]:
    """The same, with the equations of torch.nn.LSTM written out."""
    import torch
    from torch.nn.functional import linear

    def run(xs: torch.Tensor) -> torch.Tensor:
        for k in range(lstm.num_layers):
            w_ih, w_hh, b_ih, b_hh = (
                getattr(lstm, f"{name}_l{k}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h = c = xs.new_zeros(len(xs), lstm.hidden_size)
            outputs = []
            for x in xs.unbind(1):
                gates = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
                i, f, g, o = gates.chunk(4, dim=-1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                outputs.append(h)
            xs = torch.stack(outputs, 1)
        return xs

    return run


LOOPS = {"loop of cells": loop_of_cells, "loop of gates": loop_of_gates}


def with_loop(separator: Any, loop: Callable[[Any], Any]) -> Callable[..., List[Any]]:
    """A function like an `LSTMSeparator` whose LSTM is `loop`."""

    def run(hidden: Any, lengths: Any) -> List[Any]:
        output = separator.layer_norm(loop(hidden))
        return [projection(output) for projection in separator.projections]

    return run


def check_same(name: str, ours: List[Any], theirs: List[Any]) -> None:
    """Raise `UserError` unless the log probabilities of all streams agree."""
    gap = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    if not gap <= TOLERANCE:
        raise UserError(
            f"{name}: log probabilities differ from ours by up to {gap:.1e}; only "
            f"LSTMs with one output can be compared"
        )


def runs_of(count: int, args: argparse.Namespace) -> Dict[str, Callable[[], Any]]:
    """What is timed for a talker count: separators with heads, and heads alone."""
    import torch

    from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
    from espnet_mtasr.asr.serialized_ctc import SerializedCTC

    torch.manual_seed(0)
    with torch.device(args.device):
        separator = LSTMSeparator(
            args.width, count, args.hidden_size, args.num_layers
        ).eval()
        heads, large = (
            SerializedCTC(units, args.hidden_size, count).eval()
            for units in (args.units, args.large_units)
        )
        hidden = torch.randn(args.rows, args.frames, args.width)
        lengths = torch.full((args.rows,), args.frames)
    separators: Dict[str, Callable[..., List[Any]]] = {OURS: separator}
    for name, make in LOOPS.items():
        separators[name] = with_loop(separator, make(separator.lstm))
    with torch.inference_mode():
        wanted = heads.log_probs(separator(hidden, lengths))
        for name, run in separators.items():
            check_same(name, wanted, heads.log_probs(run(hidden, lengths)))
        streams = separator(hidden, lengths)

    @torch.inference_mode()
    def search(heads: SerializedCTC, streams: List[Any]) -> None:
        for head, stream in zip(heads.heads, streams):
            head.argmax(stream)
        if args.device == "cuda":
            torch.cuda.synchronize()

    def decode(run: Callable[..., List[Any]]) -> None:
        with torch.inference_mode():
            separated = run(hidden, lengths)
        search(heads, separated)

    return {
        **{name: lambda run=run: decode(run) for name, run in separators.items()},
        f"heads, {args.units} units": lambda: search(heads, streams),
        f"heads, {args.large_units} units": lambda: search(large, streams),
    }


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "rows", "frames", "width", "hidden_size", "num_layers")
    check_positive(args, "units", "large_units", "rounds")
    for count in args.talker_counts:
        if count < 1:
            raise UserError(f"--talker_counts {count}: give counts from 1")
    if args.large_units <= args.units:
        raise UserError(
            f"--large_units {args.large_units}: give more than --units {args.units}"
        )
    check_device(args.device)
    seconds, figures = {}, {}
    for count in args.talker_counts:
        runs = runs_of(count, args)
        times = measure(runs, args.rounds)
        *_, small, large = runs
        for name, other in [(loop, OURS) for loop in LOOPS] + [(large, small)]:
            figure = f"{count} talkers, {name} / {other}"
            figures[figure] = ratios(times[name], times[other])
            print(f"{figure}: {format_ratio(figures[figure])} as long")
        seconds.update({f"{count} talkers, {name}": t for name, t in times.items()})
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
