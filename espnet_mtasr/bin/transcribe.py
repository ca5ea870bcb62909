"""`espnet-mtasr transcribe`: write down what each talker of a recording says.

A recording that can't be read or decoded doesn't stop the others: it is named at once
and again at the end, with exit code 1.
"""

import argparse
import contextlib
import io
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, List, Optional, Sequence

from espnet_mtasr.dtypes import DTYPES, check_dtype
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo.model_files import fetch_model
from espnet_mtasr.progress import TerminalLine
from espnet_mtasr.transcription.formats import (
    FORMATS,
    output_paths,
    render,
    write_transcripts,
)

if TYPE_CHECKING:
    from espnet_mtasr.transcription.mtasr import MTASR
    from espnet_mtasr.transcription.recordings import Recording, Source
    from espnet_mtasr.transcription.transcript import Transcript

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
# What decoding may fail with for one recording: the options have been checked before.
FAILURES = (RuntimeError, MemoryError, UserError)
# Formats in which a recording doesn't wait for the others.
AT_ONCE = ("txt", "json")
# Batches whose recordings are read before they are sorted by length.
BATCHES_AHEAD = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Write down what each talker of a recording says: in the order in which they "
        "begin, with times and confidences where the format has them."
    )
    add = parser.add_argument
    add("recordings", nargs="+", metavar="RECORDING", help="audio file, folder, or -")
    add(
        "--model",
        default="mini",
        help="mini (knows a few dozen synthetic words), packed model (.zip), folder, "
        "or owner/name on the Hugging Face hub; default: %(default)s",
    )
    add(
        "--format",
        default="txt",
        help=f"one or more of {', '.join(FORMATS)}, with commas between; default: txt",
    )
    add(
        "--output_dir",
        "--output-dir",
        type=Path,
        help="write a file per recording and format there; default: standard output",
    )
    add(
        "--num_talkers",
        "--num-talkers",
        type=int,
        help="talkers in each recording; default: the model says",
    )
    add("--device", help="cpu, cuda or cuda:N; default: the GPU if there is one")
    add("--dtype", default="float32", help=f"{', '.join(DTYPES)}; default: %(default)s")
    add(
        "--beam_size",
        "--beam-size",
        type=int,
        default=1,
        help="1: greedy search; more: prefix beam search; default: %(default)s",
    )
    add(
        "--batch_seconds",
        "--batch-seconds",
        type=float,
        default=60.0,
        help="seconds of audio that are decoded together; default: %(default)s",
    )


def run(args: argparse.Namespace) -> None:
    """Transcribe; exits with 1 if a recording failed."""
    formats = check_options(args)
    from espnet_mtasr.transcription.recordings import find_recordings

    sources = find_recordings(args.recordings)
    output = Output(formats, args.output_dir, [source.name for source in sources])
    model = load(args)
    failures: List[str] = []
    for transcript in transcribe_all(model, sources, args, failures):
        output.add(transcript)
    output.close()
    if failures:
        print(f"{len(failures)} of {len(sources)} recordings failed:", file=sys.stderr)
        print("\n".join(failures), file=sys.stderr)
        sys.exit(1)


def check_options(args: argparse.Namespace) -> List[str]:
    """Return the formats.

    Raises:
        UserError: an option that can't be.
    """
    formats = list(dict.fromkeys(args.format.lower().split(",")))
    for name in formats:
        if name not in FORMATS:
            raise UserError(
                f"--format {args.format}: there is no {name!r}; "
                f"choose from {', '.join(FORMATS)}"
            )
    check_dtype("--dtype", args.dtype)
    if args.device is not None and not DEVICE.fullmatch(args.device):
        raise UserError(f"--device {args.device}: give cpu, cuda or cuda:N")
    if args.num_talkers is not None and args.num_talkers < 1:
        raise UserError(f"--num_talkers {args.num_talkers}: give 1 or more")
    if args.beam_size < 1:
        raise UserError(f"--beam_size {args.beam_size}: give 1 or more")
    if not args.batch_seconds > 0:
        raise UserError(f"--batch_seconds {args.batch_seconds}: give more than 0")
    return formats


def load(args: argparse.Namespace) -> "MTASR":
    """Load the model and see that it knows `--num_talkers`."""
    # Libraries talk of their own affairs, which are no user's here.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    # First: whether there is such a model needn't wait for torch.
    files = fetch_model(args.model)
    # Loading imports the parts that the model has, and these talk too.
    with contextlib.redirect_stderr(io.StringIO()):
        from espnet_mtasr.transcription.mtasr import MTASR

        model = MTASR.from_files(files, args.device, args.dtype, args.beam_size)
    model.speech2text.check_count(args.num_talkers)
    if args.num_talkers is None:
        model.speech2text.check_predicts()
    return model


class Output:
    """Where transcripts go: files in a folder, or standard output.

    Args:
        formats: Keys of `FORMATS`.
        folder: None: standard output.
        names: Of all recordings.

    Raises:
        UserError: standard output can't take all of it, or names don't fit as files.
    """

    def __init__(
        self, formats: Sequence[str], folder: Optional[Path], names: Sequence[str]
    ):
        self.formats = formats
        self.folder = folder
        self.kept: List["Transcript"] = []
        self.begun = False
        if folder is not None:
            output_paths(names, folder, formats)
        elif len(formats) > 1:
            raise UserError(
                f"--format {','.join(formats)}: several need --output_dir FOLDER"
            )
        elif len(names) > 1 and not FORMATS[formats[0]].holds_several:
            raise UserError(
                f"--format {formats[0]}: holds one recording, here are {len(names)}; "
                f"give --output_dir FOLDER"
            )

    def add(self, transcript: "Transcript") -> None:
        """Write at once what can be."""
        if self.folder is not None:
            write_transcripts([transcript], self.folder, self.formats)
        elif self.formats[0] in AT_ONCE:
            between = "\n" if self.begun and self.formats == ["txt"] else ""
            print(between + render([transcript], self.formats[0]), end="", flush=True)
            self.begun = True
        else:
            self.kept.append(transcript)

    def close(self) -> None:
        """Write the rest."""
        if self.kept:
            print(render(self.kept, self.formats[0]), end="")


def transcribe_all(
    model: "MTASR",
    sources: Sequence["Source"],
    args: argparse.Namespace,
    failures: List[str],
) -> Iterator["Transcript"]:
    """Yield transcripts in the order of `sources`; a line per failure is added."""
    # Texts on a terminal show by themselves how far it is.
    quiet = len(sources) == 1 or (args.output_dir is None and sys.stdout.isatty())
    line = None if quiet else TerminalLine()

    def fail(problem: str) -> None:
        failures.append(problem)
        if line is not None:
            line.erase()
        print(problem, file=sys.stderr)

    done = 0
    ahead = BATCHES_AHEAD * args.batch_seconds
    for window in windows(read_all(model, sources, fail), model.rate, ahead):
        counts = [args.num_talkers] * len(window)
        try:
            yield from model.transcribe_read(window, counts, args.batch_seconds)
        except FAILURES:
            # One of them may be too long for the memory: the others are not lost.
            yield from one_by_one(model, window, args, fail)
        done += len(window)
        if line is not None:
            share = (done + len(failures)) / len(sources)
            line.draw("Transcribing", min(share, 1.0), f"{done}/{len(sources)}")
    if line is not None:
        line.finish("Transcribing", 1.0, f"{len(sources)}/{len(sources)}")


def read_all(
    model: "MTASR", sources: Sequence["Source"], fail: Callable[[str], None]
) -> Iterator["Recording"]:
    """Yield what can be read."""
    from espnet_mtasr.transcription.recordings import read_recording

    for source in sources:
        try:
            yield read_recording(source, model.rate)
        except UserError as e:
            fail(str(e))


def windows(
    recordings: Iterable["Recording"], rate: int, seconds: float
) -> Iterator[List["Recording"]]:
    """Group recordings one after the other, to `seconds` or a little more each."""
    window: List["Recording"] = []
    samples = 0
    for recording in recordings:
        window.append(recording)
        samples += len(recording.samples)
        if samples >= seconds * rate:
            yield window
            window, samples = [], 0
    if window:
        yield window


def one_by_one(
    model: "MTASR",
    window: Sequence["Recording"],
    args: argparse.Namespace,
    fail: Callable[[str], None],
) -> Iterator["Transcript"]:
    """Yield what can be transcribed alone."""
    for recording in window:
        try:
            yield from model.transcribe_read([recording], [args.num_talkers], 1.0)
        except FAILURES as e:
            seconds = len(recording.samples) / model.rate
            reason = (str(e).splitlines() or [type(e).__name__])[0]
            fail(f"{recording.name}: failed with its {seconds:.0f} s ({reason})")
