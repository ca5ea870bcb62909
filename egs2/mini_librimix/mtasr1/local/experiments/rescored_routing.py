#!/usr/bin/env python3
"""Would routing be better if the branches' own scores had a say in it?

The talker-count head picks the branch. Where it is unsure, all branches could be run,
and a score pick one: `a log p(count) + b entropy + bias(count)`, where entropy is the
mean over streams and frames of the CTC's distributions in that count's branch. The
numbers are fitted to dev mixtures, mixed anew. Sets are then routed by the head alone,
and by the score where the head's probability is below a bound.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import torch

from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.mixture.spec import read_specs
from espnet_mtasr.scoring.error_counts import cp_errors

BATCH = 24
FOLDS = 5
UNSURE = (0.8, 0.9, 0.95, 1.0)


class Found(NamedTuple):
    """What is known of N mixtures, for C counts.

    Attributes:
        log_probs: `(N, C)` of the talker-count head.
        entropies: `(N, C)` of the branches' CTC, in nats.
        errors: `(N, C)` words that are wrong if that branch writes.
        labels: `(N,)` place of the true count.
        words: `(N,)` reference words.
    """

    log_probs: torch.Tensor
    entropies: torch.Tensor
    errors: torch.Tensor
    labels: torch.Tensor
    words: torch.Tensor


@torch.no_grad()
def run_branches(
    speech2text: Speech2Text, waves: Sequence[Any], texts: Sequence[List[str]]
) -> Found:
    """Run the head and every branch on all mixtures."""
    model = speech2text.model
    known = model.talker_counts
    rows: List[Any] = [None] * len(waves)
    for places in batches_of_similar_length([len(w) for w in waves], max_items=BATCH):
        batch = [torch.as_tensor(waves[place]) for place in places]
        lengths = torch.tensor([len(wave) for wave in batch])
        padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
        trunk = model.encode_trunk(padded, lengths)
        log_probs = model.count_talkers(trunk)
        entropies, errors = [], []
        for count in known:
            (streams,) = model.separate(trunk, torch.full_like(lengths, count))
            entropies.append(entropy(model.ctc[str(count)], streams))
            written = speech2text.in_batches(batch, BATCH, [count] * len(batch))
            errors.append(
                [
                    cp_errors(texts[place], [t.text for t in hypothesis.talkers]).errors
                    for place, hypothesis in zip(places, written)
                ]
            )
        found = (log_probs, torch.stack(entropies, 1), torch.tensor(errors).T)
        for at, place in enumerate(places):
            rows[place] = [values[at] for values in found]
    return Found(
        *(torch.stack(values) for values in zip(*rows)),
        labels=torch.tensor([known.index(len(parts)) for parts in texts]),
        words=torch.tensor([len(" ".join(parts).split()) for parts in texts]),
    )


def entropy(ctc: torch.nn.Module, streams: Any) -> torch.Tensor:
    """Mean entropy `(B,)` over streams and frames."""
    frames = torch.arange(streams.streams[0].size(1))
    mask = frames < streams.lengths[:, None]
    total = torch.zeros(len(mask))
    for log_probs in ctc.log_probs(streams.streams):
        of_frames = -(log_probs.exp() * log_probs).sum(-1)
        total = total + (of_frames * mask).sum(1)
    return total / (streams.lengths.clamp(min=1) * streams.count)


def fit(found: Found) -> torch.Tensor:
    """Weights a, b and a bias per count, by maximum likelihood."""
    weights = torch.zeros(2 + found.log_probs.size(1), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(score(weights, found), found.labels)
        value = value + 1e-4 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


def score(weights: torch.Tensor, found: Found) -> torch.Tensor:
    """Log odds `(N, C)` of the counts, but for a constant."""
    return weights[0] * found.log_probs + weights[1] * found.entropies + weights[2:]


def cross_fitted(found: Found) -> torch.Tensor:
    """Scores `(N, C)` of each mixture by weights that were fitted without it."""
    scores = torch.empty_like(found.log_probs)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    for fold in range(FOLDS):
        held_out = torch.zeros(len(scores), dtype=torch.bool)
        held_out[order[fold::FOLDS]] = True
        weights = fit(Found(*(values[~held_out] for values in found)))
        part = Found(*(values[held_out] for values in found))
        scores[held_out] = score(weights, part)
    return scores


def judge(found: Found, scores: torch.Tensor, unsure: float) -> Dict[str, float]:
    """Count right, cpWER and share of mixtures whose branches are all run, in %."""
    sure = found.log_probs.exp().max(1).values >= unsure
    picked = torch.where(sure, found.log_probs.argmax(1), scores.argmax(1))
    errors = found.errors.gather(1, picked[:, None]).sum()
    rates = {
        "count_accuracy": (picked == found.labels).float().mean(),
        "cpwer": errors / found.words.sum(),
        "unsure": (~sure).float().mean(),
    }
    return {name: round(100 * float(rate), 2) for name, rate in rates.items()}


def mixed_anew(folder: Path, epochs: int, texts: List[List[str]]) -> List[Any]:
    """Dev mixtures of some epochs of dynamic mixing; their texts join `texts`."""
    mixer = read_mixer(folder / "utt2mixture", folder / "text", seed=1)
    waves = []
    for epoch in range(1, epochs + 1):
        for utt in sorted(mixer.specs):
            spec, parts = mixer.draw(utt, epoch)
            waves.append(mixer.render(spec))
            texts.append(parts)
    return waves


def of_set(folder: Path, texts: List[List[str]]) -> List[Any]:
    """The mixtures of a set; their texts join `texts`."""
    mixer = read_mixer(folder / "utt2mixture", folder / "text")
    specs = read_specs(folder / "utt2mixture")
    texts.extend(mixer.texts[utt] for utt in sorted(specs))
    return [mixer.render(specs[utt]) for utt in sorted(specs)]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, default=Path("dump/raw"))
    parser.add_argument("--dev", default="dev")
    parser.add_argument("--dev_epochs", type=int, default=6)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    return parser


def main(cmd=None) -> None:
    """Fit, route, print and write."""
    args = get_parser().parse_args(cmd)
    speech2text = Speech2Text(mtasr_model_file=args.mtasr_model_file)
    texts: List[List[str]] = []
    waves = mixed_anew(args.data_dir / args.dev, args.dev_epochs, texts)
    dev = run_branches(speech2text, waves, texts)
    weights = fit(dev)
    results: Dict[str, Any] = {"weights": weights.tolist(), "sets": {}}
    tables = {f"{args.dev}, mixed anew": (dev, cross_fitted(dev))}
    for name in args.sets:
        texts = []
        waves = of_set(args.data_dir / name, texts)
        found = run_branches(speech2text, waves, texts)
        tables[name] = (found, score(weights, found))
    for name, (found, scores) in tables.items():
        row = {"head": judge(found, scores, 0.0)}
        row.update({f"unsure below {u}": judge(found, scores, u) for u in UNSURE})
        row["count given"] = judge(
            found, torch.nn.functional.one_hot(found.labels).float(), 2.0
        )
        results["sets"][name] = row
        for how, figures in row.items():
            print(f"{name}: {how}: {figures}")
    write_whole(args.output, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    run_command_line(main)
