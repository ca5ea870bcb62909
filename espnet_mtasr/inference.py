"""Transcribe mixtures with a trained model: encoder, separator, CTC; no language model.

The talker count that the talker-count head predicts picks the branch, unless it is
given (Shi et al., Interspeech 2026, arXiv 2603.10587); where the head is unsure, the
branches may have a say (asr/routing.py).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from espnet2.text.token_id_converter import TokenIDConverter

from espnet_mtasr.asr.ctc_alignment import TokenSpan, align_tokens
from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search
from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.asr.padding import select_rows
from espnet_mtasr.asr.routing import Routing, branch_entropies
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside
from espnet_mtasr.model_zoo.model_files import ROUTING
from espnet_mtasr.onnx_model.manifest import is_onnx
from espnet_mtasr.onnx_model.model import load_onnx
from espnet_mtasr.tasks.building import ModelBuilder
from espnet_mtasr.text.sot import join_sot
from espnet_mtasr.text.tokenizer import build_tokenizer
from espnet_mtasr.trust import check_settings, trusting

Audio = Union[np.ndarray, torch.Tensor]


@dataclass(frozen=True)
class TalkerHypothesis:
    """What one talker said.

    Attributes:
        text: Words.
        tokens: Tokens of the CTC, or of the language model that decoded.
        token_ids: Their ids.
        spans: Where each token was heard; None if that was not asked for.
    """

    text: str
    tokens: List[str]
    token_ids: List[int]
    spans: Optional[List[TokenSpan]] = None


@dataclass(frozen=True)
class MixtureHypothesis:
    """What all talkers of a mixture said, first to begin first.

    Attributes:
        talkers: One entry per talker; words may be missing, entries not.
        count_log_probs: Log probability of each talker count, rescored where the
            branches had a say; None if the model has no talker-count head.
        num_frames: Frames that the CTC saw, over the whole mixture; None if there is no
            CTC.
    """

    talkers: List[TalkerHypothesis]
    count_log_probs: Optional[Dict[int, float]]
    num_frames: Optional[int] = None

    @property
    def num_talkers(self) -> int:
        """Talkers that were written: by CTC, as many as the branch is for."""
        return len(self.talkers)

    @property
    def sot_text(self) -> str:
        """SOT transcript; as many texts as talkers."""
        return join_sot([talker.text for talker in self.talkers])


class AbsSpeech2Text(ABC):
    """Base of what loads a trained model and transcribes waveforms.

    Its arguments are those of `Speech2Text`; `with_teacher` loads the language model.

    Raises:
        UserError: a file is missing or doesn't fit, or `num_talkers` is unknown to the
            model.
    """

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
        self.model, self.train_args = _load(
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

    def check_count(self, num_talkers: Optional[int]) -> None:
        """Raise `UserError` for a talker count that the model doesn't know."""
        known = self.model.talker_counts
        if num_talkers is not None and num_talkers not in known:
            raise UserError(
                f"--num_talkers {num_talkers}: the model knows {list(known)}; "
                f"choose one of them or leave the option out"
            )

    @torch.no_grad()
    def __call__(
        self,
        speech: Sequence[Audio],
        num_talkers: Optional[Sequence[Optional[int]]] = None,
    ) -> List[MixtureHypothesis]:
        """Transcribe a batch.

        Args:
            speech: Waveforms `(N,)` at the rate the model was trained with.
            num_talkers: Talker count of each mixture; None, as a whole or for a
                mixture, leaves it to the constructor's setting.

        Returns:
            A hypothesis per mixture. Audio shorter than one frame gives empty texts.

        Raises:
            UserError: an unknown talker count.
            ValueError: not as many talker counts as waveforms.
        """
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
        """Transcribe in batches of waveforms of like length, so that padding is small.

        Args:
            speech: Waveforms `(N,)`.
            batch_size: Waveforms that are transcribed together.
            num_talkers: As in a call.

        Returns:
            A hypothesis per waveform, in their order.

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
        """Transcribe what the trunk has encoded.

        Args:
            trunk: Of B mixtures.
            wanted: Their talker counts, None where it is to be predicted.
            samples: Their lengths.
        """

    def _predict_counts(
        self, trunk: TrunkOutput
    ) -> Tuple[List[int], List[Dict[int, float]]]:
        """Talker counts by the talker-count head, and their log probabilities."""
        known = self.model.talker_counts
        scores = self.model.count_talkers(trunk)
        best = scores.argmax(-1).tolist()
        # Nothing can be heard in less than a frame: the smallest count says least.
        best = [k if n > 0 else 0 for k, n in zip(best, trunk.lengths.tolist())]
        log_probs = [dict(zip(known, row)) for row in scores.tolist()]
        return [known[k] for k in best], log_probs


def _load(
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
                f"{model_file}: an exported model has no language model; "
                f"name the checkpoint of phase 1"
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
            "--dtype float16: this model's encoder may never end with it on a CPU; "
            "give --dtype float32, or use a GPU"
        )
    model = model.to(dtype=getattr(torch, dtype)).eval()
    # Both take float32: probabilities need the digits.
    for part in (model.ctc, model.count_head):
        if part is not None:
            part.float()
    return model, args


def _check_finite(streams: Streams) -> None:
    """Raise `UserError` for what no text can be read from."""
    if not all(bool(stream.isfinite().all()) for stream in streams.streams):
        raise UserError(
            "the model's output is not finite: the recording's samples are too large "
            "for it, or half precision is too coarse; check the recording, or give "
            "--dtype float32"
        )


class Speech2Text(AbsSpeech2Text):
    """Load a trained model and transcribe waveforms by CTC.

    Args:
        mtasr_train_config: config.yaml of the training; None: beside the model file.
        mtasr_model_file: Checkpoint, or onnx.json of an exported model, which
            onnxruntime decodes with, on the CPU.
        device: `cpu`, `cuda`, `cuda:N`.
        dtype: float32, bfloat16 or float16.
        beam_size: 1: greedy search; more: prefix beam search.
        num_talkers: Talker count of all mixtures; None predicts it.
        align: Tell of each token where it was heard.
        rescore: Where a routing.json lies beside the model file, let it pick the branch
            for mixtures of whose talker count the head is unsure.
        trust_remote_code: Let the configuration name any class, and run its code.

    Raises:
        UserError: a file is missing or doesn't fit, the model has no CTC, or
            `num_talkers` is unknown to the model or missing where it can't predict.
    """

    def __init__(
        self,
        mtasr_train_config: Union[Path, str, None] = None,
        mtasr_model_file: Union[Path, str, None] = None,
        device: str = "cpu",
        dtype: str = "float32",
        beam_size: int = 1,
        num_talkers: Optional[int] = None,
        align: bool = False,
        rescore: bool = True,
        trust_remote_code: bool = False,
    ):
        super().__init__(
            mtasr_train_config,
            mtasr_model_file,
            device,
            dtype,
            num_talkers,
            with_teacher=False,
            trust_remote_code=trust_remote_code,
        )
        if self.model.ctc is None:
            raise UserError(
                f"{mtasr_model_file}: has no CTC heads (a phase-1 model?); "
                f"decode with a phase-2 model, or with decoder: llm"
            )
        self.beam_size = beam_size
        self.align = align
        self.routing = self._read_routing(mtasr_model_file) if rescore else None
        args = self.train_args
        if args.bpemodel is not None:
            folder = Path(mtasr_train_config or mtasr_model_file).absolute().parent
            args.bpemodel = find_beside(args.bpemodel, folder)
        self.tokenizer = build_tokenizer(
            args.token_type, args.bpemodel, self.model.token_list
        )
        self.converter = TokenIDConverter(token_list=self.model.token_list)

    def _read_routing(self, model_file: Union[Path, str, None]) -> Optional[Routing]:
        """What was fitted with this very checkpoint, if it is of use."""
        path = model_file and Path(model_file).with_name(ROUTING)
        if not path or not path.is_file() or self.model.count_head is None:
            return None
        routing = Routing.read(path)
        known = self.model.talker_counts
        if routing.talker_counts != tuple(known):
            raise UserError(
                f"{path}: is for {list(routing.talker_counts)} talkers, the model for "
                f"{list(known)}; write it anew, or remove it"
            )
        # Packing changes the suffix.
        same = Path(routing.model).stem == Path(model_file).stem
        its_own = is_onnx(model_file) or same
        return routing if its_own and routing.unsure_below > 0.0 else None

    def check_predicts(self) -> None:
        """Raise `UserError` if the model can't tell how many talkers there are."""
        known = self.model.talker_counts
        if self.model.count_head is None and len(known) > 1:
            raise UserError(
                f"the model has no talker-count head: give --num_talkers, one of "
                f"{list(known)}"
            )

    def _transcribe(
        self,
        trunk: TrunkOutput,
        wanted: Sequence[Optional[int]],
        samples: Sequence[int],
    ) -> List[MixtureHypothesis]:
        counts, log_probs = self._counts(trunk, wanted)
        talkers: List[List[TalkerHypothesis]] = [[] for _ in wanted]
        frames = [0] * len(wanted)
        for streams in self.model.separate(trunk, counts):
            _check_finite(streams)
            ids = self._search(streams)
            spans = self._spans(streams, ids)
            lengths = streams.lengths.tolist()
            for at, row in enumerate(streams.rows.tolist()):
                talkers[row] = list(map(self._hypothesis, ids[at], spans[at]))
                frames[row] = lengths[at]
        return list(map(MixtureHypothesis, talkers, log_probs, frames))

    def _counts(
        self, trunk: TrunkOutput, wanted: Sequence[Optional[int]]
    ) -> Tuple[torch.Tensor, Sequence[Optional[Dict[int, float]]]]:
        """Talker counts `(B,)`, and log probabilities where they can be had."""
        log_probs: Sequence[Optional[Dict[int, float]]]
        if self.model.count_head is None:
            if None in wanted:
                self.check_predicts()
            known = self.model.talker_counts
            predicted, log_probs = [known[0]] * len(wanted), [None] * len(wanted)
        else:
            predicted, log_probs = self._predict_counts(trunk)
            if self.routing is not None:
                self._rescore(self.routing, trunk, wanted, predicted, log_probs)
        picked = [p if n is None else n for p, n in zip(predicted, wanted)]
        return torch.tensor(picked, device=self.device), log_probs

    def _rescore(
        self,
        routing: Routing,
        trunk: TrunkOutput,
        wanted: Sequence[Optional[int]],
        predicted: List[int],
        log_probs: List[Dict[int, float]],
    ) -> None:
        """Predict anew, in place, where the talker-count head is unsure."""
        bound = np.log(routing.unsure_below)
        rows = [
            row
            for row, n in enumerate(trunk.lengths.tolist())
            if n > 0 and wanted[row] is None and max(log_probs[row].values()) < bound
        ]
        if not rows:
            return
        hidden, lengths = select_rows(
            trunk.hidden, trunk.lengths, torch.tensor(rows, device=self.device)
        )
        some = trunk._replace(hidden=hidden, lengths=lengths)
        known = self.model.talker_counts
        of_head = torch.tensor([[log_probs[row][n] for n in known] for row in rows])
        scores = routing.scores(of_head, branch_entropies(self.model, some).cpu())
        for row, of_row in zip(rows, scores.tolist()):
            log_probs[row] = dict(zip(known, of_row))
            predicted[row] = known[int(np.argmax(of_row))]

    def _search(self, streams: Streams) -> List[List[List[int]]]:
        """For each row, the token ids of each talker."""
        ctc = self.model.ctc[str(streams.count)]
        if self.beam_size <= 1:
            return ctc.greedy_search(streams.streams, streams.lengths)
        log_probs = [p.cpu().numpy() for p in ctc.log_probs(streams.streams)]
        return [
            [prefix_beam_search(p[row, :n], self.beam_size) for p in log_probs]
            for row, n in enumerate(streams.lengths.tolist())
        ]

    def _spans(
        self, streams: Streams, ids: List[List[List[int]]]
    ) -> List[List[Optional[List[TokenSpan]]]]:
        """For each row, the spans of each talker's tokens."""
        if not self.align:
            return [[None] * streams.count for _ in ids]
        log_probs = self.model.ctc[str(streams.count)].log_probs(streams.streams)
        return [
            [align_tokens(p[row, :n], i) for p, i in zip(log_probs, ids[row])]
            for row, n in enumerate(streams.lengths.tolist())
        ]

    def _hypothesis(
        self, ids: List[int], spans: Optional[List[TokenSpan]]
    ) -> TalkerHypothesis:
        tokens = self.converter.ids2tokens(ids)
        return TalkerHypothesis(self.tokenizer.tokens2text(tokens), tokens, ids, spans)
