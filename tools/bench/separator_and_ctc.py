"""The separator's LSTMs compared with a Python loop and torch's packed sequences.

First, the separator and CTC heads of a branch (default: egs2/librimix's phase 2 with
random weights), up to each frame's most probable unit. The loop has the weights of our
LSTM and calls torch's LSTMCell for each frame. Then the heads alone, over 1,000 units
and over a language model's 128,256. Last, the bidirectional LSTM (default: the mini
recipe's size) compared with torch's over packed sequences, in training and in
inference; its sizes are the options that start with `packed`. After `. ./path.sh` of a
recipe:

    python -m tools.bench.separator_and_ctc --json out.json
    python -m tools.bench.separator_and_ctc --device cuda --json out.json
"""

import argparse
from typing import Any, Callable, Dict, List

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench

OURS, LOOP = "ours", "loop of cells"
# A GPU's LSTMs may use TF32.
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}
OPTIONS = bench.Options(
    __doc__,
    talker_counts=[2, 3],
    rows=1,
    frames=(500, "10 s of WavLM's"),
    width=(1024, "of a branch's output"),
    hidden_size=896,
    num_layers=2,
    units=1000,
    large_units=128256,
    packed_rows=12,
    packed_frames=(80, "of the longest row"),
    packed_width=128,
    packed_hidden_size=96,
    device=bench.DEVICE,
    rounds=15,
)


def loop_of_cells(lstm: Any) -> Callable[[Any], Any]:
    """Return a function like `lstm`, `(B, T, D)` to `(B, T, H)`, cell by cell."""
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


def with_loop(separator: Any) -> Callable[..., List[Any]]:
    """Return a function like an `LSTMSeparator` whose LSTM is a loop."""
    loop = loop_of_cells(separator.lstm)

    def run(hidden: Any, lengths: Any) -> List[Any]:
        output = separator.layer_norm(loop(hidden))
        return [projection(output) for projection in separator.projections]

    return run


def check_same(name: str, ours: List[Any], theirs: List[Any], device: str) -> None:
    """Raise `UserError` unless two lists of tensors agree."""
    gap = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    if not gap <= TOLERANCE[device]:
        raise UserError(
            f"{name}: outputs differ from ours by up to {gap:.1e}; only LSTMs with one "
            f"output can be compared"
        )


def runs_of(count: int, args: argparse.Namespace) -> bench.Runs:
    """Return what to time for a talker count: separators with heads, heads alone."""
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
    separators: bench.Runs = {OURS: separator, LOOP: with_loop(separator)}
    with torch.no_grad():
        streams, looped = (run(hidden, lengths) for run in separators.values())
        check_same(LOOP, heads.log_probs(streams), heads.log_probs(looped), args.device)

    def search(heads: SerializedCTC, streams: List[Any]) -> None:
        for head, stream in zip(heads.heads, streams):
            head.argmax(stream)

    runs = {
        name: lambda run=run: search(heads, run(hidden, lengths))
        for name, run in separators.items()
    }
    runs[f"heads, {args.units} units"] = lambda: search(heads, streams)
    runs[f"heads, {args.large_units} units"] = lambda: search(large, streams)
    return {name: bench.inference(run, args.device) for name, run in runs.items()}


def packed_and_padded(args: argparse.Namespace) -> bench.Runs:
    """Return bidirectional LSTMs with the same weights: `packed` (torch), `padded`."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from espnet_mtasr.asr.padded_blstm import PaddedBLSTM

    torch.manual_seed(0)
    size = (args.packed_width, args.packed_hidden_size, args.num_layers)
    padded = PaddedBLSTM(*size).to(args.device)
    packed = torch.nn.LSTM(*size, batch_first=True, bidirectional=True).to(args.device)
    packed.load_state_dict(packed_weights(padded))
    rows, frames = args.packed_rows, args.packed_frames
    xs = torch.randn(rows, frames, args.packed_width, device=args.device)
    lengths = torch.randint(max(1, frames // 2), frames + 1, (rows,))
    lengths[0] = frames
    on_device = lengths.to(args.device)

    def run_packed() -> torch.Tensor:
        sequence = pack_padded_sequence(
            xs, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = pad_packed_sequence(packed(sequence)[0], batch_first=True)
        return output

    def run_padded() -> torch.Tensor:
        return padded(xs, on_device)

    # Frames beyond a row's length are meaningless.
    there = (torch.arange(frames) < lengths[:, None])[..., None].to(args.device)
    with torch.no_grad():
        outputs = ([run() * there] for run in (run_padded, run_packed))
        check_same("packed", *outputs, args.device)
    return {"packed": run_packed, "padded": run_padded}


def packed_weights(padded: Any) -> Dict[str, Any]:
    """Return a `PaddedBLSTM`'s weights with a `torch.nn.LSTM`'s names."""
    weights = {}
    for suffix, layers in (("", padded.from_start), ("_reverse", padded.from_end)):
        for k, layer in enumerate(layers):
            for name, value in layer.state_dict().items():
                weights[name.replace("_l0", f"_l{k}") + suffix] = value
    return weights


def training(run: Callable[[], Any], device: str) -> Callable[[], None]:
    """Return `run` with its backward pass."""

    def call() -> None:
        run().sum().backward()
        bench.wait_for(device)

    return call


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare outputs and times."""
    if args.large_units <= args.units:
        raise UserError(
            f"--large_units {args.large_units}: give more than --units {args.units}"
        )
    for count in args.talker_counts:
        runs = runs_of(count, args)
        times = results.measure(runs, f"{count} talkers, ")
        *_, small, large = runs
        for name, other in ((LOOP, OURS), (large, small)):
            figure = f"{count} talkers, {name} / {other}"
            results.figures[figure] = bench.Ratio(times[name], times[other])
            print(f"{figure}: {results.figures[figure]} as long")
    runs = packed_and_padded(args)
    for what, timed in (("training", training), ("inference", bench.inference)):
        times = results.measure(
            {name: timed(run, args.device) for name, run in runs.items()}, f"{what}, "
        )
        results.figures[what] = bench.Ratio(times["packed"], times["padded"])
        print(f"{what}: padded is {results.figures[what]} as fast as packed")


if __name__ == "__main__":
    run_command_line(main)
