#!/usr/bin/env python3
"""Write a clean test mixture of two talkers per corpus, to try the model `speech` on.

It is the one in the middle of the set's mixtures that aren't too long. The choice
doesn't depend on any results.
"""

import argparse
import io
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.spec import read_specs

RECIPE = Path(__file__).resolve().parents[1]
CORPORA = {"ml": "Mini LibriSpeech", "so": "speechocean762"}
README = """# Samples

Two test mixtures of two real talkers each, written by `local/make_samples.py`: the
ones in the middle of the clean test sets' mixtures of at most {seconds:g} s. Neither
talker is in train or dev. A line of `references` holds a sample's name, its talker
count, and each talker's words in the order in which they began to speak, with `<sc>`
in between.

| sample | corpus | mixture |
|---|---|---|
{rows}

## Licence

The recordings are from Mini LibriSpeech (OpenSLR SLR31; Panayotov, Chen, Povey and
Khudanpur, ICASSP 2015) and speechocean762 (OpenSLR SLR101; Zhang et al., Interspeech
2021), both [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Here they are
trimmed, scaled and mixed, and under the same licence.
"""


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Choose and write.

    Raises:
        UserError: a set is missing, or all of its mixtures are longer.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_dir", type=Path, default=RECIPE / "data", help="what stage 1 made")
    add("--output_dir", type=Path, default=RECIPE.parent / "samples")
    add("--max_seconds", type=float, default=9.0, help="longest mixture")
    args = parser.parse_args(cmd)
    lines, rows = [], []
    for number, (corpus, title) in enumerate(CORPORA.items(), 1):
        folder = args.data_dir / f"test_{corpus}2mix_clean"
        specs = read_specs(folder / "utt2mixture")
        short = [utt for utt in specs if specs[utt].seconds <= args.max_seconds]
        if not short:
            raise UserError(
                f"--max_seconds {args.max_seconds:g}: all mixtures of {folder} are "
                "longer; give more"
            )
        utt = short[len(short) // 2]
        name = f"two_talkers_{number}"
        write_whole(args.output_dir / f"{name}.flac", flac(render(specs[utt])))
        lines.append(f"{name} 2 {read_table(folder / 'text')[utt]}\n")
        rows.append(f"| {name} | {title} | {utt} |")
        print(f"{name}: {folder.name} {utt}")
    write_whole(args.output_dir / "references", "".join(lines))
    readme = README.format(seconds=args.max_seconds, rows="\n".join(rows))
    write_whole(args.output_dir / "README.md", readme)


def flac(samples) -> bytes:
    """Return samples `(N,)` at 16 kHz as 16-bit FLAC."""
    import soundfile

    content = io.BytesIO()
    soundfile.write(content, samples, 16000, "PCM_16", format="FLAC")
    return content.getvalue()


if __name__ == "__main__":
    run_command_line(main)
