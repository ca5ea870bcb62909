#!/usr/bin/env python3
"""Stage 5 with --use_ngram true: train an n-gram over the CTC's units.

Texts are the training transcripts and, with `--text`, any others. What the held-out
sets say (`--held_out`) is left out of the latter: the same sentences, sentences that
share eight words in a row with it, and whole files with more than eight of these,
unless they are less than a thousandth of the file's.
"""

import argparse
from pathlib import Path
from typing import List, Optional, Sequence, Set

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.text.ngram_training import check_length, longest, train_ngram
from espnet_mtasr.text.sentences import (
    Words,
    runs_of,
    text_files,
    unheld_sentences,
    words_in,
)
from espnet_mtasr.text.tokenizer import TYPES_WITH_FILE

UNKNOWN = "<unk>"
TOKEN_TYPES = ("bpe", "char", "word", "hugging_face")
# Of n-grams from n = 1 on; the last holds for all longer ones.
LEAST = (1, 1, 2, 2, 3)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--transcripts",
        type=Path,
        required=True,
        help="Kaldi table of the training's texts, with <sc> between talkers",
    )
    add(
        "--text",
        type=Path,
        nargs="*",
        default=[],
        help="further texts: files, or folders with .txt files; files named text are "
        "Kaldi tables",
    )
    add(
        "--held_out",
        type=Path,
        nargs="*",
        default=[],
        help="tables of dev and test sets, whose sentences are left out of --text",
    )
    add("--token_list", type=Path, required=True, help="tokens.txt of stage 5")
    add("--token_type", default="bpe", choices=TOKEN_TYPES)
    add("--bpemodel", type=Path, help="of the token type, if it has one")
    add(
        "--ngram_num",
        type=int,
        help="units of the longest n-grams (default: 6, or as "
        "many as fit into 63 bits)",
    )
    add(
        "--least",
        type=int,
        nargs="*",
        help="smallest count of n-grams that are kept, from n = 1 on; the last one "
        f"holds for longer ones (default: {' '.join(map(str, LEAST))}; without --text "
        "1)",
    )
    add("--output", type=Path, required=True, help="file to write, .safetensors")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Train and write; raises `UserError` if a file is missing or has no words."""
    args = get_parser().parse_args(cmd)
    for option in ("transcripts", "token_list", "bpemodel"):
        path = getattr(args, option)
        if path is not None and not path.is_file():
            raise UserError(f"--{option} {path}: no such file; run stages 3 and 5")
    if args.bpemodel is None and args.token_type in TYPES_WITH_FILE:
        raise UserError(
            f"--bpemodel is missing: --token_type {args.token_type} needs it"
        )
    least = args.least or (LEAST if args.text else (1,))
    if min(least) < 1:
        raise UserError(f"--least {' '.join(map(str, least))}: give counts from 1")
    tokens = args.token_list.read_text(encoding="utf-8").splitlines()
    if UNKNOWN not in tokens:
        raise UserError(
            f"--token_list {args.token_list}: has no {UNKNOWN}; run stage 5"
        )
    length = min(6, longest(tokens)) if args.ngram_num is None else args.ngram_num
    check_length(length, tokens)

    import numpy as np

    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.progress import progress
    from espnet_mtasr.text.sot import split_sot
    from espnet_mtasr.text.tokenizer import build_tokenizer

    def words_of(table: Path) -> List[List[str]]:
        sots = read_table(table).values()
        texts = (text.lower().split() for sot in sots for text in split_sot(sot))
        return [words for words in texts if words]

    ids = {token: place for place, token in enumerate(tokens)}
    tokenizer = build_tokenizer(args.token_type, args.bpemodel)
    unknown = ids[UNKNOWN]

    def encode(words: List[str]) -> np.ndarray:
        units = tokenizer.text2tokens(" ".join(words))
        return np.array([ids.get(unit, unknown) for unit in units], np.int32)

    # Each text once, though it may be in several mixtures.
    said = {tuple(words) for words in words_of(args.transcripts)}
    letters = set().union(*(word for words in said for word in words))
    held_out: Set[Words] = set()
    for table in args.held_out:
        for words in words_of(table):
            held_out.update(runs_of(words_in(" ".join(words))))
    texts = [encode(list(words)) for words in sorted(said)]
    files = text_files(args.text)
    left_out, removed = [], 0
    for path in progress(files, len(files), "n-gram: texts"):
        if path.name == "text":
            # Others with the ids would have no sentences.
            texts += map(encode, words_of(path))
            continue
        sentences, shared = unheld_sentences(path, letters, held_out)
        if shared and not sentences:
            left_out.append(path)
        removed += shared
        texts += map(encode, sentences)
    number = len(texts) - len(said)
    if files and number == 0:
        raise UserError(
            f"{files[0]}: --text has no sentences of the transcripts' letters "
            f"({len(left_out)} texts are left out for what held-out sets say); give "
            "other texts"
        )
    if files:
        print(
            f"{number} sentences of {len(files)} texts; {removed} that share eight "
            "words with held-out sets are left out, with all of "
            f"{len(left_out)} texts"
        )
    counts = [*least, *[least[-1]] * length][:length]
    ngram = train_ngram(texts, tokens, counts)
    ngram.write(args.output)
    units = sum(map(len, texts))
    print(f"{args.output}: {len(ngram)} n-grams of {units} units")


if __name__ == "__main__":
    run_command_line(main)
