"""Sentences of books and other texts, for a language model."""

import re
from pathlib import Path
from typing import Iterable, Iterator, List, Set, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import files_below

# A sentence is left out if it shares so many words in a row with a held-out text.
SHARED_WORDS = 8
# A text with more such sentences, and a larger share of them, is left out as a whole:
# it may be the book that was read.
MOST_SHARED, MOST_SHARE = 8, 0.001
# Texts with fewer full stops per line than this have a sentence per line.
PROSE = 0.05

Words = Tuple[str, ...]

END = re.compile(r"[.!?;:()\[\]\"\u201c\u201d]+|--+|\u2014|\n\s*\n")
BETWEEN = re.compile(r"[,\-_*\s]+")
GUTENBERG = re.compile(r"\*\*\* ?(?:START|END) OF[^\n]*\n?")


def text_files(paths: Iterable[Path]) -> List[Path]:
    """Return the given files, and all .txt files below the given folders.

    Raises:
        UserError: there is no such file or folder, or a folder has none.
    """
    found: List[Path] = []
    for path in paths:
        if path.is_dir():
            below = [file for file in files_below(path) if file.suffix == ".txt"]
            if not below:
                raise UserError(f"{path}: has no .txt files; give another folder")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; give another")
    return found


def read_sentences(path: Path, letters: Set[str]) -> Iterator[List[str]]:
    """Yield the words of a file's sentences, in lower case.

    Sentences end at stops, semicolons, colons, brackets, quotes, dashes, and empty
    lines. A text with hardly any full stops has a sentence per line. Sentences with
    other characters than letters, apostrophes, commas and hyphens (digits, for
    instance) are left out, and what Project Gutenberg adds at both ends of a book.

    Args:
        path: UTF-8.
        letters: Characters that words may have.

    Raises:
        UserError: it isn't UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as e:
        raise UserError(f"{path}: can't be read as UTF-8 ({e}); convert it") from e
    parts = GUTENBERG.split(text)
    if len(parts) == 3:
        text = parts[1]
    text = text.lower().replace("\u2019", "'")
    is_prose = text.count(".") >= PROSE * text.count("\n")
    for sentence in END.split(text) if is_prose else text.splitlines():
        words = words_in(sentence)
        if words and letters.issuperset("".join(words)):
            yield words


def words_in(sentence: str) -> List[str]:
    """Return a sentence's words, without apostrophes around them and hyphens in them.

    >>> words_in("'tis, well-known")
    ['tis', 'well', 'known']
    """
    return [word for part in BETWEEN.split(sentence) if (word := part.strip("'"))]


def runs_of(words: List[str]) -> Iterator[Words]:
    """Yield all runs of `SHARED_WORDS` words, and a shorter sentence as a whole."""
    for at in range(max(len(words) - SHARED_WORDS, 0) + 1):
        yield tuple(words[at : at + SHARED_WORDS])


def unheld_sentences(
    path: Path, letters: Set[str], held_out: Set[Words]
) -> Tuple[List[List[str]], int]:
    """Return a file's sentences without those of held-out texts.

    Args:
        path: See `read_sentences`.
        letters: See `read_sentences`.
        held_out: Runs of words of texts that must stay unknown.

    Returns:
        Sentences, and how many share a long run. If there are too many, there are no
        sentences: the text may be the book that was read.
    """
    kept, shared, number = [], 0, 0
    for number, words in enumerate(read_sentences(path, letters), 1):
        if held_out.isdisjoint(runs_of(words)):
            kept.append(words)
        elif len(words) >= SHARED_WORDS:
            shared += 1
    is_read = shared > max(MOST_SHARED, MOST_SHARE * number)
    return ([] if is_read else kept), shared
