"""Dynamic mixing: new mixtures in each epoch, made while training loads its data.

The parts of a set's mixtures are exchanged between them: each talker's part (with its
level) for one of about the same length by another talker, the onsets for those of
another mixture with the same number of talkers, and the noise, or its absence, for
another's. So the distributions of lengths, levels, overlaps and talker counts stay the
same, and batches that were planned for the recordings still fit. The idea is from
source separation (Zeghidour and Grangier, "Wavesplit", IEEE/ACM TASLP 2021).

On request, some examples are excerpts of conversations instead (excerpts.py), as long
as the mixtures that they replace.
"""

from bisect import bisect_left
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from espnet_mtasr.data.tables import check_same_ids, read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.cuts import cut_at_pauses
from espnet_mtasr.mixture.excerpts import Conversations, texts_of
from espnet_mtasr.mixture.onsets import mixture_rng
from espnet_mtasr.mixture.render import mix_spec
from espnet_mtasr.mixture.source_cache import SourceCache
from espnet_mtasr.mixture.spec import MixtureSpec, Source, Span, read_specs
from espnet_mtasr.text.sot import split_sot

MAX_PEAK = 0.9
# A source is exchanged for one within this share of all sources, ranked by length.
NEIGHBOURS = 0.05
MIN_NEIGHBOURS = 20
TRIES_PER_REACH = 10
MAX_TRIES = 200
# An excerpt with a talker count that the set doesn't have is drawn again.
EXCERPT_TRIES = 20


class DynamicMixer:
    """Makes the mixtures of an epoch.

    Args:
        specs: Utterance id to spec: the set whose parts are exchanged.
        texts: Utterance id to each talker's text, in the order of the spec.
        seed: Determines everything, together with epoch and id.
        speeds: One is drawn for every talker's part; faster speech also has a higher
            pitch, like another talker's.
        cache_megabytes: Memory for recordings, per data loading process. With
            `num_workers` above 0, these processes and their caches are new in each
            epoch.
        words: Path to the seconds of each word.
        cut_at_pauses: Also draw parts of the recordings in `words`, between pauses.
        excerpts: Share of examples that are excerpts of conversations.

    Raises:
        UserError: see `check_speeds`; or `excerpts` isn't a share.
    """

    def __init__(
        self,
        specs: Mapping[str, MixtureSpec],
        texts: Mapping[str, Sequence[str]],
        seed: int = 0,
        speeds: Sequence[float] = (1.0,),
        cache_megabytes: float = 500.0,
        words: Optional[Mapping[str, Sequence[Span]]] = None,
        cut_at_pauses: bool = False,
        excerpts: float = 0.0,
    ):
        check_speeds(speeds)
        check_excerpts(excerpts)
        self.specs = specs
        self.texts = texts
        self.seed = seed
        self.speeds = tuple(map(float, speeds))
        self.cache = SourceCache(cache_megabytes)
        whole = [
            (source, text)
            for utt, spec in specs.items()
            for source, text in zip(spec.sources, texts[utt])
        ]
        self._sources: List[Tuple[Source, str]] = sorted(
            [*whole, *(_parts_of(whole, words or {}) if cut_at_pauses else [])],
            key=lambda item: (
                item[0].seconds,
                item[0].path,
                item[0].gain,
                item[0].span or (),
            ),
        )
        self._seconds = [source.seconds for source, _ in self._sources]
        self._noises = [spec.noise for spec in specs.values()]
        self._onsets: Dict[int, List[Tuple[float, ...]]] = {}
        for spec in specs.values():
            self._onsets.setdefault(len(spec.sources), []).append(spec.onsets)
        self.excerpts = excerpts
        self._conversations: Optional[Conversations] = None
        if excerpts > 0.0:
            self._conversations = Conversations(
                self._sources, self._onsets, words or {}
            )

    def draw(
        self, utt: str, epoch: int, whole: bool = False
    ) -> Tuple[MixtureSpec, List[str]]:
        """Return the spec that replaces `utt` in an epoch, and its texts.

        It depends only on seed, epoch and id, not on what else was drawn, on the number
        of processes, or on whether the training was resumed.

        Args:
            utt: Id of a mixture.
            epoch: From 1.
            whole: No excerpt: one utterance per talker.
        """
        rng = mixture_rng(self.seed, utt, f"epoch {epoch}")
        original = self.specs[utt]
        conversations = self._conversations
        if conversations is not None and rng.random() < self.excerpts and not whole:
            excerpt = self._excerpt(original, conversations, rng)
            if excerpt is not None:
                return excerpt
        sources: List[Source] = []
        texts: List[str] = []
        for source, text in zip(original.sources, self.texts[utt]):
            drawn, drawn_text = self._exchange(source, text, sources, texts, rng)
            sources.append(replace(drawn, speed=rng.choice(self.speeds)))
            texts.append(drawn_text)
        onsets = rng.choice(self._onsets[len(sources)])
        return self._spec(original, sources, onsets, rng), texts

    def _excerpt(
        self, original: MixtureSpec, conversations: Conversations, rng: Random
    ) -> Optional[Tuple[MixtureSpec, List[str]]]:
        """Return an excerpt by at most as many talkers; None if there is no good one.

        The spec's talkers may have several sources.
        """
        most = len(original.sources)
        for _ in range(EXCERPT_TRIES):
            turns = conversations.draw(most, original.seconds, self.speeds, rng)
            texts = texts_of(turns)
            if len(texts) in self._onsets:
                sources, onsets = zip(*((turn.source, turn.onset) for turn in turns))
                spec = self._spec(original, sources, onsets, rng)
                return replace(spec, mode="max", left_out=()), texts
        return None

    def _spec(
        self,
        original: MixtureSpec,
        sources: Sequence[Source],
        onsets: Sequence[float],
        rng: Random,
    ) -> MixtureSpec:
        noise = rng.choice(self._noises)
        if noise is not None:
            noise = replace(noise, start=rng.uniform(0, 60))
        return replace(
            original, sources=tuple(sources), onsets=tuple(onsets), noise=noise
        )

    def _exchange(
        self,
        source: Source,
        text: str,
        sources: Sequence[Source],
        texts: Sequence[str],
        rng: Random,
    ) -> Tuple[Source, str]:
        """Draw a part of about the same length, with a new talker and text."""
        rank = bisect_left(self._seconds, source.seconds)
        reach = max(MIN_NEIGHBOURS, int(NEIGHBOURS * len(self._sources)))
        first, last = rank - reach, rank + reach
        for attempt in range(1, MAX_TRIES + 1):
            drawn, drawn_text = self._sources[
                _mirrored(rng.randint(first, last), len(self._sources))
            ]
            if _fits(drawn, drawn_text, sources, texts):
                return drawn, drawn_text
            if attempt % TRIES_PER_REACH == 0:
                first, last = first - reach, last + reach
        raise UserError(
            f"dynamic mixing: found no talker with another text for {source.path}; "
            f"the set has too few talkers"
        )

    def render(self, spec: MixtureSpec) -> np.ndarray:
        """Return the mixture, `(N,)` float32, with a peak of at most 0.9."""
        mixture = mix_spec(spec, partial(self.cache.read, rate=spec.rate))
        peak = float(np.abs(mixture).max())
        return mixture * np.float32(min(1.0, MAX_PEAK / max(peak, 1e-8)))


def _parts_of(
    sources: Sequence[Tuple[Source, str]],
    spans_of: Mapping[str, Sequence[Span]],
) -> List[Tuple[Source, str]]:
    parts: List[Tuple[Source, str]] = []
    for source, text in sources:
        words, spans = text.split(), spans_of.get(source.path, ())
        if len(spans) == len(words):
            parts += cut_at_pauses(source, words, spans)
    return parts


def _mirrored(place: int, n: int) -> int:
    """Mirror a place beyond either end of `n` places.

    So every place is drawn equally often. With clipping, the shortest and the longest
    recording would be drawn as often as a whole neighborhood.

    >>> [_mirrored(place, 3) for place in (-2, -1, 0, 2, 3, 4)]
    [1, 0, 0, 2, 2, 1]
    """
    place %= 2 * n
    return min(place, 2 * n - 1 - place)


def check_speeds(speeds: Any) -> None:
    """Raise `UserError` unless `speeds` is a list of numbers between 0.5 and 2."""
    good = isinstance(speeds, (list, tuple)) and len(speeds) > 0
    if not good or not all(
        isinstance(speed, (int, float)) and 0.5 <= speed <= 2 for speed in speeds
    ):
        raise UserError(
            f"dynamic_mixing_conf speeds: {speeds}: give a list of numbers from 0.5 "
            f"to 2, as [0.9, 1.0, 1.1]"
        )


def check_excerpts(share: Any) -> None:
    """Raise `UserError` unless `share` is a number from 0 to 1."""
    if not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise UserError(
            f"dynamic_mixing_conf excerpts: {share}: give a share from 0 to 1"
        )


def _fits(
    source: Source, text: str, sources: Sequence[Source], texts: Sequence[str]
) -> bool:
    return text not in texts and all(s.talker != source.talker for s in sources)


def read_mixer(specs: Union[str, Path], text: Union[str, Path], **options):
    """Make a `DynamicMixer` from the tables `utt2mixture` and `text` of a set.

    Args:
        specs: Path of `utt2mixture`.
        text: Path of the SOT transcripts.
        options: Of `DynamicMixer`.

    Raises:
        UserError: tables are bad, or a transcript's talkers aren't those of its spec.
    """
    spec_of, lines = read_specs(specs), read_table(text)
    check_same_ids({str(specs): spec_of, str(text): lines})
    texts = {utt: split_sot(line) for utt, line in lines.items()}
    for utt, spec in spec_of.items():
        if len(texts[utt]) != len(spec.sources):
            raise UserError(
                f"{text}: {utt} has {len(texts[utt])} texts, {specs} has "
                f"{len(spec.sources)} sources; make the data again"
            )
    return DynamicMixer(spec_of, texts, **options)
