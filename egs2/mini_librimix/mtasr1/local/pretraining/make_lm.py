#!/usr/bin/env python3
"""Make the mini recipe's language model: a small Llama that reads what precedes a text.

It stands in for Llama-3.2, so it must be able to do what any real language model does:
read a prefix and write it down (noisy_reports.py). Its sentences are drawn from the
grammar, and none is in the corpus. The tokenizer is BPE with byte fallback, so it can
write words of other corpora; each word of the grammar is one token. Weights are fp16
safetensors.

    local/pretraining/make_lm.py --librispeech downloads/LibriSpeech \
        --output_dir pretrained/lm
"""

import argparse
import math
import random
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from noisy_reports import MAX_TALKERS, Report, draw_texts, tell
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from espnet_mtasr.asr.teacher.generation import pad_left
from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import run_command_line

sys.path.append(str(Path(__file__).resolve().parents[1] / "corpus"))
from grammar import VOCABULARY, draw_sentences  # noqa: E402

SPLITS = "train-clean-100 dev-clean test-clean"
# A line break between two talkers' texts, because a language model lacks `<sc>`.
SEPARATOR = "<0x0A>"
IGNORE = -100
# Share of examples without a report, and of texts with words in random order.
ALONE, SALAD = 0.15, 0.3
# How often some of a text's own words are hidden, as by the teacher's text_mask_prob.
MASKED_STEPS, MASK = 0.4, 0.3


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch_size", type=int, default=24)
    parser.add_argument("--sentences", type=int, default=30000)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--num_layers", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def train_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train BPE whose alphabet has all 256 bytes and which knows all `words`."""
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
    # More than needed: training stops when each word is one piece.
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special + all_bytes, show_progress=False
    )
    # Words one by one: no piece may span two of them.
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


class ReadingLM(torch.nn.Module):
    """A causal LM with a matrix per talker that encodes who says what.

    Args:
        lm: The model to train.
        bos: Id of the first token.
        eos: Id of the last one.
    """

    def __init__(self, lm: LlamaForCausalLM, bos: int, eos: int):
        super().__init__()
        self.lm = lm
        self.bos, self.eos = bos, eos
        size = lm.config.hidden_size
        # They tell the first talker from the second. They aren't kept after training.
        self.voices = torch.nn.ModuleList(
            torch.nn.Linear(size, size, bias=False) for _ in range(MAX_TALKERS)
        )
        for voice in self.voices:
            torch.nn.init.orthogonal_(voice.weight)

    def embed(self, report: Report, noise: float) -> torch.Tensor:
        """Return the report as embeddings `(F, E)`, `noise` in units of their size."""
        table = self.lm.get_input_embeddings()
        words = table(torch.from_numpy(report.words).clamp(min=0))
        words = words * torch.from_numpy(report.levels)[..., None]
        told = sum(voice(words[:, k]) for k, voice in enumerate(self.voices))
        size = table.weight.detach().pow(2).mean().sqrt()
        return told + noise * size * torch.randn_like(told)

    def forward(
        self,
        reports: Sequence[Optional[Report]],
        texts: Sequence[List[int]],
        noises: Sequence[float],
        mask: float = 0.0,
    ) -> Tuple[torch.Tensor, int]:
        """Return the summed cross entropy of the texts and their number of tokens."""
        table = self.lm.get_input_embeddings()
        bos = table(torch.tensor([self.bos]))
        rows = []
        for report, ids, noise in zip(reports, texts, noises):
            words = table(torch.tensor(ids))
            hidden = torch.rand(len(ids), 1) < mask
            prefix = [] if report is None else [self.embed(report, noise)]
            rows.append(torch.cat([bos, *prefix, words.masked_fill(hidden, 0.0)]))
        inputs, attention = pad_left(rows)
        targets = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor([*ids, self.eos]) for ids in texts],
            batch_first=True,
            padding_value=IGNORE,
            padding_side="left",
        )
        logits = self.lm(
            inputs_embeds=inputs,
            attention_mask=attention,
            position_ids=(attention.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=targets.size(1),
        ).logits
        loss = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), targets, ignore_index=IGNORE, reduction="sum"
        )
        return loss, int((targets != IGNORE).sum())


class Examples:
    """Draws examples; none of them is a sentence of the corpus.

    Args:
        tokenizer: Knows the grammar's words.
        sentences: What talkers may say.
        unseen: What no talker may say.
        seed: Determines everything.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        sentences: Sequence[str],
        unseen: Sequence[str],
        seed: int,
    ):
        self.rng = random.Random(seed)
        self.sentences = sentences
        self.unseen = frozenset(unseen)
        self.words = sorted(word.lower() for word in VOCABULARY)
        self.ids: Dict[str, int] = {}
        for word in self.words:
            [self.ids[word]] = tokenizer(word).input_ids
        self.separator = tokenizer.convert_tokens_to_ids(SEPARATOR)

    def encode(self, texts: Sequence[str]) -> List[int]:
        """Return ids of all talkers' texts, with the separator between them."""
        ids: List[int] = []
        for text in texts:
            ids += [self.separator] * bool(ids) + [self.ids[w] for w in text.split()]
        return ids

    def draw(self, n: int) -> Tuple[List[Optional[Report]], List[List[int]]]:
        """Draw reports, some of them missing, and the texts that they encode."""
        reports: List[Optional[Report]] = []
        texts = []
        for _ in range(n):
            said = draw_texts(self.rng, self.sentences, self.words, self.unseen, SALAD)
            alone = self.rng.random() < ALONE
            reports.append(None if alone else tell(self.rng, said, self.ids))
            texts.append(self.encode(said))
        return reports, texts


@torch.no_grad()
def perplexities(
    model: ReadingLM, examples: Examples, num_talkers: int, n: int = 96
) -> Dict[str, float]:
    """Return perplexities of texts after the right report, another one, and none."""
    model.eval()
    said = [examples.rng.sample(examples.sentences, num_talkers) for _ in range(n)]
    texts = [examples.encode(s) for s in said]
    reports = [tell(examples.rng, s, examples.ids) for s in said]
    others = reports[1:] + reports[:1]
    found = {}
    for name, told in (("right", reports), ("other", others), ("none", [None] * n)):
        loss, tokens = model(told, texts, [0.3] * n)
        found[name] = math.exp(float(loss) / tokens)
    model.train()
    return found


def train(model: ReadingLM, examples: Examples, args: argparse.Namespace) -> None:
    """Train with a short warm-up, and learning-rate decay in the second half."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, weight_decay=0.05, betas=(0.9, 0.98)
    )

    def factor(step: int) -> float:
        share = step / args.steps
        return min(1.0, share / 0.08 + 1e-3) * min(1.0, max(0.03, 2 - 2 * share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for step in range(1, args.steps + 1):
        reports, texts = examples.draw(args.batch_size)
        noises = [examples.rng.uniform(0, 0.6) for _ in texts]
        mask = MASK if examples.rng.random() < MASKED_STEPS else 0.0
        loss, tokens = model(reports, texts, noises, mask)
        optimizer.zero_grad()
        (loss / tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {float(loss) / tokens:.3f}", flush=True)


def main(cmd=None) -> None:
    """Make tokenizer and model, and write both in Hugging Face format."""
    args = get_parser().parse_args(cmd)
    torch.manual_seed(args.seed)
    corpus = {u.text.upper() for u in scan_corpus(args.librispeech, SPLITS).utterances}
    rng = random.Random(args.seed)
    drawn = [s.lower() for s in draw_sentences(rng, args.sentences, set(corpus))]
    unseen = {text.lower() for text in corpus}
    assert unseen.isdisjoint(drawn)
    tokenizer = train_tokenizer(sorted(word.lower() for word in VOCABULARY))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 8 // 3,
        num_hidden_layers=args.num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    lm = LlamaForCausalLM(config)
    model = ReadingLM(lm, config.bos_token_id, config.eos_token_id)
    held_out = len(drawn) // 20 + MAX_TALKERS
    train(model, Examples(tokenizer, drawn[held_out:], unseen, args.seed), args)
    for k in range(1, MAX_TALKERS + 1):
        strange = Examples(tokenizer, drawn[:held_out], unseen, args.seed + 1)
        told = perplexities(model, strange, k)
        shown = ", ".join(f"{name} report {value:.2f}" for name, value in told.items())
        print(f"perplexity of unseen sentences, {k} talkers: {shown}")
    lm.half().save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    parameters = sum(p.numel() for p in lm.parameters())
    print(f"{args.output_dir}: {len(tokenizer)} tokens, {parameters} parameters")


if __name__ == "__main__":
    run_command_line(main)
