"""`MTASR`: load a packed model and write down what each talker of a recording says."""

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import (
    Callable,
    Dict,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
    overload,
)

import numpy as np
import torch

from espnet_mtasr import __version__
from espnet_mtasr.abs_inference import MixtureHypothesis, TalkerHypothesis
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.dtypes import check_dtype
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.model_zoo.model_files import CALIBRATION, ModelFiles, fetch_model
from espnet_mtasr.onnx_model.manifest import is_onnx
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.channels import (
    MIX,
    Channel,
    check_channel,
)
from espnet_mtasr.transcription.inputs import Audio, is_one, read_input
from espnet_mtasr.transcription.recordings import Recording
from espnet_mtasr.transcription.transcript import (
    Origin,
    Talker,
    Transcript,
    Word,
    join_channels,
)
from espnet_mtasr.transcription.words import word_times, words_of

# Of models that were packed before they said it.
DEFAULT_RATE = 16000

AUTO = "auto"
# Seconds below which nothing can be understood.
SHORTEST = 0.1
Progress = Optional[Callable[[float, float], None]]
# Of all recordings, or of each.
Counts = Union[int, Sequence[Optional[int]], None]


class MTASR:
    """A trained model that transcribes recordings; no language model, no network.

    Args:
        speech2text: The model, loaded with `align=True`.
        calibration: What its scores and frames mean.
        name: What transcripts call the model.
        revision: Of the model; see `ModelFiles`.

    Raises:
        ValueError: `speech2text` doesn't align.
    """

    def __init__(
        self,
        speech2text: Speech2Text,
        calibration: Calibration,
        name: Optional[str] = None,
        revision: Optional[str] = None,
    ):
        if not speech2text.align:
            raise ValueError("speech2text must be loaded with align=True")
        self.speech2text = speech2text
        self.calibration = calibration
        self.name = name
        self.revision = revision

    @classmethod
    def from_pretrained(
        cls,
        model: Union[str, Path] = "mini",
        device: Optional[str] = None,
        dtype: str = "float32",
        beam_size: int = 1,
        trust_remote_code: bool = False,
    ) -> "MTASR":
        """Load a model.

        Args:
            model: A known name (`mini`), a packed model (.zip), the folder of an
                unpacked one, or a repository on the Hugging Face hub (`owner/name`).
            device: `cpu`, `cuda`, `cuda:N`; `auto` or None: the GPU if there is one,
                and the CPU for a model that was exported to ONNX.
            dtype: float32, bfloat16 or float16 to compute in.
            beam_size: 1: greedy search; more: prefix beam search.
            trust_remote_code: Let the model name any class, and run its code. Only for
                models that you trust.

        Raises:
            UserError: there is no such model, files or weights are missing or don't
                fit, there is no such device or type, the model's output is phase 1's
                (no CTC), or it names code that isn't trusted.
        """
        check_dtype("dtype", dtype)
        files = fetch_model(model)
        return cls.from_files(
            files, device, dtype, beam_size, trust_remote_code, str(model)
        )

    @classmethod
    def from_files(
        cls,
        files: ModelFiles,
        device: Optional[str] = None,
        dtype: str = "float32",
        beam_size: int = 1,
        trust_remote_code: bool = False,
        name: Optional[str] = None,
    ) -> "MTASR":
        """Load the model that `fetch_model` has found by `name`.

        See `from_pretrained`.
        """
        check_dtype("dtype", dtype)
        if device in (None, AUTO) and is_onnx(files.mtasr_model_file):
            device = "cpu"
        speech2text = Speech2Text(
            **asdict(files),
            device=check_device(device),
            dtype=dtype,
            beam_size=beam_size,
            align=True,
            trust_remote_code=trust_remote_code,
        )
        path = files.mtasr_model_file.with_name(CALIBRATION)
        calibration = Calibration.read(path) if path.exists() else Calibration()
        return cls(speech2text, calibration, name, files.revision)

    @property
    def rate(self) -> int:
        """Sampling rate in Hz that the model was trained with."""
        return getattr(self.speech2text.train_args, "sampling_rate", DEFAULT_RATE)

    @property
    def talker_counts(self) -> Tuple[int, ...]:
        """Talker counts that the model knows."""
        return self.speech2text.model.talker_counts

    # A text is a sequence of texts to Python.
    @overload
    def transcribe(  # type: ignore[overload-overlap]
        self,
        recordings: Audio,
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = 60.0,
        channel: Channel = MIX,
        progress: Progress = None,
    ) -> Transcript: ...

    @overload
    def transcribe(
        self,
        recordings: Sequence[Audio],
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = 60.0,
        channel: Channel = MIX,
        progress: Progress = None,
    ) -> List[Transcript]: ...

    def transcribe(
        self,
        recordings: Union[Audio, Sequence[Audio]],
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = 60.0,
        channel: Channel = MIX,
        progress: Progress = None,
    ) -> Union[Transcript, List[Transcript]]:
        """Write down what each talker says.

        Args:
            recordings: An audio file or its content (bytes, or open in binary mode);
                samples `(N,)`, `(N, channels)` or `(channels, N)`, as an array or a
                tensor; an audio of Hugging Face's datasets; or a list of such. What
                has no name is named by its place, from 0.
            fs: Sampling rate in Hz of samples that come without; None: the model's.
            num_talkers: Talker count of all, or of each recording; None predicts it.
                With `channel="each"`, of each channel.
            batch_seconds: Recordings are decoded together up to so many seconds,
                padding included.
            channel: `mix`: the mean of all channels; a number from 0: that one;
                `each`: one after the other, and a transcript has the talkers of all.
            progress: Is called with the seconds of audio that are done and those of
                all, as it goes on.

        Returns:
            A `Transcript`, or for a list a list of them in the same order. Its warnings
            are Python's warnings, too.

        Raises:
            UserError: a recording can't be read or has no such channel,
                `batch_seconds` is not above 0, or the model doesn't know the talker
                count.
            ValueError: not as many talker counts as recordings.
        """
        channel = check_channel(channel)
        one = is_one(recordings)
        sources = [recordings] if one else cast(Sequence[Audio], recordings)
        read = [
            read_input(source, place, fs, self.rate, channel)
            for place, source in enumerate(sources)
        ]
        if num_talkers is None or isinstance(num_talkers, (int, np.integer)):
            num_talkers = [num_talkers] * len(read)
        transcripts = self.transcribe_read(
            read, list(num_talkers), batch_seconds, progress
        )
        for transcript in transcripts:
            for problem in transcript.warnings:
                warnings.warn(problem, stacklevel=2)
        return transcripts[0] if one else transcripts

    def transcribe_read(
        self,
        recordings: Sequence[Recording],
        num_talkers: Sequence[Optional[int]],
        batch_seconds: float,
        progress: Progress = None,
    ) -> List[Transcript]:
        """Do the same for recordings that have been read; see `transcribe`."""
        if len(num_talkers) != len(recordings):
            raise ValueError(f"{len(num_talkers)} counts, {len(recordings)} recordings")
        if not batch_seconds > 0:
            raise UserError(f"--batch_seconds {batch_seconds}: give more than 0")
        # A recording's channels are decoded as if they were recordings.
        owners = [
            r for r, recording in enumerate(recordings) for _ in recording.channels
        ]
        waves = [wave for r in recordings for wave in r.channels]
        lengths = [len(wave) / self.rate for wave in waves]
        found: Dict[int, Transcript] = {}
        for places in batches_of_similar_length(lengths, batch_seconds):
            hypotheses = self.speech2text(
                [waves[place] for place in places],
                [num_talkers[owners[place]] for place in places],
            )
            for place, hypothesis in zip(places, hypotheses):
                recording = recordings[owners[place]]
                transcript = self.transcript_of(
                    recording.name, lengths[place], hypothesis, recording.warnings
                )
                origin = self._origin(num_talkers[owners[place]], recording.channel)
                found[place] = replace(transcript, origin=origin)
            if progress is not None:
                progress(sum(lengths[place] for place in found), sum(lengths))
        heard: List[List[Transcript]] = [[] for _ in recordings]
        for place, owner in enumerate(owners):
            heard[owner].append(found[place])
        return [t[0] if len(t) == 1 else join_channels(t) for t in heard]

    def _origin(self, num_talkers: Optional[int], channel: Channel) -> Origin:
        settings = dict(
            device=self.speech2text.device,
            dtype=str(self.speech2text.dtype).removeprefix("torch."),
            beam_size=self.speech2text.beam_size,
            num_talkers=None if num_talkers is None else int(num_talkers),
            channel=channel,
        )
        return Origin(__version__, self.name, self.revision, settings)

    def transcript_of(
        self,
        name: str,
        seconds: float,
        hypothesis: MixtureHypothesis,
        problems: Tuple[str, ...] = (),
    ) -> Transcript:
        """Say in words and seconds what `speech2text` found.

        A recording that is too short for any word has no talkers.

        Args:
            name: Of the recording.
            seconds: Its length.
            hypothesis: With spans.
            problems: Warnings so far.
        """
        if seconds < SHORTEST or hypothesis.num_frames == 0:
            short = f"{name}: {seconds:.3f} s are too short to understand a word"
            return Transcript(name, round(seconds, 3), (), None, (*problems, short))
        talkers = tuple(
            self._talker(talker, seconds, hypothesis.num_frames or 0)
            for talker in hypothesis.talkers
        )
        probabilities = hypothesis.count_log_probs
        if probabilities is not None:
            probabilities = {
                count: round(float(np.exp(p)), 4) for count, p in probabilities.items()
            }
        return Transcript(name, round(seconds, 3), talkers, probabilities, problems)

    def _talker(
        self, talker: TalkerHypothesis, seconds: float, num_frames: int
    ) -> Talker:
        tokens2text = self.speech2text.tokenizer.tokens2text
        spans = words_of(talker.tokens, talker.spans or [], tokens2text)
        # The frames cover the recording; what convolutions lose at its end is less
        # than a frame.
        frame_seconds = seconds / max(num_frames, 1)
        times = word_times(spans, frame_seconds, seconds, self.calibration)
        return Talker(
            tuple(
                Word(span.text, *time, self.calibration.confidence(span.probability))
                for span, time in zip(spans, times)
            )
        )


def check_device(device: Optional[str]) -> str:
    """Return the device to use; see `MTASR.from_pretrained`.

    Raises:
        UserError: torch has no such device.
    """
    if device is None or device == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise UserError(
            f"--device {device}: torch can't use it ({reason}); give cpu, or cuda "
            f"where there is a GPU"
        ) from e
    return device
