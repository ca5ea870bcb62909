#!/usr/bin/env python3
"""`espnet-mtasr COMMAND`: one name for all user commands.

Each command is a module of this package that can also be run by itself; it is imported
only when it is called.
"""

import argparse
import sys
from importlib import import_module
from typing import Optional, Sequence

from espnet_mtasr import __version__
from espnet_mtasr.errors import run_command_line

# Module and purpose.
COMMANDS = {
    "transcribe": ("transcribe", "write down what each talker of a recording says"),
    "demo": ("demo", "see and hear who said what, on a page in the browser"),
    "export-onnx": ("export_onnx", "export a model to ONNX graphs"),
    "pack": ("mtasr_pack", "pack a trained model into a zip that loads anywhere"),
    "upload": ("mtasr_upload", "upload a packed model to the Hugging Face hub"),
    "calibrate": ("calibrate", "calibrate confidences and times of a model's words"),
    "train-ngram": ("train_ngram", "train an n-gram over CTC units for decoding"),
    "fit-ngram": ("fit_ngram", "fit how an n-gram is used in decoding"),
    "fit-routing": ("fit_routing", "fit how to pick a branch"),
    "train": ("mtasr_train", "train a model (stages 8 and 11)"),
    "decode": ("mtasr_inference", "decode a data directory (stage 12)"),
    "score": ("mtasr_score", "score decoded sets (stage 13)"),
    "perplexity": ("mtasr_perplexity", "SOT perplexity of a teacher (stage 9)"),
    "download-corpora": (
        "download_corpora",
        "download LibriSpeech, WHAM!, LibriMix and others",
    ),
    "make-metadata": ("make_mixture_metadata", "draw lists of mixtures from a corpus"),
    "align-sources": ("align_sources", "align the words of recordings with a model"),
    "add-onsets": ("add_onsets", "draw onsets for LibriMix's lists"),
    "simulate": ("simulate", "make mixtures and data directories from lists"),
}


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of what precedes a command's own options."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {purpose}" for name, (_, purpose) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="espnet-mtasr",
        usage="espnet-mtasr [-h] [--version] COMMAND ...",
        description="Multi-talker speech recognition",
        epilog="\n".join(["commands (COMMAND --help lists the options):", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run a command; `UserError` if an option or a file must be fixed."""
    words = list(sys.argv[1:] if cmd is None else cmd)
    command = get_parser().parse_args(words[:1]).command
    import_module(f"espnet_mtasr.bin.{COMMANDS[command][0]}").main(words[1:])


def console() -> None:
    """Entry point of the installed command."""
    # A command's help and messages begin with this name.
    sys.argv[0] = " ".join(["espnet-mtasr", *sys.argv[1:2]])
    run_command_line(main)


if __name__ == "__main__":
    console()
