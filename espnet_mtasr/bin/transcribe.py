"""`espnet-mtasr transcribe`: write down what each talker of a recording says.

A recording that can't be read or decoded is reported at once and skipped; failures are
listed again at the end, with exit code 1.
"""

import argparse
import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence

from espnet_mtasr import __version__
from espnet_mtasr.console import own_words_only, say
from espnet_mtasr.dtypes import DTYPES, check_dtype
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.model_zoo.model_files import (
    CALIBRATION,
    DEFAULT_MODEL,
    NGRAM,
    ROUTING,
    fetch_model,
)
from espnet_mtasr.progress import busy
from espnet_mtasr.transcription.formats import FORMATS, check_times
from espnet_mtasr.transcription.settings import (
    BATCH_SECONDS,
    CTC,
    DECODERS,
    THRESHOLD,
    WINDOW_SECONDS,
    check_decoder,
    check_people,
    check_settings,
)
from espnet_mtasr.trust import add_trust_option

if TYPE_CHECKING:
    from espnet_mtasr.transcription.long.journal import Journal
    from espnet_mtasr.transcription.mtasr import MTASR
    from espnet_mtasr.transcription.output import Output
    from espnet_mtasr.transcription.sources import Source

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description="Write down what each talker of a recording says, in the order in "
        "which they begin, with times and confidences if the format has them."
    )
    add = parser.add_argument
    add("recordings", nargs="+", metavar="RECORDING", help="audio file, folder, or -")
    add_model_options(parser)
    add(
        "--decoder",
        default=CTC,
        help=f"{' or '.join(DECODERS)}: the teacher, if the model was packed with it, "
        "is slower and gives no times and confidences; default: %(default)s",
    )
    add(
        "--format",
        default="txt",
        help=f"one or more of {', '.join(FORMATS)}, separated by commas; default: txt",
    )
    add(
        "--output_dir",
        "--output-dir",
        type=Path,
        help="folder for a file per recording and format; default: standard output",
    )
    add(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="also draw waveform, words over time and talker counts: a .png, .svg or "
        ".pdf, or a folder for a .png per recording",
    )
    add(
        "--resume",
        action="store_true",
        help="skip recordings whose files are already in --output_dir, and continue a "
        "long one where a run was stopped",
    )
    add(
        "--num_talkers",
        "--num-talkers",
        type=int,
        help="talkers in each recording, or in each channel with --channel each; "
        "default: predicted",
    )
    add(
        "--num_people",
        "--num-people",
        type=int,
        help="people in each recording: a talker's number means one person throughout, "
        "also in long recordings (voices are told apart by Resemblyzer's encoder, 16 "
        "MB, downloaded on first use); default: numbering may change after each pause",
    )
    add(
        "--channel",
        default="mix",
        help="channel to use: a number from 0; each (one talker per channel); mix "
        "(mean); default: %(default)s",
    )
    add(
        "--batch_seconds",
        "--batch-seconds",
        type=float,
        default=BATCH_SECONDS,
        help="seconds of audio that are decoded together; default: %(default)s",
    )
    add(
        "--window_seconds",
        "--window-seconds",
        type=float,
        default=WINDOW_SECONDS,
        help="process longer recordings in windows of at most this length; default: "
        "%(default)g",
    )
    add(
        "--vad_threshold",
        "--vad-threshold",
        type=float,
        default=THRESHOLD,
        help="a frame is speech if silero-vad's probability is at least this; without "
        "speech there are no words; 0: everything is speech; default: %(default)s",
    )
    add(
        "--verbose",
        action="store_true",
        help="also show messages of libraries on standard error",
    )
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `load_model` takes."""
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="speech (real English speech), mini (knows a few dozen synthetic words), "
        "packed model (.zip), folder, or owner/name on the Hugging Face hub; default: "
        "%(default)s",
    )
    add(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:N or auto (the GPU if there is one); default: auto",
    )
    add("--dtype", default="float32", help=f"{', '.join(DTYPES)}; default: %(default)s")
    add(
        "--beam_size",
        "--beam-size",
        type=int,
        help="1: greedy search; more: prefix beam search, with the model's n-gram if "
        "there is one; default: the n-gram's own, without one 1",
    )
    add_trust_option(parser)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Transcribe; exits with 1 if a recording failed."""
    args = get_parser().parse_args(cmd)
    formats = check_options(args)
    with contextlib.nullcontext() if args.verbose else own_words_only():
        transcribe(args, formats)


def transcribe(args: argparse.Namespace, formats: List[str]) -> None:
    """Transcribe as the options say, which have been checked."""
    from espnet_mtasr.transcription.channels import check_channel
    from espnet_mtasr.transcription.output import Output
    from espnet_mtasr.transcription.sources import STANDARD_INPUT, find_recordings

    channel = check_channel(args.channel)
    sources = find_recordings(args.recordings, say)
    names = [source.name for source in sources]
    output = Output(formats, args.output_dir, names, args.plot)
    if args.resume:
        there = len(sources)
        # What comes through a pipe this time may be another recording.
        sources = [
            source
            for source in sources
            if source.path == STANDARD_INPUT or output.missing(source.name)
        ]
        there -= len(sources)
        what = "recording is" if there == 1 else "recordings are"
        say(f"{there} {what} already transcribed; their files stay as they are")
        if not sources:
            return
    with busy(f"Loading {args.model}"):
        model = load(args)
    from espnet_mtasr.transcription.many import Many

    # On a terminal, texts would overwrite the progress line.
    keep_line = len(sources) > 1 and (args.output_dir or not sys.stdout.isatty())
    how = model.how(
        args.batch_seconds, args.window_seconds, args.vad_threshold, args.num_people
    )
    many = Many(
        model,
        sources,
        how,
        args.num_talkers,
        channel,
        keep_line=bool(keep_line),
        tell=output.add_part,
        journal=lambda source: open_journal(source, output, model, args),
    )
    for transcript, waves in many.transcripts():
        try:
            output.add(transcript)
        except OSError as e:
            if output.folder is None:
                raise
            many.fail(f"{transcript.recording}: can't be written ({e.strerror})")
        many.warn(output.unclear_numbers(transcript))
        try:
            output.draw(transcript, waves)
        except OSError as e:
            many.fail(f"{transcript.recording}: can't be written ({e.strerror})")
    output.close()
    if many.failures:
        say(f"{len(many.failures)} of {len(sources)} recordings failed:")
        say("\n".join(many.failures))
        sys.exit(1)


def open_journal(
    source: "Source", output: "Output", model: "MTASR", args: argparse.Namespace
) -> Optional["Journal"]:
    """Open the journal of a long recording; None if runs can't be resumed."""
    from espnet_mtasr.transcription.sources import STANDARD_INPUT

    path = output.journal(source.name)
    if path is None or source.path == STANDARD_INPUT:
        return None
    from espnet_mtasr.transcription.long.journal import Journal

    status = os.stat(source.path)
    depends = dict(
        version=__version__,
        model=model.name,
        revision=model.revision or file_state(model),
        size=status.st_size,
        changed=status.st_mtime,
        **{
            option: getattr(args, option)
            for option in (
                *("num_talkers", "num_people", "channel", "dtype", "beam_size"),
                *("window_seconds", "vad_threshold", "decoder"),
            )
        },
    )
    return Journal(path, depends, args.resume)


def file_state(model: "MTASR") -> List[float]:
    """Return what changes when a folder gets another model or calibration."""
    assert model.files is not None
    weights, config = model.files.mtasr_model_file, model.files.mtasr_train_config
    paths = [config, weights, *map(weights.with_name, (CALIBRATION, ROUTING, NGRAM))]
    found = [os.stat(path) for path in paths if path.exists()]
    return [number for s in found for number in (s.st_size, s.st_mtime)]


def check_options(args: argparse.Namespace) -> List[str]:
    """Return the formats.

    Raises:
        UserError: an option has a bad value.
    """
    formats = list(dict.fromkeys(args.format.lower().split(",")))
    for name in formats:
        if name not in FORMATS:
            raise UserError(
                f"--format {args.format}: there is no {name!r}; "
                f"choose from {', '.join(FORMATS)}"
            )
    check_model_options(args)
    check_decoder("--decoder", args.decoder)
    if args.decoder != CTC:
        check_times(formats)
        check_people(args.num_people)
        if args.plot is not None:
            raise UserError(
                f"--plot {args.plot}: needs times of words, which a teacher doesn't "
                "give; omit it, or give --decoder ctc"
            )
    if args.resume and args.output_dir is None:
        raise UserError("--resume: needs --output_dir with the earlier transcripts")
    if args.num_talkers is not None and args.num_talkers < 1:
        raise UserError(f"--num_talkers {args.num_talkers}: give 1 or more")
    check_settings(
        args.batch_seconds,
        args.window_seconds,
        args.vad_threshold,
        args.num_people,
        [args.num_talkers],
    )
    return formats


def check_model_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for a bad option of `add_model_options`."""
    check_dtype("--dtype", args.dtype)
    if not DEVICE.fullmatch(args.device):
        raise UserError(f"--device {args.device}: give auto, cpu, cuda or cuda:N")
    if args.beam_size is not None and args.beam_size < 1:
        raise UserError(f"--beam_size {args.beam_size}: give 1 or more")


def load(args: argparse.Namespace) -> "MTASR":
    """Load the model and check that it knows `--num_talkers`."""
    model = load_model(args)
    model.speech2text.check_count(args.num_talkers)
    if args.num_talkers is None:
        model.speech2text.check_predicts()
    if args.num_people is not None:
        # Without network, fail at once.
        model.decoder.voice_encoder  # noqa: B018
    return model


def load_model(args: argparse.Namespace) -> "MTASR":
    """Load the model that the options of `add_model_options` name.

    A command may also have `--decoder`.
    """
    # Find the model before torch is imported, so that a wrong name fails at once.
    files = fetch_model(args.model)
    from espnet_mtasr.transcription.mtasr import MTASR

    return MTASR.from_files(
        files,
        args.device,
        args.dtype,
        args.beam_size,
        args.trust_remote_code,
        args.model,
        getattr(args, "decoder", CTC),
    )


if __name__ == "__main__":
    run_command_line(main)
