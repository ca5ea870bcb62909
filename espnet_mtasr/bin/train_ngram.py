#!/usr/bin/env python3
"""Stage 5 with --use_ngram true: train an n-gram over the CTC's units.

Texts are the training transcripts and, with `--text`, any others. What the held-out
sets say (`--held_out`) is left out of the latter: the same sentences, sentences that
share eight words in a row with it, and whole files with more than eight of these,
unless they are less than a thousandth of the file's.
"""

import argparse
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence, Set

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.progress import progress
from espnet_mtasr.text.ngram_training import check_length, longest, train_ngram
from espnet_mtasr.text.sentences import (
    Words,
    runs_of,
    text_files,
    unheld_sentences,
    words_in,
)
from espnet_mtasr.text.sot import split_sot

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
    add(
        "--max_ngrams",
        type=int,
        help="largest number of n-grams: the smallest counts rise until they fit",
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

    import numpy as np

    from espnet_mtasr.text.tokenizer import TYPES_WITH_FILE, build_tokenizer

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
    if args.max_ngrams is not None and args.max_ngrams < len(tokens):
        raise UserError(
            f"--max_ngrams {args.max_ngrams}: give {len(tokens)} or more, the number "
            "of units"
        )
    length = min(6, longest(tokens)) if args.ngram_num is None else args.ngram_num
    check_length(length, tokens)
    files = text_files(args.text)
    ids = {token: place for place, token in enumerate(tokens)}
    tokenizer = build_tokenizer(args.token_type, args.bpemodel)

    def encode(words: Iterable[str]) -> np.ndarray:
        units = tokenizer.text2tokens(" ".join(words))
        return np.array([ids.get(unit, ids[UNKNOWN]) for unit in units], np.int32)

    # Each text once, though it may be in several mixtures.
    said = sorted({tuple(words) for words in words_of(args.transcripts)})
    letters = set().union(*(word for words in said for word in words))
    texts = list(map(encode, said))
    texts += map(encode, further_sentences(files, letters, args.held_out))
    counts = [*least, *[least[-1]] * length][:length]
    ngram = train_ngram(texts, tokens, counts, args.max_ngrams)
    ngram.write(args.output)
    units = sum(map(len, texts))
    print(f"{args.output}: {len(ngram)} n-grams of {units} units")


def words_of(table: Path) -> List[List[str]]:
    """Return the words of a Kaldi table's texts, of each talker by itself."""
    sots = read_table(table).values()
    texts = (text.lower().split() for sot in sots for text in split_sot(sot))
    return [words for words in texts if words]


def further_sentences(
    files: Sequence[Path], letters: Set[str], held_out: Sequence[Path]
) -> Iterator[List[str]]:
    """Yield the sentences of texts, and print how many there are.

    Args:
        files: The texts; those named `text` are Kaldi tables.
        letters: Of the transcripts; sentences with others are left out.
        held_out: Tables whose texts are left out.

    Raises:
        UserError: a file can't be read, or there are no sentences.
    """
    runs: Set[Words] = set()
    for table in held_out:
        for words in words_of(table):
            runs.update(runs_of(words_in(" ".join(words))))
    number, removed, left_out = 0, 0, 0
    for path in progress(files, len(files), "n-gram: texts"):
        if path.name == "text":
            sentences, shared = words_of(path), 0
        else:
            sentences, shared = unheld_sentences(path, letters, runs)
        number += len(sentences)
        removed += shared
        left_out += shared > 0 and not sentences
        yield from sentences
    if files and number == 0:
        raise UserError(
            f"{files[0]}: --text has no sentences of the transcripts' letters "
            f"({left_out} texts are left out for what held-out sets say); give other "
            "texts"
        )
    if files:
        print(
            f"{number} sentences of {len(files)} texts; {removed} that share eight "
            f"words with held-out sets are left out, with all of {left_out} texts"
        )


if __name__ == "__main__":
    run_command_line(main)
