"""A name for the statistics of a training's lists: a hash of what they depend on.

mtasr.sh stores statistics (stages 7 and 10) under it, so both phases, and trainings
that only differ in model or optimizer, collect them once. Takes the options of
mtasr_train with the complete lists.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import sha256_of

# Options for the text; other preprocessor classes may use any of their options.
OPTIONS = (
    *("token_type", "token_list", "bpemodel", "cleaner", "g2p", "use_preprocessor"),
    *("non_linguistic_symbols", "preprocessor", "talker_counts", "sampling_rate"),
)


def statistics_key(args: argparse.Namespace) -> str:
    """Return 12 hexadecimal digits, which are the same for the same statistics.

    They depend on the list and lengths of the speech, and on the content of models and
    token lists. If the lengths are unknown (`utt2num_samples` of stage 4), the key is
    empty, because recordings may have changed under the same names.
    """
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.resuming import content_of

    known: Dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}
    if args.preprocessor != "mtasr":
        known["preprocessor_conf"] = repr(args.preprocessor_conf)
    if args.model_conf.get("extract_feats_in_collect_stats"):
        known["frontend"] = repr([args.frontend, args.frontend_conf])
    if MTASRTask.has_teacher(args):
        known["teacher"] = [args.teacher, args.teacher_conf.get("llm")]
    known = {name: content_of(value) for name, value in known.items()}
    for name, value in known.items():
        if isinstance(value, dict):
            known[name] = value["sha256"]
    for part in ("train", "valid"):
        for path, name, kind in getattr(args, f"{part}_data_path_and_name_and_type"):
            files = [Path(path)]
            if name == "speech":
                files.append(files[0].with_name("utt2num_samples"))
            if not files[-1].is_file():
                return ""
            known[f"{part} {name}"] = [kind, *map(sha256_of, files)]
    described = json.dumps(known, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def main(cmd=None) -> None:
    """Print the key."""
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = MTASRTask.get_parser().parse_args(cmd)
    for path, *_ in (
        *args.train_data_path_and_name_and_type,
        *args.valid_data_path_and_name_and_type,
    ):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; run the previous stages")
    print(f"statistics_key {statistics_key(args)}")


if __name__ == "__main__":
    run_command_line(main)
