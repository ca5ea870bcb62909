"""Plan a training before any long work: what it starts from, its settings, its cost.

The training's talker counts and options for mtasr.sh go to a file, one word per line.
"""

import argparse
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import yaml
from lay_out_corpus import add_corpus_options, recordings_of, split_of
from start_from_model import Start, start_from
from tell_cost import tell_cost

from espnet_mtasr.console import own_words_only
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole

CONF = Path("conf")
TOKEN_LISTS = Path("data/token_list")
LIMITS = (
    "Quick: a few steps on a few mixtures of a few recordings, in minutes on a CPU. It "
    "shows that the corpus can be read and that every stage works. It can't show how "
    "good a trained model will be: after so few steps nearly all words are wrong."
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_corpus_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="for configurations")
    parser.add_argument("--options", type=Path, required=True, help="file to write")
    parser.add_argument("--talker_counts", help="e.g. 2,3; default: the model's")
    parser.add_argument("--n_train", type=int, default=5000, help="per talker count")
    parser.add_argument("--onset_gap", default="0.5,1.5")
    parser.add_argument("--phase1_config", type=Path, help="of the teacher, with --llm")
    parser.add_argument("--phase2_config", type=Path, help="default: the recipe's")
    parser.add_argument("--llm", help="the teacher")
    parser.add_argument("--encoder", help="pretrained encoder")
    parser.add_argument("--pretrained_model", help="trained model to start from")
    for name, default in (
        ("pretrained_units", "true"),
        ("trust_remote_code", "false"),
        ("quick", "false"),
    ):
        parser.add_argument(f"--{name}", choices=("true", "false"), default=default)
    return parser


def read_settings(path: Path) -> Dict[str, Any]:
    """Read a training's configuration.

    Raises:
        UserError: it can't be read, or isn't a configuration.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise UserError(f"{path}: can't be read ({' '.join(str(e).split())})") from e
    if not isinstance(settings, dict):
        raise UserError(f"{path}: holds no 'key: value' lines; fix it")
    return settings


def plan_phase(
    path: Path, name: str, args: argparse.Namespace, start: Optional[Start] = None
) -> Path:
    """Write a phase's configuration if it must be changed; return the one to use.

    Args:
        path: Configuration.
        name: Without `train_`.
        args: Options.
        start: The trained model to start from.
    """
    changes: List[Dict[str, Any]] = []
    if start is not None:
        changes.append(start.parts)
        name = f"from_{start.name}"
        # A user who gives a configuration has chosen how to train.
        if args.phase2_config is None:
            changes.append(read_settings(CONF / "fine_tuning.yaml"))
    if args.quick == "true":
        changes.append(read_settings(CONF / "quick.yaml"))
        name = f"quick_{name}"
    if not changes:
        return path
    settings = read_settings(path)
    for change in changes:
        settings.update(change)
    planned = args.out / f"train_{name}.yaml"
    write_whole(planned, yaml.safe_dump(settings, sort_keys=False))
    return planned


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Make the plan and print it; `UserError` if it is impossible."""
    args = get_parser().parse_args(cmd)
    start = None
    if args.pretrained_model is not None:
        counts = args.talker_counts and list(map(int, args.talker_counts.split(",")))
        with own_words_only():
            start = start_from(
                args.pretrained_model,
                counts,
                args.pretrained_units == "false",
                args.out,
                TOKEN_LISTS,
                args.trust_remote_code == "true",
            )
        args.talker_counts = ",".join(map(str, start.talker_counts))
    args.talker_counts = args.talker_counts or "2,3"
    default = "train_phase2_teacher.yaml" if args.llm else "train_phase2.yaml"
    config = args.phase2_config or CONF / default
    phase2 = plan_phase(config, config.stem.removeprefix("train_"), args, start)
    words = ["--phase2_config", str(phase2), *(start.options() if start else [])]
    if args.llm:
        config = args.phase1_config or CONF / "train_phase1.yaml"
        phase1 = plan_phase(config, config.stem.removeprefix("train_"), args)
        words += ["--phase1_config", str(phase1)]
    args.options.write_text("\n".join([args.talker_counts, *words]) + "\n")
    if args.corpus is not None:
        tell(args, phase2, start)
    if args.quick == "true":
        print(LIMITS)


def tell(args: argparse.Namespace, phase2: Path, start: Optional[Start]) -> None:
    """Print what training on the corpus costs."""
    args.min_talkers = max(map(int, args.talker_counts.split(",")))
    if not re.fullmatch(r"[\d.]+,[\d.]+", args.onset_gap) or args.n_train < 1:
        raise UserError(
            f"--onset_gap {args.onset_gap}, --n_train {args.n_train}: give two times "
            f"in seconds, and a number from 1"
        )
    recordings, _ = recordings_of(args)
    split = split_of(recordings, args)
    settings = read_settings(phase2)
    if start is None:
        tell_cost(recordings, split, args, settings)
        return
    if start.token_type is not None:
        from espnet_mtasr.bin.make_token_list import check_tokens

        texts = [recording.text for recording in recordings]
        check_tokens(texts, start.token_type, start.token_dir)
    tell_cost(recordings, split, args, settings, start.name, start.parameters)


if __name__ == "__main__":
    run_command_line(main)
