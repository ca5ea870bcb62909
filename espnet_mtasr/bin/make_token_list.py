"""Stage 5: make CTC units.

Units are sentencepiece, characters or words of the training text, or those of a
language model's tokenizer.
"""

import argparse
import collections
import os
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.text.hugging_face_tokenizer import export_tokenizer
from espnet_mtasr.text.sot import split_sot
from espnet_mtasr.text.tokenizer import build_tokenizer

TOKEN_TYPES = ("bpe", "char", "word", "hugging_face")
FIRST, LAST = ("<blank>", "<unk>"), "<sos/eos>"
WORD_START = "\u2581"
# sentencepiece's <unk>, <s> and </s>
NUM_SPECIAL_PIECES = 3
# Share of a text's units that may be missing in a given token list.
MAX_UNKNOWN = 0.01


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="SOT text file")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--token_type", default="bpe", choices=TOKEN_TYPES)
    parser.add_argument(
        "--llm", type=Path, help="Folder of the tokenizer for hugging_face units"
    )
    parser.add_argument("--nbpe", type=int, default=1000)
    parser.add_argument("--bpemode", default="unigram", choices=("unigram", "bpe"))
    parser.add_argument(
        "--check",
        choices=("true", "false"),
        default="false",
        help="true: make no units; those in --output_dir must cover the text",
    )
    return parser


def check_tokens(texts: Sequence[str], token_type: str, folder: Path) -> None:
    """Raise `UserError` if a folder's units don't cover the texts.

    Args:
        texts: One per talker.
        token_type: Of the units.
        folder: With tokens.txt, and the tokenizer's file if there is one.
    """
    path = folder / "tokens.txt"
    if not path.is_file():
        raise UserError(f"{path}: no such file; give another --token_dir")
    known = set(path.read_text(encoding="utf-8").splitlines())
    file = {"bpe": "bpe.model", "hugging_face": "tokenizer.json"}.get(token_type)
    tokenizer = build_tokenizer(token_type, file and folder / file)
    counts: collections.Counter = collections.Counter()
    for text in texts:
        counts.update(tokenizer.text2tokens(text))
    unknown = {token: n for token, n in counts.most_common() if token not in known}
    share = sum(unknown.values()) / max(1, sum(counts.values()))
    if share > MAX_UNKNOWN:
        raise UserError(
            f"{path}: the model has no units for {100 * share:.1f} % of the texts "
            f"({', '.join([*unknown][:5])}); make new units, or use another model"
        )


def words_and_letters(words: Mapping[str, int]) -> Dict[str, int]:
    """Return how often each word (marked at its start) and each letter occurs."""
    pieces: collections.Counter = collections.Counter()
    for word, count in words.items():
        marked = WORD_START + word
        pieces.update({piece: count for piece in (marked, *set(marked))})
    return dict(sorted(pieces.items()))


def train_sentencepiece(
    sentences: List[str], prefix: Path, nbpe: int, bpemode: str
) -> List[str]:
    """Train a sentencepiece model and return its pieces without `<unk>` and the like.

    A corpus that is too small for `nbpe` pieces gets fewer. If all its words and
    letters fit, each word is one piece: otherwise unigram training would only make
    pieces that several words share.
    """
    import sentencepiece

    part = prefix.with_name(prefix.name + ".part")
    words = collections.Counter(w for text in sentences for w in text.split())
    pieces = words_and_letters(words)
    seeds = {}
    if bpemode == "unigram" and len(pieces) + NUM_SPECIAL_PIECES <= nbpe:
        seeds_file = prefix.with_name(prefix.name + ".seeds.part")
        lines = [f"{piece}\t{count}\n" for piece, count in pieces.items()]
        seeds_file.write_text("".join(lines), encoding="utf-8")
        seeds = dict(seed_sentencepieces_file=str(seeds_file))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(part),
        vocab_size=nbpe,
        model_type=bpemode,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
        **seeds,
    )
    if seeds:
        seeds_file.unlink()
    for suffix in ("vocab", "model"):
        os.replace(f"{part}.{suffix}", f"{prefix}.{suffix}")
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    ids = range(model.get_piece_size())
    return [
        model.id_to_piece(i)
        for i in ids
        if not (model.is_control(i) or model.is_unknown(i))
    ]


def main(cmd=None) -> None:
    """Write `tokens.txt`, and `bpe.model` for sentencepiece."""
    args = get_parser().parse_args(cmd)
    # Lower-case as in stage 3, if the text isn't from a formatted set.
    sots = (sot.lower() for sot in read_table(args.text).values())
    texts = [text for sot in sots for text in split_sot(sot) if text]
    if not texts:
        raise UserError(f"{args.text}: has no words; check stage 1")
    if args.check == "true":
        check_tokens(texts, args.token_type, args.output_dir)
        print(f"{args.output_dir}: the existing units fit")
        return
    args.output_dir.mkdir(parents=True, exist_ok=True)
    if args.token_type == "bpe":
        try:
            tokens = train_sentencepiece(
                texts, args.output_dir / "bpe", args.nbpe, args.bpemode
            )
        except RuntimeError as e:
            raise UserError(f"--nbpe {args.nbpe}: sentencepiece says {e}") from e
    elif args.token_type == "hugging_face":
        if args.llm is None:
            raise UserError("--token_type hugging_face: needs a tokenizer; give --llm")
        pieces = export_tokenizer(args.llm, args.output_dir).pieces()
        tokens = [piece for piece in pieces if piece not in (*FIRST, LAST)]
    else:
        counts: collections.Counter = collections.Counter()
        for text in texts:
            if args.token_type == "word":
                counts.update(text.split())
            else:
                counts.update("<space>" if c == " " else c for c in text)
        tokens = [
            token for token, _ in sorted(counts.items(), key=lambda x: (-x[1], x))
        ]
    path = args.output_dir / "tokens.txt"
    lines = [*FIRST, *tokens, LAST]
    write_whole(path, "\n".join(lines) + "\n")
    print(f"{path}: {len(lines)} tokens")


if __name__ == "__main__":
    run_command_line(main)
