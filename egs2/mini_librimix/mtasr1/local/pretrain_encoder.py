#!/usr/bin/env python3
"""Make the mini recipe's pretrained encoder: a tiny WavLM in WavLM-Large's part.

Real WavLM is trained without transcripts on 94,000 hours, a part of them overlapped;
nothing like it can be had from an hour or four of synthetic speech. This one learns two
things from mixtures of the training split that are made afresh for each step: to write
down, by CTC, the talker who begins while up to two others and noise disturb; and, from
the output of its lower layers, the log-mel spectrum of each talker alone, so that the
trunk keeps what it hears of all of them. Only the encoder is kept: nothing that could
write down a second talker. No talker or sentence of dev or test is seen, which
`read_train_split` asserts.

    local/pretrain_encoder.py --librispeech downloads/LibriSpeech \\
        --wham_noise downloads/wham_noise --output_dir pretrained/encoder

The first convolution starts as a mel filterbank (25 ms windows every 10 ms): learning
one from nothing took several times as many steps. 80 ms frames keep the rest fast. The
schedule counts steps; a killed run goes on from its last checkpoint.
"""

import argparse
import json
import math
import os
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
import torchaudio
from mixtures_for_pretraining import RATE, Example, Mixer
from train_split import read_train_split
from transformers import WavLMConfig, WavLMModel

from espnet_mtasr.asr.encoder.wavlm import (
    normalize_samples,
    receptive_field,
    wavlm_output_lengths,
)
from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError, run_command_line

WINDOW, HOP = 400, 160
BANDS, PHASES = 40, 4
MAX_TALKERS = 3


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--wham_noise", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument(
        "--held_out",
        type=Path,
        help="corpus whose dev and test talkers and sentences must not be seen "
        "(default: --librispeech)",
    )
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


def wavlm_config(hidden_size: int, num_layers: int) -> WavLMConfig:
    """WavLM-Large's form (layer norm before each part), made small."""
    return WavLMConfig(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=hidden_size * 3,
        conv_dim=(BANDS * PHASES, 96, 96, 128),
        conv_stride=(HOP, 2, 2, 2),
        conv_kernel=(WINDOW, 4, 4, 4),
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


def mel_filterbank() -> torch.Tensor:
    """Mel-spaced band filters in four phases each, `(BANDS * PHASES, 1, WINDOW)`.

    Half-wave rectified (GELU follows), the phases of a band add up to its envelope.
    Above 500 Hz the gain grows with frequency as speech's spectrum falls.
    """

    def hertz(mel: float) -> float:
        return 700 * (10 ** (mel / 2595) - 1)

    lowest, highest = (2595 * math.log10(1 + f / 700) for f in (80, 7200))
    step = (highest - lowest) / (BANDS - 1)
    t = (torch.arange(WINDOW) - WINDOW / 2) / RATE
    filters = []
    for band in range(BANDS):
        mel = lowest + band * step
        centre = hertz(mel)
        width = hertz(mel + step / 2) - hertz(mel - step / 2)
        duration = 1 / (2 * math.pi * 0.6 * width)
        duration = min(max(duration, 0.002), WINDOW / RATE / 5)
        envelope = torch.exp(-0.5 * (t / duration) ** 2)
        for phase in range(PHASES):
            angle = 2 * math.pi * (centre * t + phase / PHASES)
            wave = envelope * torch.cos(angle)
            filters.append(wave / wave.norm() * max(1.0, centre / 500) ** 0.5)
    return torch.stack(filters)[:, None]


@torch.no_grad()
def start_as_filterbank(wavlm: WavLMModel) -> None:
    """Set the first convolution to a filterbank; the second adds up phases and time."""
    first, second = (layer.conv for layer in wavlm.feature_extractor.conv_layers[:2])
    first.weight.copy_(mel_filterbank())
    for band in range(BANDS):
        phases = slice(band * PHASES, (band + 1) * PHASES)
        second.weight[band] *= 0.1
        second.weight[band, phases] += 0.15


class Pretraining(torch.nn.Module):
    """WavLM with two heads: CTC over the first talker's words, spectra of all talkers.

    Args:
        config: The encoder's.
        num_words: CTC's units but for the blank.
        num_lower_layers: Transformer layers below the head of the spectra.
    """

    MELS, MEL_HOP = 32, 320

    def __init__(self, config: WavLMConfig, num_words: int, num_lower_layers: int):
        super().__init__()
        self.wavlm = WavLMModel(config)
        self.num_lower_layers = num_lower_layers
        start_as_filterbank(self.wavlm)
        self.ctc = torch.nn.Linear(config.hidden_size, num_words + 1)
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
        """Log probabilities `(B, T, V)`, spectra `(B, T, K * F)`, frames `(B,)`."""
        mask = valid_mask(lengths, waves.size(1)).long()
        out = self.wavlm(
            normalize_samples(waves, lengths), mask, output_hidden_states=True
        )
        frames = wavlm_output_lengths(self.wavlm.config, lengths)
        spectra = self.spectra(out.hidden_states[self.num_lower_layers])
        return self.ctc(out.last_hidden_state).log_softmax(-1), spectra, frames

    @torch.no_grad()
    def spectra_of(self, sources: torch.Tensor, frames: int) -> torch.Tensor:
        """Log-mel spectra that the lower layers shall tell, `(B, frames, K * F)`.

        Args:
            sources: `(B, K, N)`, of unit variance when mixed.
            frames: T.
        """
        rows, talkers, _ = sources.shape
        per_frame = self.stride // self.MEL_HOP
        # The spectra of a frame are those around the centre of what WavLM sees for it.
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


def losses(
    model: Pretraining, examples: List[Example], ids: dict
) -> Tuple[torch.Tensor, torch.Tensor]:
    """CTC loss per word of the first talkers, and L1 loss of the spectra."""
    waves = [torch.from_numpy(e.mixture) for e in examples]
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    sources = torch.zeros(len(examples), MAX_TALKERS, padded.size(1))
    for row, example in enumerate(examples):
        scale = 1 / max(float(np.std(example.mixture)), 1e-8)
        for k, source in enumerate(example.sources):
            sources[row, k, : len(source)] = torch.from_numpy(source) * scale
    targets = [torch.tensor([ids[w] for w in e.text.split()]) for e in examples]
    log_probs, spectra, frames = model(padded, lengths)
    ctc = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1),
        torch.cat(targets),
        frames,
        torch.tensor([len(t) for t in targets]),
        zero_infinity=True,
    )
    wanted = model.spectra_of(sources, spectra.size(1))
    mask = valid_mask(frames, spectra.size(1))
    return ctc, (spectra - wanted)[mask].abs().mean()


def checkpoint_path(args: argparse.Namespace) -> Path:
    """Where an unfinished training is kept: beside the folder of the model."""
    return args.output_dir.with_name(args.output_dir.name + ".checkpoint.pth")


def train(args: argparse.Namespace, model: Pretraining, mixer: Mixer, ids: dict):
    """Train `args.steps` steps, with a checkpoint every `args.save_every`."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda n: min((n + 1) / args.warmup_steps, max(0.01, 1 - n / args.steps)),
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
    averages = np.zeros(2)
    model.train()
    while step < args.steps:
        examples = [mixer.draw() for _ in range(args.batch_size)]
        ctc, spectra = losses(model, examples, ids)
        optimizer.zero_grad()
        (ctc + args.spectra_weight * spectra).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        step += 1
        averages += [ctc.item(), spectra.item()]
        if step % 50 == 0:
            ctc_loss, spectra_loss = averages / 50
            print(
                f"step {step}/{args.steps}: CTC loss {ctc_loss:.3f}, "
                f"spectra {spectra_loss:.3f}",
                flush=True,
            )
            averages[:] = 0
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
    if not 1 <= args.num_lower_layers < args.num_layers:
        raise UserError(
            f"--num_lower_layers {args.num_lower_layers}: give 1 to {args.num_layers - 1}"
        )
    torch.manual_seed(args.seed)
    utterances = read_train_split(args.librispeech, held_out_corpus=args.held_out)
    words = sorted({w for u in utterances for w in u.text.split()})
    ids = {word: i for i, word in enumerate(words, 1)}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    config = wavlm_config(args.hidden_size, args.num_layers)
    model = Pretraining(config, len(words), args.num_lower_layers)
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
