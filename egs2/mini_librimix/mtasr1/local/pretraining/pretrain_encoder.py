#!/usr/bin/env python3
"""Make the mini recipe's pretrained encoder: a tiny WavLM instead of WavLM-Large.

The real WavLM is trained without transcripts on 94,000 hours, some of them overlapped.
A few hours of synthetic speech can't give the same. This one learns in three rounds
from mixtures of one to three training talkers, new ones for each step:

1. with CTC, to transcribe the first talker to begin while others and noise interfere;
2. without transcripts, to predict each talker's pseudo-units, which are clusters of the
   first round's encoder outputs for that talker alone (pseudo_units.py);
3. the same with clusters of the second round's outputs.

In all rounds the lower layers must predict the log-mel spectrum of each talker alone,
so the trunk keeps information about all of them. Only the encoder is kept, and nothing
that could write down a word. No talker or sentence of dev or test is seen;
`read_train_split` asserts this.

    local/pretraining/pretrain_encoder.py --librispeech downloads/LibriSpeech \\
        --wham_noise downloads/wham_noise --output_dir round1
    local/pretraining/pretrain_encoder.py --librispeech downloads/LibriSpeech \\
        --wham_noise downloads/wham_noise --output_dir round2 --first_round round1
    (and again with --output_dir round3 --first_round round2; ../../pretrained/README.md
    has all options)

The schedule counts steps; a killed run resumes from its last checkpoint.
"""

import argparse
import json
import math
import os
import random
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torchaudio
from mixtures_for_pretraining import RATE, Example, Mixer
from pseudo_units import PseudoUnits
from small_wavlm import WINDOW, hear, start_as_filterbank, wavlm_config
from train_split import read_train_split
from transformers import WavLMConfig, WavLMModel

from espnet_mtasr.asr.encoder.wavlm import receptive_field
from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.corpora.librispeech import Utterance
from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.tasks.precision import flush_denormals

MAX_TALKERS = 3
# Of examples with one, two and three talkers, by round.
SHARES, SECOND_SHARES = (0.35, 0.35, 0.3), (0.2, 0.4, 0.4)
NUM_CLUSTERED = 1500


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--wham_noise", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument(
        "--held_out",
        type=Path,
        help="corpus whose dev and test talkers and sentences must stay unseen "
        "(default: --librispeech)",
    )
    parser.add_argument(
        "--first_round",
        type=Path,
        help="for the second round: encoder to start from, and to compute units with",
    )
    parser.add_argument(
        "--shares",
        nargs=MAX_TALKERS,
        type=float,
        help="of mixtures with one, two and three talkers (default: by round)",
    )
    parser.add_argument("--num_units", type=int, default=256)
    parser.add_argument("--units_layer", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch_size", type=int, default=24)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--num_layers", type=int, default=4)
    parser.add_argument("--num_lower_layers", type=int, default=2)
    parser.add_argument("--spectra_weight", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup_steps", type=int, default=300)
    parser.add_argument("--save_every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    return parser


class Pretraining(torch.nn.Module):
    """WavLM with two heads: the round's targets, and spectra of all talkers.

    Args:
        config: The encoder's.
        num_outputs: Of the head on top.
        num_lower_layers: Transformer layers below the head of the spectra.
    """

    MELS, MEL_HOP = 32, 320

    def __init__(self, config: WavLMConfig, num_outputs: int, num_lower_layers: int):
        super().__init__()
        self.wavlm = WavLMModel(config)
        self.num_lower_layers = num_lower_layers
        self.top = torch.nn.Linear(config.hidden_size, num_outputs)
        self.stride = math.prod(config.conv_stride)
        per_talker = self.MELS * (self.stride // self.MEL_HOP)
        self.spectra = torch.nn.Linear(config.hidden_size, MAX_TALKERS * per_talker)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        bands = torchaudio.functional.melscale_fbanks(
            WINDOW // 2 + 1, 0.0, RATE / 2, self.MELS, RATE
        )
        self.register_buffer("bands", bands, persistent=False)

    def forward(
        self, waves: torch.Tensor, lengths: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits `(B, T, V)`, spectra `(B, T, K * F)` and frames `(B,)`."""
        out, frames = hear(self.wavlm, waves, lengths)
        spectra = self.spectra(out.hidden_states[self.num_lower_layers])
        return self.top(out.last_hidden_state), spectra, frames

    @torch.no_grad()
    def spectra_of(self, sources: torch.Tensor, frames: int) -> torch.Tensor:
        """Return log-mel spectra for the lower layers to predict, `(B, frames, K * F)`.

        Args:
            sources: `(B, K, N)`, of unit variance when mixed.
            frames: T.
        """
        rows, talkers, _ = sources.shape
        per_frame = self.stride // self.MEL_HOP
        # A frame's spectra are those around the center of its receptive field in WavLM.
        heard = (per_frame - 1) * self.MEL_HOP + WINDOW
        skipped = (receptive_field(self.wavlm.config) - heard) // 2
        transformed = torch.stft(
            sources[..., skipped:].flatten(0, 1),
            WINDOW,
            self.MEL_HOP,
            window=self.window,
            center=False,
            return_complex=True,
        )
        power = torch.view_as_real(transformed).square().sum(-1)
        logmel = (self.bands.T @ power + 1e-2).log() / 3
        missing = frames * per_frame - logmel.size(-1)
        if missing > 0:
            logmel = torch.nn.functional.pad(logmel, (0, missing), mode="replicate")
        logmel = logmel[..., : frames * per_frame]
        logmel = logmel.view(rows, talkers, self.MELS, frames, per_frame)
        return logmel.permute(0, 3, 1, 2, 4).reshape(rows, frames, -1)


# Maps logits `(B, T, V)`, frames `(B,)` and examples to a loss.
Objective = Callable[[torch.Tensor, torch.Tensor, List[Example]], torch.Tensor]


class FirstTalkersWords:
    """CTC loss per word of the first talker to begin.

    Args:
        utterances: They define the vocabulary.
    """

    def __init__(self, utterances: List[Utterance]):
        words = sorted({word for u in utterances for word in u.text.split()})
        self.ids = {word: i for i, word in enumerate(words, 1)}
        self.num_outputs = len(words) + 1

    def __call__(
        self, logits: torch.Tensor, frames: torch.Tensor, examples: List[Example]
    ) -> torch.Tensor:
        """Return the mean loss of a batch."""
        targets = [
            torch.tensor([self.ids[word] for word in e.text.split()]) for e in examples
        ]
        return torch.nn.functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            torch.cat(targets),
            frames,
            torch.tensor([len(t) for t in targets]),
            zero_infinity=True,
        )


class EveryTalkersUnits:
    """Cross entropy of the units of all talkers, first to begin first.

    Args:
        units: Computes them.
    """

    SILENCE_WEIGHT = 0.2

    def __init__(self, units: PseudoUnits):
        self.units = units
        self.num_classes = units.num_units + 1
        self.num_outputs = MAX_TALKERS * self.num_classes
        self.weights = torch.ones(self.num_classes)
        self.weights[units.silence] = self.SILENCE_WEIGHT

    def __call__(
        self, logits: torch.Tensor, frames: torch.Tensor, examples: List[Example]
    ) -> torch.Tensor:
        """Return the weighted mean loss over the frames of a batch."""
        rows, longest, _ = logits.shape
        targets = torch.full((rows, longest, MAX_TALKERS), self.units.silence)
        sources = [torch.from_numpy(s) for e in examples for s in e.sources]
        labels = iter(self.units.label(sources, longest))
        for row, example in enumerate(examples):
            for k in range(len(example.sources)):
                targets[row, :, k] = next(labels)
        mask = valid_mask(frames, longest)
        logits = logits.view(rows, longest, MAX_TALKERS, self.num_classes)
        return torch.nn.functional.cross_entropy(
            logits[mask].flatten(0, 1), targets[mask].flatten(), self.weights
        )


def run_model(model: Pretraining, examples: List[Example]):
    """Return logits, frames, and the L1 loss of the spectra of a batch."""
    waves = [torch.from_numpy(e.mixture) for e in examples]
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    sources = torch.zeros(len(examples), MAX_TALKERS, padded.size(1))
    for row, example in enumerate(examples):
        scale = 1 / max(float(np.std(example.mixture)), 1e-8)
        for k, source in enumerate(example.sources):
            sources[row, k, : len(source)] = torch.from_numpy(source) * scale
    logits, spectra, frames = model(padded, lengths)
    wanted = model.spectra_of(sources, spectra.size(1))
    mask = valid_mask(frames, spectra.size(1))
    return logits, frames, (spectra - wanted)[mask].abs().mean()


def beside(args: argparse.Namespace, ending: str) -> Path:
    """Return a file for an unfinished training, beside the model's folder."""
    return args.output_dir.with_name(args.output_dir.name + ending)


def save_state(path: Path, args: argparse.Namespace, **state: Any) -> None:
    """Save what an unfinished training needs, with its settings."""
    part = path.with_suffix(".part")
    torch.save(dict(state, settings=_settings(args)), part)
    os.replace(part, path)


def load_state(path: Path, args: argparse.Namespace) -> Optional[Dict[str, Any]]:
    """Return what `save_state` saved, if anything; `UserError` for other settings."""
    if not path.exists():
        return None
    state = torch.load(path, weights_only=False)
    if state["settings"] != _settings(args):
        raise UserError(f"{path}: has other settings; remove it")
    return state


def _settings(args: argparse.Namespace) -> Dict[str, str]:
    return {name: str(value) for name, value in vars(args).items()}


def train(
    args: argparse.Namespace, model: Pretraining, mixer: Mixer, objective: Objective
) -> None:
    """Train for `args.steps` steps, with a checkpoint every `args.save_every` steps."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: min((n + 1) / args.warmup_steps, max(0.01, 1 - n / args.steps)),
    )
    checkpoint = beside(args, ".checkpoint.pth")
    step = 0
    state = load_state(checkpoint, args)
    if state is not None:
        torch.set_rng_state(state["torch_rng"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        mixer.rng.setstate(state["rng"])
        step = state["step"]
    averages = np.zeros(2)
    model.train()
    while step < args.steps:
        examples = [mixer.draw() for _ in range(args.batch_size)]
        logits, frames, spectra = run_model(model, examples)
        loss = objective(logits, frames, examples)
        optimizer.zero_grad()
        (loss + args.spectra_weight * spectra).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        step += 1
        averages += [loss.item(), spectra.item()]
        if step % 50 == 0:
            print(
                f"step {step}/{args.steps}: loss {averages[0] / 50:.3f}, "
                f"spectra {averages[1] / 50:.3f}",
                flush=True,
            )
            averages[:] = 0
        if step % args.save_every == 0 or step == args.steps:
            save_state(
                checkpoint,
                args,
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                schedule=schedule.state_dict(),
                rng=mixer.rng.getstate(),
                torch_rng=torch.get_rng_state(),
                step=step,
            )


def hear_units(args: argparse.Namespace, utterances: List[Utterance]) -> PseudoUnits:
    """Cluster the first round's encoder outputs for clean recordings.

    They are saved, because a resumed run must predict the same units.
    """
    units = PseudoUnits(args.first_round, args.units_layer, args.num_units)
    kept = beside(args, ".units.pth")
    state = load_state(kept, args)
    if state is not None:
        units.centroids = state["centroids"]
        return units
    sample = random.Random(args.seed).sample(
        utterances, min(len(utterances), NUM_CLUSTERED)
    )
    units.fit([read_audio(u.path, RATE) for u in sample], args.seed)
    save_state(kept, args, centroids=units.centroids)
    print(f"{args.num_units} units of {len(sample)} utterances", flush=True)
    return units


def begin(
    args: argparse.Namespace, utterances: List[Utterance]
) -> Tuple[Pretraining, Objective, Sequence[float]]:
    """Return a round's initial model, its objective, and `Mixer`'s shares."""
    if args.first_round is None:
        words = FirstTalkersWords(utterances)
        config = wavlm_config(args.hidden_size, args.num_layers)
        model = Pretraining(config, words.num_outputs, args.num_lower_layers)
        start_as_filterbank(model.wavlm)
        return model, words, SHARES
    first = WavLMModel.from_pretrained(args.first_round, dtype=torch.float32)
    if args.num_layers < first.config.num_hidden_layers:
        raise UserError(
            f"--num_layers {args.num_layers}: the first round has more; give "
            f"{first.config.num_hidden_layers} or more"
        )
    units = EveryTalkersUnits(hear_units(args, utterances))
    config = WavLMConfig.from_pretrained(
        args.first_round, num_hidden_layers=args.num_layers
    )
    model = Pretraining(config, units.num_outputs, args.num_lower_layers)
    # Layers that the first round doesn't have start from random weights.
    model.wavlm.load_state_dict(first.state_dict(), strict=False)
    return model, units, SECOND_SHARES


def main(cmd=None) -> None:
    """Train and write the encoder in Hugging Face format, fp16."""
    args = get_parser().parse_args(cmd)
    if not 1 <= args.num_lower_layers < args.num_layers:
        raise UserError(
            f"--num_lower_layers {args.num_lower_layers}: give 1 to "
            f"{args.num_layers - 1}"
        )
    if (
        args.first_round is not None
        and not (args.first_round / "config.json").is_file()
    ):
        raise UserError(f"--first_round {args.first_round}: has no encoder; run it")
    flush_denormals()
    torch.manual_seed(args.seed)
    utterances = read_train_split(args.librispeech, held_out_corpus=args.held_out)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    model, objective, shares = begin(args, utterances)
    parameters = sum(p.numel() for p in model.wavlm.parameters())
    print(f"{len(utterances)} utterances, {parameters} parameters", flush=True)
    mixer = Mixer(utterances, args.wham_noise / "tr", args.seed, args.shares or shares)
    train(args, model, mixer, objective)
    model.wavlm.half().save_pretrained(args.output_dir)
    for ending in (".checkpoint.pth", ".units.pth"):
        beside(args, ending).unlink(missing_ok=True)
    settings = dict(
        feature_extractor_type="Wav2Vec2FeatureExtractor",
        do_normalize=True,
        sampling_rate=RATE,
        feature_size=1,
        padding_value=0.0,
        return_attention_mask=True,
    )
    with open(args.output_dir / "preprocessor_config.json", "w") as f:
        json.dump(settings, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    run_command_line(main)
