#!/usr/bin/env python3
"""Stage 13: score all sets in one process and write the results files.

Imports neither torch nor espnet: it starts in a fraction of a second.
"""

import argparse
import logging
import shlex
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Score decoded mixtures: cpWER, FIFO WER, talker counts",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def option(name: str, **kwargs) -> None:
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*names, **kwargs)

    option(
        "sets",
        nargs="+",
        required=True,
        help="Names of the sets, in the order of the tables; one string may hold many",
    )
    option(
        "data_dir",
        type=Path,
        required=True,
        help="References: SET/text, SET/utt2num_spk and, optionally, SET/utt2overlap",
    )
    option(
        "decode_dir",
        type=Path,
        required=True,
        help="Hypotheses with the predicted talker count: SET/text, SET/utt2num_spk "
        "and, optionally, SET/rtf.json",
    )
    option(
        "oracle_decode_dir",
        type=Path,
        help="Hypotheses with the given (true) talker count: SET/text and, of a "
        "decoder that may write more or fewer talkers, SET/utt2num_spk",
    )
    option("output_dir", type=Path, required=True, help="Where the results go")
    option(
        "talker_counts",
        nargs="+",
        default=["2", "3"],
        help="The talker counts that the model knows",
    )
    option("mixtures", required=True, help="Which mixtures these are, in words")
    option("model", required=True, help="Which model this is, in words")
    option(
        "num_examples",
        type=int,
        default=0,
        help="Print so many aligned mixtures: the first of each set, the second, ...",
    )
    option(
        "command",
        help="The command line that RESULTS.md quotes; this one if left out",
    )
    option("machine", default="", help="What RESULTS.md names as the machine")
    return parser


def _split_sets(values: Sequence[str]) -> List[str]:
    names = " ".join(values).split()
    if not names:
        raise UserError("--sets: is empty; name at least one set")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--sets: {name} stands twice; name it once")
    return names


def _split_counts(values: Sequence[str]) -> List[int]:
    words = " ".join(values).split()
    if not words or not all(w.isascii() and w.isdigit() and int(w) for w in words):
        raise UserError(
            f"--talker_counts: {' '.join(words)!r} is no list of positive numbers; "
            f"write, for instance: --talker_counts 2 3"
        )
    return sorted({int(word) for word in words})


def _examples(
    pairs: Dict[str, Tuple[Dict[str, List[str]], Dict[str, List[str]]]],
    number: int,
    color: bool,
) -> Iterator[str]:
    """Yield the lines of `number` aligned mixtures, taking the sets in turn."""
    from espnet_mtasr.scoring.alignment import format_alignment

    in_turn = [
        (name, utt)
        for utts in zip_longest(*(references for references, _ in pairs.values()))
        for name, utt in zip(pairs, utts)
        if utt is not None
    ]
    for name, utt in in_turn[:number]:
        references, hypotheses = pairs[name]
        yield f"\n{name}: {utt}"
        yield from format_alignment(references[utt], hypotheses.get(utt, []), color)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Score; raises `UserError` where an option or a file must be mended."""
    args = get_parser().parse_args(cmd)
    names = _split_sets(args.sets)
    talker_counts = _split_counts(args.talker_counts)
    words = sys.argv[1:] if cmd is None else cmd
    command = args.command or shlex.join(
        ["python", "-m", "espnet_mtasr.bin.mtasr_score", *words]
    )

    from espnet_mtasr.scoring import inputs
    from espnet_mtasr.scoring.breakdown import cpwer_by_talkers
    from espnet_mtasr.scoring.results import (
        assemble_results,
        format_main_table,
        score_set,
        write_results,
    )

    # Everything is read, and so checked, before the first set is scored.
    loaded = {}
    for name in names:
        references = inputs.read_references(args.data_dir / name, talker_counts)
        hypotheses = inputs.read_hypotheses(args.decode_dir / name, references)
        oracle = None
        if args.oracle_decode_dir is not None:
            oracle = inputs.read_oracle_hypotheses(
                args.oracle_decode_dir / name, references
            )
        for directory, hyps in (
            (args.decode_dir, hypotheses),
            (args.oracle_decode_dir, oracle),
        ):
            missing = len(references.texts) - len(hyps.texts) if hyps else 0
            if missing:
                logging.warning(
                    f"{directory / name / 'text'}: lacks {missing} of "
                    f"{len(references.texts)} utterances; scored as deletions"
                )
        loaded[name] = (references, hypotheses, oracle)

    scores = {
        name: score_set(*tables, talker_counts) for name, tables in loaded.items()
    }
    results = assemble_results(args.mixtures, args.model, scores)
    by_count = cpwer_by_talkers(
        {name: score.by_talkers for name, score in scores.items()}, talker_counts
    )
    write_results(args.output_dir, results, by_count, command, args.machine)
    print(format_main_table(results))
    pairs = {
        name: (references.texts, hypotheses.texts)
        for name, (references, hypotheses, _) in loaded.items()
    }
    for line in _examples(pairs, args.num_examples, sys.stdout.isatty()):
        print(line)


if __name__ == "__main__":
    run_command_line(main)
