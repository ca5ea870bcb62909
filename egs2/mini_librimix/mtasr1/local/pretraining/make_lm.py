#!/usr/bin/env python3
"""Make the mini recipe's language model: a tiny Llama over the training sentences.

It plays Llama-3.2's part. Tokenizer: BPE with byte fallback, so that other corpora's
words can be written. Weights: fp16 safetensors. Everything comes from the transcripts
of the training split; dev and test sentences are checked to be strange to it.

    local/pretraining/make_lm.py --librispeech downloads/LibriSpeech \\
        --output_dir pretrained/lm
"""

import argparse
import math
from pathlib import Path
from typing import List

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from train_split import read_train_split
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from espnet_mtasr.errors import run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--vocab_size", type=int, default=420)
    parser.add_argument("--hidden_size", type=int, default=96)
    parser.add_argument("--num_layers", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def train_tokenizer(sentences: List[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train BPE whose alphabet includes all 256 bytes."""
    special = ["<s>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    all_bytes = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special + all_bytes,
        show_progress=False,
    )
    # Words one by one: no piece may span two of them.
    words = [word for sentence in sentences for word in sentence.split()]
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def train_llama(
    args: argparse.Namespace,
    tokenizer: PreTrainedTokenizerFast,
    sentences: List[str],
) -> LlamaForCausalLM:
    """Train on whole sentences between begin and end of sentence."""
    torch.manual_seed(args.seed)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 8 // 3,
        num_hidden_layers=args.num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=eos,
    )
    model = LlamaForCausalLM(config)
    rows = [torch.tensor([bos, *tokenizer(s).input_ids, eos]) for s in sentences]
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.steps)
    for step in range(1, args.steps + 1):
        picked = torch.randint(len(rows), (args.batch_size,)).tolist()
        labels = torch.nn.utils.rnn.pad_sequence(
            [rows[i] for i in picked], batch_first=True, padding_value=-100
        )
        loss = model(
            input_ids=labels.clamp(min=0),
            attention_mask=(labels >= 0).long(),
            labels=labels,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: perplexity {math.exp(loss.item()):.2f}", flush=True)
    return model


def main(cmd=None) -> None:
    """Make tokenizer and model, write both in Hugging Face format."""
    args = get_parser().parse_args(cmd)
    sentences = [u.text for u in read_train_split(args.librispeech)]
    tokenizer = train_tokenizer(sentences, args.vocab_size)
    model = train_llama(args, tokenizer, sentences)
    model.half().save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{args.output_dir}: {len(tokenizer)} tokens, {parameters} parameters")


if __name__ == "__main__":
    run_command_line(main)
