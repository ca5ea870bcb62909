#!/usr/bin/env python3
"""Write six test mixtures with their references, to listen to and to try a model on.

Three have two talkers and three have three, alternately clean and noisy, from places
spread evenly over the test sets. The choice doesn't depend on any results.
"""

import argparse
import os
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from espnet_mtasr.data.tables import read_data_dir
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.spec import samples_until

# Talker count and noise of each sample. Clean and noisy sets have the same mixtures in
# the same order, so the three samples of a count are from three places.
CHOICE = {2: ("clean", "noisy", "clean"), 3: ("noisy", "clean", "noisy")}
IN_WORDS = {2: "two", 3: "three"}


class Sample(NamedTuple):
    """A chosen mixture.

    Attributes:
        name: Of the sample.
        talkers: Talker count.
        source: Test set and utterance.
        audio: Recording.
        text: SOT transcript.
    """

    name: str
    talkers: int
    source: str
    audio: Path
    text: str


RECIPE = Path(__file__).resolve().parents[2]


def get_parser(doc: str, output_dir: Path, contents: str) -> argparse.ArgumentParser:
    """Return the parser of a command line that writes samples.

    Args:
        doc: Docstring of the command.
        output_dir: Default folder.
        contents: What goes there.
    """
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data_dir",
        "--data-dir",
        type=Path,
        default=RECIPE / "data",
        help="What stage 1 made: test sets test_mini{2,3}mix_{clean,noisy}",
    )
    parser.add_argument(
        "--output_dir",
        "--output-dir",
        type=Path,
        default=output_dir,
        help=f"Folder for the {contents}",
    )
    return parser


def choose_samples(data_dir: Path) -> List[Sample]:
    """Choose from the test sets.

    Raises:
        UserError: a set is missing or has too few mixtures.
    """
    samples = []
    for talkers, noises in CHOICE.items():
        for k, noise in enumerate(noises):
            folder = data_dir / f"test_mini{talkers}mix_{noise}"
            tables = read_data_dir(folder, [talkers])
            utts = list(tables["text"])
            if len(utts) < len(noises):
                raise UserError(
                    f"{folder}: has {len(utts)} mixtures, {len(noises)} are needed; "
                    f"run stage 1 with a larger --n_test"
                )
            utt = utts[len(utts) * (2 * k + 1) // (2 * len(noises))]
            if "wav.scp" not in tables:
                raise UserError(
                    f"{folder}: has no recordings; run stage 1 with --on_the_fly false"
                )
            # Paths in a data directory are relative to its recipe.
            audio = data_dir.absolute().parent / tables["wav.scp"][utt]
            name = f"{IN_WORDS[talkers]}_talkers_{k + 1}_{noise}"
            source = f"{folder.name} {utt}"
            samples.append(Sample(name, talkers, source, audio, tables["text"][utt]))
    return samples


def write_audio(source: Path, target: Path, seconds: Optional[float] = None) -> None:
    """Write a recording of one channel as 16-bit FLAC, atomically.

    Args:
        source: Recording.
        target: File.
        seconds: How much of it to write; None: all.

    Raises:
        UserError: `source` can't be read.
    """
    import soundfile

    try:
        audio, rate = soundfile.read(source, dtype="int16")
    except (OSError, soundfile.LibsndfileError) as e:
        raise UserError(f"{source}: can't be read ({e}); run stage 1 again") from e
    if seconds is not None:
        audio = audio[: samples_until(seconds, rate)]
    part = target.with_name(target.name + ".part")
    soundfile.write(part, audio, rate, "PCM_16", format="FLAC")
    os.replace(part, target)


def format_readme(samples: Sequence[Sample]) -> str:
    """Return the folder's README.md."""
    rows = [f"| {s.name} | {s.talkers} | {s.source} |" for s in samples]
    return "\n".join(
        [
            "# Samples",
            "",
            "Six test mixtures of synthetic talkers, written by the mini recipe's",
            "`local/experiments/make_samples.py` from places spread evenly over its",
            "test sets. A line of `references` holds a sample's name, its talker",
            "count, and each talker's words in the order in which they began to speak,",
            "with `<sc>` in between.",
            "",
            "| sample | talkers | test set and mixture |",
            "|---|---:|---|",
            *rows,
            "",
        ]
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Choose and write."""
    parser = get_parser(__doc__, RECIPE.parent / "samples", "samples")
    args = parser.parse_args(cmd)
    samples = choose_samples(args.data_dir)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        write_audio(sample.audio, args.output_dir / f"{sample.name}.flac")
        print(f"{sample.name}: {sample.source}")
    lines = [f"{s.name} {s.talkers} {s.text}\n" for s in samples]
    write_whole(args.output_dir / "references", "".join(lines))
    write_whole(args.output_dir / "README.md", format_readme(samples))


if __name__ == "__main__":
    run_command_line(main)
