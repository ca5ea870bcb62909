"""A training step for benchmarks: a model of a configuration, batches, the step.

Nothing is downloaded: models named by a hub id get random weights of the published
shapes (tools/published_models.py), those in a folder are read. Batches are noise and
random tokens, which cost what speech and text of their size do. A step is ESPnet's:
forward, backward, clipping, AdamW.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from espnet_mtasr.errors import UserError
from tools.bench.devices import wait_for

ROOT = Path(__file__).resolve().parents[2]
FULL_SIZE_CONF = ROOT / "egs2" / "librimix" / "mtasr1" / "conf"
MINI_RECIPE = ROOT / "egs2" / "mini_librimix" / "mtasr1"
MINI_MODELS = (
    *("--encoder_conf", f"model={MINI_RECIPE}/pretrained/encoder"),
    *("--teacher_conf", f"llm={MINI_RECIPE}/pretrained/lm"),
)
MINI_VOCABULARY = 120
# Mixtures in a batch, and about the mean length of one.
MINI_ROWS = 24
MINI_SECONDS = 4.5
CTC_TOKENS_PER_SECOND = 3.5
SAMPLING_RATE = 16000


def check_file(option: str, path: Path) -> None:
    """Raise `UserError` where the configuration that `option` names is not there."""
    if not path.is_file():
        raise UserError(f"--{option} {path}: no such file; name a configuration")


def make_batch(
    counts: Sequence[int],
    seconds: float,
    max_count: int,
    teacher: Any,
    generator: Any,
    vocabulary: int = 1000,
) -> Dict[str, Any]:
    """A batch of noise and random tokens as the collate function makes it.

    Args:
        counts: Talkers of each mixture.
        seconds: Of each.
        max_count: Talkers that the model knows.
        teacher: Whose ids the SOT transcript has; None: there is none.
        generator: Of the random numbers.
        vocabulary: CTC tokens.
    """
    import torch

    rows = len(counts)
    length = max(1, round(CTC_TOKENS_PER_SECOND * seconds))
    samples = round(seconds * SAMPLING_RATE)
    # No token twice in a row: as many frames as tokens are enough.
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
    vocabulary: int = 1000,
) -> Tuple[Any, Any, argparse.Namespace]:
    """Model on its device in training mode, optimizer and options of the training.

    Args:
        config: Training configuration.
        options: Further words of mtasr_train's command line.
        device: `cpu` or `cuda`.
        dtype: Of the teacher's language model, `float32` or `bfloat16`.
        seed: Of the weights.
        vocabulary: CTC tokens.
    """
    import torch

    from espnet_mtasr.tasks.mtasr import MTASRTask
    from tools.published_models import build_from_config

    words = [*options]
    if MTASRTask.has_teacher(MTASRTask.parse_config(config, words)):
        words += ["--teacher_conf", f"llm_dtype={dtype}"]
    torch.manual_seed(seed)
    with torch.device(device):
        model, train_args = build_from_config(
            str(config), *words, vocabulary=vocabulary
        )
    model = model.to(device=device, dtype=torch.float32).train()
    (optimizer,) = MTASRTask.build_optimizers(train_args, model)
    return model, optimizer, train_args


class TrainingStep:
    """One step after the other on batches that take turns.

    Args:
        model: In training mode.
        optimizer: Of its trained parameters; what else gets a gradient stays as it is.
        grad_clip: Largest norm of the trained parameters' gradient.
        batches: On any device.
        mixed: Mixed precision in bfloat16; on CUDA alone.

    Attributes:
        losses: Of the steps so far.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        grad_clip: float,
        batches: List[Dict[str, Any]],
        mixed: bool = False,
    ):
        self.model = model
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self.batches = batches
        self.trained = [p for g in optimizer.param_groups for p in g["params"]]
        self.device = self.trained[0].device.type
        self.mixed = mixed and self.device == "cuda"
        self.losses: List[float] = []

    def forward(self, batch: Dict[str, Any]) -> Any:
        """Loss of a batch, of which gradients can be taken."""
        import torch

        batch = {name: values.to(self.device) for name, values in batch.items()}
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.mixed):
            loss, _, _ = self.model(**batch)
        return loss

    def backward(self, loss: Any) -> None:
        """Take gradients."""
        loss.backward()

    def update(self) -> None:
        """Clip the gradients, update the parameters and drop all gradients."""
        import torch

        torch.nn.utils.clip_grad_norm_(self.trained, self.grad_clip)
        self.optimizer.step()
        self.model.zero_grad()

    def __call__(self) -> None:
        """Take a step, and wait until it is done."""
        batch = self.batches[len(self.losses) % len(self.batches)]
        loss = self.forward(batch)
        self.backward(loss)
        self.update()
        self.losses.append(float(loss.detach()))
        self.wait()

    def wait(self) -> None:
        """Wait for the GPU, where there is one."""
        wait_for(self.device)

    def check_losses(self, name: str) -> None:
        """Raise `UserError` for a loss that is not finite."""
        if not all(abs(loss) < float("inf") for loss in self.losses):
            raise UserError(
                f"{name}: a loss is not finite: {self.losses}; see its options"
            )


def mini_step(
    phase: int = 2,
    rows: int = MINI_ROWS,
    seconds: float = MINI_SECONDS,
    device: str = "cpu",
) -> TrainingStep:
    """A step of the mini recipe: its configuration, its pretrained models.

    Args:
        phase: 1 or 2.
        rows: Mixtures in the batch, of the talker counts in turn.
        seconds: Of each.
        device: `cpu` or `cuda`.
    """
    config = MINI_RECIPE / "conf" / f"train_phase{phase}.yaml"
    built = build(config, MINI_MODELS, device, vocabulary=MINI_VOCABULARY)
    known = built[0].talker_counts
    mixed = [known[row % len(known)] for row in range(rows)]
    return make_step(*built, [mixed], seconds, vocabulary=MINI_VOCABULARY)


def full_size_step(
    phase: int = 2,
    rows: int = 4,
    seconds: float = 15.0,
    device: str = "cpu",
    options: Sequence[str] = (),
) -> TrainingStep:
    """A step of egs2/librimix's configuration; batches of one talker count each.

    Args:
        phase: 1 or 2.
        rows: Mixtures in a batch.
        seconds: Of each.
        device: `cpu`, or `cuda` with mixed precision.
        options: Further words of mtasr_train's command line.
    """
    config = FULL_SIZE_CONF / f"train_phase{phase}.yaml"
    built = build(config, options, device, dtype="bfloat16")
    counts = [[n] * rows for n in built[0].talker_counts]
    return make_step(*built, counts, seconds, mixed=True)


def make_step(
    model: Any,
    optimizer: Any,
    args: argparse.Namespace,
    counts: Sequence[Sequence[int]],
    seconds: float,
    mixed: bool = False,
    vocabulary: int = 1000,
    seed: int = 0,
) -> TrainingStep:
    """A step of what `build` returns.

    Args:
        model: In training mode.
        optimizer: Of its trained parameters.
        args: Options of the training.
        counts: Of each batch, the talkers of each mixture.
        seconds: Of each mixture.
        mixed: See `TrainingStep`.
        vocabulary: CTC tokens.
        seed: Of the batches.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    batches = [
        make_batch(
            batch,
            seconds,
            max(model.talker_counts),
            model.teacher,
            generator,
            vocabulary,
        )
        for batch in counts
    ]
    return TrainingStep(model, optimizer, args.grad_clip, batches, mixed)
