"""The separator's bidirectional LSTM beside torch's over packed sequences.

Example, the mini recipe's size:
    python -m tools.bench.separator --rows 12 --frames 80 --width 128 --hidden_size 96
"""

import argparse
from pathlib import Path

from espnet_mtasr.errors import run_command_line
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--hidden_size", type=int, default=96)
    parser.add_argument("--num_layers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_positive(
        args, "rows", "frames", "width", "hidden_size", "num_layers", "rounds"
    )
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from espnet_mtasr.asr.separator.padded_blstm import PaddedBLSTM

    torch.manual_seed(0)
    size = (args.width, args.hidden_size, args.num_layers)
    padded = PaddedBLSTM(*size).to(args.device)
    packed = torch.nn.LSTM(*size, batch_first=True, bidirectional=True).to(args.device)
    xs = torch.randn(args.rows, args.frames, args.width, device=args.device)
    lengths = torch.randint(max(1, args.frames // 2), args.frames + 1, (args.rows,))
    lengths[0] = args.frames
    on_device = lengths.to(args.device)

    def finished(value: torch.Tensor) -> torch.Tensor:
        if value.is_cuda:
            torch.cuda.synchronize()
        return value

    def run_packed() -> torch.Tensor:
        sequence = pack_padded_sequence(
            xs, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = pad_packed_sequence(packed(sequence)[0], batch_first=True)
        return finished(output)

    def run_padded() -> torch.Tensor:
        return finished(padded(xs, on_device))

    @torch.no_grad()
    def without_gradients(run):
        return run()

    def with_gradients(run):
        run().sum().backward()
        finished(xs)

    seconds, figures = {}, {}
    for what, call in (("training", with_gradients), ("inference", without_gradients)):
        times = measure(
            {"packed": lambda: call(run_packed), "padded": lambda: call(run_padded)},
            args.rounds,
        )
        seconds.update({f"{what}, {name}": t for name, t in times.items()})
        figures[what] = ratios(times["packed"], times["padded"])
        print(f"{what}: padded is {format_ratio(figures[what])} as fast as packed")
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
