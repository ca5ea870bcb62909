"""Stages 7 and 10: compare frames with tokens, and write the lists for training.

CTC needs a frame per token and one more per repeated token, in each stream. Training
mixtures that have fewer are removed and listed in `unalignable.txt`; the model would
exclude them from every loss. So are mixtures in which a `cleaner` removes all of a
talker's text, also in the validation set: the model would count one talker too few.
"""

import argparse
import math
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.drawn import DRAWN_FROM
from espnet_mtasr.text.sot import split_sot


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    # The trainer's options pass through, so abbreviations of our options must be off.
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--config", required=True, help="Training configuration")
    parser.add_argument("--stats_dir", type=Path, required=True)
    parser.add_argument("--train_dir", type=Path, required=True, help="In dump/")
    parser.add_argument("--valid_dir", type=Path, required=True, help="In dump/")
    parser.add_argument(
        "--max_unalignable",
        type=float,
        default=0.01,
        help="Share of training mixtures above which this is an error",
    )
    return parser


def find_unalignable(
    train_args: argparse.Namespace,
    texts: Dict[str, str],
    num_samples: Dict[str, int],
    preprocessor: Any,
) -> Dict[str, str]:
    """Return id, and frames and needed frames, of each mixture that CTC can't align."""
    import torch

    from espnet_mtasr.asr.serialized_ctc import required_frames
    from espnet_mtasr.tasks.mtasr import encoder_choices, frontend_choices

    input_size = train_args.input_size
    samples = torch.tensor([num_samples[utt] for utt in texts])
    lengths = samples
    if input_size is None:
        frontend_class = frontend_choices.get_class(train_args.frontend)
        frontend = frontend_class(**train_args.frontend_conf)
        input_size = frontend.output_size()
        hop = train_args.frontend_conf.get("hop_length", 128)
        lengths = torch.div(samples, hop, rounding_mode="floor") + 1
    frame_counter = encoder_choices.get_class(train_args.encoder).frame_counter(
        input_size=input_size,
        talker_counts=train_args.talker_counts,
        **train_args.encoder_conf,
    )
    frames = frame_counter(lengths).tolist()
    short = {}
    for (utt, text), available in zip(texts.items(), frames):
        needed = 1
        for talker_text in split_sot(text):
            ids = torch.from_numpy(preprocessor.encode_talker(talker_text))[None]
            length = torch.tensor([ids.size(1)])
            needed = max(needed, int(required_frames(ids, length)))
        if available < needed:
            short[utt] = f"{available} frames, {needed} needed"
    return short


def find_emptied(
    texts: Dict[str, str], preprocessor: Any, cleaner: Any
) -> Dict[str, str]:
    """Return id and text of each mixture with a talker without tokens."""
    return {
        utt: f"talker {k}: the cleaner {cleaner} removes all of {text!r}"
        for utt, sot_text in texts.items()
        for k, text in enumerate(split_sot(sot_text), 1)
        if not preprocessor.tokens_of(text)
    }


def write_lists(stats_dir: Path, name: str, data_dir: Path, drop: set) -> None:
    """Write data and shape files with the same ids, without those in `drop`.

    `utt2category` (the talker count) is written beside the list of speech, where ESPnet
    looks for it, so that a batch has one talker count.
    """
    target = stats_dir / "lists" / name
    # Cached outputs of earlier lists.
    for cached in ("trunk.scp", "trunk.stat"):
        (target / cached).unlink(missing_ok=True)
    tables = {n: read_table(data_dir / n) for n in ("text", "utt2num_spk")}
    tables["utt2category"] = tables.pop("utt2num_spk")
    for optional in ("wav.scp", "utt2mixture"):
        if (data_dir / optional).is_file():
            tables[optional] = read_table(data_dir / optional)
        else:
            (target / optional).unlink(missing_ok=True)
    for shape in ("speech_shape", "text_shape"):
        tables[shape] = read_table(stats_dir / name / shape)
    for file_name, table in tables.items():
        write_table(
            target / file_name, {u: v for u, v in table.items() if u not in drop}
        )


def check_longest(
    train_args: argparse.Namespace, stats_dir: Path, drawn: bool = False
) -> None:
    """Raise `UserError` if a mixture is longer than the encoder can read.

    Dynamic mixing plays mixtures at other speeds, unless they were `drawn` before.
    """
    from espnet_mtasr.tasks.mtasr import encoder_choices

    encoder = encoder_choices.get_class(train_args.encoder)
    most = encoder.max_input(**train_args.encoder_conf)
    if most is None:
        return
    mixing = train_args.preprocessor_conf.get("dynamic_mixing_conf") or {}
    slowest = {"train": min(mixing.get("speeds") or [1.0]), "valid": 1.0}
    if drawn:
        slowest["train"] = 1.0
    for name, speed in slowest.items():
        path = stats_dir / name / "speech_shape"
        for utt, shape in read_table(path).items():
            seconds = int(shape.split(",")[0]) / speed / train_args.sampling_rate
            if seconds * 16000 > most:
                raise UserError(
                    f"{path}: {utt} lasts {seconds:.1f} s (at the slowest speed), the "
                    f"encoder reads {most / 16000:g} s; set encoder_conf max_seconds "
                    f"to {math.ceil(seconds)} or more"
                )


def main(cmd=None) -> None:
    """Check, report, write the lists."""
    parser = get_parser()
    args, task_options = parser.parse_known_args(cmd)
    texts = read_table(args.train_dir / "text")
    shapes = read_table(args.stats_dir / "train" / "speech_shape")
    num_samples = {utt: int(shape.split(",")[0]) for utt, shape in shapes.items()}
    from espnet_mtasr.tasks.mtasr import MTASRTask

    train_args = MTASRTask.parse_config(args.config, task_options)
    drawn = (args.train_dir / DRAWN_FROM).is_file()
    check_longest(train_args, args.stats_dir, drawn)
    preprocessor = MTASRTask.build_preprocess_fn(train_args, train=False)
    short = find_unalignable(train_args, texts, num_samples, preprocessor)
    valid_texts = read_table(args.valid_dir / "text")
    emptied, valid_emptied = {}, {}
    if train_args.cleaner is not None:
        emptied = find_emptied(texts, preprocessor, train_args.cleaner)
        valid_emptied = find_emptied(valid_texts, preprocessor, train_args.cleaner)
    left_out = {**short, **emptied}
    listed = sorted({**left_out, **valid_emptied}.items())
    path = args.stats_dir / "unalignable.txt"
    write_list(path, [f"{utt} {why}" for utt, why in listed])
    if emptied or valid_emptied:
        print(
            f"cleaner: {train_args.cleaner}: removes all of a talker's text in "
            f"{len(emptied)} training and {len(valid_emptied)} validation mixtures, "
            f"which are skipped, see {path}"
        )
    share = len(left_out) / len(texts)
    report = f"{len(left_out)} of {len(texts)} training mixtures ({100 * share:.2f} %)"
    if share > args.max_unalignable or len(left_out) == len(texts):
        advice = "use fewer tokens (--nbpe), more frames, "
        if emptied:
            advice = "fix these texts, choose another cleaner, "
        raise UserError(
            f"{report} have too few frames for their text, or a talker without text, "
            f"see {path}; {advice}or raise --max_unalignable"
        )
    if len(valid_emptied) == len(valid_texts):
        raise UserError(
            f"{args.valid_dir}/text: the cleaner {train_args.cleaner} removes all of a "
            f"talker's text in every mixture, see {path}; choose another cleaner"
        )
    write_lists(args.stats_dir, "train", args.train_dir, set(left_out))
    write_lists(args.stats_dir, "valid", args.valid_dir, set(valid_emptied))
    print(f"{args.stats_dir}/lists: {report} removed, they can't be aligned")


if __name__ == "__main__":
    run_command_line(main)
