"""Sample mixtures of the page and their talkers: synthetic, never trained on."""

from dataclasses import replace
from pathlib import Path
from typing import List, NamedTuple, Tuple

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.mixture.spec import MixtureSpec, read_specs
from espnet_mtasr.text.sot import split_sot

FOLDER = Path(__file__).parent / "assets"
NOISE = str(FOLDER / "noise000.flac")


class Sample(NamedTuple):
    """A mixture.

    Attributes:
        name: For example `two_talkers_1_clean`.
        spec: What it is made of.
        texts: What each talker says, in onset order.
    """

    name: str
    spec: MixtureSpec
    texts: Tuple[str, ...]

    @property
    def title(self) -> str:
        """What the page calls it."""
        count, talkers, _, kind = self.name.split("_")
        return f"{count.capitalize()} {talkers}, {kind}"


def read_samples() -> List[Sample]:
    """Return the mixtures, fewest talkers first."""
    texts = read_table(FOLDER / "text")
    samples = []
    for name, spec in read_specs(FOLDER / "utt2mixture").items():
        sources = [replace(s, path=str(FOLDER / s.path)) for s in spec.sources]
        noise = spec.noise and replace(spec.noise, path=str(FOLDER / spec.noise.path))
        here = replace(spec, sources=tuple(sources), noise=noise)
        samples.append(Sample(name, here, tuple(split_sot(texts[name]))))
    return sorted(samples, key=lambda sample: len(sample.texts))
