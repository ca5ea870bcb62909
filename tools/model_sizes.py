"""Parameters and estimated training memory of each configuration, as a Markdown table.

Models are built from the configuration files on torch's meta device, with shapes but no
weights (published_models.py). From anywhere, after `. ./path.sh` of a recipe:

    python -m tools.model_sizes --batch_seconds 240 conf/tuning/train_phase1_*.yaml

Memory of a layer's activations: Korthikanti et al., "Reducing Activation Recomputation
in Large Transformer Models", 2022 (arXiv 2205.05198), section 4.1.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from espnet_mtasr.errors import UserError, run_command_line
from tools.marked_text import put

MARK = "model sizes"
# For LibriSpeech: a talker's words per second times tokens per word times talkers, over
# the length of the mixture; rounded up.
TEXT_TOKENS_PER_SECOND = 8.0
UTTERANCE_SECONDS = 15.0
SAMPLING_RATE = 16000
GIB = 2.0**30
# Memory of a GPU in GiB, and the share of it that a training may use.
GPUS = (24, 40, 80)
FILLED = 0.9
NOTE = f"""\
Estimated, not measured, for mixed precision on a GPU (`use_amp`), mixtures of
{UTTERANCE_SECONDS:.0f} s and {TEXT_TOKENS_PER_SECOND:.0f} text tokens per second.
Weights: 4 bytes per parameter in float32, 2 in bfloat16, and 2 more for autocast's copy
of each trained one. Gradients: 4 bytes per trained parameter, AdamW: 8. Activations of
a layer with D units and H heads that passes a gradient, for b mixtures of s frames:
`b s D (34 + 5 H s / D)` bytes; for a Conformer layer `b s D (68 + 5 H s / D)`; for an
LLM layer with I inner units and b s tokens, whose attention matrix isn't kept,
`b s (15 D + 7.1 I)`; and 10 bytes per text token and entry of the LLM's vocabulary for
the logits. Activations are at least what the frozen first convolution needs: three
times its output in float32. With gradient checkpointing a layer only keeps its input (4
bytes per unit), and one layer at a time keeps the rest. Left out: LSTM, CTC and count
head, DDP's copy of the gradients, and memory that the allocator reserves. The columns
"fits" are the maximum seconds of audio per batch in nine tenths of the GPU's memory,
with gradient checkpointing as in the configurations: an upper bound, to check with
full_size_step."""


class Sizes(NamedTuple):
    """Sizes of one configuration; numbers of parameters, memory in GiB.

    Attributes:
        name: File's name without `train_` and `.yaml`.
        parts: Part to its parameters.
        trained: Parameters with a gradient.
        weights: Including autocast's copies.
        gradients: Of trained parameters.
        optimizer: AdamW's two moments.
        activations: Of a batch.
        checkpointed: The same with gradient checkpointing of branches and LLM.
    """

    name: str
    parts: Dict[str, int]
    trained: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    checkpointed: float

    @property
    def total(self) -> int:
        """Number of all parameters."""
        return sum(self.parts.values())

    @property
    def inference(self) -> int:
        """Number of parameters without the teacher."""
        return self.total - self.parts["LLM"] - self.parts["rest of teacher"]


class Layers(NamedTuple):
    """Layers that pass a gradient: bytes of one, in full and checkpointed."""

    number: int
    kept: float
    boundary: float


def count(parameters: Iterable[Any]) -> int:
    """Sum of the parameters' sizes."""
    return sum(p.numel() for p in parameters)


def count_parts(model: Any) -> Dict[str, int]:
    """Return the number of parameters of each part of an `MTASRModel`."""
    teacher = model.teacher
    own = [] if teacher is None else _own_parameters(teacher)

    def of(part: Optional[Any]) -> int:
        return 0 if part is None else count(part.parameters())

    return {
        "trunk": of(model.encoder.trunk),
        "branches": of(model.encoder.branches),
        "separators": of(model.separator),
        "CTC": of(model.ctc),
        "count head": of(model.count_head),
        "LLM": count(own),
        "rest of teacher": of(teacher) - count(own),
    }


def _own_parameters(teacher: Any) -> List[Any]:
    """Return the LM's own parameters: no LoRA, `<sc>` row, adaptor or projection."""
    added = ("lora_", "trainable_tokens_", "adaptor.", "projection.")
    return [p for n, p in teacher.named_parameters() if not any(a in n for a in added)]


def encoder_layers(layers: Any, frames: float, rows: float) -> Layers:
    """Return layers of a WavLM, Whisper or Conformer: `rows` mixtures of `frames`."""
    first = layers[0]
    if hasattr(first, "embed_dim"):
        width, heads, factor = first.embed_dim, first.self_attn.num_heads, 34.0
    elif hasattr(first, "attention"):
        width, heads, factor = (
            first.attention.embed_dim,
            first.attention.num_heads,
            34.0,
        )
    else:
        width, heads, factor = first.size, first.self_attn.h, 68.0
    positions = rows * frames
    kept = positions * width * (factor + 5.0 * heads * frames / width)
    return Layers(len(layers), kept, 4.0 * positions * width)


def activation_bytes(
    model: Any, args: argparse.Namespace, batch_seconds: float, checkpointed: bool
) -> float:
    """Return bytes kept for the backward pass of one batch of one talker count."""
    rows = batch_seconds / UTTERANCE_SECONDS
    frames = _frames(args)
    encoder = model.encoder
    stacks = []
    branch = encoder.branches[str(max(encoder.talker_counts))]
    for half in (encoder.trunk, branch):
        if any(p.requires_grad for p in half.parameters()):
            layers = half.layers if hasattr(half, "layers") else half.encoder.encoders
            stacks.append(encoder_layers(layers, frames, rows))
    total = 0.0
    if model.teacher is not None:
        config = model.teacher.llm.config
        text = batch_seconds * TEXT_TOKENS_PER_SECOND
        tokens = rows * frames / args.teacher_conf["downsample"] + text
        width, inner = config.hidden_size, config.intermediate_size
        kept = tokens * (15.0 * width + 7.1 * inner)
        stacks.append(Layers(config.num_hidden_layers, kept, 4.0 * tokens * width))
        total += 10.0 * text * config.vocab_size
    for stack in stacks:
        if checkpointed:
            total += stack.number * stack.boundary
        else:
            total += stack.number * stack.kept
    if checkpointed:
        total += max(stack.kept for stack in stacks)
    return max(total, _convolution_bytes(model, batch_seconds))


def _frames(args: argparse.Namespace) -> float:
    """Return frames of the encoder for a mixture of `UTTERANCE_SECONDS`."""
    import torch

    from espnet_mtasr.tasks.mtasr import encoder_choices

    lengths = torch.tensor([int(UTTERANCE_SECONDS * SAMPLING_RATE)])
    input_size = args.input_size
    if input_size is None:
        from espnet2.tasks.asr import frontend_choices

        frontend = frontend_choices.get_class(args.frontend)(**args.frontend_conf)
        lengths = lengths // frontend.hop_length + 1
        input_size = frontend.output_size()
    counter = encoder_choices.get_class(args.encoder).frame_counter(
        input_size=input_size, **args.encoder_conf
    )
    return float(counter(lengths)[0])


def _convolution_bytes(model: Any, batch_seconds: float) -> float:
    """Return bytes of the frozen trunk's first convolution, norm and activation."""
    from espnet_mtasr.asr.encoder.log_mel import HOP

    config = getattr(model.encoder.trunk, "config", None)
    if config is None:
        return 0.0
    samples = batch_seconds * SAMPLING_RATE
    if config.model_type == "whisper":
        return 3 * 4.0 * samples / HOP * config.d_model
    return 3 * 4.0 * samples / config.conv_stride[0] * config.conv_dim[0]


def measure(path: Path, batch_seconds: float) -> Sizes:
    """Build the model of a configuration without weights, and count.

    Raises:
        UserError: the configuration is wrong, or names a model of unknown shape.
    """
    import torch

    from tools.published_models import build_from_config

    if not path.is_file():
        raise UserError(f"{path}: no such file; give a training configuration")
    with torch.device("meta"):
        model, args = build_from_config(str(path))
    parameters = list(model.parameters())
    trained = count(p for p in parameters if p.requires_grad)
    stored = sum(p.numel() * p.element_size() for p in parameters)
    return Sizes(
        name=path.stem.removeprefix("train_"),
        parts=count_parts(model),
        trained=trained,
        weights=(stored + 2 * trained) / GIB,
        gradients=4 * trained / GIB,
        optimizer=8 * trained / GIB,
        activations=activation_bytes(model, args, batch_seconds, False) / GIB,
        checkpointed=activation_bytes(model, args, batch_seconds, True) / GIB,
    )


def to_markdown(rows: List[Sizes], batch_seconds: float) -> str:
    """Return two tables, parameters in millions and memory in GiB, and the note."""
    parts = list(rows[0].parts)
    lines = _table(
        ["configuration", *parts, "total", "trained", "at inference"],
        [
            [
                r.name,
                *(_millions(r.parts[p]) for p in parts),
                *(_millions(n) for n in (r.total, r.trained, r.inference)),
            ]
            for r in rows
        ],
    )
    batch = f"{batch_seconds:g} s"
    memory = _table(
        ["configuration", "weights", "gradients", "AdamW", f"activations ({batch})"]
        + ["checkpointed", "sum", "sum, checkpointed"]
        + [f"fits {gpu} GB" for gpu in GPUS],
        [
            [r.name, *(f"{x:.1f}" for x in _memory(r))]
            + [f"{seconds_that_fit(r, batch_seconds, gpu)} s" for gpu in GPUS]
            for r in rows
        ],
    )
    return "\n".join(
        [
            "Parameters in millions:",
            "",
            *lines,
            "",
            f"Memory per process in GiB, with a batch of {batch} of audio:",
            "",
            *memory,
            "",
            NOTE,
        ]
    )


def seconds_that_fit(r: Sizes, batch_seconds: float, gpu: float) -> int:
    """Return maximum seconds of audio in a batch, in tens; with checkpointing.

    Args:
        r: Sizes for a batch of `batch_seconds`.
        batch_seconds: Audio in the batch.
        gpu: Its memory in GiB.
    """
    left = FILLED * gpu - r.weights - r.gradients - r.optimizer
    return max(0, int(left / (r.checkpointed / batch_seconds) // 10) * 10)


def _memory(r: Sizes) -> List[float]:
    fixed = r.weights + r.gradients + r.optimizer
    columns = [r.weights, r.gradients, r.optimizer, r.activations, r.checkpointed]
    return columns + [fixed + r.activations, fixed + r.checkpointed]


def _millions(n: int) -> str:
    return f"{n / 1e6:.1f}" if n else "-"


def _table(header: List[str], rows: List[List[str]]) -> List[str]:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", type=Path, help="Training configurations")
    parser.add_argument(
        "--batch_seconds", type=float, default=60.0, help="Audio in a process's batch"
    )
    parser.add_argument("--update", type=Path, help="File with the tables' marks")
    return parser


def main(cmd=None) -> None:
    """Print the tables, or write them into a file."""
    args = get_parser().parse_args(cmd)
    if args.batch_seconds <= 0:
        raise UserError(f"--batch_seconds {args.batch_seconds}: give more than 0")
    rows = [measure(path, args.batch_seconds) for path in args.configs]
    content = to_markdown(rows, args.batch_seconds)
    if args.update is not None:
        put(args.update, MARK, content)
    else:
        print(content)


if __name__ == "__main__":
    run_command_line(main)
