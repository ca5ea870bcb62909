"""Multi-talker ASR: one encoding, three losses.

``loss = ctc_weight * L_ctc + (1 - ctc_weight) * L_sot + count_weight * L_count``

Where all but the talker-count head is frozen, the loss is ``count_weight * L_count``.

In training the talker-count head can also learn talker activity (talker_activity.py).

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587), with serialized CTC and SOT
cross entropy both normalized per token, so that `ctc_weight` means what it says.
"""

import logging
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel

from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.flat_start import flat_start_loss
from espnet_mtasr.asr.frozen import keep_frozen_in_eval
from espnet_mtasr.asr.model_parts import check_parts, per_count
from espnet_mtasr.asr.padding import select_rows
from espnet_mtasr.asr.row_losses import NO_ROWS, RowLosses
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC
from espnet_mtasr.asr.stream_writing import stream_writing
from espnet_mtasr.asr.talker_activity import activity_loss
from espnet_mtasr.asr.talker_count_head import TalkerCountHead
from espnet_mtasr.asr.talker_targets import TalkerTargets, talker_targets
from espnet_mtasr.asr.teacher.abs_teacher import AbsTeacher
from espnet_mtasr.asr.trunk_cache import check_frozen, hash_to_ids, trunk_hash
from espnet_mtasr.dtypes import cpu_has_bfloat16
from espnet_mtasr.errors import UserError


class Streams(NamedTuple):
    """The rows of a batch that share a talker count, separated.

    Attributes:
        count: Talker count K.
        rows: `(B',)` their places in the batch.
        streams: K tensors `(B', T, E)`, first talker to begin first.
        lengths: `(B',)` frames.
    """

    count: int
    rows: torch.Tensor
    streams: List[torch.Tensor]
    lengths: torch.Tensor


class MTASRModel(AbsESPnetModel):
    """Encoder with a branch per talker count, separators, CTC, count head, teacher.

    Args:
        vocab_size: CTC tokens including the blank.
        token_list: Their names.
        encoder: Trunk and branches.
        separator: One per talker count; None if no CTC is trained (phase 1).
        ctc: One per talker count; None if `separator` is.
        teacher: Language model of the SOT loss; None in inference and if `ctc_weight`
            is 1.
        count_head: Talker-count head; None if `count_weight` is 0.
        frontend: Waveform to features; None for encoders of waveforms.
        specaug: Masks features in training.
        normalize: Normalizes features.
        ctc_weight: alpha in [0, 1], the share of the serialized CTC loss; the SOT loss
            gets the rest.
        count_weight: Factor of the talker-count loss, from 0.
        activity_weight: Factor of the talker-activity loss, from 0; above 0, the parts
            of training mixtures must be known.
        count_input: What the talker-count head reads: `trunk`, its output, or
            `features`, what its first layer reads (an ablation).
        teacher_every: In training, the teacher only reads every n-th row of a talker
            count. 2 halves its cost; the loss is still the mean over all rows,
            estimated from those.
        cpu_bfloat16: Compute losses in bfloat16 on a CPU that multiplies it in hardware
            (AMX, AVX-512 BF16), as `use_amp` does on a GPU. Other CPUs emulate it
            slowly, so they compute in float32. Weights stay in float32. Only for
            Whisper's encoder: oneDNN's bfloat16 convolutions are wrong for others, for
            example WavLM's with 16 taps.
        extract_feats_in_collect_stats: False: statistics need no model.

    Raises:
        ValueError: a weight is out of range, a part that a weight needs is missing,
            `count_input` is unknown, or `teacher_every` is below 1.
    """

    def __init__(
        self,
        vocab_size: int,
        token_list: Sequence[str],
        encoder: RoutedEncoder,
        separator: Optional[Dict[int, AbsSeparator]] = None,
        ctc: Optional[Dict[int, SerializedCTC]] = None,
        teacher: Optional[AbsTeacher] = None,
        count_head: Optional[TalkerCountHead] = None,
        frontend: Optional[AbsFrontend] = None,
        specaug: Optional[AbsSpecAug] = None,
        normalize: Optional[AbsNormalize] = None,
        ctc_weight: float = 0.7,
        count_weight: float = 1.0,
        activity_weight: float = 0.0,
        count_input: str = "trunk",
        teacher_every: int = 1,
        cpu_bfloat16: bool = False,
        extract_feats_in_collect_stats: bool = False,
    ):
        super().__init__()
        self.vocab_size = vocab_size
        self.token_list = list(token_list)
        self.talker_counts: Tuple[int, ...] = encoder.talker_counts
        self.ctc_weight = ctc_weight
        self.count_weight = count_weight
        self.activity_weight = activity_weight
        self.count_input = count_input
        self.teacher_every = teacher_every
        self.cpu_bfloat16 = cpu_bfloat16
        self.extract_feats_in_collect_stats = extract_feats_in_collect_stats
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
        self.separator = per_count(separator, self.talker_counts, "separator")
        self.ctc = per_count(ctc, self.talker_counts, "ctc")
        self.count_head = count_head
        self.teacher = teacher
        self._trunk_hash: Optional[torch.Tensor] = None
        check_parts(self)
        if cpu_bfloat16 and not cpu_has_bfloat16():
            logging.info("cpu_bfloat16: not in this CPU's hardware; using float32")
            self.cpu_bfloat16 = False

    def train(self, mode: bool = True) -> "MTASRModel":
        """Set the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self)
        return self

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **streams: torch.Tensor,
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor], torch.Tensor]:
        """Return the loss of a batch; talker counts may be mixed.

        Args:
            speech: `(B, N)` samples; with `trunk_hash`, cached outputs of the trunk
                `(B, T, D)`.
            speech_lengths: `(B,)`.
            text: `(B, L)` SOT transcript, ids of the teacher.
            text_lengths: `(B,)`.
            streams: `text_spk1` ... `text_spkK` `(B, L_k)`, CTC ids of each talker, and
                `text_spk1_lengths` ... `(B,)`, 0 for a talker who isn't there;
                `trunk_hash` `(B, 2)`, see trunk_cache.py; for a flat start its share
                of the CTC loss `flat_start` `(B, 1)` and the tokens' times
                `text_spk1_times` ... `(B, L_k, 2)`, see flat_start.py; for the talker-
                activity loss `talker_times` `(B, M, N, 2)`, see talker_activity.py.

        Returns:
            Mean loss over the utterances that can be aligned, statistics, and the
            number of those utterances (the weight). If none are left, loss, gradient
            and statistics are 0, and the weight is `NO_ROWS`. For utterances with K
            talkers, the statistics have `share_Kspk`, their share of the weight, and
            `NAME_Kspk_part`, their part of the mean `NAME`; the quotient is their mean.

        Raises:
            ValueError: `ctc_weight` is below 1 without a teacher, or the model doesn't
                know a talker count.
            UserError: see `restore_trunk`.
        """
        inputs = (speech, speech_lengths, text, text_lengths)
        if self.cpu_bfloat16 and speech.device.type == "cpu":
            with torch.autocast("cpu", torch.bfloat16):
                return self._losses(*inputs, **streams)
        return self._losses(*inputs, **streams)

    def _losses(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **streams: torch.Tensor,
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor], torch.Tensor]:
        """See `forward`."""
        only_counts = self._learns_only_counts()
        ctc_weight = 0.0 if only_counts else self.ctc_weight
        sot_weight = 0.0 if only_counts else 1.0 - self.ctc_weight
        if sot_weight > 0.0 and self.teacher is None:
            raise ValueError(f"ctc_weight {self.ctc_weight} needs a teacher")
        targets = talker_targets(streams, self.talker_counts)
        if "trunk_hash" in streams:
            trunk = self.restore_trunk(speech, speech_lengths, streams["trunk_hash"])
        else:
            trunk = self.encode_trunk(speech, speech_lengths)
        writes = ctc_weight > 0.0 and not self.training
        rows = RowLosses(targets.counts, len(targets.tokens) if writes else 0)
        if self.count_weight > 0.0:
            self._count(rows, trunk, targets.counts, streams.get("talker_times"))
        if only_counts:
            rows.kept = trunk.lengths > 0
        for count in () if only_counts else self.talker_counts:
            at = (targets.counts == count).nonzero(as_tuple=True)[0]
            if len(at) == 0:
                continue
            hidden, lengths = self.encoder.encode_branch(trunk, count, at)
            wanted = targets.of(count, at)
            rows.kept[at] = (lengths > 0) & SerializedCTC.alignable(
                lengths, wanted.tokens, wanted.lengths
            )
            if ctc_weight > 0.0:
                self._write(rows, at, hidden, lengths, wanted, streams)
            if sot_weight > 0.0:
                self._teach(rows, at, hidden, lengths, text[at], text_lengths[at])
        loss, stats, weight = rows.reduce(
            self.talker_counts,
            ctc_weight,
            sot_weight,
            self.count_weight,
            self.activity_weight if "talker_times" in streams else 0.0,
        )
        if weight == 0:
            # Every rank must run a backward pass, even one without rows to learn from.
            loss = next(p for p in self.parameters() if p.requires_grad).sum() * 0.0
        return force_gatherable((loss, stats, max(weight, NO_ROWS)), loss.device)

    def _learns_only_counts(self) -> bool:
        """Whether the talker-count head is the only part that isn't frozen."""
        return {
            name.split(".")[0] for name, p in self.named_parameters() if p.requires_grad
        } == {"count_head"}

    def _count(
        self,
        rows: RowLosses,
        trunk: TrunkOutput,
        counts: torch.Tensor,
        talker_times: Optional[torch.Tensor],
    ) -> None:
        """Put the talker-count head's losses into `rows`."""
        if self.activity_weight > 0.0 and talker_times is not None:
            logits, activity = self.count_head.with_activity(
                self._count_reads(trunk), trunk.lengths
            )
            rows.activity = activity_loss(activity, trunk.lengths, talker_times)
        else:
            logits = self._count_logits(trunk)
        known = torch.tensor(self.talker_counts, device=counts.device)
        labels = torch.searchsorted(known, counts)
        rows.count = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        rows.count_correct = (logits.argmax(-1) == labels).float()

    def _write(
        self,
        rows: RowLosses,
        at: torch.Tensor,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        targets: TalkerTargets,
        streams: Dict[str, torch.Tensor],
    ) -> None:
        """Put the CTC losses of one talker count into `rows` at the places `at`."""
        count = len(targets.tokens)
        separated = self.separator[str(count)](hidden, lengths)
        heads = self.ctc[str(count)]
        ctc = heads(separated, lengths, targets.tokens, targets.lengths)
        rows.ctc = rows.ctc.index_copy(0, at, ctc)
        if not self.training or "flat_start" in streams:
            with torch.autocast(lengths.device.type, enabled=False):
                log_probs = heads.log_probs(separated)
        if not self.training:
            writing = stream_writing(log_probs, lengths, self.token_list)
            rows.put_writing(at, writing)
        if "flat_start" in streams:
            times = [streams[f"text_spk{k}_times"][at] for k in range(1, count + 1)]
            placed = flat_start_loss(
                log_probs, lengths, targets.tokens, targets.lengths, times
            )
            ctc = torch.lerp(ctc, placed, streams["flat_start"][at, 0])
        rows.ctc_for_training = rows.ctc_for_training.index_copy(0, at, ctc)

    def _teach(
        self,
        rows: RowLosses,
        at: torch.Tensor,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> None:
        """Put the teacher's losses into `rows` at the places `at` `(B')`.

        Rows that it doesn't read get the mean of those that it reads, so the loss stays
        the mean over all rows, and each talker count keeps its share.
        """
        read = torch.arange(len(at), device=at.device)
        if self.training and self.teacher_every > 1:
            kept = rows.kept[at].nonzero(as_tuple=True)[0]
            # Depends only on the batch, so a resumed training takes the same ones.
            first = int(text_lengths.sum()) % self.teacher_every
            read = kept[first % max(len(kept), 1) :: self.teacher_every]
            if len(read) == 0:
                read = torch.arange(1, device=at.device)
        taught = self.teacher(
            *select_rows(hidden, lengths, read), *select_rows(text, text_lengths, read)
        )
        mean = taught.loss.mean().expand(len(at))
        rows.sot = rows.sot.index_copy(0, at, mean.index_copy(0, read, taught.loss))
        right = taught.num_correct / taught.num_tokens
        all_right = right.mean().expand(len(at)).index_copy(0, read, right)
        rows.sot_correct[at] = all_right

    def collect_feats(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, **kwargs
    ) -> Dict[str, torch.Tensor]:
        """Return features `(B, N, F)` for ESPnet's global normalization."""
        feats, feats_lengths = self._extract_feats(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": feats_lengths}

    def _extract_feats(self, speech: torch.Tensor, speech_lengths: torch.Tensor):
        speech = speech[:, : int(speech_lengths.max())]
        if self.frontend is None:
            return speech, speech_lengths
        return self.frontend(speech, speech_lengths)

    def encode_trunk(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> TrunkOutput:
        """Run frontend, augmentation (in training), normalization and trunk."""
        with torch.autocast(speech.device.type, enabled=False):
            feats, lengths = self._extract_feats(speech, speech_lengths)
            if self.specaug is not None and self.training:
                feats, lengths = self.specaug(feats, lengths)
            if self.normalize is not None:
                feats, lengths = self.normalize(feats, lengths)
        return self.encoder.encode_trunk(feats, lengths)

    def restore_trunk(
        self, hidden: torch.Tensor, lengths: torch.Tensor, hashes: torch.Tensor
    ) -> TrunkOutput:
        """Return what `encode_trunk` returned when its output was cached.

        Args:
            hidden: `(B, T, D)`.
            lengths: `(B,)`.
            hashes: `(B, 2)` hash of the trunk that made each row.

        Raises:
            UserError: it isn't the model's trunk, or this one is being trained.
        """
        check_frozen(self)
        if self._trunk_hash is None:
            self._trunk_hash = torch.from_numpy(hash_to_ids(trunk_hash(self)).copy())
        if (hashes != self._trunk_hash.to(hashes.device)).any():
            raise UserError(
                "speech: the cached outputs are those of another trunk than the "
                "model's; run cache_trunk again (stage 7 or 10) with its --init_param"
            )
        return self.encoder.restore_trunk(hidden, lengths)

    def count_talkers(self, trunk: TrunkOutput) -> torch.Tensor:
        """Return log probabilities `(B, len(talker_counts))` of the talker counts.

        Raises:
            ValueError: the model has no talker-count head.
        """
        if self.count_head is None:
            raise ValueError("the model has no talker-count head: give the counts")
        return self._count_logits(trunk).log_softmax(-1)

    def _count_logits(self, trunk: TrunkOutput) -> torch.Tensor:
        return self.count_head(self._count_reads(trunk), trunk.lengths)

    def _count_reads(self, trunk: TrunkOutput) -> torch.Tensor:
        return trunk.hidden if self.count_input == "trunk" else trunk.features

    def separate(self, trunk: TrunkOutput, counts: torch.Tensor) -> List[Streams]:
        """Run each row's branch and separator.

        Args:
            trunk: Output of `encode_trunk`.
            counts: `(B,)` talker count of each row.

        Returns:
            One `Streams` per talker count in the batch.
        """
        result = []
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero(as_tuple=True)[0]
            hidden, lengths = self.encoder.encode_branch(trunk, count, rows)
            streams = self.separator[str(count)](hidden, lengths)
            result.append(Streams(count, rows, streams, lengths))
        return result
