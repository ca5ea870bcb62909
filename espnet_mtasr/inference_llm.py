"""Transcribe mixtures by the teacher's language model instead of CTC.

The baseline "LLM SOT decoder" of Shi et al., Interspeech 2026 (arXiv 2603.10587): a
branch's output is the prefix, and the LM writes the SOT transcript token by token. The
number of `<sc>` gives the number of talkers. Much slower than CTC.

A phase-1 model has no talker-count head to pick the branch. The LM then decodes from
every branch, and the transcript with the highest probability per token wins: the LM was
trained on each branch with mixtures of its count, and is less certain when it reads the
wrong branch. Averaging over tokens keeps the shorter transcript from winning by its
length. The decoding time, and so the real-time factor, includes all branches.
"""

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

import torch

from espnet_mtasr.abs_inference import (
    AbsSpeech2Text,
    MixtureHypothesis,
    TalkerHypothesis,
    check_finite,
)
from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.asr.teacher.abs_teacher import Transcript
from espnet_mtasr.errors import UserError


class ScoredTranscript(NamedTuple):
    """A transcript and its log probability per token, end of sentence included."""

    transcript: Transcript
    score: float


def more_probable(candidates: Sequence[ScoredTranscript]) -> Transcript:
    """Return the transcript with the highest score; among equals, the first.

    A transcript that ended comes before one that was cut off at its limit: a language
    model that repeats itself gets more certain with each repetition.
    """
    best = max(candidates, key=lambda c: (c.transcript.ended, c.score))
    return best.transcript


class Speech2TextLLM(AbsSpeech2Text):
    """Load a trained model with its teacher and let the teacher transcribe.

    The LM reads the branch of the given talker count, or else the count head's choice;
    for a model without that head, see the top of this file. A hypothesis has as many
    talkers as the LM wrote, whichever branch it read.

    Args:
        mtasr_train_config: config.yaml of the training; None: beside the model file.
        mtasr_model_file: Checkpoint, whose LM is read from where the training read it
            (stage 6's folder); or a packed model's, which has the LM.
        device: `cpu`, `cuda`, `cuda:N`.
        dtype: float32, bfloat16 or float16; an LM in half precision is not converted.
        beam_size: 1: greedy search; more: beam search.
        num_talkers: Picks the branch for all mixtures; None: predict it.
        fs: Sampling rate in Hz; None: the model's.
        maxlen_ratio: Maximum number of tokens per second of audio.
        length_penalty: See `AbsTeacher.generate`.
        guard_loops: Don't let it repeat a passage again and again, see `LoopGuard`. The
            paper's baseline lets it; Whisper is always guarded.
        trust_remote_code: As in `Speech2Text`.

    Raises:
        UserError: a file is missing or doesn't fit, the model has no teacher, or
            `num_talkers` is unknown to the model.
    """

    decoder = "teacher"

    def __init__(
        self,
        mtasr_train_config: Union[Path, str, None] = None,
        mtasr_model_file: Union[Path, str, None] = None,
        device: str = "cpu",
        dtype: str = "float32",
        beam_size: int = 1,
        num_talkers: Optional[int] = None,
        fs: Optional[int] = None,
        maxlen_ratio: float = 25.0,
        length_penalty: float = 1.0,
        guard_loops: bool = False,
        trust_remote_code: bool = False,
    ):
        super().__init__(
            mtasr_train_config,
            mtasr_model_file,
            device,
            dtype,
            num_talkers,
            with_teacher=True,
            trust_remote_code=trust_remote_code,
        )
        if self.model.teacher is None:
            raise UserError(
                f"{mtasr_model_file}: has no teacher; decode it by CTC, or give one "
                "that was packed with --pack_teacher true, or phase 1's"
            )
        # A frozen teacher uses folded LoRA.
        self.model.requires_grad_(False).eval()
        self.beam_size = beam_size
        self.fs = self.rate if fs is None else fs
        self.maxlen_ratio = maxlen_ratio
        self.length_penalty = length_penalty
        if guard_loops:
            self.model.teacher.guards_loops = True

    def _transcribe(
        self,
        trunk: TrunkOutput,
        wanted: Sequence[Optional[int]],
        samples: Sequence[int],
    ) -> List[MixtureHypothesis]:
        known = self.model.talker_counts
        log_probs: Sequence[Optional[Dict[int, float]]] = [None] * len(wanted)
        if self.model.count_head is not None:
            predicted, log_probs = self._predict_counts(trunk)
            wanted = [p if n is None else n for p, n in zip(predicted, wanted)]
        candidates: List[List[ScoredTranscript]] = [[] for _ in wanted]
        for count in known:
            rows = [k for k, n in enumerate(wanted) if n in (count, None)]
            if rows:
                compared = len(known) > 1 and any(wanted[k] is None for k in rows)
                written = self._write(trunk, count, rows, samples, compared)
                for row, candidate in zip(rows, written):
                    candidates[row].append(candidate)
        return [
            MixtureHypothesis(self._talkers(more_probable(c)), p)
            for c, p in zip(candidates, log_probs)
        ]

    def _write(
        self,
        trunk: TrunkOutput,
        count: int,
        rows: List[int],
        samples: Sequence[int],
        compared: bool,
    ) -> List[ScoredTranscript]:
        """Decode from one branch; scores are 0 unless they are `compared`."""
        at = torch.tensor(rows, device=trunk.hidden.device)
        hidden, lengths = self.model.encoder.encode_branch(trunk, count, at)
        check_finite([hidden])
        frames = lengths.tolist()
        limits = [
            max(1, int(samples[row] / self.fs * self.maxlen_ratio)) if n > 0 else 0
            for row, n in zip(rows, frames)
        ]
        teacher = self.model.teacher
        written = teacher.generate(
            hidden, lengths, limits, self.beam_size, self.length_penalty
        )
        scores = [0.0] * len(rows)
        if compared:
            ids = [torch.tensor(t.ids, dtype=torch.long) for t in written]
            text = torch.nn.utils.rnn.pad_sequence(
                ids, batch_first=True, padding_value=-1
            ).to(hidden.device)
            text_lengths = torch.tensor([len(i) for i in ids], device=hidden.device)
            scores = (-teacher(hidden, lengths, text, text_lengths).loss).tolist()
        return [ScoredTranscript(t, s) for t, s in zip(written, scores)]

    def _talkers(self, transcript: Transcript) -> List[TalkerHypothesis]:
        tokenizer = self.model.teacher.tokenizer
        return [
            TalkerHypothesis(tokenizer.decode_talker(ids), tokenizer.tokens(ids), ids)
            for ids in tokenizer.split(transcript.ids)
        ]
