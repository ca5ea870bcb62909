#!/usr/bin/env python3
"""Calibrate a model's word confidences, talker counts and word times on dev sets.

Writes calibration.json beside the checkpoint, where `MTASR` and `mtasr_pack` find it,
and calibration.md with its effect on all sets. Of a calibration of the same checkpoint
that is there already, what isn't fitted again stays: word times, and the rule.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.trust import add_trust_option


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mtasr_train_config", type=Path)
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument(
        "--data_dir",
        type=Path,
        required=True,
        help="development set: confidences, talker counts, longest mixture",
    )
    parser.add_argument(
        "--times_data_dir",
        type=Path,
        help="development set with words.ctm (utterance, talker from 1, start, "
        "duration, word), to calibrate times too",
    )
    parser.add_argument(
        "--test_data_dirs",
        type=Path,
        nargs="*",
        default=[],
        help="sets to report errors on; with words.ctm also those of times",
    )
    parser.add_argument(
        "--speech_rule",
        action="store_true",
        help="also fit the rule that tells speech from the sounds in which silero-vad "
        "hears speech, on --data_dir and on sounds that are made",
    )
    parser.add_argument("--ngpu", type=int, default=0)
    add_trust_option(parser)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Calibrate; raises `UserError` if an option or a file must be fixed."""
    args = get_parser().parse_args(cmd)
    for option in ("mtasr_train_config", "mtasr_model_file"):
        path = getattr(args, option)
        if path is not None and not path.is_file():
            raise UserError(f"--{option} {path}: no such file; train first")
    times_dirs = [] if args.times_data_dir is None else [args.times_data_dir]
    # Each once: the same set may be used for confidences and times.
    folders = list(dict.fromkeys((args.data_dir, *times_dirs, *args.test_data_dirs)))
    for path in folders:
        if not (path / "text").is_file():
            raise UserError(f"{path}: no data directory with text; run stage 3 first")

    from espnet_mtasr.files import write_whole
    from espnet_mtasr.gpus import device_of
    from espnet_mtasr.inference import Speech2Text, search_options
    from espnet_mtasr.model_zoo.model_files import CALIBRATION
    from espnet_mtasr.transcription.calibration import fitting, rule_fitting
    from espnet_mtasr.transcription.calibration.calibration import Calibration
    from espnet_mtasr.transcription.calibration.routing import read_mixtures
    from espnet_mtasr.transcription.mtasr import MTASR

    for path in times_dirs:
        if not (path / fitting.WORD_TIMES).is_file():
            raise UserError(
                f"--times_data_dir {path}: has no {fitting.WORD_TIMES}; omit it"
            )
    speech2text = Speech2Text(
        args.mtasr_train_config,
        args.mtasr_model_file,
        device=device_of(args.ngpu),
        align=True,
        trust_remote_code=args.trust_remote_code,
        **search_options(args.mtasr_model_file),
    )
    if (
        speech2text.model.count_head is None
        and len(speech2text.model.talker_counts) > 1
    ):
        raise UserError(
            f"--mtasr_model_file {args.mtasr_model_file}: has no talker-count head; "
            f"train with a count_weight above 0"
        )
    plain = MTASR(speech2text, Calibration())
    decoded = {path: fitting.decode(plain, path) for path in folders}
    raw = {path: fitting.judge(plain, of_set) for path, of_set in decoded.items()}
    kept = replace(
        Calibration.beside(args.mtasr_model_file), model=args.mtasr_model_file.name
    )
    calibration = fitting.fit_confidence(raw[args.data_dir], kept)
    for path in times_dirs:
        calibration = fitting.fit_times(raw[path], calibration)
    calibration = fitting.fit_counts(decoded[args.data_dir], calibration)
    calibration = fitting.fit_length(decoded[args.data_dir], calibration)
    rule_effect = ""
    if args.speech_rule:
        mixtures = read_mixtures(args.data_dir, plain.talker_counts, enough=0)
        dev = rule_fitting.hear_dev(plain, mixtures, rule_fitting.CLIPS, seed=0)
        calibration = replace(calibration, speech=rule_fitting.fit_speech(dev))
        rule_effect = "\n" + rule_fitting.effect(calibration.speech, dev) + "\n"
    model = MTASR(speech2text, calibration)
    reports = [
        fitting.report(
            path.name,
            raw[path],
            fitting.judge(model, of_set),
            (
                fitting.count_error(of_set, Calibration()),
                fitting.count_error(of_set, calibration),
            ),
        )
        for path, of_set in decoded.items()
    ]
    table = fitting.format_reports(reports) + rule_effect
    folder = args.mtasr_model_file.parent
    write_whole(folder / "calibration.md", table)
    calibration.write(folder / CALIBRATION)
    print(table, end="")
    print(f"{folder / CALIBRATION}: {calibration}")


if __name__ == "__main__":
    run_command_line(main)
