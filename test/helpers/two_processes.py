"""One training step by ESPnet's trainer, in one process or in two.

    python two_processes.py LLM OUTPUT

takes each step of `STEPS` in two processes (gloo) and saves what both saw.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from helpers.tiny_models import make_batch, make_model, rows_of

# Name: micro-batches of a step, each with rows of rank 0 and of rank 1. Of the batch
# below, rows 0, 3, 5 have two talkers, 1, 2, 4 three; 4 and 5 have too few frames.
STEPS = {
    "same count": [([0], [3])],
    "other counts, other weights": [([0, 1, 3], [2])],
    "unalignable among others": [([0, 4], [1, 2, 3, 5])],
    "a rank with nothing alignable": [([0, 3], [5])],
    "a rank with nothing alignable, other counts": [([1, 0], [4])],
    "a micro-batch with nothing alignable": [([0], [3]), ([4], [5]), ([1, 0], [2])],
    "nothing at all": [([4], [5])],
}


def batch_of(rows) -> Dict[str, torch.Tensor]:
    """Some rows of one batch of six."""
    lengths = [(2, 3), (2, 3, 2), (4, 1, 1), (1, 5), (2, 6, 2), (6, 6)]
    return rows_of(make_batch([2, 3, 3, 2, 3, 2], (12, 15, 9, 11, 5, 4), lengths), rows)


def take_step(llm: Path, batches, distributed: bool) -> Dict[str, Any]:
    """Run `Trainer.train_one_epoch` on one step's batches of rows; dropout sleeps.

    Returns:
        `stats` as the reporter has them, and `gradients` at the optimizer's step
        (empty if the trainer skipped it).
    """
    from espnet2.train.distributed_utils import DistributedOption
    from espnet2.train.reporter import Reporter

    from espnet_mtasr.train.trainer import MTASRTrainer, MTASRTrainerOptions

    model = make_model(llm, ctc_weight=0.7, count_weight=0.5).eval()
    model.encoder.trunk.requires_grad_(False)
    model.train = lambda mode=True: model
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    gradients: Dict[str, Optional[torch.Tensor]] = {}

    def note(*_) -> None:
        for name, parameter in trained.items():
            if parameter.grad is not None:
                gradients[name] = parameter.grad.clone()

    optimizer.register_step_pre_hook(note)
    options = dict.fromkeys(MTASRTrainerOptions.__dataclass_fields__)
    options.update(ngpu=0, accum_grad=len(batches), grad_clip=1e9, grad_clip_type=2.0)
    reporter = Reporter()
    reporter.set_epoch(1)
    wrapped: torch.nn.Module = model
    if distributed:
        wrapped = torch.nn.parallel.DistributedDataParallel(
            model, find_unused_parameters=True
        )
    with reporter.observe("train") as sub_reporter:
        MTASRTrainer.train_one_epoch(
            model=wrapped,
            iterator=[(["utt"] * len(rows), batch_of(rows)) for rows in batches],
            optimizers=[optimizer],
            schedulers=[None],
            scaler=None,
            reporter=sub_reporter,
            summary_writer=None,
            options=MTASRTrainerOptions(**options),
            distributed_option=DistributedOption(distributed=distributed),
        )
    return dict(stats=reporter.stats[1]["train"], gradients=gradients)


def work(rank: int, llm: str, init: str, output: str) -> None:
    """Take all steps as one of two ranks; rank r writes `OUTPUT.r`."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{init}", rank=rank, world_size=2
    )
    result = {
        name: take_step(Path(llm), [rows[rank] for rows in batches], True)
        for name, batches in STEPS.items()
    }
    torch.save(result, f"{output}.{rank}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    # Once, before the fork: it takes seconds.
    import espnet_mtasr.asr.teacher.llm_teacher  # noqa: F401
    import espnet_mtasr.train.trainer  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            work,
            (sys.argv[1], f"{folder}/init", sys.argv[2]),
            nprocs=2,
            start_method="fork",
        )
