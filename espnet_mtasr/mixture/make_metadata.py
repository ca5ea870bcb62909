"""Draw mixtures from a corpus in LibriSpeech's layout, like LibriMix.

Source: create_librimix_metadata.py of LibriMix (Cosentino et al., arXiv 2005.11262):
loudness by ITU-R BS.1770 (pyloudnorm), speech at U(-33, -25) LUFS and noise at
U(-38, -30) LUFS, peaks limited to 0.9. New here: onsets, utterances from 0.3 s on,
utterances that are used again in other pairs if the corpus is small, and mixtures
without noise.
"""

import hashlib
import json
import math
import random
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import (
    Deque,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

import numpy as np

from espnet_mtasr.corpora.librispeech import Utterance, scan_corpus, scan_noise
from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.metadata import MixtureRow, write_metadata
from espnet_mtasr.mixture.mixing import mix
from espnet_mtasr.mixture.onsets import OnsetPolicy, mixture_rng
from espnet_mtasr.progress import progress

SPEECH_LUFS = (-33.0, -25.0)
NOISE_LUFS = (-38.0, -30.0)
MAX_PEAK = 0.9
BLOCK_SECONDS = 0.4
# A corpus in which this many utterances in a row repeat a known mixture is exhausted.
MAX_REPEATS = 20


# Mixture id, source paths, noise path.
Draft = Tuple[str, Tuple[str, ...], Optional[str]]


@dataclass(frozen=True)
class SetPlan:
    """A set of mixtures to draw.

    Attributes:
        name: Of the CSV file; a name that starts with `train` skips bad audio.
        subset: Folder in the LibriSpeech root.
        noise_split: Folder in the WHAM! root; None: mixtures without noise.
        n_talkers: In each mixture.
        n: Number of mixtures.
    """

    name: str
    subset: str
    noise_split: Optional[str]
    n_talkers: int
    n: int

    @property
    def skips_bad_audio(self) -> bool:
        return self.name.startswith("train")


def measure(path: Path, rate: int) -> Union[Tuple[float, float], str]:
    """Return (loudness in LUFS, peak) of an audio file, or what is wrong with it.

    Audio shorter than pyloudnorm's block of 0.4 s is repeated to fill it.
    """
    import pyloudnorm

    try:
        samples = read_audio(path, rate)
    except UserError as e:
        return str(e)
    peak = float(np.abs(samples).max())
    block = math.ceil(BLOCK_SECONDS * rate) + 1
    if len(samples) < block:
        samples = np.tile(samples, -(-block // len(samples)))
    with np.errstate(divide="ignore"):
        meter = pyloudnorm.Meter(rate, block_size=BLOCK_SECONDS)
        loudness = float(meter.integrated_loudness(samples.astype(np.float64)))
    if not math.isfinite(loudness):
        return f"{path}: is silent (under -70 LUFS); restore it or remove it"
    return loudness, peak


class Deck:
    """Deals items so that each is used about as often as the others."""

    def __init__(self, n: int, rng: random.Random) -> None:
        self.n, self.rng = n, rng
        self.cards: Deque[int] = deque()

    def refill(self) -> None:
        order = list(range(self.n))
        self.rng.shuffle(order)
        self.cards.extend(order)

    def deal(self) -> int:
        if not self.cards:
            self.refill()
        return self.cards.popleft()

    def put_back(self, cards: Iterable[int]) -> None:
        """Return cards and shuffle, so that others come next."""
        order = [*self.cards, *cards]
        if len(order) < self.n:
            order.extend(range(self.n))
        self.rng.shuffle(order)
        self.cards = deque(order)


def draw_combinations(
    utterances: Sequence[Utterance], n: int, n_talkers: int, rng: random.Random
) -> List[Tuple[Utterance, ...]]:
    """Combine utterances of different talkers and texts, each used about equally.

    A combination is only repeated if no new one is found.

    Raises:
        UserError: there are fewer talkers or different texts than a mixture needs.
    """
    talkers = {u.talker for u in utterances}
    if len(talkers) < n_talkers:
        raise UserError(
            f"{Path(utterances[0].path).parts[0]}: has {len(talkers)} talkers, but "
            f"mixtures of {n_talkers} are requested; lower --talker_counts or add "
            "talkers"
        )
    deck = Deck(len(utterances), rng)
    seen: Set[FrozenSet[str]] = set()
    combinations: List[Tuple[Utterance, ...]] = []
    repeats = 0
    while len(combinations) < n:
        drawn = _deal_combination(utterances, n_talkers, deck)
        key = frozenset(u.path for u in drawn)
        if key in seen and repeats < MAX_REPEATS:
            repeats += 1
            deck.put_back(utterances.index(u) for u in drawn)
            continue
        seen.add(key)
        repeats = 0
        combinations.append(drawn)
    return combinations


def _deal_combination(
    utterances: Sequence[Utterance], n_talkers: int, deck: Deck
) -> Tuple[Utterance, ...]:
    drawn: List[Utterance] = []
    aside: List[int] = []
    # By then every utterance has been dealt.
    limit = len(deck.cards) + len(utterances)
    while len(drawn) < n_talkers:
        card = deck.deal()
        utterance = utterances[card]
        clash = any(
            utterance.talker == other.talker
            or utterance.text.lower() == other.text.lower()
            for other in drawn
        )
        if not clash:
            drawn.append(utterance)
            continue
        aside.append(card)
        if len(aside) + len(drawn) > limit:
            raise UserError(
                f"{utterance.path}: found no {n_talkers} talkers with different texts "
                "for a mixture; add utterances with other texts"
            )
    # Utterances that didn't fit come first next time, or their talkers would be used
    # less. But a talker with most utterances can't be used as evenly, and must not fill
    # the deck.
    room = max(0, 2 * deck.n - len(deck.cards))
    deck.cards.extendleft(reversed(aside[:room]))
    return tuple(drawn)


def mixture_ids(combinations: Sequence[Tuple[Utterance, ...]]) -> List[str]:
    """Join utterance ids by `_`, as LibriMix does; a repeated mixture gets `_rN`."""
    times: Dict[str, int] = {}
    names = []
    for utterances in combinations:
        name = "_".join(u.id for u in utterances)
        times[name] = times.get(name, 0) + 1
        names.append(name if times[name] == 1 else f"{name}_r{times[name]}")
    return names


def draw_levels(
    n_talkers: int,
    noise: Optional[str],
    rng: random.Random,
    level_gap: Optional[Tuple[float, float]],
) -> List[float]:
    """Draw the loudness of each talker, and then of the noise if any, in LUFS."""
    levels = [rng.uniform(*SPEECH_LUFS)]
    for _ in range(1, n_talkers):
        if level_gap is None:
            levels.append(rng.uniform(*SPEECH_LUFS))
        else:
            levels.append(levels[0] + rng.uniform(*level_gap))
    if noise is not None:
        levels.append(rng.uniform(*NOISE_LUFS))
    return levels


def draw_row(
    draft: Draft,
    librispeech: Path,
    wham_noise: Path,
    measured: Dict[str, Tuple[float, float]],
    policy: OnsetPolicy,
    seed: int,
    rate: int,
    level_gap: Optional[Tuple[float, float]] = None,
) -> MixtureRow:
    """Draw a mixture's onsets and gains.

    Args:
        draft: Mixture id, source paths, noise path or None.
        librispeech: Root of the source paths.
        wham_noise: Root of the noise paths.
        measured: Path to (LUFS, peak).
        policy: Onsets.
        seed: With the mixture id, determines everything.
        rate: Hz at which peaks are measured.
        level_gap: Minimum and maximum dB of each further talker relative to the first;
            None: each has its own loudness.
    """
    mixture_id, sources, noise = draft
    onsets = policy.draw(len(sources), seed, mixture_id)
    rng = mixture_rng(seed, mixture_id, "loudness")
    gains = []
    parts = list(sources)
    noise_samples, noise_gain = None, None
    if noise is not None:
        parts.append(noise)
        noise_samples = read_audio(wham_noise / noise, rate)
    for path, lufs in zip(parts, draw_levels(len(sources), noise, rng, level_gap)):
        loudness, peak = measured[path]
        gain = 10 ** ((lufs - loudness) / 20)
        gains.append(MAX_PEAK / peak if gain * peak >= 1 else gain)
    if noise is not None:
        noise_gain = gains.pop()
    mixture = mix(
        [read_audio(librispeech / path, rate) for path in sources],
        gains,
        [int(onset * rate) for onset in onsets],
        noise_samples,
        noise_gain,
        rate,
    )
    scale = min(1.0, MAX_PEAK / float(np.abs(mixture).max()))
    # Nine digits keep the arithmetic of 32-bit floats and a readable file.
    gains = [float(f"{gain * scale:.9g}") for gain in gains]
    if noise_gain is not None:
        noise_gain = float(f"{noise_gain * scale:.9g}")
    return MixtureRow(mixture_id, sources, tuple(gains), onsets, noise, noise_gain)


def make_set(
    plan: SetPlan,
    librispeech: Path,
    wham_noise: Optional[Path],
    out: Path,
    policy: OnsetPolicy,
    seed: int,
    rate: int,
    pool: ProcessPoolExecutor,
    level_gap: Optional[Tuple[float, float]] = None,
) -> None:
    """Draw a set and write `out/NAME.csv`, unless the same set exists.

    Mixtures with bad audio are left out of training sets, and listed in
    `out/NAME.skipped`.

    Raises:
        UserError: the corpus is too small, or a set that isn't for training has bad
            audio.
    """
    scan = scan_corpus(librispeech, plan.subset)
    noises: List[str] = []
    noise_root = wham_noise or Path()
    if plan.noise_split is not None:
        if wham_noise is None:
            raise UserError(f"--set {plan.name} with noise needs --wham_noise")
        noises = scan_noise(wham_noise, plan.noise_split)
    for left_out, why in ((scan.empty, "no words"), (scan.missing, "no audio")):
        if left_out:
            print(
                f"{plan.name}: left out {len(left_out)} utterances of {plan.subset} "
                f"with {why}: {_some(left_out)}",
                file=sys.stderr,
            )
    if scan.missing and not plan.skips_bad_audio:
        raise UserError(
            f"{librispeech / plan.subset}: {scan.missing[0]} is transcribed but has no "
            f"FLAC or WAV; restore it or remove its line"
        )
    target = out / f"{plan.name}.csv"
    note = out / f".{plan.name}.settings"
    sizes = [(librispeech / u.path).stat().st_size for u in scan.utterances]
    sizes += [(noise_root / path).stat().st_size for path in noises]
    utterances = [(u.path, u.text) for u in scan.utterances]
    settings = [repr(plan), repr(policy), seed, rate, utterances, noises, sizes]
    if level_gap is not None:
        settings.append(level_gap)
    described = json.dumps(settings)
    digest = hashlib.sha256(described.encode()).hexdigest()
    if target.is_file() and note.is_file() and note.read_text() == digest:
        print(f"{target}: is complete")
        return

    rng = random.Random(f"{seed} {plan.name}")
    combinations = draw_combinations(scan.utterances, plan.n, plan.n_talkers, rng)
    noise_deck = Deck(len(noises), rng)
    drafts: List[Draft] = [
        (
            name,
            tuple(u.path for u in combination),
            noises[noise_deck.deal()] if noises else None,
        )
        for name, combination in zip(mixture_ids(combinations), combinations)
    ]
    used = {path: librispeech / path for _, sources, _ in drafts for path in sources}
    used.update({noise: noise_root / noise for *_, noise in drafts if noise})
    results = pool.map(partial(measure, rate=rate), used.values(), chunksize=16)
    label = f"{plan.name}: loudness"
    measured: Dict[str, Tuple[float, float]] = {}
    bad: Dict[str, str] = {}
    for path, found in zip(used, progress(results, len(used), label)):
        if isinstance(found, str):
            bad[path] = found
        else:
            measured[path] = found
    drafts = _without_bad(plan, drafts, bad, out)
    draw = partial(
        draw_row,
        librispeech=librispeech,
        wham_noise=noise_root,
        measured=measured,
        policy=policy,
        seed=seed,
        rate=rate,
        level_gap=level_gap,
    )
    rows = list(
        progress(
            pool.map(draw, drafts, chunksize=16), len(drafts), f"{plan.name}: gains"
        )
    )
    note.unlink(missing_ok=True)
    write_metadata(target, rows)
    note.write_text(digest)
    print(f"{target}: {len(rows)} mixtures of {plan.n_talkers} talkers")


def _without_bad(
    plan: SetPlan,
    drafts: List[Draft],
    bad: Dict[str, str],
    out: Path,
) -> List[Draft]:
    """Drop the drafts that use bad audio and list them; or raise `UserError`."""
    skipped = out / f"{plan.name}.skipped"
    if not bad:
        write_list(skipped, [])
        return drafts
    reasons = list(bad.values())
    if not plan.skips_bad_audio:
        more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
        raise UserError(f"{reasons[0]}{more}; {plan.name} may not have bad audio")
    good = [d for d in drafts if d[2] not in bad and not any(p in bad for p in d[1])]
    lines = [
        f"{name} {next(bad[p] for p in (*sources, noise) if p in bad)}"
        for name, sources, noise in drafts
        if noise in bad or any(p in bad for p in sources)
    ]
    write_list(skipped, lines)
    print(
        f"{plan.name}: skipped {len(lines)} of {len(drafts)} mixtures with bad audio, "
        f"listed in {skipped}: {_some(reasons)}",
        file=sys.stderr,
    )
    if not good:
        raise UserError(f"{plan.name}: no mixture is left; see {skipped}")
    return good


def _some(items: Sequence[str], n: int = 3) -> str:
    return ", ".join(items[:n]) + (", ..." if len(items) > n else "")
