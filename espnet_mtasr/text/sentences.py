"""Sentences of books and other texts, for a language model."""

import re
from pathlib import Path
from typing import Iterable, Iterator, List, Set, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import files_below

# A text that shares so many words in a row with a test text ...
SHARED_WORDS = 8
# ... at so many places is left out as a whole: it may be the book that was read.
MOST_SHARED = 8

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
    lines. A text without a full stop has a sentence per line. Sentences with other
    characters than letters, apostrophes, commas and hyphens (digits, for instance) are
    left out, and what Project Gutenberg adds at both ends of a book.

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
    sentences = END.split(text) if "." in text else text.splitlines()
    for sentence in sentences:
        words = [word.strip("'") for word in BETWEEN.split(sentence)]
        words = [word for word in words if word]
        if words and letters.issuperset("".join(words)):
            yield words


def runs_of(words: List[str]) -> Iterator[Words]:
    """Yield all runs of `SHARED_WORDS` words."""
    for at in range(len(words) - SHARED_WORDS + 1):
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
        Sentences, and how many share a run. If more than `MOST_SHARED` do, there are no
        sentences: the text may be the book that was read.
    """
    kept, shared = [], 0
    for words in read_sentences(path, letters):
        if held_out and not held_out.isdisjoint(runs_of(words)):
            shared += 1
        else:
            kept.append(words)
    return (kept if shared <= MOST_SHARED else []), shared
