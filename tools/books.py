"""Draw English books from a git repository of texts, for an n-gram (--lm_train_text).

    python -m tools.books REPOSITORY FOLDER

The figures of egs2/mini_librispeech_mix are with 800 books of Project Gutenberg from
github.com/rcdm-uga/Gutenberg_Text.
"""

import argparse
import random
import re
import subprocess
from pathlib import Path
from typing import Iterator, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole

# Their share of an English text's words is at least this.
COMMON, LEAST = {"the", "of", "and"}, 0.06


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Write the books as UTF-8; each title once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", type=Path, help="of git, with .txt files")
    parser.add_argument("folder", type=Path, help="to be made")
    parser.add_argument("--number", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(cmd)
    if args.folder.exists():
        raise UserError(f"{args.folder}: exists already; name another folder")
    titles = set()
    for blob, path in drawn(args.repository, args.seed):
        try:
            text = decoded(git(args.repository, "cat-file", "blob", blob))
        except UserError as error:
            # A partial copy of the repository lacks some.
            print(f"{path}: left out: {error}")
            continue
        if path.name not in titles and is_english(text):
            titles.add(path.name)
            write_whole(args.folder / f"{blob}.txt", text)
        if len(titles) == args.number:
            break
    print(f"{args.folder}: {len(titles)} books")


def drawn(repository: Path, seed: int) -> Iterator[tuple[str, Path]]:
    """Yield hashes and paths of a repository's .txt files in a random order."""
    listed = git(repository, "ls-tree", "-r", "-z", "HEAD").decode()
    files = [entry.split("\t") for entry in listed.split("\0") if entry]
    files = sorted(entry for entry in files if entry[1].endswith(".txt"))
    random.Random(seed).shuffle(files)
    for meta, path in files:
        yield meta.split()[2], Path(path)


def git(repository: Path, *words: str) -> bytes:
    """Return what a git command prints.

    Raises:
        UserError: it fails.
    """
    command = ["git", "-C", str(repository), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{repository}: git says {done.stderr.decode().strip()}")
    return done.stdout


def decoded(content: bytes) -> str:
    """Return a text in UTF-8 or Latin-1."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_english(text: str) -> bool:
    """Return whether the commonest English words are common in a text."""
    words = re.findall("[a-z]+", text.lower())
    return bool(words) and sum(w in COMMON for w in words) > LEAST * len(words)


if __name__ == "__main__":
    run_command_line(main)
