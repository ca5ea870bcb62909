"""Fit on a development set how to pick a branch (asr/routing.py).

A softmax over the talker counts has few weights, which are fitted by maximum
likelihood. dev's cpWER decides whether it is used, below which probability of the head,
and whether the count with the fewest expected errors is picked, among those choices
that find every talker count nearly as often as the head. Each mixture is scored by
weights and costs that were fitted without it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from espnet_mtasr.asr.encoder.abs_routable import TrunkOutput
from espnet_mtasr.asr.routing import Routing, branch_entropy, fewest_errors
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.mixture.speech_list import read_speech_list
from espnet_mtasr.progress import progress
from espnet_mtasr.scoring.error_counts import cp_errors
from espnet_mtasr.scoring.inputs import read_references

Mixtures = List[Tuple[np.ndarray, List[str]]]
FOLDS = 5
# A set only has so many talkers and noises.
MOST_EPOCHS = 6
BOUNDS = (0.8, 0.95)
# Errors per word that a wrong count costs besides its words. Without any, three talkers
# are always taken for two by a model whose texts of three are no better.
PENALTIES = (0.4, 0.2, 0.1, 0.0)
# Percent of the mixtures of each talker count that may be miscounted for better words.
TOLERANCE = 3.0
REGULARIZATION = 1e-4


class Judged(NamedTuple):
    """Results of N mixtures for C talker counts.

    Attributes:
        log_probs: `(N, C)` of the talker-count head.
        entropies: `(N, C)` of each count's branch.
        errors: `(N, C)` word errors if that branch is used.
        labels: `(N,)` place of the true count.
        words: `(N,)` reference words.
    """

    log_probs: torch.Tensor
    entropies: torch.Tensor
    errors: torch.Tensor
    labels: torch.Tensor
    words: torch.Tensor

    def rows(self, mask: torch.Tensor) -> "Judged":
        """Those of some mixtures."""
        return Judged(*(values[mask] for values in self))


class Choice(NamedTuple):
    """A way to pick a branch.

    Attributes:
        unsure_below: As in `Routing`.
        penalty: One of `PENALTIES`, if the count with the fewest expected errors is
            picked; None: the most probable one is.
    """

    unsure_below: float
    penalty: Optional[float]


HEAD_ALONE = Choice(0.0, None)
CHOICES = [
    Choice(bound, penalty) for penalty in (None, *PENALTIES) for bound in (0.0, *BOUNDS)
]


class Rates(NamedTuple):
    """Percent.

    Attributes:
        count_accuracy: Mixtures whose count is right.
        by_count: The same of each talker count; NaN where there is no mixture.
        cpwer: Word errors by cpWER.
        unsure: Mixtures that run all branches.
    """

    count_accuracy: float
    by_count: Tuple[float, ...]
    cpwer: float
    unsure: float

    def counts_as_well_as(self, other: "Rates", tolerance: float) -> bool:
        """Whether no talker count is right less often, or only by `tolerance`."""
        return not any(
            mine < theirs - tolerance
            for mine, theirs in zip(self.by_count, other.by_count)
        )


def read_mixtures(
    data_dir: Path, talker_counts: Sequence[int], enough: int
) -> Mixtures:
    """Samples `(N,)` and texts of a set.

    Args:
        data_dir: The set.
        talker_counts: Those of the model.
        enough: A smaller set is mixed again several times, if its parts are known,
            until it has about as many mixtures.

    Raises:
        UserError: the directory is not in order.
    """
    texts = read_references(data_dir, talker_counts).texts
    speech = read_speech_list(data_dir)
    found: Mixtures = [(speech[utt].read(), texts[utt]) for utt in texts]
    if len(found) >= enough or not (data_dir / "utt2mixture").is_file():
        return found
    mixer = read_mixer(data_dir / "utt2mixture", data_dir / "text")
    found = []
    epochs = min(MOST_EPOCHS, -(-enough // len(texts)))
    for epoch in range(1, epochs + 1):
        for utt in texts:
            spec, drawn = mixer.draw(utt, epoch)
            found.append((mixer.render(spec), drawn))
    return found


def encoded(
    speech2text: Speech2Text, mixtures: Mixtures, batch_size: int, label: str
) -> Iterator[Tuple[List[int], TrunkOutput]]:
    """Yield batches of similarly long mixtures: their places, and the trunk's output.

    Args:
        speech2text: The model.
        mixtures: Of a set.
        batch_size: Mixtures in a batch.
        label: Of the progress line.
    """
    batches = batches_of_similar_length(
        [len(samples) for samples, _ in mixtures], max_items=batch_size
    )
    for places in progress(batches, len(batches), f"{label}: batches", True):
        waves = [
            torch.as_tensor(mixtures[place][0], device=speech2text.device)
            for place in places
        ]
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        trunk = speech2text.model.encode_trunk(padded, lengths.to(padded.device))
        yield list(places), trunk


@torch.no_grad()
def judge(speech2text: Speech2Text, mixtures: Mixtures, batch_size: int = 16) -> Judged:
    """Run the head and all branches."""
    model = speech2text.model
    known = model.talker_counts
    rows: Dict[int, List[torch.Tensor]] = {}
    for places, trunk in encoded(speech2text, mixtures, batch_size, "routing"):
        entropies_of, errors = [], []
        for count in known:
            # A branch runs once, for both.
            (streams,) = model.separate(trunk, torch.full_like(trunk.lengths, count))
            entropies_of.append(branch_entropy(model, streams).cpu())
            errors.append(
                [
                    cp_errors(mixtures[place][1], [t.text for t in talkers]).errors
                    for place, talkers in zip(places, speech2text.search(streams))
                ]
            )
        found = (
            model.count_talkers(trunk).cpu(),
            torch.stack(entropies_of, dim=1),
            torch.tensor(errors).T,
        )
        for at, place in enumerate(places):
            rows[place] = [values[at] for values in found]
    log_probs, entropies, errors_of = (
        torch.stack(values) for values in zip(*(rows[k] for k in sorted(rows)))
    )
    return Judged(
        log_probs,
        entropies,
        errors_of,
        torch.tensor([known.index(len(texts)) for _, texts in mixtures]),
        torch.tensor([len(" ".join(texts).split()) for _, texts in mixtures]),
    )


def fit_weights(judged: Judged, model: str, talker_counts: Sequence[int]) -> Routing:
    """Weights by maximum likelihood; all branches always run."""
    weights = torch.zeros(2 + len(talker_counts), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scores = weights[0] * judged.log_probs + weights[1] * judged.entropies
        value = torch.nn.functional.cross_entropy(scores + weights[2:], judged.labels)
        value = value + REGULARIZATION * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    head, entropy, *biases = weights.tolist()
    return Routing(model, tuple(talker_counts), 1.0, head, entropy, tuple(biases))


def mean_costs(judged: Judged) -> torch.Tensor:
    """Errors per reference word `(C, C)` by true and picked count.

    Each mixture weighs the same, whatever its length. A count that no mixture has is
    free whatever is picked.
    """
    size = judged.errors.size(1)
    costs = torch.zeros(size, size)
    shares = judged.errors / judged.words.clamp(min=1)[:, None]
    for place in judged.labels.unique().tolist():
        costs[place] = shares[judged.labels == place].mean(0)
    return costs


def cross_fitted(
    judged: Judged, talker_counts: Sequence[int]
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Scores `(N, C)` and costs `(N, C, C)`, each fitted without the mixture itself."""
    scores = torch.empty_like(judged.log_probs)
    costs = torch.empty(*scores.shape, len(talker_counts))
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    for fold in range(FOLDS):
        held_out = torch.zeros(len(scores), dtype=torch.bool)
        held_out[order[fold::FOLDS]] = True
        rest, part = judged.rows(~held_out), judged.rows(held_out)
        routing = fit_weights(rest, "", talker_counts)
        scores[held_out] = routing.scores(part.log_probs, part.entropies)
        costs[held_out] = mean_costs(rest)
    return scores, costs


def with_penalty(costs: torch.Tensor, penalty: float) -> torch.Tensor:
    """Add what a wrong count costs besides its words to `(..., C, C)`."""
    return costs + penalty * (1.0 - torch.eye(costs.size(-1)))


def rates(
    judged: Judged, scores: torch.Tensor, costs: torch.Tensor, choice: Choice
) -> Rates:
    """Rates of a choice.

    Args:
        judged: N mixtures.
        scores: `(N, C)`, which decide below a probability of the head.
        costs: `(C, C)` or `(N, C, C)` of `mean_costs`.
        choice: How the count is picked.
    """
    unsure = judged.log_probs.exp().max(1).values < choice.unsure_below
    known = torch.where(unsure[:, None], scores, judged.log_probs)
    picked = known.argmax(1)
    if choice.penalty is not None:
        picked = fewest_errors(known, with_penalty(costs, choice.penalty))
    errors = judged.errors.gather(1, picked[:, None]).sum()
    right = 100.0 * (picked == judged.labels).float()
    return Rates(
        float(right.mean()),
        tuple(
            float(right[judged.labels == place].mean())
            for place in range(scores.size(1))
        ),
        100.0 * float(errors / judged.words.sum().clamp(min=1)),
        100.0 * float(unsure.float().mean()),
    )


def fit(
    judged: Judged, model: str, talker_counts: Sequence[int]
) -> Tuple[Routing, Dict[Choice, Rates]]:
    """Fit, and decide by dev's cpWER how a branch is picked.

    Args:
        judged: Of the development set.
        model: Name of the checkpoint.
        talker_counts: Those of the model.

    Returns:
        The routing, and dev's rates by choice.
    """
    scores, costs = cross_fitted(judged, talker_counts)
    tried = {choice: rates(judged, scores, costs, choice) for choice in CHOICES}
    allowed = [
        choice
        for choice in CHOICES
        if tried[choice].counts_as_well_as(tried[HEAD_ALONE], TOLERANCE)
    ]
    best = min(allowed, key=lambda choice: (tried[choice].cpwer, CHOICES.index(choice)))
    fitted = replace(
        fit_weights(judged, model, talker_counts), unsure_below=best.unsure_below
    )
    if best.penalty is not None:
        used = with_penalty(mean_costs(judged), best.penalty)
        fitted = replace(fitted, costs=tuple(map(tuple, used.tolist())))
    return fitted, tried


def format_rates(tables: Dict[str, Dict[Choice, Rates]]) -> str:
    """A Markdown table: rates by set and choice."""
    lines = [
        "| set | branches help below | picked | count right % | by talker count | "
        "cpWER % | all branches run % |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name, by_choice in tables.items():
        for choice, row in by_choice.items():
            where = f"{choice.unsure_below:g}" if choice.unsure_below else "never"
            what = "most probable"
            if choice.penalty is not None:
                what = f"fewest expected errors, {choice.penalty:g} for the count"
            each = " / ".join(f"{rate:.1f}" for rate in row.by_count)
            lines.append(
                f"| {name} | {where} | {what} | {row.count_accuracy:.2f} | {each} | "
                f"{row.cpwer:.2f} | {row.unsure:.1f} |"
            )
    return "\n".join(lines) + "\n"
