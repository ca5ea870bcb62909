"""Read the training split of a LibriSpeech-shaped corpus, and nothing of the others.

Used by the scripts that make the small pretrained models of this recipe: whatever they
see must be strange to the talkers and sentences of the dev and test splits.
"""

from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple

from espnet_mtasr.errors import UserError


class Utterance(NamedTuple):
    """One utterance of a split.

    Attributes:
        talker: LibriSpeech's talker id.
        text: Lower-cased words.
        path: Audio file.
    """

    talker: str
    text: str
    path: Path


def read_split(split_dir: Path) -> List[Utterance]:
    """Read all utterances below `split_dir`, sorted by file.

    Raises:
        UserError: there are none.
    """
    utterances = []
    for transcript in sorted(Path(split_dir).glob("*/*/*.trans.txt")):
        for line in transcript.read_text(encoding="utf-8").splitlines():
            utt, text = line.split(maxsplit=1)
            path = transcript.parent / f"{utt}.flac"
            utterances.append(Utterance(utt.split("-")[0], text.lower(), path))
    if not utterances:
        raise UserError(f"{split_dir}: no */*/*.trans.txt there; run stage 1 first")
    return utterances


def read_train_split(
    librispeech: Path,
    train: str = "train-clean-100",
    held_out: Iterable[str] = ("dev-clean", "test-clean"),
) -> List[Utterance]:
    """Return the training utterances after checking that they share nothing.

    Raises:
        AssertionError: a talker or a sentence of a held-out split is in the training
            split.
    """
    utterances = read_split(librispeech / train)
    talkers = {u.talker for u in utterances}
    sentences = {u.text for u in utterances}
    for split in held_out:
        for other in read_split(librispeech / split):
            assert other.talker not in talkers, f"talker {other.talker} is in {split}"
            assert other.text not in sentences, f"{other.text!r} is in {split}"
    return utterances


def by_talker(utterances: Iterable[Utterance]) -> Dict[str, List[Utterance]]:
    """Group utterances by talker."""
    groups: Dict[str, List[Utterance]] = {}
    for u in utterances:
        groups.setdefault(u.talker, []).append(u)
    return groups
