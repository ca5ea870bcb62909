#!/usr/bin/env python3
"""Let SmolLM2 write sentences for synthetic voices to read: one a line.

It omits corpus sentences, duplicates and non-sentences. local/sentences/README.md says
how smollm2.txt beside it was made.

Example:
    python local/write_sentences.py --n 2000 --seed 1 --known data/local/corpus \\
        local/sentences/smollm2.txt
"""

import argparse
import random
import re
from pathlib import Path
from typing import List, Optional, Sequence, Set, Tuple

from espnet_mtasr.corpora.cleaning import words_of
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_list

OPENINGS = re.split(
    r"[|\n]",
    """\
Once upon a time there was|The old man said|She told her friends that|In the morning
My brother and I|It was a cold night when|The teacher asked|We went to|He had never
A letter came from|"I think|Last week|They live in|"Do you know|On the table
The king and his|When the rain stopped|My mother always|At the end of the street
"Please|Nobody knew|The doctor looked|Behind the house|"Why did you|After dinner
The little girl|"Yes," said|There is a river|The ship|His father was|I would like to
The children ran|In winter|"How much|Two men|She opened the door and|Every summer
The farmer|Late in the evening|"Come here," she said|You can see|It is not easy to""",
)
MIN_WORDS, MAX_WORDS = 4, 22
BATCH, NEW_TOKENS = 96, 100
# Sentences that begin with the same words are variants of one.
SAME_START = 5
# Abbreviations, words in capitals and quotes: voices and transcripts would differ.
UNCLEAR = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|St|Jr|Prof|etc|vs|[A-Z][A-Z]+)\b|(?<![A-Za-z])'|'(?![A-Za-z])"
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=2000, help="sentences")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--model",
        default="smollm2",
        help="smollm2 (from its wheel on PyPI), a folder or a hub id",
    )
    parser.add_argument(
        "--models", type=Path, default=Path("exp/models"), help="keeps the wheel's"
    )
    parser.add_argument(
        "--known",
        type=Path,
        help="LibriSpeech-shaped folder; what is said in it is not written",
    )
    return parser


def sentences_of(passage: str) -> List[str]:
    """Return the whole sentences of a passage that can be read aloud.

    >>> sentences_of('He said: "Well-known!" It cost 5 pounds. A b c d. No end')
    ['He said: Well-known!']
    """
    flat = " ".join(passage.replace("\u2019", "'").split())
    found = []
    # The last one may be broken off.
    for sentence in re.split(r"(?<=[.!?])[\"']?\s+", flat)[:-1]:
        sentence = sentence.replace('"', "").strip()
        legible = re.fullmatch(r"[A-Z][A-Za-z' ,.!?;:-]*", sentence)
        if legible and not UNCLEAR.search(sentence) and is_speakable(sentence):
            found.append(sentence)
    return found


def is_speakable(sentence: str) -> bool:
    """Tell whether it is a sentence: no spelling, no code, no repeated loop.

    >>> is_speakable("The cat and the cat and the cat sat.")
    False
    """
    words = words_of(sentence).split()
    pairs = list(zip(words, words[1:]))
    return (
        MIN_WORDS <= len(words) <= MAX_WORDS
        and all(re.search("[aeiouy]", word) and len(word) <= 14 for word in words)
        and not any(len(word) == 1 and word not in "ai" for word in words)
        and len(set(pairs)) == len(pairs)
        and len(set(words)) >= 0.7 * len(words)
    )


def write(model_dir: Path, n: int, seed: int, known: Set[str], out: Path) -> None:
    """Write `n` sentences whose words are not among `known`.

    The file grows with each batch: who stops early keeps what there is.

    Raises:
        UserError: the model writes no more new ones.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16)
    model.eval()
    starts: Set[Tuple[str, ...]] = set()
    sentences: List[str] = []
    while len(sentences) < n:
        before = len(sentences)
        openings = [rng.choice(OPENINGS) for _ in range(BATCH)]
        inputs = tokenizer(openings, return_tensors="pt", padding=True)
        with torch.no_grad():
            ids = model.generate(
                **inputs,
                max_new_tokens=NEW_TOKENS,
                do_sample=True,
                temperature=0.9,
                # Not top_p: that would sort the vocabulary for each token.
                top_k=50,
                pad_token_id=tokenizer.pad_token_id,
            )
        for passage in tokenizer.batch_decode(ids, skip_special_tokens=True):
            for sentence in sentences_of(passage):
                words = words_of(sentence)
                start = tuple(words.split()[:SAME_START])
                if words not in known and start not in starts:
                    starts.add(start)
                    sentences.append(sentence)
        if len(sentences) == before:
            raise UserError(
                f"{model_dir}: wrote no new sentence in {BATCH} tries; lower --n {n}"
            )
        write_list(out, sentences[:n])
        print(f"{min(n, len(sentences))} of {n} sentences", flush=True)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Write the file."""
    args = get_parser().parse_args(cmd)
    from espnet_mtasr.model_zoo.pretrained import get_source

    model_dir = get_source("llm", args.model, None, args.models)
    known = set()
    if args.known is not None:
        from espnet_mtasr.corpora.librispeech import scan_corpus

        folders = {p.name for p in args.known.iterdir() if p.is_dir()}
        # Synthetic voices read what this wrote before.
        subsets = sorted(folders - {"train_sy"})
        scan = scan_corpus(args.known, " ".join(subsets))
        known = {words_of(u.text) for u in scan.utterances}
    write(model_dir, args.n, args.seed, known, args.out)


if __name__ == "__main__":
    run_command_line(main)
