#!/usr/bin/env python3
"""Write the parts of the mixtures of `espnet-mtasr demo`: each talker, and noise.

These are three of make_samples.py's six mixtures, as `utt2mixture` and `text` of a data
directory, with recordings beside them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from make_samples import RECIPE, choose_samples, get_parser, write_audio

from espnet_mtasr.errors import run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.spec import MixtureSpec, read_specs

CHOICE = ("two_talkers_1_clean", "two_talkers_2_noisy", "three_talkers_2_clean")


def copy(path: str, folder: Path, seconds: Optional[float] = None) -> str:
    """Write a recording, or its first seconds, into `folder`; return its name."""
    name = f"{Path(path).stem}.flac"
    write_audio(Path(path), folder / name, seconds)
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
    assets = RECIPE.parents[2] / "espnet_mtasr" / "demo" / "assets"
    args = get_parser(__doc__, assets, "recordings and tables").parse_args(cmd)
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
