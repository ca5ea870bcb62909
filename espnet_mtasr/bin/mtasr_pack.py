#!/usr/bin/env python3
"""Pack a trained model into a zip that loads anywhere.

Unpack it with espnet2.main_funcs.pack_funcs.unpack, whose result `Speech2Text` takes,
or with unzip. It needs no pretrained encoder, and contains no language model but its
n-gram (fit_ngram) unless `--pack_teacher true` packs the teacher.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.trust import add_trust_option

DTYPES = ("float32", "float16", "int8", "int7")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description="Pack a trained model into a zip that loads anywhere",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(name: str, **kwargs) -> None:
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*names, **kwargs)

    add(
        "mtasr_train_config",
        type=Path,
        help="config.yaml of phase 2's training; default: beside the model file",
    )
    add("mtasr_model_file", type=Path, required=True, help="Checkpoint of phase 2")
    add("outpath", type=Path, required=True, help="Archive to write, .zip")
    add(
        "dtype",
        default="float32",
        help="Type of the stored weights: float32; float16 for half the size; int8 for "
        "a quarter; int7 for an eighth less than that",
    )
    add(
        "pack_teacher",
        choices=("true", "false"),
        default="false",
        help="Pack the teacher of phase 2 as well: transcribe --decoder teacher uses "
        "it. It may be many times as large as the rest",
    )
    add(
        "option",
        type=Path,
        action="append",
        default=[],
        help="Another file to pack; the default decoding's RESULTS.md and "
        "results.json and the plots beside config.yaml are always packed",
    )
    add(
        "model_card",
        type=Path,
        help="YAML file with the recipe's text for README.md, the model card "
        "(conf/model_card.yaml in our recipes)",
    )
    add("pretrained", type=Path, help="Stage 6's models.json, for the model card")
    add("mixtures", help="Description of the mixtures it was trained and tested on")
    add(
        "commands",
        type=Path,
        help="File with the commands that trained it, for the model card; default: "
        ".commands beside config.yaml",
    )
    add("max_mb", type=float, help="Refuse an archive larger than this many MB")
    add_trust_option(parser)
    return parser


def read_card_facts(args: argparse.Namespace, folder: Path) -> Dict[str, Any]:
    """Return the options' information for the model card.

    Args:
        args: Options.
        folder: Folder of config.yaml.

    Raises:
        UserError: one of the files is damaged.
    """
    from espnet_mtasr.publishing.model_card import read_pretrained, read_recipe_entries
    from espnet_mtasr.publishing.repository import repository_of_package

    facts: Dict[str, Any] = {"repository": repository_of_package()}
    if args.model_card is not None:
        facts["recipe"] = read_recipe_entries(args.model_card)
    if args.pretrained is not None:
        facts["pretrained"] = read_pretrained(args.pretrained)
    if args.mixtures:
        facts["mixtures"] = " ".join(args.mixtures.split())
    commands = args.commands or folder / ".commands"
    if commands.is_file():
        facts["commands"] = commands.read_text(encoding="utf-8").splitlines()
    return facts


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Pack; raises `UserError` if an option or a file must be fixed."""
    args = get_parser().parse_args(cmd)
    if args.dtype not in DTYPES:
        raise UserError(f"--dtype {args.dtype}: choose one of {', '.join(DTYPES)}")
    if args.outpath.suffix != ".zip":
        raise UserError(f"--outpath {args.outpath}: must end in .zip; change the name")
    if args.max_mb is not None and not args.max_mb > 0:
        raise UserError(f"--max_mb {args.max_mb}: give a number above 0")
    config = args.mtasr_train_config or args.mtasr_model_file.parent / "config.yaml"
    for name, path in (
        ("mtasr_model_file", args.mtasr_model_file),
        ("mtasr_train_config", config),
        ("pretrained", args.pretrained),
        ("commands", args.commands),
        *(("option", path) for path in args.option),
    ):
        if path is not None and not path.is_file():
            raise UserError(
                f"--{name} {path}: no such file; train first or name another"
            )

    card = read_card_facts(args, config.parent)

    from espnet_mtasr.publishing.packing import pack_model

    packed = pack_model(
        config,
        args.mtasr_model_file,
        args.outpath,
        dtype=args.dtype,
        option=args.option,
        max_mb=args.max_mb,
        card=card,
        trust_remote_code=args.trust_remote_code,
        with_teacher=args.pack_teacher == "true",
    )
    megabytes = args.outpath.stat().st_size / 1e6
    names = ", ".join(packed.names)
    print(f"{args.outpath}: {megabytes:.2f} MB, {args.dtype}: {names}")
    if packed.teacher_bytes:
        print(f"teacher: {packed.teacher_bytes / 1e6:.2f} MB of its weights")


if __name__ == "__main__":
    run_command_line(main)
