"""A training step for benchmarks: a configuration's model, batches, the step.

Nothing is downloaded: models with a hub id get random weights of the published shapes
(tools/published_models.py); models in a folder are loaded. Batches are noise and random
tokens, which cost as much as speech and text of the same size. A step is ESPnet's:
forward, backward, clipping, AdamW.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from espnet_mtasr.errors import UserError
from tools.bench import side_by_side as bench

FULL_SIZE_CONF = bench.ROOT / "egs2" / "librimix" / "mtasr1" / "conf"
FULL_SIZE_CONFIG = FULL_SIZE_CONF / "train_phase2.yaml"
MINI_RECIPE = bench.ROOT / "egs2" / "mini_librimix" / "mtasr1"
MINI_MODELS = (
    *("--encoder_conf", f"model={MINI_RECIPE}/pretrained/encoder"),
    *("--teacher_conf", f"llm={MINI_RECIPE}/pretrained/lm"),
)
MINI_VOCABULARY = 120
# Mixtures in a batch, and their approximate mean length.
MINI_ROWS = 24
MINI_SECONDS = 4.5
CTC_TOKENS_PER_SECOND = 3.5
TRAINING_OPTIONS = bench.Option(
    "",
    "more options of mtasr_train, quoted, for example '--model_conf ctc_weight=1.0'",
)


def make_batch(
    counts: Sequence[int],
    seconds: float,
    max_count: int,
    teacher: Any,
    generator: Any,
    vocabulary: int = 1000,
) -> Dict[str, Any]:
    """Make a batch of noise and random tokens like the collate function's.

    `counts` are the talkers of each mixture, `max_count` is the model's largest count.
    CTC tokens are below `vocabulary`; tokens of the SOT transcript are the teacher's,
    if there is one.
    """
    import torch

    rows = len(counts)
    length = max(1, round(CTC_TOKENS_PER_SECOND * seconds))
    samples = round(seconds * bench.SAMPLING_RATE)
    # No token is repeated, so there need only be as many frames as tokens.
    tokens = torch.arange(length) % (vocabulary - 1) + 1
    batch = {"speech": 0.1 * torch.randn(rows, samples, generator=generator)}
    lengths = {"speech_lengths": torch.full((rows,), samples)}
    talkers = torch.tensor(counts)
    for k in range(1, max_count + 1):
        there = talkers >= k
        size = length if there.any() else 0
        batch[f"text_spk{k}"] = tokens[:size].repeat(rows, 1)
        lengths[f"text_spk{k}_lengths"] = length * there
    # <sc> comes after the published tokens.
    high = 900 if teacher is None else teacher.tokenizer.sc_id
    sizes = talkers * (length + 1) - 1
    shape = (rows, int(sizes.max()))
    batch["text"] = torch.randint(2, high, shape, generator=generator)
    if teacher is not None:
        batch["text"][:, length :: length + 1] = teacher.tokenizer.sc_id
    lengths["text_lengths"] = sizes
    return {**batch, **lengths}


def build(
    config: Path,
    options: Sequence[str] = (),
    device: str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
    units: int = 1000,
) -> Tuple[Any, argparse.Namespace]:
    """Build a configuration's `MTASRModel` on a device; return it and its options.

    `TrainingStep` documents the arguments.
    """
    import torch

    from espnet_mtasr.tasks.mtasr import MTASRTask
    from tools.published_models import build_from_config

    words = [*options]
    if MTASRTask.has_teacher(MTASRTask.parse_config(config, words)):
        words += ["--teacher_conf", f"llm_dtype={dtype}"]
    torch.manual_seed(seed)
    with torch.device(device):
        model, args = build_from_config(str(config), *words, vocabulary=units)
    return model.to(device), args


class TrainingStep:
    """Steps of a configuration's training, cycling through batches.

    Args:
        config: Training configuration.
        rows: Mixtures in a batch.
        seconds: Of each.
        mixed_counts: Mix talker counts in one batch; otherwise one batch for each.
        device: `cpu` or `cuda`.
        dtype: Of the language model; on CUDA, `bfloat16` also means mixed precision.
        options: More words of mtasr_train's command line.
        seed: Of weights and batches.
        units: Number of the model's CTC tokens.
        vocabulary: Number of CTC tokens in batches.

    Attributes:
        losses: Of the steps so far.
    """

    def __init__(
        self,
        config: Path,
        rows: int,
        seconds: float,
        mixed_counts: bool = False,
        device: str = "cpu",
        dtype: str = "float32",
        options: Sequence[str] = (),
        seed: int = 0,
        units: int = 1000,
        vocabulary: int = 1000,
    ):
        import torch

        from espnet_mtasr.tasks.mtasr import MTASRTask

        model, args = build(config, options, device, dtype, seed, units)
        self.model = model.to(dtype=torch.float32).train()
        (self.optimizer,) = MTASRTask.build_optimizers(args, self.model)
        self.trained = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.grad_clip = args.grad_clip
        self.device = device
        self.mixed = dtype == "bfloat16" and device == "cuda"
        self.losses: List[float] = []
        known = model.talker_counts
        counts = [[n] * rows for n in known]
        if mixed_counts:
            counts = [[known[row % len(known)] for row in range(rows)]]
        generator = torch.Generator().manual_seed(seed)
        self.batches = [
            make_batch(c, seconds, max(known), model.teacher, generator, vocabulary)
            for c in counts
        ]

    def forward(self, batch: Dict[str, Any]) -> Any:
        """Return the loss of a batch, ready for the backward pass."""
        import torch

        batch = {name: values.to(self.device) for name, values in batch.items()}
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.mixed):
            loss, _, _ = self.model(**batch)
        return loss

    def backward(self, loss: Any) -> None:
        """Compute gradients."""
        loss.backward()

    def update(self) -> None:
        """Clip the gradients, update the parameters and drop all gradients."""
        import torch

        torch.nn.utils.clip_grad_norm_(self.trained, self.grad_clip)
        self.optimizer.step()
        self.model.zero_grad()

    def __call__(self) -> None:
        """Take a step, and wait until it is done."""
        loss = self.forward(self.batches[len(self.losses) % len(self.batches)])
        self.backward(loss)
        self.update()
        self.losses.append(float(loss.detach()))
        bench.wait_for(self.device)

    def measure(self, steps: int) -> List[float]:
        """Take steps; return the seconds of each.

        Raises:
            UserError: a loss is not finite.
        """
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            self()
            seconds.append(time.perf_counter() - start)
        if not all(abs(loss) < float("inf") for loss in self.losses):
            raise UserError(f"a loss isn't finite: {self.losses}; check the options")
        return seconds


def mini_step(
    phase: int = 2,
    rows: int = MINI_ROWS,
    seconds: float = MINI_SECONDS,
    device: str = "cpu",
) -> TrainingStep:
    """Return a step of the mini recipe: its configuration, its pretrained models."""
    return TrainingStep(
        MINI_RECIPE / "conf" / f"train_phase{phase}.yaml",
        rows,
        seconds,
        mixed_counts=True,
        device=device,
        options=MINI_MODELS,
        units=MINI_VOCABULARY,
        vocabulary=MINI_VOCABULARY,
    )
