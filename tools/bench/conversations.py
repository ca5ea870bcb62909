"""Conversations of minutes: whether a label is one person throughout, and its price.

People talk in mixtures of two or three of them, one after the other, with pauses. Their
sentences are those of test mixtures, in new combinations; onsets, levels and noise are
the mixtures'. A conversation is transcribed with `num_people`, and scored by cpWER
(meeteval), where a word under the wrong label counts twice. The same words are scored
with labels by an oracle, which gives each talker of a part the person whose words are
most alike, and with labels by chance.

After stages 1 to 3 of egs2/mini_librimix, on one core:
    OMP_NUM_THREADS=1 python -m tools.bench.conversations
"""

import argparse
import itertools
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench
from tools.bench.long_recordings import COLLAR, MINI, PAUSES

OPTIONS = bench.Options(
    __doc__,
    recipe=(MINI, "of which data is taken"),
    part=("test", "dev or test"),
    prefix=("mini", "of the sets' names"),
    model="mini",
    people=[2, 3],
    conditions=["clean", "noisy"],
    conversations=(6, "of each number of people and condition"),
    minutes=5.0,
    seed=(0, "of people, sentences and pauses"),
)


class Said(NamedTuple):
    """A person's words, and from when to when they are said, in seconds."""

    person: str
    words: List[str]
    start: float
    end: float


# Words of each talker of a part, and a label for each.
Streams = List[Tuple[List[str], int]]


class Corpus:
    """Sentences by talker, and mixtures as patterns.

    Args:
        folders: Data directories.
    """

    def __init__(self, folders: Sequence[Path]):
        from espnet_mtasr.data.tables import read_table
        from espnet_mtasr.mixture.spec import read_specs
        from espnet_mtasr.text.sot import split_sot

        self.patterns: List[Any] = []
        self.sentences: Dict[str, List[Any]] = {}
        for folder in folders:
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; run stages 1 to 3 first")
            specs = read_specs(folder / "utt2mixture")
            for utt, text in read_table(folder / "text").items():
                self.patterns.append(specs[utt])
                for source, words in zip(specs[utt].sources, split_sot(text)):
                    item = (source, words.split())
                    self.sentences.setdefault(source.talker, []).append(item)

    def converse(
        self, people: Sequence[str], seconds: float, rng: np.random.Generator
    ) -> Tuple[np.ndarray, List[Said]]:
        """Return a conversation `(N,)`, and who says what when."""
        from dataclasses import replace

        from espnet_mtasr.mixture.render import mix_spec

        patterns = [p for p in self.patterns if len(p.sources) <= len(people)]
        waves: List[np.ndarray] = []
        said: List[Said] = []
        length = 0.0
        while length < seconds:
            pattern = patterns[rng.integers(len(patterns))]
            some = rng.permutation(people)[: len(pattern.sources)]
            drawn = [
                self.sentences[person][rng.integers(len(self.sentences[person]))]
                for person in some
            ]
            spec = replace(pattern, sources=tuple(source for source, _ in drawn))
            wave = np.clip(mix_spec(spec), -1, 1)
            for (source, words), onset in zip(drawn, spec.onsets):
                start = length + onset
                said.append(Said(source.talker, words, start, start + source.seconds))
            pause = np.zeros(int(rng.uniform(*PAUSES) * spec.rate), np.float32)
            waves += [wave, pause]
            length += (len(wave) + len(pause)) / spec.rate
        return np.concatenate(waves), said


def label_by_oracle(
    part: Any, said: Sequence[Said], people: Sequence[str]
) -> List[int]:
    """Return the person of each talker of a part."""
    from scipy.optimize import linear_sum_assignment

    near = [
        entry
        for entry in said
        if entry.end > part.start - COLLAR and entry.start < part.end + COLLAR
    ]
    alike = np.zeros((len(part.talkers), len(people)))
    for row, talker in enumerate(part.talkers):
        heard = talker.text.split()
        for column, person in enumerate(people):
            true = [word for e in near if e.person == person for word in e.words]
            matcher = SequenceMatcher(None, heard, true, autojunk=False)
            alike[row, column] = sum(b.size for b in matcher.get_matching_blocks())
    found = dict(zip(*linear_sum_assignment(alike, maximize=True)))
    return [int(found.get(row, 0)) for row in range(len(part.talkers))]


def score(said: Sequence[Said], parts: Sequence[Streams]) -> Any:
    """Errors by cpWER."""
    from espnet_mtasr.scoring.error_counts import match_talkers

    reference: Dict[str, List[str]] = {}
    for entry in said:
        reference.setdefault(entry.person, []).extend(entry.words)
    hypothesis: Dict[str, List[str]] = {}
    for words, label in itertools.chain(*parts):
        hypothesis.setdefault(str(label), []).extend(words)
    sides = ([" ".join(w) for w in side.values()] for side in (reference, hypothesis))
    return match_talkers(*sides)


def right_share(
    found: Sequence[int], true: Sequence[int], weights: Sequence[int]
) -> float:
    """Share of words under the right label, labels matched as well as possible."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((max(found) + 1, max(true) + 1))
    np.add.at(counts, (np.array(found), np.array(true)), weights)
    return float(
        counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum()
    )


def measure(transcript: Any, said: Sequence[Said], rng: np.random.Generator) -> Dict:
    """Figures of a conversation: words, errors by three kinds of labels."""
    people = sorted({entry.person for entry in said})
    by: Dict[str, List[Streams]] = {"voices": [], "oracle": [], "chance": []}
    for part in transcript.parts:
        texts = [(n, t.text.split()) for n, t in enumerate(part.talkers) if t.words]
        true = label_by_oracle(part, said, people)
        chance = rng.permutation(len(people))
        by["voices"].append([(words, n) for n, words in texts])
        by["oracle"].append([(words, true[n]) for n, words in texts])
        by["chance"].append([(words, int(chance[n])) for n, words in texts])
    errors = {name: score(said, parts) for name, parts in by.items()}
    streams = {name: list(itertools.chain(*parts)) for name, parts in by.items()}
    labels = {name: [label for _, label in found] for name, found in streams.items()}
    weights = [len(words) for words, _ in streams["oracle"]]
    figures = dict(words=errors["oracle"].length)
    for name, error in errors.items():
        share = right_share(labels[name], labels["oracle"], weights)
        figures[name] = dict(errors=error.errors, right_label=share)
    return figures


def summarize(rows: Sequence[Dict]) -> Dict[str, Any]:
    """Rates over conversations, and the ratio of cpWERs by voices and by the oracle."""
    words = sum(row["words"] for row in rows)
    found: Dict[str, Any] = dict(conversations=len(rows), words=words)
    for name in ("voices", "oracle", "chance"):
        found[name] = dict(
            cpwer=sum(row[name]["errors"] for row in rows) / words,
            right_label=float(np.mean([row[name]["right_label"] for row in rows])),
            least_right_label=min(row[name]["right_label"] for row in rows),
        )
    found["ratio"] = found["voices"]["cpwer"] / found["oracle"]["cpwer"]
    return found


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Print cpWER and the share of words under the right label."""
    from espnet_mtasr import MTASR

    model = MTASR.from_pretrained(args.model, device="cpu")
    for condition in args.conditions:
        corpus = Corpus(
            [
                args.recipe
                / "data"
                / f"{args.part}_{args.prefix}{count}mix_{condition}"
                for count in (2, 3)
            ]
        )
        for number in args.people:
            rng = np.random.default_rng(args.seed)
            rows = []
            for _ in range(args.conversations):
                people = rng.choice(sorted(corpus.sentences), number, replace=False)
                wave, said = corpus.converse(list(people), args.minutes * 60, rng)
                transcript = model.transcribe(wave, num_people=number)
                rows.append(measure(transcript, said, rng))
            found = results.figures[f"{number} people, {condition}"] = summarize(rows)
            voices, oracle, chance = (found[n] for n in ("voices", "oracle", "chance"))
            right, least = voices["right_label"], voices["least_right_label"]
            print(
                f"{number} people, {condition}: cpWER by voices {voices['cpwer']:.1%}, "
                f"oracle {oracle['cpwer']:.1%} (ratio {found['ratio']:.2f}), chance "
                f"{chance['cpwer']:.1%}; words under the right label "
                f"{right:.1%} (least {least:.1%}), "
                f"by chance {chance['right_label']:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    run_command_line(main)
