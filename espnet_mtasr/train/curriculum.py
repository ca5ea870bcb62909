"""A curriculum: which talker counts are trained, and from which epoch on.

One training with one learning-rate schedule learns one talker, then two, then three. A
later talker count starts from the next lower one: its branch, separator and CTC heads
are copied when its first epoch begins.
"""

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory

from espnet_mtasr.errors import UserError
from espnet_mtasr.train.batches import cut_for_ranks

# Parts that each talker count has.
PARTS = ("branch", "separator", "ctc")
NUMBER = re.compile(r"\d+")
EXAMPLE = (
    "[{from_epoch: 1, shares: {1: 1.0}}, {from_epoch: 9, shares: {1: 0.2, 2: 0.8}}]"
)


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes:
        from_epoch: Its first epoch.
        shares: Talker count to its share of an epoch's audio; they sum to 1.
        batches: Its epochs have the audio of this many full batches; None: of
            `num_iters_per_epoch`.
        copy: Which of `PARTS` new talker counts copy from lower ones.
    """

    from_epoch: int
    shares: Mapping[int, float]
    batches: Optional[int] = None
    copy: Sequence[str] = PARTS


class Curriculum:
    """The stages of a training.

    Args:
        conf: `from_epoch`, `shares` and optionally `batches` and `copy` of each stage;
            see `Stage`.
        talker_counts: Of the model.

    Raises:
        UserError: `conf` has another form, its epochs don't ascend from 1, shares don't
            sum to 1, or a talker count is unknown or never used.
    """

    def __init__(self, conf: Any, talker_counts: Sequence[int]):
        if not isinstance(conf, (list, tuple)) or not conf:
            raise UserError(f"curriculum: {conf}: give a list of stages, as {EXAMPLE}")
        self.stages = [_read_stage(k, entry) for k, entry in enumerate(conf, 1)]
        epochs = [stage.from_epoch for stage in self.stages]
        if epochs[0] != 1 or sorted(set(epochs)) != epochs:
            raise UserError(
                f"curriculum: from_epoch {epochs}: begin with 1, and begin each stage "
                "later than the previous one"
            )
        heard = {count for stage in self.stages for count in stage.shares}
        if heard != set(talker_counts):
            raise UserError(
                f"curriculum: it has talker counts {sorted(heard)}, the model "
                f"{sorted(talker_counts)} (talker_counts); make them the same"
            )

    def stage(self, epoch: int) -> Stage:
        """Return the stage that an epoch belongs to."""
        return [stage for stage in self.stages if stage.from_epoch <= epoch][-1]

    def shares(self, epoch: int) -> Mapping[int, float]:
        """Return talker count to share of an epoch's audio."""
        return self.stage(epoch).shares

    def first_epochs(self) -> Dict[int, int]:
        """Return talker count to the first epoch that has it."""
        first: Dict[int, int] = {}
        for stage in self.stages:
            for count in stage.shares:
                first.setdefault(count, stage.from_epoch)
        return first

    def sources(self, epoch: int) -> List[Tuple[int, int]]:
        """List (count, lower count to copy from) for the start of an epoch."""
        first = self.first_epochs()
        return [
            (count, max(lower))
            for count in sorted(first)
            if first[count] == epoch
            and (lower := [n for n in first if n < count and first[n] < epoch])
        ]


def curriculum_of(options: Any) -> Optional[Curriculum]:
    """Return the curriculum of a training's options; None: there is none.

    Raises:
        UserError: see `Curriculum`.
    """
    # The config.yaml of an older training lacks the option.
    conf = getattr(options, "curriculum", None)
    return None if conf is None else Curriculum(conf, options.talker_counts)


def _read_stage(place: int, entry: Any) -> Stage:
    name = f"curriculum: stage {place}"
    needed = {"from_epoch", "shares"}
    if not isinstance(entry, Mapping) or set(entry) - {"batches", "copy"} != needed:
        raise UserError(
            f"{name}: {entry}: give from_epoch and shares (and batches and copy, if "
            f"needed), as {EXAMPLE}"
        )
    epoch, shares, batches = entry["from_epoch"], entry["shares"], entry.get("batches")
    copied = entry.get("copy", PARTS)
    if not isinstance(copied, (list, tuple)) or not set(copied) <= set(PARTS):
        raise UserError(f"{name}: copy {copied}: give a list of some of {list(PARTS)}")
    if not isinstance(epoch, int):
        raise UserError(f"{name}: from_epoch {epoch}: give a whole number")
    if batches is not None and not (isinstance(batches, int) and batches > 0):
        raise UserError(f"{name}: batches {batches}: give a number from 1")
    numbers = isinstance(shares, Mapping) and all(
        isinstance(count, int) and isinstance(share, (int, float)) and share > 0
        for count, share in shares.items()
    )
    if not numbers or abs(sum(shares.values()) - 1.0) > 1e-6:
        raise UserError(
            f"{name}: shares {shares}: give each talker count a share above 0, with a "
            f"sum of 1, as {{1: 0.2, 2: 0.8}}"
        )
    return Stage(epoch, dict(shares), batches, tuple(copied))


class CurriculumIterFactory(AbsIterFactory):
    """Builds the iterator of an epoch from the mixtures that its stage needs.

    All mixtures of a talker count are used once, in a new order each time, before one
    is used again. The mixtures of an epoch only depend on the epoch and the seed. A
    batch has mixtures of similar length and of all the stage's talker counts: with one
    count per batch, the talker-count head would be biased towards the last one.

    Args:
        make_factory: Returns an iterator factory of the given batches.
        samples: Length of each mixture.
        counts: Talker count of each mixture.
        curriculum: The stages.
        max_samples: Samples of a batch, including padding.
        number: Epochs have the samples of this many full batches; None: as many samples
            as the mixtures of the epoch's talker counts have.
        processes: Processes that share each batch.
        rank: Of this process.
        seed: Of the order.
        accum_grad: Batches of an optimizer step.

    Raises:
        UserError: a talker count of the curriculum has no mixture.
    """

    def __init__(
        self,
        make_factory: Any,
        samples: Mapping[str, int],
        counts: Mapping[str, int],
        curriculum: Curriculum,
        max_samples: int,
        number: Optional[int] = None,
        processes: int = 1,
        rank: int = 0,
        seed: int = 0,
        accum_grad: int = 1,
    ):
        self.make_factory = make_factory
        self.samples = samples
        self.curriculum = curriculum
        self.max_samples = max_samples
        self.number = number
        self.processes = processes
        self.rank = rank
        self.seed = seed
        self.accum_grad = accum_grad
        self.utts: Dict[int, List[str]] = {}
        for utt in sorted(samples):
            self.utts.setdefault(counts[utt], []).append(utt)
        for count in curriculum.first_epochs():
            if count not in self.utts:
                raise UserError(
                    f"curriculum: the training set has no mixtures of {count} talkers; "
                    f"make some, or remove {count} from curriculum and talker_counts"
                )
        self._totals = {
            count: sum(max(1, samples[utt]) for utt in utts)
            for count, utts in self.utts.items()
        }

    def _samples_until(self, count: int, epoch: int) -> float:
        """Return how many samples of a talker count the first `epoch` epochs have."""
        until = 0.0
        for past in range(1, epoch + 1):
            stage = self.curriculum.stage(past)
            number = stage.batches or self.number
            whole = sum(self._totals[n] for n in stage.shares)
            if number is not None:
                whole = number * self.max_samples
            until += stage.shares.get(count, 0.0) * whole
        return until

    def epoch_utts(self, epoch: int) -> List[str]:
        """Return the mixtures of an epoch, from 1."""
        chosen: List[str] = []
        for count in self.curriculum.shares(epoch):
            total = self._totals[count]
            first = self._samples_until(count, epoch - 1)
            last = self._samples_until(count, epoch)
            for times in range(int(first // total), int(last // total) + 1):
                utts = self._order(count, times)
                sizes = [max(1, self.samples[utt]) for utt in utts]
                starts = times * total + np.cumsum([0, *sizes[:-1]])
                within = (first <= starts) & (starts < last)
                chosen += [utts[place] for place in np.flatnonzero(within)]
        return chosen

    def _order(self, count: int, times: int) -> List[str]:
        rng = np.random.default_rng([self.seed, count, times])
        return [self.utts[count][k] for k in rng.permutation(len(self.utts[count]))]

    def epoch_batches(self, epoch: int) -> List[List[str]]:
        """Return the batches of an epoch in the order of the training."""
        utts = sorted(self.epoch_utts(epoch), key=lambda u: (-self.samples[u], u))
        batches = cut_for_ranks(
            utts, self.samples, self.max_samples, self.processes, self.accum_grad
        )
        order = np.random.default_rng([self.seed, epoch]).permutation(len(batches))
        return [list(batches[place][self.rank]) for place in order]

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> Any:
        """Build the iterator of an epoch."""
        factory = self.make_factory(self.epoch_batches(epoch))
        return factory.build_iter(epoch, shuffle=False)


def copy_lower_counts(
    model: torch.nn.Module, curriculum: Curriculum, epoch: int
) -> List[str]:
    """Copy lower talker counts' weights to those that are new in `epoch`.

    Args:
        model: An `MTASRModel`.
        curriculum: The stages.
        epoch: The epoch that begins.

    Returns:
        What was copied, as text.
    """
    modules = dict(
        branch=model.encoder.branches, separator=model.separator, ctc=model.ctc
    )
    said = []
    for count, source in curriculum.sources(epoch):
        names = [n for n in curriculum.stage(epoch).copy if modules[n] is not None]
        for name in names:
            copy_as_far_as_alike(modules[name][str(source)], modules[name][str(count)])
        if names:
            said.append(
                f"{count} talkers start from {source}'s weights: {', '.join(names)}"
            )
    return said


def copy_as_far_as_alike(source: torch.nn.Module, target: torch.nn.Module) -> None:
    """Copy the weights of a module into one for more talkers.

    Additional parts of `target` (projections and heads for more talkers) start from the
    last one of `source`; weights of different shape stay as they are.
    """
    known = source.state_dict()
    state = target.state_dict()
    for name, value in state.items():
        found = _nearest(name, known)
        if found is not None and known[found].shape == value.shape:
            state[name] = known[found].clone()
    target.load_state_dict(state)


def _nearest(name: str, known: Mapping[str, Any]) -> Optional[str]:
    """Return `name`, or the known name of the next lower index.

    >>> _nearest("heads.2.bias", {"heads.0.bias": 1, "heads.1.bias": 2})
    'heads.1.bias'
    """
    if name in known:
        return name
    for found in NUMBER.finditer(name):
        for lower in range(int(found[0]) - 1, -1, -1):
            other = f"{name[: found.start()]}{lower}{name[found.end() :]}"
            if other in known:
                return other
    return None
