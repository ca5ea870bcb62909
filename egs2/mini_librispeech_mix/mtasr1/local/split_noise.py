"""Split a folder of noise recordings into WHAM!'s folders OUT/{tr,cv,tt}, by links.

Where a recording goes only depends on its name: about eight of ten go to tr (training),
one to cv (dev) and one to tt (test). None is in two.
"""

import argparse
import hashlib
import os
import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from espnet_mtasr.corpora.librispeech import AUDIO_SUFFIXES
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import files_below


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("noise", type=Path, help="WAV or FLAC files, also in folders")
    parser.add_argument("out", type=Path)
    return parser


def split_of(names: Sequence[str]) -> Dict[str, List[str]]:
    """Split names; each part gets at least one.

    Raises:
        UserError: there are fewer than three.
    """
    if len(names) < 3:
        raise UserError(
            f"--noise: {len(names)} recordings (WAV or FLAC) are too few for training, "
            f"dev and test; give 3 or more"
        )
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    tenth = max(1, len(order) // 10)
    return {
        "tt": order[:tenth],
        "cv": order[tenth : 2 * tenth],
        "tr": order[2 * tenth :],
    }


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Make the folders again from scratch."""
    args = get_parser().parse_args(cmd)
    files = {
        path.relative_to(args.noise).as_posix().replace("/", "-"): path
        for path in files_below(args.noise)
        if path.suffix in AUDIO_SUFFIXES and path.is_file()
    }
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for split, names in split_of(sorted(files)).items():
        (part / split).mkdir(parents=True)
        for name in names:
            (part / split / name).symlink_to(files[name].resolve())
        print(f"{args.out / split}: {len(names)} recordings")
    if args.out.exists():
        shutil.rmtree(args.out)
    os.replace(part, args.out)


if __name__ == "__main__":
    run_command_line(main)
