"""Stage 4: draw the mixtures of some epochs of dynamic mixing, as one data directory.

They are a fixed number of the mixtures that dynamic mixing makes, so the outputs of a
frozen trunk can be computed once. They are made while loading, and like mixtures in
files they are clipped at full scale, where dynamic mixing would scale them down. Their
seed is 0, whatever a training's, so trainings with different seeds use the same ones.

`--check true` only checks that the directory was drawn from the same set, with the same
options.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.dynamic import DynamicMixer

DRAWN_FROM = "drawn_from"


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    # The trainer's options pass through, so abbreviations of our options must be off.
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--source", type=Path, required=True, help="Set in dump/raw")
    parser.add_argument("--target", type=Path, required=True, help="The new one")
    parser.add_argument("--epochs", type=int, required=True, help="How many to draw")
    parser.add_argument(
        "--config",
        required=True,
        help="Training configuration, whose dynamic_mixing_conf is used",
    )
    parser.add_argument("--check", choices=("true", "false"), default="false")
    return parser


def mixing_options(training: argparse.Namespace) -> Dict[str, Any]:
    """Return the options of `DynamicMixer` in a training configuration.

    Raises:
        UserError: they need what is only known after training.
    """
    options = dict(training.preprocessor_conf.get("dynamic_mixing_conf") or {})
    if options.pop("cut_at_pauses", False):
        raise UserError(
            "dynamic_mixing_conf: cut_at_pauses needs the times of words, which aren't "
            "known in stage 4; set it to false, or add --drawn_epochs 0"
        )
    return options


def origin(source: Path, epochs: int, options: Dict[str, Any]) -> str:
    """Return a hash of everything that determines the drawn mixtures.

    Raises:
        UserError: the set has no specs of mixtures.
    """
    from espnet_mtasr.files import sha256_of

    if not (source / "utt2mixture").is_file():
        raise UserError(
            f"{source}: has no utt2mixture (what its mixtures are made of), which "
            f"dynamic mixing needs; add --dynamic_mixing false"
        )
    tables = [sha256_of(source / name) for name in ("utt2mixture", "text")]
    used = {name: options[name] for name in options if name != "cache_megabytes"}
    described = json.dumps([*tables, epochs, used], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def draw(mixer: DynamicMixer, epochs: int) -> Dict[str, Dict[str, str]]:
    """Return the tables of all mixtures of epochs 1 to `epochs`, by name."""
    from espnet_mtasr.data.audio_check import check_audio
    from espnet_mtasr.mixture.spec import num_samples
    from espnet_mtasr.text.sot import join_sot

    headers = {}
    for spec in mixer.specs.values():
        for source in spec.sources:
            if source.path not in headers:
                info = check_audio(source.path)
                headers[source.path] = (info.num_samples, info.rate)
    names = ("utt2mixture", "text", "utt2num_spk", "utt2spk", "utt2num_samples")
    tables: Dict[str, Dict[str, str]] = {name: {} for name in names}
    for epoch in range(1, epochs + 1):
        for utt in sorted(mixer.specs):
            spec, texts = mixer.draw(utt, epoch)
            key = f"e{epoch:03d}_{utt}"
            length = num_samples(spec, headers)
            row = (spec.to_line(), join_sot(texts), str(len(texts)), key, str(length))
            for name, value in zip(names, row):
                tables[name][key] = value
    return tables


def main(cmd=None) -> None:
    """Draw and write, `text` last; or check."""
    from espnet_mtasr.data.tables import write_table
    from espnet_mtasr.files import write_whole
    from espnet_mtasr.mixture.dynamic import read_mixer
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args, task_options = get_parser().parse_known_args(cmd)
    if args.epochs < 1:
        raise UserError(f"--epochs {args.epochs}: give a number from 1")
    options = mixing_options(MTASRTask.parse_config(args.config, task_options))
    described = origin(args.source, args.epochs, options)
    mark, last = args.target / DRAWN_FROM, args.target / "text"
    if args.check == "true":
        same = mark.is_file() and mark.read_text(encoding="utf-8") == described
        if not same or not last.is_file():
            raise UserError(
                f"{args.target}: was not drawn from {args.source} with these options; "
                f"run stage 4"
            )
        return
    last.unlink(missing_ok=True)
    mixer = read_mixer(args.source / "utt2mixture", args.source / "text", **options)
    tables = draw(mixer, args.epochs)
    args.target.mkdir(parents=True, exist_ok=True)
    write_whole(mark, described)
    for name in sorted(tables, key="text".__eq__):
        write_table(args.target / name, tables[name])
    print(f"{args.target}: {len(tables['text'])} mixtures of {args.epochs} epochs")


if __name__ == "__main__":
    run_command_line(main)
