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
from espnet_mtasr.abs_inference import MixtureHypothesis
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
from espnet_mtasr.transcription.inputs import Audio, is_one, open_input
from espnet_mtasr.transcription.long.recording import LongRecording, read_head
from espnet_mtasr.transcription.long.settings import (
    WINDOW_SECONDS,
    Settings,
    check_settings,
)
from espnet_mtasr.transcription.long.stitching import Heard
from espnet_mtasr.transcription.recordings import Recording, Waves
from espnet_mtasr.transcription.speech_detector import THRESHOLD, SpeechDetector
from espnet_mtasr.transcription.transcript import (
    Origin,
    Transcript,
    join_channels,
)
from espnet_mtasr.transcription.writer import SHORTEST, Writer

# For models that were packed before the revision was stored.
DEFAULT_RATE = 16000

AUTO = "auto"
Progress = Optional[Callable[[float, float], None]]
# Of all recordings, or of each.
Counts = Union[int, Sequence[Optional[int]], None]


class MTASR:
    """A trained model that transcribes recordings; no language model, no network.

    Args:
        speech2text: The model, loaded with `align=True`.
        calibration: Calibration of its scores and times.
        name: The model's name in transcripts.
        revision: The model's revision; see `ModelFiles`.

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
        self.writer = Writer(speech2text.tokenizer.tokens2text, calibration)
        self.name = name
        self.revision = revision
        self._detector: Optional[SpeechDetector] = None

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
            trust_remote_code: Allow the model to name any class, and run its code. Only
                for models that you trust.

        Raises:
            UserError: there is no such model, files or weights are missing or don't
                fit, there is no such device or type, the model is from phase 1 (no
                CTC), or it names code that isn't trusted.
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
        """Load the model that `fetch_model` found for `name`.

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
        """The model's sampling rate in Hz."""
        return getattr(self.speech2text.train_args, "sampling_rate", DEFAULT_RATE)

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
        batch_seconds: float = 60.0,
        channel: Channel = MIX,
        progress: Progress = None,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
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
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
    ) -> List[Transcript]: ...

    def transcribe(
        self,
        recordings: Union[Audio, Sequence[Audio]],
        fs: Optional[int] = None,
        num_talkers: Counts = None,
        batch_seconds: float = 60.0,
        channel: Channel = MIX,
        progress: Progress = None,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
    ) -> Union[Transcript, List[Transcript]]:
        """Write down what each talker says.

        Args:
            recordings: An audio file or its content (bytes, or open in binary mode);
                samples `(N,)`, `(N, channels)` or `(channels, N)`, as an array or a
                tensor; an audio entry of Hugging Face's datasets; or a list of these.
                Inputs without a name are named by their index, from 0.
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
                length.
            vad_threshold: silero-vad's frames count as speech from this probability on.
                A recording without speech has no talkers. 0: everything counts as
                speech.

        Returns:
            A `Transcript`, or for a list a list of them in the same order. Its warnings
            are also issued as Python warnings.

        Raises:
            UserError: a recording can't be read or has no such channel, a setting is
                out of its range, or the model doesn't know the talker count.
            ValueError: the numbers of talker counts and recordings differ.
        """
        channel = check_channel(channel)
        how = self.how(batch_seconds, window_seconds, vad_threshold)
        one = is_one(recordings)
        sources = [recordings] if one else cast(Sequence[Audio], recordings)
        if num_talkers is None or isinstance(num_talkers, (int, np.integer)):
            num_talkers = [num_talkers] * len(sources)
        if len(num_talkers) != len(sources):
            raise ValueError(f"{len(num_talkers)} counts, {len(sources)} recordings")
        found: Dict[int, Transcript] = {}
        short: Dict[int, Recording] = {}
        for place, (source, count) in enumerate(zip(sources, num_talkers)):
            waves = open_input(source, place, fs, self.rate, channel)
            head = read_head(waves, how.longest_samples)
            if isinstance(head, Recording):
                short[place] = head
                continue
            before = sum(transcript.seconds for transcript in found.values())
            long = self.long_recording(head, count, how)
            for _ in long.parts():
                if progress is not None:
                    known = max(long.seconds, waves.seconds or 0.0)
                    progress(before + long.seconds, before + known)
            found[place] = self.transcript_of_long(long, count, how)
        counts = [num_talkers[place] for place in short]
        read = self.transcribe_read(list(short.values()), counts, how, progress)
        found.update(zip(short, read))
        transcripts = [found[place] for place in range(len(sources))]
        for transcript in transcripts:
            for problem in transcript.warnings:
                warnings.warn(problem, stacklevel=2)
        return transcripts[0] if one else transcripts

    def how(
        self,
        batch_seconds: float = 60.0,
        window_seconds: float = WINDOW_SECONDS,
        vad_threshold: float = THRESHOLD,
    ) -> Settings:
        """Check settings of `transcribe`.

        Raises:
            UserError: one is out of its range.
        """
        check_settings(batch_seconds, window_seconds, vad_threshold)
        return Settings(self.rate, window_seconds, vad_threshold, batch_seconds)

    def transcribe_read(
        self,
        recordings: Sequence[Recording],
        num_talkers: Sequence[Optional[int]],
        how: Settings,
        progress: Progress = None,
    ) -> List[Transcript]:
        """Do the same for recordings that have been read completely."""
        # Channels are decoded like separate recordings.
        owners = [
            r for r, recording in enumerate(recordings) for _ in recording.channels
        ]
        waves = [wave for r in recordings for wave in r.channels]
        speech = [self._hears_speech(wave, how.threshold) for wave in waves]
        voiced = [place for place, there_is in enumerate(speech) if there_is]
        decoded = self._decode(
            [waves[place] for place in voiced],
            [num_talkers[owners[place]] for place in voiced],
            how.batch_seconds,
            progress,
        )
        found = dict(zip(voiced, decoded))
        heard: List[List[Transcript]] = [[] for _ in recordings]
        for place, owner in enumerate(owners):
            heard[owner].append(
                self._transcript(
                    recordings[owner],
                    len(waves[place]) / self.rate,
                    found.get(place),
                    self._origin(num_talkers[owner], recordings[owner].channel, how),
                )
            )
        return [t[0] if len(t) == 1 else join_channels(t) for t in heard]

    def _hears_speech(self, wave: np.ndarray, threshold: float) -> bool:
        if threshold <= 0.0 or len(wave) < SHORTEST * self.rate:
            return True
        if self._detector is None:
            self._detector = SpeechDetector(self.rate)
        return self._detector.hears_speech(wave, threshold)

    def _decode(
        self,
        waves: Sequence[np.ndarray],
        num_talkers: Sequence[Optional[int]],
        batch_seconds: float,
        progress: Progress = None,
    ) -> List[MixtureHypothesis]:
        lengths = [len(wave) / self.rate for wave in waves]
        found: Dict[int, MixtureHypothesis] = {}
        for places in batches_of_similar_length(lengths, batch_seconds):
            hypotheses = self.speech2text(
                [waves[place] for place in places],
                [num_talkers[place] for place in places],
            )
            found.update(zip(places, hypotheses))
            if progress is not None:
                progress(sum(lengths[place] for place in found), sum(lengths))
        return [found[place] for place in range(len(waves))]

    def transcribe_with_posteriors(
        self, recording: Recording, num_talkers: Optional[int] = None
    ) -> Tuple[Transcript, List[np.ndarray]]:
        """Transcribe a recording with one channel, and return the CTC's posteriors.

        Args:
            recording: As it was read.
            num_talkers: Its talker count; None: predict it.

        Returns:
            Its transcript, and for each talker the probabilities `(T, V)` of the tokens
            in `token_list`; the T frames cover the recording.

        Raises:
            UserError: the model doesn't know the talker count.
            ValueError: several channels.
        """
        (wave,) = recording.channels
        how = self.how()
        origin = self._origin(num_talkers, recording.channel, how)
        if not self._hears_speech(wave, how.threshold):
            seconds = len(wave) / self.rate
            return self._transcript(recording, seconds, None, origin), []
        self.speech2text.keep_log_probs = True
        try:
            (hypothesis,) = self.speech2text([wave], [num_talkers])
        finally:
            self.speech2text.keep_log_probs = False
        transcript = self._transcript(
            recording, len(wave) / self.rate, hypothesis, origin
        )
        posteriors = [
            talker.log_probs.exp().cpu().numpy()
            for talker in hypothesis.talkers[: transcript.num_talkers]
            if talker.log_probs is not None
        ]
        return transcript, posteriors

    def long_recording(
        self,
        waves: Waves,
        num_talkers: Optional[int],
        how: Settings,
        heard: Sequence[Tuple[int, Heard]] = (),
        keep: Callable[[int, Heard], None] = lambda channel, heard: None,
    ) -> LongRecording:
        """Transcribe a recording in windows while it is read.

        Args:
            waves: The recording.
            num_talkers: Maximum for a window; None: predict it.
            how: Settings.
            heard: See `LongRecording`.
            keep: See `LongRecording`.
        """
        self.speech2text.check_count(num_talkers)

        def decode(windows: Sequence[np.ndarray]) -> List[Transcript]:
            hypotheses = self._decode(windows, [None] * len(windows), how.batch_seconds)
            many = [
                place
                for place, hypothesis in enumerate(hypotheses)
                if num_talkers is not None and hypothesis.num_talkers > num_talkers
            ]
            again = self._decode(
                [windows[place] for place in many],
                [num_talkers] * len(many),
                how.batch_seconds,
            )
            for place, hypothesis in zip(many, again):
                hypotheses[place] = hypothesis
            return [
                self.writer.transcript(waves.name, len(window) / self.rate, hypothesis)
                for window, hypothesis in zip(windows, hypotheses)
            ]

        return LongRecording(waves, decode, how, heard, keep)

    def transcript_of_long(
        self, recording: LongRecording, num_talkers: Optional[int], how: Settings
    ) -> Transcript:
        """Return the transcript of a finished recording."""
        origin = self._origin(num_talkers, recording.waves.channel, how)
        return replace(recording.transcript(), origin=origin)

    def _origin(
        self, num_talkers: Optional[int], channel: Channel, how: Settings
    ) -> Origin:
        settings = dict(
            device=self.speech2text.device,
            dtype=str(self.speech2text.dtype).removeprefix("torch."),
            beam_size=self.speech2text.beam_size,
            num_talkers=None if num_talkers is None else int(num_talkers),
            channel=channel,
            window_seconds=how.longest,
            vad_threshold=how.threshold,
        )
        return Origin(__version__, self.name, self.revision, settings)

    def _transcript(
        self,
        recording: Recording,
        seconds: float,
        hypothesis: Optional[MixtureHypothesis],
        origin: Origin,
    ) -> Transcript:
        name, problems = recording.name, recording.warnings
        if hypothesis is None:
            return Transcript(name, round(seconds, 3), (), None, problems, origin)
        transcript = self.writer.transcript(name, seconds, hypothesis, problems)
        return replace(transcript, origin=origin)


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
