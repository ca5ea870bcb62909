#!/usr/bin/env python3
"""Stage 13: score all sets in one process and write the results files.

Imports neither torch nor espnet, so it starts in a fraction of a second.
"""

import argparse
import logging
import shlex
import sys
from itertools import zip_longest
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from espnet_mtasr.bin import compare_scores
from espnet_mtasr.console import takes_color
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.scoring.text_normalizer import NORMALIZERS, make_normalizer

if TYPE_CHECKING:
    from espnet_mtasr.scoring.inputs import Hypotheses, References
    from espnet_mtasr.scoring.results import SetScore
    from espnet_mtasr.scoring.segments import Timing


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Score decoded mixtures: cpWER, FIFO WER, ORC-WER, CER, talkers",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def option(name: str, **kwargs) -> None:
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*names, **kwargs)

    option(
        "sets",
        nargs="+",
        required=True,
        help="Names of the sets, in the order of the tables; one string may have "
        "several",
    )
    option(
        "data_dir",
        type=Path,
        required=True,
        help="References: SET/text, SET/utt2num_spk and, optionally, SET/utt2overlap, "
        "SET/utt2conditions and, for times, SET/utt2mixture, SET/utt2num_samples",
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
        help="Hypotheses with the given (true) talker count: SET/text and, for a "
        "decoder that may write more or fewer talkers, SET/utt2num_spk",
    )
    option("output_dir", type=Path, required=True, help="Folder for the results")
    option(
        "collect_dir",
        type=Path,
        help="The training's folder, above OUTPUT_DIR, for a RESULTS.md of all its "
        "decodings. Sets with results in OUTPUT_DIR are then also scored again, if "
        "the same model decoded them with the same options",
    )
    option(
        "default_decoding",
        default="",
        help="Folder that comes first in COLLECT_DIR's RESULTS.md",
    )
    option(
        "talker_counts",
        nargs="+",
        default=["2", "3"],
        help="Talker counts that the model knows",
    )
    option(
        "text_normalizer",
        choices=NORMALIZERS,
        default="none",
        help="Normalizer for references and hypotheses before they are compared",
    )
    option("fs", type=int, default=16000, help="Rate of SET/utt2num_samples in Hz")
    option("mixtures", required=True, help="Description of the mixtures")
    option("model", required=True, help="Description of the model")
    option("decoding", help="Description of the decoding: configuration and options")
    option("num_talkers", type=int, help="Talker count given to the decoder, if any")
    option(
        "num_examples",
        type=int,
        default=0,
        help="Print this many aligned mixtures: the first of each set, the second, ...",
    )
    option(
        "command",
        help="Command line that RESULTS.md quotes; default: this one",
    )
    option("machine", default="", help="Description of the machine for RESULTS.md")
    option(
        "curves",
        type=Path,
        nargs="+",
        default=[],
        help="learning_curve.json of trainings, for RESULTS.html; missing files are "
        "skipped",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="Instead of all this: compare two folders that were scored, with a paired "
        "bootstrap test; --compare A B --help lists its options",
    )
    return parser


def _split_sets(values: Sequence[str]) -> List[str]:
    names = " ".join(values).split()
    if not names:
        raise UserError("--sets: is empty; give at least one set")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--sets: {name} is given twice; give it once")
    return names


def _split_counts(values: Sequence[str]) -> List[int]:
    words = " ".join(values).split()
    if not words or not all(w.isascii() and w.isdigit() and int(w) for w in words):
        raise UserError(
            f"--talker_counts: {' '.join(words)!r} is not a list of positive numbers; "
            "give, for instance: --talker_counts 2 3"
        )
    return sorted({int(word) for word in words})


def _examples(
    pairs: Dict[str, Tuple[Dict[str, List[str]], Dict[str, List[str]]]],
    number: int,
    color: bool,
) -> Iterator[str]:
    """Yield the lines of `number` aligned mixtures, from the sets in turn."""
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


def _read_timing(directory: Path, fs: int) -> "Timing":
    """Return the times that are known from a set's tables."""
    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.mixture.conditions import talking_times
    from espnet_mtasr.mixture.spec import read_specs
    from espnet_mtasr.scoring.segments import Timing

    lengths, intervals = {}, {}
    path = directory / "utt2num_samples"
    if path.is_file():
        for utt, number in read_table(path).items():
            if not (number.isascii() and number.isdigit()):
                raise UserError(f"{path}: {utt} {number}: is not a number; run stage 4")
            lengths[utt] = int(number) / fs
    if (directory / "utt2mixture").is_file():
        for utt, spec in read_specs(directory / "utt2mixture").items():
            lengths[utt] = spec.seconds
            intervals[utt] = talking_times(spec)
    return Timing(lengths, intervals)


def _warn_of_missing(path: Path, missing: int, of: int) -> None:
    if missing:
        logging.warning(
            f"{path}: lacks {missing} of {of} utterances; scored as deletions"
        )


class _Set(NamedTuple):
    """What is known of a set; texts are normalized."""

    references: "References"
    hypotheses: "Hypotheses"
    oracle: Optional["Hypotheses"]
    timing: "Timing"


def _read_set(
    args: argparse.Namespace,
    name: str,
    talker_counts: Sequence[int],
    normalize: Callable[[str], str],
) -> _Set:
    from espnet_mtasr.scoring import inputs

    references = inputs.read_references(args.data_dir / name, talker_counts)
    number = len(references.texts)
    directory = args.decode_dir / name
    hypotheses = inputs.read_hypotheses(directory, references)
    _warn_of_missing(directory / "text", number - len(hypotheses.texts), number)
    oracle = None
    if args.oracle_decode_dir is not None:
        directory = args.oracle_decode_dir / name
        oracle = inputs.read_oracle_hypotheses(directory, references)
        _warn_of_missing(directory / "text", number - len(oracle.texts), number)
    return _Set(
        references.normalized(normalize),
        hypotheses.normalized(normalize),
        None if oracle is None else oracle.normalized(normalize),
        _read_timing(args.data_dir / name, args.fs),
    )


def _segment_files(sets: Mapping[str, _Set]) -> Dict[str, str]:
    """Return STM and SegLST files of all sets: path to content."""
    from espnet_mtasr.scoring.segments import segment_files

    return {
        f"scoring/{name}/{file}": content
        for name, read in sets.items()
        for file, content in segment_files(
            read.references.texts, read.hypotheses.texts, read.timing
        ).items()
    }


def _page(
    args: argparse.Namespace,
    results: Mapping[str, Any],
    sets: Mapping[str, _Set],
    scores: Mapping[str, "SetScore"],
    command: str,
) -> str:
    """Return RESULTS.html."""
    from espnet_mtasr.files import read_json
    from espnet_mtasr.mixture.speech_list import read_by_id
    from espnet_mtasr.scoring import posteriors
    from espnet_mtasr.scoring.report.page import ScoredSet, render_page

    shown = {
        name: ScoredSet(
            read.references, read.hypotheses, scores[name].errors, read.timing
        )
        for name, read in sets.items()
    }
    curves = [read_json(path) for path in args.curves]
    return render_page(
        results,
        shown,
        [curve for curve in curves if curve],
        read_by_id(args.data_dir),
        args.fs,
        command,
        args.machine,
        posteriors.read_by_id(args.decode_dir, sets),
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Score; raises `UserError` if an option or a file must be fixed."""
    words = list(sys.argv[1:] if cmd is None else cmd)
    if any(word.partition("=")[0] == "--compare" for word in words):
        compare_scores.main(words)
        return
    args = get_parser().parse_args(words)
    names = _split_sets(args.sets)
    talker_counts = _split_counts(args.talker_counts)
    if args.fs < 1:
        raise UserError(f"--fs {args.fs}: give a rate in Hz, for instance 16000")
    normalize = make_normalizer(args.text_normalizer)
    command = args.command or shlex.join(
        ["python", "-m", "espnet_mtasr.bin.mtasr_score", *words]
    )

    from espnet_mtasr.scoring import decodings
    from espnet_mtasr.scoring import results as report
    from espnet_mtasr.scoring.breakdown import cpwer_by_talkers
    from espnet_mtasr.scoring.espnet_form import environment_of
    from espnet_mtasr.scoring.markdown import format_main_table

    mark = decodings.decoded_by(args.decode_dir, names)
    to_score = names
    if args.collect_dir is not None:
        to_score = decodings.with_sets_of_before(
            names, args.output_dir, args.decode_dir, args.data_dir
        )
    # Read, and so check, everything before the first set is scored.
    sets = {name: _read_set(args, name, talker_counts, normalize) for name in to_score}
    scores = {
        name: report.score_set(*read[:3], talker_counts) for name, read in sets.items()
    }
    results = report.assemble_results(
        args.mixtures,
        args.model,
        scores,
        args.text_normalizer,
        dict(
            decoding=args.decoding,
            num_talkers=args.num_talkers,
            model_sha256=mark.get("model_sha256"),
        ),
    )
    by_count = cpwer_by_talkers(
        {name: score.by_talkers for name, score in scores.items()}, talker_counts
    )
    report.write_results(
        args.output_dir,
        results,
        by_count,
        command,
        args.machine,
        {
            **_segment_files(sets),
            "RESULTS.html": _page(args, results, sets, scores, command),
        },
        environment_of(),
    )
    if args.collect_dir is not None:
        decodings.collect_results(args.collect_dir, args.default_decoding, results)
    print(format_main_table(results))
    pairs = {
        name: (sets[name].references.texts, sets[name].hypotheses.texts)
        for name in names
    }
    for line in _examples(pairs, args.num_examples, takes_color(sys.stdout)):
        print(line)


if __name__ == "__main__":
    run_command_line(main)
