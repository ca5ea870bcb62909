"""Read only the training split of a LibriSpeech-shaped corpus.

The scripts that make the small pretrained models of this recipe use it, because they
must not see the talkers and sentences of the dev and test splits.
"""

from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from espnet_mtasr.corpora.librispeech import Utterance, scan_corpus


def read_train_split(
    librispeech: Path,
    train: str = "train-clean-100",
    held_out: Iterable[str] = ("dev-clean", "test-clean"),
    held_out_corpus: Optional[Path] = None,
) -> List[Utterance]:
    """Return the training utterances, after checking that held-out ones differ.

    Their paths include `librispeech`, and their texts are in lower case.

    Args:
        librispeech: Corpus to read the training split of.
        train: The split's folder.
        held_out: Folders that must stay unseen.
        held_out_corpus: The corpus that they are in, if it is another one; then
            training utterances with its sentences are left out.

    Raises:
        AssertionError: a talker or a sentence of a held-out split is in the training
            split.
        UserError: a split is missing or empty.
    """
    strange = [
        replace(u, text=u.text.lower())
        for split in held_out
        for u in scan_corpus(held_out_corpus or librispeech, split).utterances
    ]
    utterances = [
        replace(u, path=str(librispeech / u.path), text=u.text.lower())
        for u in scan_corpus(librispeech, train).utterances
    ]
    if held_out_corpus is not None:
        unseen = {u.text for u in strange}
        utterances = [u for u in utterances if u.text not in unseen]
    talkers = {u.talker for u in utterances}
    sentences = {u.text for u in utterances}
    for other in strange:
        split = Path(other.path).parts[0]
        assert other.talker not in talkers, f"talker {other.talker} is in {split}"
        assert other.text not in sentences, f"{other.text!r} is in {split}"
    return utterances


def by_talker(utterances: Iterable[Utterance]) -> Dict[str, List[Utterance]]:
    """Group utterances by talker."""
    groups: Dict[str, List[Utterance]] = {}
    for u in utterances:
        groups.setdefault(u.talker, []).append(u)
    return groups
