"""Transcribe mixtures with a trained model: encoder, separator, CTC; no LLM.

The talker-count head's prediction picks the branch, unless the count is given (Shi et
al., Interspeech 2026, arXiv 2603.10587). If the head is unsure, the branches' outputs
can help to choose (asr/routing.py).
"""

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from espnet2.text.token_id_converter import TokenIDConverter

from espnet_mtasr.abs_inference import (
    AbsSpeech2Text,
    MixtureHypothesis,
    TalkerHypothesis,
    check_finite,
)
from espnet_mtasr.asr.ctc_alignment import TokenSpan, align_tokens
from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search
from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.asr.padding import select_rows
from espnet_mtasr.asr.routing import Routing, branch_entropies
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside
from espnet_mtasr.model_zoo.model_files import NGRAM, ROUTING
from espnet_mtasr.onnx_model.manifest import is_of_checkpoint
from espnet_mtasr.scoring.posteriors import Posteriors, summarize
from espnet_mtasr.text.ngram import Fit, Ngram, NgramFusion
from espnet_mtasr.text.tokenizer import SPECIAL_TOKENS, build_tokenizer


class Speech2Text(AbsSpeech2Text):
    """Load a trained model and transcribe waveforms by CTC.

    Args:
        mtasr_train_config: config.yaml of the training; None: beside the model file.
        mtasr_model_file: Checkpoint, or onnx.json of an exported model, with which
            onnxruntime decodes on the CPU.
        device: `cpu`, `cuda`, `cuda:N`.
        dtype: float32, bfloat16 or float16.
        beam_size: 1: greedy search; more: prefix beam search.
        num_talkers: Talker count of all mixtures; None: predict it.
        align: Return the frames of each token.
        rescore: If there is a routing.json beside the model file, use it to pick the
            branch when the head is unsure of the talker count.
        ngram: The prefix beam search also uses the ngram.safetensors beside the model
            file (`espnet-mtasr fit-ngram`).
        trust_remote_code: Allow the configuration to name any class, and run its code.

    Attributes:
        keep_posteriors: Return the CTC's posteriors in hypotheses.

    Raises:
        UserError: a file is missing or doesn't fit, the model has no CTC, the model
            doesn't know `num_talkers`, or it is missing and the model can't predict it,
            or there is no n-gram, or no beam for it.
    """

    decoder = "ctc"

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
        ngram: bool = False,
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
        self.has_ngram = ngram
        self.fusions = self._read_fusions(mtasr_model_file) if ngram else {}
        self.align = align
        self.keep_posteriors = False
        self.routing = self._read_routing(mtasr_model_file) if rescore else None
        args = self.train_args
        if args.bpemodel is not None:
            folder = Path(mtasr_train_config or mtasr_model_file).absolute().parent
            args.bpemodel = find_beside(args.bpemodel, folder)
        self.tokenizer = build_tokenizer(
            args.token_type, args.bpemodel, self.model.token_list
        )
        self.converter = TokenIDConverter(token_list=self.model.token_list)
        self.special_ids = {
            number
            for number, token in enumerate(self.model.token_list)
            if token in SPECIAL_TOKENS
        }

    def _read_fusions(
        self, model_file: Union[Path, str, None]
    ) -> Dict[int, NgramFusion]:
        model_file = Path(model_file or "")
        path = model_file.with_name(NGRAM)
        if self.beam_size <= 1:
            raise UserError(f"{path}: --ngram true needs --beam_size 2 or more")
        found = Ngram.read(path)
        found.check_tokens(self.model.token_list, path)
        fit = found.fit
        if fit is None or not is_of_checkpoint(fit.model, model_file):
            raise UserError(
                f"{path}: was not fitted to {model_file.name}; run espnet-mtasr "
                "fit-ngram"
            )
        return {n: NgramFusion(found, *pair) for n, pair in fit.weights.items()}

    def _read_routing(self, model_file: Union[Path, str, None]) -> Optional[Routing]:
        """Routing that was fitted with this checkpoint, if it is used."""
        path = model_file and Path(model_file).with_name(ROUTING)
        if not path or not path.is_file() or self.model.count_head is None:
            return None
        routing = Routing.read(path)
        known = self.model.talker_counts
        if routing.talker_counts != tuple(known):
            raise UserError(
                f"{path}: is for {list(routing.talker_counts)} talkers, the model for "
                f"{list(known)}; fit it again, or remove it"
            )
        its_own = is_of_checkpoint(routing.model, model_file)
        return routing if its_own and routing.decides else None

    def check_predicts(self) -> None:
        """Raise `UserError` if the model can't predict talker counts."""
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
            rows, lengths = streams.rows.tolist(), streams.lengths.tolist()
            for row, length, found in zip(rows, lengths, self.search(streams)):
                talkers[row], frames[row] = found, length
        return list(map(MixtureHypothesis, talkers, log_probs, frames))

    def search(self, streams: Streams) -> List[List[TalkerHypothesis]]:
        """Return the talkers' hypotheses for each row of a branch's streams.

        Raises:
            UserError: streams aren't finite.
        """
        check_finite(streams.streams)
        return [
            list(map(self._hypothesis, ids, log_probs))
            for ids, log_probs in zip(self._search(streams), self._of_ctc(streams))
        ]

    def _counts(
        self, trunk: TrunkOutput, wanted: Sequence[Optional[int]]
    ) -> Tuple[torch.Tensor, Sequence[Optional[Dict[int, float]]]]:
        """Talker counts `(B,)`, and log probabilities if available."""
        log_probs: Sequence[Optional[Dict[int, float]]]
        if self.model.count_head is None:
            if None in wanted:
                self.check_predicts()
            known = self.model.talker_counts
            predicted, log_probs = [known[0]] * len(wanted), [None] * len(wanted)
        else:
            predicted, log_probs = self._predict_counts(trunk)
            if self.routing is not None:
                self._rescore(self.routing, trunk, wanted, log_probs)
                self._pick(self.routing, trunk, predicted, log_probs)
        picked = [p if n is None else n for p, n in zip(predicted, wanted)]
        return torch.tensor(picked, device=self.device), log_probs

    def _rescore(
        self,
        routing: Routing,
        trunk: TrunkOutput,
        wanted: Sequence[Optional[int]],
        log_probs: List[Dict[int, float]],
    ) -> None:
        """Let the branches help, in place, where the talker-count head is unsure."""
        bound = routing.unsure_below
        rows = [
            row
            for row, n in enumerate(trunk.lengths.tolist())
            if n > 0
            and wanted[row] is None
            and np.exp(max(log_probs[row].values())) < bound
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

    def _pick(
        self,
        routing: Routing,
        trunk: TrunkOutput,
        predicted: List[int],
        log_probs: List[Dict[int, float]],
    ) -> None:
        """Pick the counts again, in place."""
        known = self.model.talker_counts
        picked = routing.pick(
            torch.tensor([[row[n] for n in known] for row in log_probs])
        )
        for row, n in enumerate(trunk.lengths.tolist()):
            if n > 0:
                predicted[row] = known[int(picked[row])]

    def _search(self, streams: Streams) -> List[List[List[int]]]:
        """For each row, the token ids of each talker."""
        ctc = self.model.ctc[str(streams.count)]
        if self.beam_size <= 1:
            return ctc.greedy_search(streams.streams, streams.lengths)
        log_probs = [p.cpu().numpy() for p in ctc.log_probs(streams.streams)]
        fusion = self.fusions.get(streams.count)
        return [
            [
                prefix_beam_search(p[row, :n], self.beam_size, fusion=fusion)
                for p in log_probs
            ]
            for row, n in enumerate(streams.lengths.tolist())
        ]

    def _of_ctc(self, streams: Streams) -> List[List[Optional[torch.Tensor]]]:
        """For each row, log probabilities `(T, V)` of each talker, if needed."""
        lengths = streams.lengths.tolist()
        if not self.align and not self.keep_posteriors:
            return [[None] * streams.count for _ in lengths]
        log_probs = self.model.ctc[str(streams.count)].log_probs(streams.streams)
        return [[p[row, :n] for p in log_probs] for row, n in enumerate(lengths)]

    def _hypothesis(
        self, ids: List[int], log_probs: Optional[torch.Tensor]
    ) -> TalkerHypothesis:
        spans: Optional[List[TokenSpan]] = None
        if self.align and log_probs is not None:
            spans = align_tokens(log_probs, ids)
        # After the search: alignment needs its tokens.
        places = [k for k, i in enumerate(ids) if i not in self.special_ids]
        ids = [ids[k] for k in places]
        spans = spans and [spans[k] for k in places]
        tokens = self.converter.ids2tokens(ids)
        posteriors: Optional[Posteriors] = None
        if self.keep_posteriors and log_probs is not None:
            posteriors = self._posteriors(log_probs)
        text = self.tokenizer.tokens2text(tokens)
        return TalkerHypothesis(text, tokens, ids, spans, posteriors)

    def _posteriors(self, log_probs: torch.Tensor) -> Posteriors:
        best, blank = log_probs[:, 1:].amax(1).exp(), log_probs[:, 0].exp()
        found = (best, blank, log_probs.argmax(1))
        return summarize(*(x.cpu().numpy() for x in found), self.model.token_list)


def fit_beside(model_file: Path) -> Optional[Fit]:
    """Return how the n-gram beside a model is used; None: there is none that helps it.

    Raises:
        UserError: the n-gram's file is damaged.
    """
    path = model_file.with_name(NGRAM)
    fit = Ngram.read_fit(path) if path.is_file() else None
    is_used = fit and fit.helps() and is_of_checkpoint(fit.model, model_file)
    return fit if is_used else None


def search_options(model_file: Path, beam_size: Optional[int] = None) -> Dict[str, Any]:
    """Return the options `beam_size` and `ngram` that fit a model.

    Args:
        model_file: Checkpoint or onnx.json.
        beam_size: 1: greedy search; None: that of the n-gram beside the model, without
            one 1.

    Raises:
        UserError: see `fit_beside`.
    """
    fit = fit_beside(model_file) if beam_size != 1 else None
    default = 1 if fit is None else fit.beam_size
    return dict(beam_size=beam_size or default, ngram=fit is not None)
