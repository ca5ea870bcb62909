"""`MTASR`: load a packed model and write down what each talker of a recording says."""

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import (
    Dict,
    Iterator,
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

from espnet_mtasr.abs_inference import AbsSpeech2Text
from espnet_mtasr.dtypes import check_dtype
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text, search_options
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.model_zoo.model_files import (
    DEFAULT_MODEL,
    ModelFiles,
    fetch_model,
)
from espnet_mtasr.onnx_model.manifest import is_onnx
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.channels import (
    MIX,
    Channel,
    check_channel,
)
from espnet_mtasr.transcription.decoder import Decoder, Progress
from espnet_mtasr.transcription.inputs import Audio, is_one, open_input
from espnet_mtasr.transcription.long.recording import read_head
from espnet_mtasr.transcription.recordings import Recording
from espnet_mtasr.transcription.settings import (
    BATCH_SECONDS,
    CTC,
    THRESHOLD,
    WINDOW_SECONDS,
    Settings,
    check_decoder,
    check_people,
    check_settings,
)
from espnet_mtasr.transcription.transcript import Part, Transcript

AUTO = "auto"
# Of all recordings, or of each.
Counts = Union[int, Sequence[Optional[int]], None]


class MTASR:
    """A trained model that transcribes recordings; no LLM, no network.

    Args:
        speech2text: The model, loaded with `align=True`; or its teacher.
        calibration: Calibration of its scores and times.
        name: The model's name in transcripts.
        revision: The model's revision; see `ModelFiles`.

    Raises:
        ValueError: `speech2text` doesn't align.
    """

    def __init__(
        self,
        speech2text: AbsSpeech2Text,
        calibration: Calibration,
        name: Optional[str] = None,
        revision: Optional[str] = None,
    ):
        if isinstance(speech2text, Speech2Text) and not speech2text.align:
            raise ValueError("speech2text must be loaded with align=True")
        self.speech2text = speech2text
        self.name = name
        self.revision = revision
        # Where `from_files` found it.
        self.files: Optional[ModelFiles] = None
        self.decoder = Decoder(speech2text, calibration, self.rate, name, revision)

    @classmethod
    def from_pretrained(
        cls,
        model: Union[str, Path] = DEFAULT_MODEL,
        device: Optional[str] = None,
        dtype: str = "float32",
        beam_size: Optional[int] = None,
        trust_remote_code: bool = False,
        decoder: str = CTC,
    ) -> "MTASR":
        """Load a model.

        Args:
            model: A known name (`speech`, `mini`), a packed model (.zip), the folder of
                an unpacked one, or a repository on the Hugging Face hub (`owner/name`).
            device: `cpu`, `cuda`, `cuda:N`; `auto` or None: the GPU if there is one,
                and the CPU for a model that was exported to ONNX.
            dtype: float32, bfloat16 or float16 to compute in.
            beam_size: 1: greedy search; more: prefix beam search, with the model's
                n-gram if it has one. None: the n-gram's own beam, without one 1.
            trust_remote_code: Allow the model to name any class, and run its code. Only
                for models that you trust.
            decoder: `ctc`, or `teacher` if the model was packed with it: slower, and
                its words have no times and confidences.

        Raises:
            UserError: there is no such model, files or weights are missing or don't
                fit, there is no such device or type, the model is from phase 1 (no
                CTC), it has no teacher to decode with, or it names code that isn't
                trusted.
        """
        check_dtype("dtype", dtype)
        check_decoder("decoder", decoder)
        files = fetch_model(model)
        return cls.from_files(
            files, device, dtype, beam_size, trust_remote_code, str(model), decoder
        )

    @classmethod
    def from_files(
        cls,
        files: ModelFiles,
        device: Optional[str] = None,
        dtype: str = "float32",
        beam_size: Optional[int] = None,
        trust_remote_code: bool = False,
        name: Optional[str] = None,
        decoder: str = CTC,
    ) -> "MTASR":
        """Load the model that `fetch_model` found for `name`.

        See `from_pretrained`.
        """
        check_dtype("dtype", dtype)
        if device in (None, AUTO) and is_onnx(files.mtasr_model_file):
            device = "cpu"
        check_decoder("decoder", decoder)
        options = dict(
            **asdict(files),
            device=check_device(device),
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        speech2text: AbsSpeech2Text
        if decoder == CTC:
            search = search_options(files.mtasr_model_file, beam_size)
            speech2text = Speech2Text(**options, **search, align=True)
        else:
            speech2text = Speech2TextLLM(
                **options, beam_size=beam_size or 1, guard_loops=True
            )
        calibration = Calibration.beside(files.mtasr_model_file)
        model = cls(speech2text, calibration, name, files.revision)
        model.files = files
        return model

    @property
    def rate(self) -> int:
        """The model's sampling rate in Hz."""
        return self.speech2text.rate

    @property
    def talker_counts(self) -> Tuple[int, ...]:
        """Talker counts that the model knows."""
        return self.speech2text.model.talker_counts

    @property
    def token_list(self) -> List[str]:
        """Tokens of the CTC; the first is its blank."""
        return self.speech2text.model.token_list

    # In Python, a string is a sequence of strings.
    @overload
    def transcribe(  # type: ignore[overload-overlap]
        self,
        recordings: Audio,
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = BATCH_SECONDS,
        channel: Channel = MIX,
        progress: Progress = None,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
        num_people: Optional[int] = None,
    ) -> Transcript: ...

    @overload
    def transcribe(
        self,
        recordings: Sequence[Audio],
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = BATCH_SECONDS,
        channel: Channel = MIX,
        progress: Progress = None,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
        num_people: Optional[int] = None,
    ) -> List[Transcript]: ...

    def transcribe(
        self,
        recordings: Union[Audio, Sequence[Audio]],
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = BATCH_SECONDS,
        channel: Channel = MIX,
        progress: Progress = None,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
        num_people: Optional[int] = None,
    ) -> Union[Transcript, List[Transcript]]:
        """Write down what each talker says.

        Args:
            recordings: An audio file or its content (bytes, or open in binary mode);
                samples `(N,)`, `(N, channels)` or `(channels, N)`, as an array or a
                tensor, also in a tuple with their rate; an audio entry of Hugging
                Face's datasets; or a list of these. Inputs without a name are named by
                their index, from 0.
            fs: Sampling rate in Hz of samples without one; None: the model's.
            num_talkers: Talker count of all recordings, or a list with one for each;
                None: predict it. With `channel="each"`, that of each channel. A window
                of a long recording may have fewer.
            batch_seconds: Maximum seconds of recordings or windows that are decoded
                together, padding included.
            channel: `mix`: the mean of all channels; a number from 0: that one; `each`:
                each separately, and the transcript has the talkers of all.
            progress: Is called repeatedly with the seconds of audio done and the total
                known so far.
            window_seconds: Longer recordings are processed in windows of at most this
                length. If the model's calibration knows its longest mixture, shorter
                ones are cut at pauses from that length on.
            vad_threshold: A frame is speech if silero-vad's probability is at least
                this. A recording without speech has no talkers. If the model's
                calibration has a rule for speech, it decides as well. 0: everything
                counts as speech.
            num_people: People in each recording, or in each channel with
                `channel="each"`. A talker's number then means one person throughout a
                long recording too: voices are told apart by Resemblyzer's encoder,
                which is downloaded on first use. None: in a long recording, numbers
                hold from one pause to the next.

        Returns:
            A `Transcript`, or for a list a list of them in the same order. Its warnings
            are also issued as Python warnings.

        Raises:
            UserError: a recording can't be read or has no such channel, a setting is
                out of its range, or the model doesn't know the talker count.
            ValueError: the numbers of talker counts and recordings differ.
        """
        channel = check_channel(channel)
        one = is_one(recordings)
        try:
            sources = [recordings] if one else list(cast(Sequence[Audio], recordings))
        except TypeError as e:
            raise UserError(
                f"recordings: a {type(recordings).__name__} is not a recording; give a "
                "file, its bytes, samples, or a list of these"
            ) from e
        if num_talkers is None or isinstance(num_talkers, (int, np.integer)):
            num_talkers = [num_talkers] * len(sources)
        if len(num_talkers) != len(sources):
            raise ValueError(f"{len(num_talkers)} counts, {len(sources)} recordings")
        how = self.how(
            batch_seconds, window_seconds, vad_threshold, num_people, num_talkers
        )
        found: Dict[int, Transcript] = {}
        short: Dict[int, Recording] = {}
        for place, (source, count) in enumerate(zip(sources, num_talkers)):
            waves = open_input(source, place, fs, self.rate, channel)
            head = read_head(waves, how.whole_samples)
            if isinstance(head, Recording):
                short[place] = head
                continue
            before = sum(transcript.seconds for transcript in found.values())
            long = self.decoder.long_recording(head, count, how)
            for _ in long.parts():
                if progress is not None:
                    known = max(long.seconds, waves.seconds or 0.0)
                    progress(before + long.seconds, before + known)
            found[place] = long.transcript()
        counts = [num_talkers[place] for place in short]
        before = sum(transcript.seconds for transcript in found.values())

        def after_long(done: float, known: float) -> None:
            if progress is not None:
                progress(before + done, before + known)

        read = self.decoder.transcribe(list(short.values()), counts, how, after_long)
        found.update(zip(short, read))
        transcripts = [found[place] for place in range(len(sources))]
        for transcript in transcripts:
            for problem in transcript.warnings:
                warnings.warn(problem, stacklevel=2)
        return transcripts[0] if one else transcripts

    def parts(
        self,
        recording: Audio,
        fs: Optional[int] = None,
        num_talkers: Optional[int] = None,
        batch_seconds: float = BATCH_SECONDS,
        channel: Channel = MIX,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
    ) -> Iterator[Part]:
        """Transcribe a recording of any length, yielding parts as they are decoded.

        Args and errors are those of `transcribe`. Parts come whenever `batch_seconds`
        of speech have been read.

        Yields:
            Parts in order of time; with `channel="each"`, in order within each channel.
            A recording without speech has no parts; a short one has one. In a long one,
            a part in which a model's rule finds no speech has no talkers. After the
            last, its warnings are issued as Python warnings.
        """
        how = self.how(batch_seconds, window_seconds, vad_threshold)
        waves = open_input(recording, 0, fs, self.rate, check_channel(channel))
        head = read_head(waves, how.whole_samples)
        if isinstance(head, Recording):
            (transcript,) = self.decoder.transcribe([head], [num_talkers], how)
            yield from [transcript.as_part()] if transcript.talkers else []
            problems = transcript.warnings
        else:
            yield from self.decoder.long_recording(head, num_talkers, how).parts()
            problems = tuple(head.warnings)
        for problem in problems:
            warnings.warn(problem, stacklevel=2)

    def how(
        self,
        batch_seconds: float = BATCH_SECONDS,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
        num_people: Optional[int] = None,
        num_talkers: Sequence[Optional[int]] = (),
    ) -> Settings:
        """Check settings of `transcribe`; talker counts of each recording.

        Raises:
            UserError: one is out of its range, or `num_people` with a teacher.
        """
        check_settings(
            batch_seconds, window_seconds, vad_threshold, num_people, num_talkers
        )
        timed = self.speech2text.decoder == CTC
        if not timed:
            check_people(num_people)
        return Settings(
            self.rate,
            window_seconds,
            vad_threshold,
            batch_seconds,
            num_people,
            overlap=timed,
            whole=self.decoder.calibration.longest_mixture or math.inf,
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
            f"--device {device}: torch can't use it ({reason}); give cpu, or cuda if "
            "there is a GPU"
        ) from e
    return device
