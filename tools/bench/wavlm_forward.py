"""WavLM's forward pass, trunk and branch, beside transformers' WavLMModel.

Both have the same random weights in a published shape, and must give the same output.
From anywhere, after `. ./path.sh` of a recipe:

    OMP_NUM_THREADS=2 python -m tools.bench.wavlm_forward --seconds 10
    python -m tools.bench.wavlm_forward --device cuda --dtype bfloat16 --batch_size 32
"""

import argparse
from pathlib import Path

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, check_device, describe, wait_for
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

SAMPLING_RATE = 16000
# Largest difference, relative to the outputs' standard deviation. In bfloat16 each of
# the two is 0.1 from its output in float32.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-1}


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="microsoft/wavlm-large", help="its shape")
    parser.add_argument("--layers", type=int, help="transformer layers: the first")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each mixture")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--dtype", default="float32", choices=tuple(TOLERANCE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def build(args: argparse.Namespace):
    """transformers' model, and trunk and branch with the same weights."""
    import torch
    from transformers import WavLMConfig, WavLMModel

    from espnet_mtasr.asr.encoder.wavlm import WavLMBranch, WavLMTrunk
    from tools.published_models import facts_of

    shape = dict(facts_of(args.model)["config"])
    if args.layers is not None:
        shape["num_hidden_layers"] = args.layers
    config = WavLMConfig.from_dict(shape)
    torch.manual_seed(0)
    wavlm, parts = WavLMModel(config).eval(), WavLMModel(config).eval()
    parts.load_state_dict(wavlm.state_dict())
    num_trunk_layers = config.num_hidden_layers // 2
    # Before the trunk takes its layers over.
    branch = WavLMBranch(parts, num_trunk_layers).eval()
    trunk = WavLMTrunk(parts, num_trunk_layers, do_normalize=False).eval()
    target = dict(device=args.device, dtype=getattr(torch, args.dtype))
    return wavlm.to(**target), trunk.to(**target), branch.to(**target)


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "seconds", "batch_size", "rounds")
    if args.layers is not None and args.layers < 2:
        raise UserError(f"--layers {args.layers}: trunk and branch need one each")
    check_device(args.device)
    import torch

    wavlm, trunk, branch = build(args)
    samples = round(args.seconds * SAMPLING_RATE)
    audio = torch.randn(args.batch_size, samples).to(trunk.layers[0].layer_norm.weight)
    lengths = torch.full((args.batch_size,), samples, device=args.device)

    @torch.no_grad()
    def ours() -> torch.Tensor:
        hidden, _ = branch(trunk(audio, lengths))
        wait_for(args.device)
        return hidden

    @torch.no_grad()
    def transformers() -> torch.Tensor:
        hidden = wavlm(audio).last_hidden_state
        wait_for(args.device)
        return hidden

    print(f"{args.model}, {args.dtype}, {describe(args.device)}")
    expected = transformers().float()
    difference = float((ours().float() - expected).abs().max() / expected.std())
    print(f"largest difference {difference:.1e} of the outputs' standard deviation")
    if not difference < TOLERANCE[args.dtype]:
        raise UserError(
            f"--dtype {args.dtype}: the outputs differ by {difference:.1e}, more than "
            f"{TOLERANCE[args.dtype]:g}; see test/espnet_mtasr/asr/encoder"
        )
    seconds = measure({"transformers": transformers, "ours": ours}, args.rounds)
    figures = {
        "forward": ratios(seconds["transformers"], seconds["ours"]),
        "difference": difference,
    }
    print(f"{format_ratio(figures['forward'])} as fast as transformers")
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
