"""Training steps of both phases at full size, on synthetic audio: speed and memory.

The models of the configurations are built with random weights of the published shapes
(tools/published_models.py), so that nothing is downloaded: losses mean nothing but that
they are finite. A step is ESPnet's: forward, backward, clipping, AdamW. From anywhere,
after `. ./path.sh` of a recipe; the first is a check for a machine with 10 GB of free
memory and no GPU, the second a benchmark:

    python -m tools.bench.full_size_step --batch_seconds 2 --utterance_seconds 2
    python -m tools.bench.full_size_step --device cuda --steps 200 --batch_seconds 60
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from espnet_mtasr.errors import UserError, run_command_line

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "egs2" / "librimix" / "mtasr1" / "conf"
CTC_TOKENS_PER_SECOND = 3.5
SAMPLING_RATE = 16000
GIB = 2.0**30


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--configs",
        nargs="+",
        type=Path,
        default=[CONF / "train_phase1.yaml", CONF / "train_phase2.yaml"],
        help="Training configurations (default: both phases of egs2/librimix)",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--steps", type=int, default=1, help="Timed steps")
    parser.add_argument(
        "--warmup_steps", type=int, default=0, help="Steps before these, not timed"
    )
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        choices=("bfloat16", "float32"),
        help="bfloat16: LLM in bfloat16, and mixed precision where --device is cuda; "
        "float32: neither",
    )
    parser.add_argument("--batch_seconds", type=float, default=2.0, help="Per step")
    parser.add_argument("--utterance_seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--training_options",
        default="",
        help="Further options of mtasr_train, quoted, for instance "
        "'--encoder_conf gradient_checkpointing=true'",
    )
    return parser


def make_batch(
    rows: int, seconds: float, count: int, max_count: int, teacher: Any, generator: Any
) -> Dict[str, Any]:
    """A batch of noise and random tokens as the collate function makes it.

    Args:
        rows: Mixtures.
        seconds: Of each.
        count: Talkers in each.
        max_count: Talkers that the model knows.
        teacher: Whose ids the SOT transcript has; None: there is none.
        generator: Of the random numbers.
    """
    import torch

    length = max(1, round(CTC_TOKENS_PER_SECOND * seconds))
    samples = round(seconds * SAMPLING_RATE)
    # No token twice in a row: as many frames as tokens are enough.
    tokens = torch.arange(length) % 900 + 1
    batch = {"speech": 0.1 * torch.randn(rows, samples, generator=generator)}
    for k in range(1, max_count + 1):
        size = length if k <= count else 0
        batch[f"text_spk{k}"] = tokens[:size].repeat(rows, 1)
    # <sc> comes after the published tokens.
    high = 900 if teacher is None else teacher.tokenizer.sc_id
    size = count * (length + 1) - 1
    batch["text"] = torch.randint(2, high, (rows, size), generator=generator)
    if teacher is not None:
        batch["text"][:, length :: length + 1] = teacher.tokenizer.sc_id
    lengths = {
        f"{name}_lengths": torch.full((rows,), values.size(1))
        for name, values in batch.items()
    }
    return {**batch, **lengths}


def build(config: Path, args: argparse.Namespace) -> Tuple[Any, Any, Any]:
    """Model on its device, optimizer and options of the training."""
    import torch

    from espnet_mtasr.bin.check_config import has_teacher
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from tools.published_models import build_from_config

    options = args.training_options.split()
    if has_teacher(str(config), *options):
        options += ["--teacher_conf", f"llm_dtype={args.dtype}"]
    torch.manual_seed(args.seed)
    with torch.device(args.device):
        model, train_args = build_from_config(str(config), *options)
    model = model.to(device=args.device, dtype=torch.float32).train()
    (optimizer,) = MTASRTask.build_optimizers(train_args, model)
    return model, optimizer, train_args


def run(config: Path, args: argparse.Namespace) -> Dict[str, Any]:
    """Train for some steps and say how fast.

    Raises:
        UserError: a loss is not finite.
    """
    import torch

    model, optimizer, train_args = build(config, args)
    cuda = args.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    rows = max(1, round(args.batch_seconds / args.utterance_seconds))
    counts = model.talker_counts
    generator = torch.Generator().manual_seed(args.seed)
    batches = [
        make_batch(
            rows, args.utterance_seconds, n, max(counts), model.teacher, generator
        )
        for n in counts
    ]
    trained = [p for p in model.parameters() if p.requires_grad]
    losses: List[float] = []
    start = time.perf_counter()
    for step in range(args.warmup_steps + args.steps):
        if step == args.warmup_steps:
            _wait(cuda)
            start = time.perf_counter()
        batch = {k: v.to(args.device) for k, v in batches[step % len(batches)].items()}
        with torch.autocast(
            "cuda", dtype=torch.bfloat16, enabled=cuda and args.dtype == "bfloat16"
        ):
            loss, stats, weight = model(**batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, train_args.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    _wait(cuda)
    seconds = time.perf_counter() - start
    if not all(abs(loss) < float("inf") for loss in losses):
        raise UserError(f"{config}: a loss is not finite: {losses}; see its options")
    audio = args.steps * rows * args.utterance_seconds
    return dict(
        config=config.resolve().stem,
        device=torch.cuda.get_device_name() if cuda else "cpu",
        threads=torch.get_num_threads(),
        dtype=args.dtype,
        steps=args.steps,
        batch=f"{rows} x {args.utterance_seconds:g} s",
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in trained),
        seconds_per_step=round(seconds / args.steps, 4),
        audio_seconds_per_second=round(audio / seconds, 3),
        peak_memory_gib=round(_peak_memory(cuda), 2),
        first_loss=round(losses[0], 4),
        last_loss=round(losses[-1], 4),
        torch=torch.__version__,
    )


def _wait(cuda: bool) -> None:
    import torch

    if cuda:
        torch.cuda.synchronize()


def _peak_memory(cuda: bool) -> float:
    """GiB: of the GPU's allocator, or of the process so far."""
    import torch

    if cuda:
        return torch.cuda.max_memory_reserved() / GIB
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def main(cmd=None) -> None:
    """Run every configuration and print a JSON line for each."""
    args = get_parser().parse_args(cmd)
    for name in ("steps", "batch_seconds", "utterance_seconds"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name} {getattr(args, name)}: give more than 0")
    for config in args.configs:
        if not config.is_file():
            raise UserError(f"--configs {config}: no such file; name a configuration")
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU; use --device cpu")
    results = []
    for config in args.configs:
        results.append(run(config, args))
        print(json.dumps(results[-1]), flush=True)
        if args.device == "cuda":
            torch.cuda.empty_cache()
    if args.output is not None:
        from espnet_mtasr.files import write_whole

        write_whole(args.output, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run_command_line(main)
