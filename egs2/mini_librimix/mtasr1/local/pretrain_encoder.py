#!/usr/bin/env python3
"""Make the mini recipe's pretrained encoder: a tiny WavLM in WavLM-Large's part.

Real WavLM is trained without transcripts on 94,000 hours; nothing like it can be had
from an hour of synthetic speech. This one learns by CTC on single talkers of the
training split, with weaker interferers and noise, and only its encoder is kept. No
talker or sentence of dev or test is seen, which `read_train_split` asserts.

    local/pretrain_encoder.py --librispeech downloads/LibriSpeech \\
        --wham_noise downloads/wham_noise --output_dir pretrained/encoder

80 ms frames (strides 10, 4, 4, 4, 2) and tapered channels keep it fast on a CPU.
The schedule counts steps; a killed run goes on from its last checkpoint.
"""

import argparse
import json
import os
import random
from pathlib import Path
from typing import Dict, List, Tuple, Union

import numpy as np
import soundfile
import torch
from train_split import by_talker, read_train_split
from transformers import WavLMConfig, WavLMModel

from espnet_mtasr.asr.encoder.wavlm import normalize_samples, wavlm_output_lengths
from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.corpus import Utterance

RATE = 16000


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--wham_noise", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch_size", type=int, default=24)
    parser.add_argument("--hidden_size", type=int, default=96)
    parser.add_argument("--num_layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup_steps", type=int, default=200)
    parser.add_argument("--save_every", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def wavlm_config(hidden_size: int, num_layers: int) -> WavLMConfig:
    """WavLM-Large's form (layer norm before each part), made small."""
    return WavLMConfig(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=hidden_size * 5 // 2,
        conv_dim=(16, 24, 32, 48, 64),
        conv_stride=(10, 4, 4, 4, 2),
        conv_kernel=(20, 8, 8, 8, 4),
        conv_bias=False,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=8,
        num_buckets=32,
        max_bucket_distance=80,
        hidden_dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
    )


class Mixer:
    """Draws training examples: a talker, often a weaker interferer, and noise."""

    def __init__(self, utterances: List[Utterance], noise_dir: Path, seed: int):
        self.rng = random.Random(seed)
        self.audio = {u.path: _read(u.path) for u in utterances}
        self.talkers: Dict[str, List[Utterance]] = by_talker(utterances)
        self.noises = [_read(path) for path in sorted(noise_dir.glob("*.wav"))]

    def draw(self) -> Tuple[np.ndarray, str]:
        """Return float32 samples and the talker's words."""
        rng = self.rng
        talker = rng.choice(sorted(self.talkers))
        utterance = rng.choice(self.talkers[talker])
        mixture = self.audio[utterance.path].copy()
        if rng.random() < 0.5:
            other = rng.choice([t for t in sorted(self.talkers) if t != talker])
            interferer = self.audio[rng.choice(self.talkers[other]).path]
            _add(mixture, interferer, rng.uniform(-20, -5), rng)
        if rng.random() < 0.7:
            _add(mixture, rng.choice(self.noises), rng.uniform(-25, -5), rng)
        return mixture, utterance.text


def _read(path: Union[str, Path]) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)) + 1e-8)


def _add(mixture: np.ndarray, other: np.ndarray, db: float, rng: random.Random):
    """Add `other` at `db` relative to the mixture, shifted at random, in place."""
    gain = 10 ** (db / 20) * _rms(mixture) / _rms(other)
    start = rng.randrange(max(1, len(mixture) // 2))
    skip = rng.randrange(max(1, len(other) // 4))
    piece = other[skip : skip + len(mixture) - start]
    mixture[start : start + len(piece)] += gain * piece


class Recognizer(torch.nn.Module):
    """WavLM with a CTC layer over words, as transformers' WavLMForCTC."""

    def __init__(self, config: WavLMConfig, num_words: int):
        super().__init__()
        self.wavlm = WavLMModel(config)
        self.ctc = torch.nn.Linear(config.hidden_size, num_words + 1)

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor):
        """Log probabilities `(B, T, V)` and frames `(B,)` of `(B, N)` samples."""
        mask = valid_mask(lengths, waves.size(1)).long()
        hidden = self.wavlm(normalize_samples(waves, lengths), mask).last_hidden_state
        frames = wavlm_output_lengths(self.wavlm.config, lengths)
        return self.ctc(hidden).log_softmax(-1), frames


def checkpoint_path(args: argparse.Namespace) -> Path:
    """Where an unfinished training is kept: beside the folder of the model."""
    return args.output_dir.with_name(args.output_dir.name + ".checkpoint.pth")


def train(args: argparse.Namespace, model: Recognizer, mixer: Mixer, ids: dict) -> None:
    """Train `args.steps` steps, with a checkpoint every `args.save_every`."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: min(
            (n + 1) / args.warmup_steps, 2 * max(0.01, 1 - n / args.steps), 1
        ),
    )
    checkpoint = checkpoint_path(args)
    settings = {k: str(v) for k, v in vars(args).items()}
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        if state["settings"] != settings:
            raise UserError(f"{checkpoint}: has other settings; remove it")
        torch.set_rng_state(state["torch_rng"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        mixer.rng.setstate(state["rng"])
        step = state["step"]
    average = None
    model.train()
    while step < args.steps:
        examples = [mixer.draw() for _ in range(args.batch_size)]
        waves = [torch.from_numpy(wave) for wave, _ in examples]
        lengths = torch.tensor([len(wave) for wave in waves])
        targets = [torch.tensor([ids[w] for w in t.split()]) for _, t in examples]
        target_lengths = torch.tensor([len(t) for t in targets])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        log_probs, frames = model(padded, lengths)
        loss = torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            torch.cat(targets),
            frames,
            target_lengths,
            zero_infinity=True,
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        step += 1
        average = (
            loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        )
        if step % 50 == 0:
            print(f"step {step}/{args.steps}: CTC loss {average:.3f}", flush=True)
        if step % args.save_every == 0 or step == args.steps:
            state = dict(
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                schedule=schedule.state_dict(),
                rng=mixer.rng.getstate(),
                torch_rng=torch.get_rng_state(),
                settings=settings,
                step=step,
            )
            torch.save(state, checkpoint.with_suffix(".part"))
            os.replace(checkpoint.with_suffix(".part"), checkpoint)


def main(cmd=None) -> None:
    """Train and write the encoder in Hugging Face format, fp16."""
    args = get_parser().parse_args(cmd)
    torch.manual_seed(args.seed)
    utterances = read_train_split(args.librispeech)
    words = sorted({w for u in utterances for w in u.text.split()})
    ids = {word: i for i, word in enumerate(words, 1)}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    model = Recognizer(wavlm_config(args.hidden_size, args.num_layers), len(words))
    parameters = sum(p.numel() for p in model.wavlm.parameters())
    print(f"{len(utterances)} utterances, {len(words)} words, {parameters} parameters")
    train(args, model, Mixer(utterances, args.wham_noise / "tr", args.seed), ids)
    model.wavlm.half().save_pretrained(args.output_dir)
    checkpoint_path(args).unlink()
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
