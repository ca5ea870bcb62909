"""Base of decoding by CTC and by a language model: hypotheses, loading, batches."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Dict,
    List,
    Optional,
    Self,
    Sequence,
    Tuple,
    Union,
    overload,
)

import numpy as np
import torch

from espnet_mtasr.asr.ctc_alignment import TokenSpan
from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo.model_files import fetch_model
from espnet_mtasr.onnx_model.manifest import is_onnx
from espnet_mtasr.onnx_model.model import load_onnx
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.tasks.building import ModelBuilder
from espnet_mtasr.text.sot import join_sot
from espnet_mtasr.trust import check_settings, trusting

Audio = Union[np.ndarray, torch.Tensor]
# Hz, for models that were trained before it was in their configuration.
DEFAULT_RATE = 16000


@dataclass(frozen=True)
class TalkerHypothesis:
    """What one talker said.

    Attributes:
        text: Words.
        tokens: Tokens of the CTC or the language model, whichever decoded.
        token_ids: Their ids.
        spans: Frames of each token; None if not requested.
        posteriors: Of the CTC; None if not requested.
    """

    text: str
    tokens: List[str]
    token_ids: List[int]
    spans: Optional[List[TokenSpan]] = None
    posteriors: Optional[Posteriors] = None


# One talker's hypotheses, best first: text, tokens, their ids, and the hypothesis.
NBest = List[Tuple[str, List[str], List[int], TalkerHypothesis]]


@dataclass(frozen=True)
class MixtureHypothesis:
    """What all talkers of a mixture said, in onset order.

    Attributes:
        talkers: One entry per talker, even if it has no words.
        count_log_probs: Log probability of each talker count, after rescoring by the
            branches if there was any; None if the model has no talker-count head.
        num_frames: CTC frames of the whole mixture; None without CTC.
    """

    talkers: List[TalkerHypothesis]
    count_log_probs: Optional[Dict[int, float]]
    num_frames: Optional[int] = None

    @property
    def num_talkers(self) -> int:
        """Number of talkers in the output; with CTC, the count of the branch."""
        return len(self.talkers)

    @property
    def sot_text(self) -> str:
        """SOT transcript, with one text per talker."""
        return join_sot([talker.text for talker in self.talkers])


class AbsSpeech2Text(ABC):
    """Base of the classes that load a trained model and transcribe waveforms.

    Its arguments are those of `Speech2Text`; `with_teacher` loads the language model.

    Attributes:
        decoder: What decodes: `ctc` or `teacher`.
        beam_size: 1: greedy search.
        has_ngram: Whether an n-gram weighs in.

    Raises:
        UserError: a file is missing or doesn't fit, or `num_talkers` is unknown to the
            model.
    """

    decoder: ClassVar[str]
    beam_size: int
    has_ngram: bool = False

    def __init__(
        self,
        mtasr_train_config: Union[Path, str, None],
        mtasr_model_file: Union[Path, str, None],
        device: str,
        dtype: str,
        num_talkers: Optional[int],
        with_teacher: bool,
        trust_remote_code: bool,
    ):
        self.device = device
        self.dtype = getattr(torch, dtype)
        self.model, self.train_args = load_model(
            mtasr_train_config,
            mtasr_model_file,
            device,
            dtype,
            with_teacher,
            trust_remote_code,
        )
        # An exported model has no encoder, and computes in float32.
        encoder = getattr(self.model, "encoder", None)
        self.input_dtype = encoder and encoder.trunk.input_dtype or self.dtype
        self.num_talkers = num_talkers
        self.check_count(num_talkers)

    @property
    def rate(self) -> int:
        """The model's sampling rate in Hz."""
        return getattr(self.train_args, "sampling_rate", DEFAULT_RATE)

    def check_predicts(self) -> None:
        """Raise `UserError` if talker counts can't be predicted."""

    def check_count(self, num_talkers: Optional[int]) -> None:
        """Raise `UserError` if the model doesn't know a talker count."""
        known = self.model.talker_counts
        if num_talkers is not None and num_talkers not in known:
            raise UserError(
                f"--num_talkers {num_talkers}: the model knows {list(known)}; choose "
                "one of them or omit the option"
            )

    @classmethod
    def from_pretrained(cls, model_tag: Union[Path, str], **options: Any) -> Self:
        """Load a packed model, a training's model, or one from the hub.

        Args:
            model_tag: See `fetch_model`.
            options: Arguments of the class.

        Raises:
            UserError: there is no such model, or see the class.
        """
        return cls(**asdict(fetch_model(model_tag)), **options)

    @overload
    def __call__(
        self, speech: Audio, num_talkers: Optional[int] = None
    ) -> List[NBest]: ...

    @overload
    def __call__(
        self,
        speech: Sequence[Audio],
        num_talkers: Optional[Sequence[Optional[int]]] = None,
    ) -> List[MixtureHypothesis]: ...

    def __call__(self, speech, num_talkers=None):
        """Transcribe a waveform, as ESPnet's `Speech2Text` does, or a batch.

        Args:
            speech: A waveform `(N,)` at the model's sampling rate, or a list of them.
            num_talkers: Talker count of the waveform, or a list with one for each;
                None, for all or for one mixture, uses the constructor's setting.

        Returns:
            For a list, a hypothesis per mixture. For one waveform, the same as ESPnet
            for several talkers: for each talker a list with one tuple of text, tokens,
            their ids and a hypothesis, here a `TalkerHypothesis`. Audio shorter than
            one frame gives empty texts.

        Raises:
            UserError: an unknown talker count.
            ValueError: the numbers of talker counts and waveforms differ.
        """
        if not isinstance(speech, (np.ndarray, torch.Tensor)) or speech.ndim != 1:
            return self._batch(speech, num_talkers)
        (mixture,) = self._batch([speech], [num_talkers])
        return [[(t.text, t.tokens, t.token_ids, t)] for t in mixture.talkers]

    @torch.no_grad()
    def _batch(
        self,
        speech: Sequence[Audio],
        num_talkers: Optional[Sequence[Optional[int]]],
    ) -> List[MixtureHypothesis]:
        if num_talkers is not None and len(num_talkers) != len(speech):
            raise ValueError(f"{len(num_talkers)} counts, {len(speech)} waveforms")
        if len(speech) == 0:
            return []
        given = num_talkers or [None] * len(speech)
        wanted = [self.num_talkers if n is None else n for n in given]
        for n in wanted:
            self.check_count(n)
        waves = [
            torch.as_tensor(wave).to(self.device, self.input_dtype) for wave in speech
        ]
        lengths = torch.tensor([len(wave) for wave in waves], device=self.device)
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        return self._transcribe(
            self.model.encode_trunk(padded, lengths), wanted, lengths.tolist()
        )

    def in_batches(
        self,
        speech: Sequence[Audio],
        batch_size: int,
        num_talkers: Optional[Sequence[Optional[int]]] = None,
    ) -> List[MixtureHypothesis]:
        """Transcribe in batches of similar length, so that there is little padding.

        Args:
            speech: Waveforms `(N,)`.
            batch_size: Waveforms per batch.
            num_talkers: As in a call.

        Returns:
            A hypothesis per waveform, in the same order.

        Raises:
            UserError, ValueError: as a call.
        """
        if num_talkers is None:
            num_talkers = [None] * len(speech)
        if len(num_talkers) != len(speech):
            raise ValueError(f"{len(num_talkers)} counts, {len(speech)} waveforms")
        lengths = [len(wave) for wave in speech]
        found: Dict[int, MixtureHypothesis] = {}
        for places in batches_of_similar_length(lengths, max_items=batch_size):
            hypotheses = self(
                [speech[place] for place in places],
                [num_talkers[place] for place in places],
            )
            found.update(zip(places, hypotheses))
        return [found[place] for place in range(len(speech))]

    @abstractmethod
    def _transcribe(
        self,
        trunk: TrunkOutput,
        wanted: Sequence[Optional[int]],
        samples: Sequence[int],
    ) -> List[MixtureHypothesis]:
        """Transcribe the trunk's output.

        Args:
            trunk: Of B mixtures.
            wanted: Their talker counts; None to predict one.
            samples: Their lengths.
        """

    def _predict_counts(
        self, trunk: TrunkOutput
    ) -> Tuple[List[int], List[Dict[int, float]]]:
        """Talker counts by the talker-count head, and their log probabilities."""
        known = self.model.talker_counts
        scores = self.model.count_talkers(trunk)
        best = scores.argmax(-1).tolist()
        # Less than a frame can't be decoded: take the smallest count.
        best = [k if n > 0 else 0 for k, n in zip(best, trunk.lengths.tolist())]
        log_probs = [dict(zip(known, row)) for row in scores.tolist()]
        return [known[k] for k in best], log_probs


def check_finite(outputs: Sequence[torch.Tensor]) -> None:
    """Raise `UserError` if a model's outputs are not finite."""
    if not all(bool(output.isfinite().all()) for output in outputs):
        raise UserError(
            "the model's output is not finite: the recording's samples are too large, "
            "or half precision is too coarse; check the recording, or give --dtype "
            "float32"
        )


def load_model(
    config_file: Union[Path, str, None],
    model_file: Union[Path, str, None],
    device: str,
    dtype: str,
    with_teacher: bool,
    trust_remote_code: bool,
):
    """Return the model, by torch or onnxruntime, and its training's configuration."""
    if is_onnx(model_file):
        if with_teacher:
            raise UserError(
                f"{model_file}: an exported model has no teacher; give the packed "
                "model or the checkpoint"
            )
        model, args = load_onnx(config_file, model_file, device, dtype)
        with trusting(trust_remote_code):
            args.teacher = None
            check_settings(args)
        return model, args
    model, args = ModelBuilder.build_model_from_file(
        config_file, model_file, device, with_teacher, trust_remote_code
    )
    ends = model.encoder.trunk.ends_in_cpu_float16
    if dtype == "float16" and torch.device(device).type == "cpu" and not ends:
        raise UserError(
            "--dtype float16: this model's encoder may never finish on a CPU with it; "
            "give --dtype float32, or use a GPU"
        )
    model = model.to(dtype=getattr(torch, dtype)).eval()
    # Both take float32: probabilities need the precision.
    for part in (model.ctc, model.count_head):
        if part is not None:
            part.float()
    return model, args
