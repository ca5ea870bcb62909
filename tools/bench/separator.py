#!/usr/bin/env python3
"""Time the separator's bidirectional LSTM against torch's over packed sequences.

Example, the mini recipe's size:
    tools/bench/separator.py --rows 12 --frames 80 --width 128 --hidden_size 96
"""

import argparse
from pathlib import Path

import torch
from side_by_side import report, time_side_by_side
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_mtasr.asr.separator.padded_blstm import PaddedBLSTM


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--hidden_size", type=int, default=96)
    parser.add_argument("--num_layers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="JSON file")
    return parser


def main() -> None:
    """Time and print."""
    args = get_parser().parse_args()
    torch.manual_seed(0)
    size = (args.width, args.hidden_size, args.num_layers)
    padded = PaddedBLSTM(*size).to(args.device)
    packed = torch.nn.LSTM(*size, batch_first=True, bidirectional=True).to(args.device)
    xs = torch.randn(args.rows, args.frames, args.width, device=args.device)
    lengths = torch.randint(args.frames // 2, args.frames + 1, (args.rows,))
    lengths[0] = args.frames
    on_device = lengths.to(args.device)

    def run_packed() -> torch.Tensor:
        sequence = pack_padded_sequence(
            xs, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = pad_packed_sequence(packed(sequence)[0], batch_first=True)
        return output

    title = f"BLSTM, {args.rows} x {args.frames} frames, {size}, {args.device}"
    training = time_side_by_side(
        {
            "packed": lambda: run_packed().sum().backward(),
            "padded": lambda: padded(xs, on_device).sum().backward(),
        },
        args.repeats,
    )
    report(f"{title}: forward and backward", training, "packed", args.output)
    with torch.no_grad():
        inference = time_side_by_side(
            {"packed": run_packed, "padded": lambda: padded(xs, on_device)},
            args.repeats,
        )
    report(f"{title}: forward", inference, "packed")


if __name__ == "__main__":
    main()
