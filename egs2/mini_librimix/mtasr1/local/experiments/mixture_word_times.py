#!/usr/bin/env python3
"""Write words.ctm of data directories if the source utterances' word times are known.

Lines are UTTERANCE TALKER START DURATION WORD; talkers from 1 in onset order, times in
seconds from the mixture's beginning.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.spec import parse_spec

Words = List[Tuple[float, str]]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=Path, required=True, help="of the utterances")
    parser.add_argument(
        "data_dirs", type=Path, nargs="+", help="data directories with utt2mixture"
    )
    return parser


def read_words(path: Path) -> Dict[str, Words]:
    """Return (start, "duration word") by utterance.

    Raises:
        UserError: the file is missing or a line is bad.
    """
    if not path.is_file():
        raise UserError(
            f"--words {path}: no such file; run local/corpus/make_placed_words.py"
        )
    words: Dict[str, Words] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split(maxsplit=3)
        if len(fields) != 4 or not fields[2].replace(".", "", 1).isdecimal():
            raise UserError(f"{path}:{number}: isn't 'utterance 1 start duration word'")
        words.setdefault(fields[0], []).append((float(fields[2]), fields[3]))
    return words


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Write words.ctm into each directory."""
    args = get_parser().parse_args(cmd)
    words = read_words(args.words)
    for folder in args.data_dirs:
        lines = []
        for utt, line in read_table(folder / "utt2mixture").items():
            spec = parse_spec(line, utt)
            for k, (source, onset) in enumerate(zip(spec.sources, spec.onsets), 1):
                name = Path(source.path).stem
                if source.speed != 1.0:
                    raise UserError(
                        f"{folder}/utt2mixture: {utt} plays {name} at another speed; "
                        f"give mixtures at the recorded speed"
                    )
                if name not in words:
                    raise UserError(f"{args.words}: has no words of {name} ({utt})")
                lines += [
                    f"{utt} {k} {onset + start:.4f} {rest}\n"
                    for start, rest in words[name]
                ]
        write_whole(folder / "words.ctm", "".join(lines))
        print(f"{folder}/words.ctm: {len(lines)} words")


if __name__ == "__main__":
    run_command_line(main)
