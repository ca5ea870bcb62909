"""Stage 9: does the teacher use the audio? SOT perplexities on a dev set, as a table.

They are measured with each mixture's own speech, and with the speech of another mixture
that has the same number of talkers and about the same length. A teacher that uses the
audio is much worse with the wrong speech.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.trust import add_trust_option


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mtasr_train_config", type=Path, required=True)
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, required=True, help="Set in dump/")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="JSON file; the table is written beside it",
    )
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--log_level", default="INFO", type=str.upper)
    add_trust_option(parser)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Measure, print and write."""
    args = get_parser().parse_args(cmd)
    logging.basicConfig(level=args.log_level)
    for path in (args.mtasr_train_config, args.mtasr_model_file):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run stage 8 first")
    from espnet_mtasr.data.tables import read_data_dir

    read_data_dir(args.data_dir)
    from espnet_mtasr.gpus import device_of
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.teacher_check import check_teacher, format_checks, to_json

    device = device_of(args.ngpu)
    model, train_args = MTASRTask.build_model_from_file(
        args.mtasr_train_config,
        args.mtasr_model_file,
        device,
        with_teacher=True,
        trust_remote_code=args.trust_remote_code,
    )
    if model.teacher is None:
        raise UserError(
            f"{args.mtasr_model_file}: has no teacher; give a phase-1 model"
        )
    results = check_teacher(
        model.eval(),
        train_args,
        args.data_dir,
        args.batch_size,
        device,
        args.num_workers,
    )
    table = format_checks(results)
    write_whole(args.output, json.dumps(to_json(results), indent=2) + "\n")
    write_whole(args.output.with_suffix(".md"), table)
    print(table, end="")


if __name__ == "__main__":
    run_command_line(main)
