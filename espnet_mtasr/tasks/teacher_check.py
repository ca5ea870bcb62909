"""Check that a teacher uses the audio, by its perplexity with right and wrong speech.

A teacher can ignore the audio while every loss falls and every stage succeeds: it then
writes what is probable, whatever is said, and has nothing to teach. The control is the
same transcript after the speech of another mixture, with the same number of talkers and
about the same length. A teacher that ignores the audio has the same perplexity with
both.
"""

import argparse
import logging
import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.dataset import ESPnetDataset

from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.data.tables import read_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.speech_list import read_speech_list, speech_entry
from espnet_mtasr.tasks.mtasr import MTASRTask

# A teacher ignores the audio if the wrong speech makes it less than this many times
# worse.
DEAF_BELOW = 1.2


@dataclass
class TeacherCheck:
    """How well a teacher predicts the transcripts of one talker count.

    Attributes:
        n_utt: Mixtures.
        n_tokens: Text tokens, including `<sc>` and end of sentence.
        perplexity: exp of their mean cross entropy, with the right speech.
        accuracy: Percent of them whose most probable prediction is right.
        right: Perplexity of the words only, with the right speech.
        other: The same with another mixture's speech; None: there is no other.
        ratio: other / right.
    """

    n_utt: int
    n_tokens: int
    perplexity: float
    accuracy: float
    right: float
    other: Optional[float]
    ratio: Optional[float]


def check_teacher(
    model: MTASRModel,
    train_args: argparse.Namespace,
    data_dir: Path,
    batch_size: int = 16,
    device: str = "cpu",
    num_workers: int = 0,
) -> Dict[int, TeacherCheck]:
    """Measure a teacher on a data directory, by talker count.

    Args:
        model: With a teacher, in evaluation mode.
        train_args: Of its training.
        data_dir: In dump/.
        batch_size: Mixtures of one count and similar length to compute together. Each
            is also scored with its neighbor's speech.
        device: Of the model.
        num_workers: Processes that load data.

    Raises:
        UserError: the directory is not in order.
    """
    tables = read_data_dir(data_dir, model.talker_counts)
    dataset = ESPnetDataset(
        [speech_entry(data_dir), (str(data_dir / "text"), "text", "text")],
        preprocess=MTASRTask.build_preprocess_fn(train_args, False),
    )
    collate = MTASRTask.build_collate_fn(train_args, False)
    speeches = read_speech_list(data_dir)
    results = {}
    for count in model.talker_counts:
        utts = [u for u, n in tables["utt2num_spk"].items() if n == str(count)]
        if not utts:
            continue
        lengths = {utt: speeches[utt].check(utt).num_samples for utt in utts}
        batches = [
            batch
            for group in without_repeats({utt: tables["text"][utt] for utt in utts})
            for batch in _batches(group, lengths, max(2, batch_size))
        ]
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
        )
        sums = _Sums()
        for keys, batch in loader:
            _add(sums, model, count, to_device(batch, device))
            logging.info(f"{keys[0]}: {len(keys)} mixtures")
        results[count] = sums.result()
    return results


def without_repeats(texts: Mapping[str, str]) -> List[List[str]]:
    """Group utterances so that no group has a text twice.

    A set may have a mixture twice, clean and noisy; these two don't count as different
    mixtures.

    >>> without_repeats({"a_clean": "x", "a_noisy": "x", "b": "y"})
    [['a_clean', 'b'], ['a_noisy']]
    """
    groups: List[List[str]] = []
    seen: Counter = Counter()
    for utt, text in texts.items():
        if seen[text] == len(groups):
            groups.append([])
        groups[seen[text]].append(utt)
        seen[text] += 1
    return groups


def _batches(
    utts: Sequence[str], lengths: Mapping[str, int], size: int
) -> List[List[str]]:
    """Batch utterances of similar length; the last isn't alone if possible."""
    batches = [
        [utts[place] for place in places]
        for places in batches_of_similar_length(
            [lengths[utt] for utt in utts], max_items=size
        )
    ]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


@dataclass
class _Sums:
    n_utt: int = 0
    tokens: int = 0
    correct: int = 0
    words: int = 0
    other_words: int = 0
    loss: float = 0.0
    right: float = 0.0
    other: float = 0.0

    def result(self) -> TeacherCheck:
        right = math.exp(self.right / self.words)
        other = None
        if self.other_words:
            other = math.exp(self.other / self.other_words)
        return TeacherCheck(
            n_utt=self.n_utt,
            n_tokens=self.tokens,
            perplexity=math.exp(self.loss / self.tokens),
            accuracy=100.0 * self.correct / self.tokens,
            right=right,
            other=other,
            ratio=None if other is None else other / right,
        )


@torch.no_grad()
def _add(
    sums: _Sums, model: MTASRModel, count: int, batch: Mapping[str, torch.Tensor]
) -> None:
    trunk = model.encode_trunk(batch["speech"], batch["speech_lengths"])
    hidden, lengths = model.encoder.encode_branch(trunk, count)
    texts = batch["text"], batch["text_lengths"]
    taught = model.teacher(hidden, lengths, *texts)
    if taught.word_loss is None or taught.num_word_tokens is None:
        raise UserError(
            f"teacher: {type(model.teacher).__name__}.forward gives no word_loss and "
            f"num_word_tokens, which the check of a teacher needs; add them"
        )
    sums.n_utt += len(hidden)
    sums.tokens += int(taught.num_tokens.sum())
    sums.loss += float((taught.loss * taught.num_tokens).sum())
    sums.correct += int(taught.num_correct.sum())
    sums.right += float(taught.word_loss.sum())
    sums.words += int(taught.num_word_tokens.sum())
    if len(hidden) > 1:
        fooled = model.teacher(hidden.roll(1, 0), lengths.roll(1, 0), *texts)
        sums.other += float(fooled.word_loss.sum())
        sums.other_words += int(fooled.num_word_tokens.sum())


def to_json(results: Mapping[int, TeacherCheck]) -> Dict[str, Any]:
    """Return the results as JSON objects by talker count."""
    return {str(count): asdict(check) for count, check in results.items()}


def format_checks(results: Mapping[int, TeacherCheck]) -> str:
    """Return a table in Markdown, and a warning if the teacher ignores the audio."""
    lines = [
        "| talkers | mixtures | SOT perplexity | tokens right % | words, right speech "
        "| words, another mixture's speech | ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count, c in results.items():
        other, ratio = (
            "-" if value is None else f"{value:.2f}" for value in (c.other, c.ratio)
        )
        lines.append(
            f"| {count} | {c.n_utt} | {c.perplexity:.2f} | {c.accuracy:.1f} | "
            f"{c.right:.2f} | {other} | {ratio} |"
        )
    deaf = [
        count
        for count, c in results.items()
        if c.ratio is not None and c.ratio < DEAF_BELOW
    ]
    if deaf:
        counts = " and ".join(map(str, deaf))
        lines += [
            "",
            f"WARNING: the teacher ignores the audio (ratio below {DEAF_BELOW} for "
            f"{counts} talkers): it predicts the words about as well from another "
            f"mixture's speech, so phase 2 would learn nothing from it. Train phase 1 "
            f"longer, at a higher learning rate, or with another language model.",
        ]
    return "\n".join(lines) + "\n"
