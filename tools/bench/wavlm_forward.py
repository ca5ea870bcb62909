"""WavLM's forward pass, trunk and branch, compared with transformers' WavLMModel.

Both have the same random weights in a published shape, and must give the same output.
From anywhere, after `. ./path.sh` of a recipe:

    OMP_NUM_THREADS=2 python -m tools.bench.wavlm_forward --seconds 10
    python -m tools.bench.wavlm_forward --device cuda --dtype bfloat16 --batch_size 32
"""

import argparse

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench

# Largest difference, relative to the outputs' standard deviation. In bfloat16, each of
# the two differs by 0.1 from its output in float32.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-1}
OPTIONS = bench.Options(
    __doc__,
    model=("microsoft/wavlm-large", "its shape"),
    seconds=(10.0, "of each mixture"),
    batch_size=1,
    device=bench.DEVICE,
    dtype=bench.DTYPE,
    rounds=5,
)


def build(args: argparse.Namespace):
    """Return transformers' model, and trunk and branch with the same weights."""
    import torch
    from transformers import WavLMConfig, WavLMModel

    from espnet_mtasr.asr.encoder.wavlm import WavLMBranch, WavLMTrunk
    from tools.published_models import facts_of

    config = WavLMConfig.from_dict(facts_of(args.model)["config"])
    torch.manual_seed(0)
    wavlm, parts = WavLMModel(config).eval(), WavLMModel(config).eval()
    parts.load_state_dict(wavlm.state_dict())
    num_trunk_layers = config.num_hidden_layers // 2
    # This must come before the trunk takes over its layers.
    branch = WavLMBranch(parts, num_trunk_layers).eval()
    trunk = WavLMTrunk(parts, num_trunk_layers, do_normalize=False).eval()
    target = dict(device=args.device, dtype=getattr(torch, args.dtype))
    return wavlm.to(**target), trunk.to(**target), branch.to(**target)


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare outputs and times."""
    import torch

    wavlm, trunk, branch = build(args)
    samples = round(args.seconds * bench.SAMPLING_RATE)
    audio = torch.randn(args.batch_size, samples).to(trunk.layers[0].layer_norm.weight)
    lengths = torch.full((args.batch_size,), samples, device=args.device)
    sides = {
        "transformers": lambda: wavlm(audio).last_hidden_state,
        "ours": lambda: branch(trunk(audio, lengths))[0],
    }
    runs = {name: bench.inference(run, args.device) for name, run in sides.items()}
    print(f"{args.model}, {args.dtype}, {bench.describe(args.device)}")
    theirs, ours = (run().float() for run in runs.values())
    difference = bench.check_same_output(
        f"--dtype {args.dtype}", ours, theirs, TOLERANCE[args.dtype]
    )
    times = results.measure(runs)
    ratio = bench.Ratio(times["transformers"], times["ours"])
    results.figures = {"forward": ratio, "difference": difference}
    print(f"{ratio} as fast as transformers")


if __name__ == "__main__":
    run_command_line(main)
