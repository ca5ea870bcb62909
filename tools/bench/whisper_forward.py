"""Whisper's encoder, trunk and branch, compared with transformers', always on 30 s.

Both have the same random weights in a published shape, and must give the same output
for 30 s. For a shorter mixture, ours only processes its length. `halved` is ours with
`pool_before: 2`, whose branch reads two frames as one. Log-mel features are included.
From anywhere, after `. ./path.sh` of a recipe:

    OMP_NUM_THREADS=2 python -m tools.bench.whisper_forward --seconds 10
    python -m tools.bench.whisper_forward --device cuda --batch_size 32 \\
        --model openai/whisper-large-v3-turbo
"""

import argparse
import copy

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench

WHOLE_SECONDS = 30.0
# Largest difference, relative to the outputs' standard deviation.
TOLERANCE = 1e-3
OPTIONS = bench.Options(
    __doc__,
    model=("openai/whisper-small", "its shape"),
    seconds=(10.0, "of each mixture, up to 30"),
    batch_size=1,
    device=bench.DEVICE,
    rounds=5,
)


def build(args: argparse.Namespace):
    """Return transformers' encoder, trunk and branch, with the same weights."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from espnet_mtasr.asr.encoder.whisper import WhisperBranch, WhisperTrunk
    from tools.published_models import facts_of

    config = WhisperConfig.from_dict(facts_of(args.model)["config"])
    torch.manual_seed(0)
    whisper, parts = WhisperEncoder(config).eval(), WhisperEncoder(config).eval()
    parts.load_state_dict(whisper.state_dict())
    num_trunk_layers = config.encoder_layers // 2
    # This must come before the trunk takes over its layers.
    branch = WhisperBranch(parts, num_trunk_layers).eval()
    trunk = WhisperTrunk(parts, num_trunk_layers).eval()
    return tuple(part.to(args.device) for part in (whisper, trunk, branch))


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare outputs for 30 s, and times for `--seconds`."""
    import torch

    if args.seconds > WHOLE_SECONDS:
        raise UserError(
            f"--seconds {args.seconds:g}: Whisper reads 30 s at most; give less"
        )
    whisper, trunk, branch = build(args)
    whole = round(WHOLE_SECONDS * bench.SAMPLING_RATE)
    samples = round(args.seconds * bench.SAMPLING_RATE)
    audio = torch.randn(args.batch_size, whole, device=args.device)
    full = torch.full((args.batch_size,), whole, device=args.device)
    part, lengths = audio[:, :samples], torch.full_like(full, samples)
    padded = torch.nn.functional.pad(part, (0, whole - samples))
    halved = copy.copy(branch)
    halved.pool_before = 2

    def theirs(waves: torch.Tensor) -> torch.Tensor:
        return whisper(trunk.log_mel(waves, full)[0].mT).last_hidden_state

    sides = {
        "transformers": lambda: theirs(padded),
        "ours": lambda: branch(trunk(part, lengths))[0],
        "halved": lambda: halved(trunk(part, lengths))[0],
    }
    runs = {name: bench.inference(run, args.device) for name, run in sides.items()}
    print(f"{args.model}, {bench.describe(args.device)}")
    with torch.inference_mode():
        expected, found = theirs(audio), branch(trunk(audio, full))[0]
    difference = bench.check_same_output(args.model, found, expected, TOLERANCE)
    times = results.measure(runs)
    results.figures = {"difference": difference}
    for name in ("ours", "halved"):
        ratio = bench.Ratio(times["transformers"], times[name])
        results.figures[name] = ratio
        print(f"{name}: {ratio} as fast as transformers, {args.seconds:g} s")


if __name__ == "__main__":
    run_command_line(main)
