#!/usr/bin/env python3
"""Write what the mixtures of `espnet-mtasr demo` are made of: each talker, and noise.

Three of make_samples.py's six: `utt2mixture` and `text` as in a data directory, with
recordings beside them.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

import soundfile
from make_samples import choose_samples

from espnet_mtasr.errors import run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.spec import MixtureSpec, read_specs, samples_until

CHOICE = ("two_talkers_1_clean", "two_talkers_2_noisy", "three_talkers_2_clean")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    recipe = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data_dir",
        "--data-dir",
        type=Path,
        default=recipe / "data",
        help="What stage 1 made: test sets test_mini{2,3}mix_{clean,noisy}",
    )
    parser.add_argument(
        "--output_dir",
        "--output-dir",
        type=Path,
        default=recipe.parents[2] / "espnet_mtasr" / "demo" / "assets",
        help="Folder for the recordings and tables",
    )
    return parser


def copy(path: str, folder: Path, seconds: Optional[float] = None) -> str:
    """Write a recording, or its first seconds, as FLAC of 16 bits; return its name."""
    audio, rate = soundfile.read(path, dtype="int16")
    if seconds is not None:
        audio = audio[: samples_until(seconds, rate)]
    name = f"{Path(path).stem}.flac"
    soundfile.write(folder / name, audio, rate, "PCM_16", format="FLAC")
    return name


def with_copies(spec: MixtureSpec, folder: Path) -> MixtureSpec:
    """Write the spec's recordings into `folder`; return the spec of the copies."""
    sources = tuple(replace(s, path=copy(s.path, folder)) for s in spec.sources)
    noise = spec.noise
    if noise is not None:
        noise = replace(noise, path=copy(noise.path, folder, spec.seconds + 0.01))
    return replace(spec, sources=sources, noise=noise)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Choose and write."""
    args = get_parser().parse_args(cmd)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    chosen = {sample.name: sample for sample in choose_samples(args.data_dir)}
    specs, texts = [], []
    for name in sorted(CHOICE):
        folder, utt = chosen[name].source.split()
        spec = read_specs(args.data_dir / folder / "utt2mixture")[utt]
        specs.append(f"{name} {with_copies(spec, args.output_dir).to_line()}\n")
        texts.append(f"{name} {chosen[name].text}\n")
    write_whole(args.output_dir / "utt2mixture", "".join(specs))
    write_whole(args.output_dir / "text", "".join(texts))


if __name__ == "__main__":
    run_command_line(main)
