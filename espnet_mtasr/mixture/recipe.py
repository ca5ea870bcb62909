"""How a mixture was made, as one line of JSON: the table `utt2mixture`.

With it a recording can be made again while training loads its data (render.py), or
another one in its place (dynamic.py). ESPnet reads the table as data of type `json`.
Lines of before a field was added stay readable: what they lack has its default value.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Mapping, Optional, Tuple

from espnet_mtasr.errors import UserError

MODES = ("max", "min")


@dataclass(frozen=True)
class Source:
    """One talker's part.

    Attributes:
        path: Recording.
        gain: Linear factor.
        talker: Name.
        seconds: Duration as recorded.
        speed: How much faster than recorded it is played.
    """

    path: str
    gain: float
    talker: str
    seconds: float
    speed: float = 1.0


@dataclass(frozen=True)
class Noise:
    """The noise of a mixture.

    Attributes:
        path: Recording.
        gain: Linear factor.
        start: Seconds of it that come last instead of first.
        speed: How much faster than recorded it is played; comes before `start`.
    """

    path: str
    gain: float
    start: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True)
class MixtureRecipe:
    """What a mixture is made of.

    Attributes:
        sources: First talker to begin first.
        onsets: Seconds from the mixture's start, ascending.
        noise: None in clean mixtures.
        rate: Hz of the mixture.
        mode: `max`: it ends with the last talker to end; `min`: with the first.
        left_out: Seconds at which those talkers end who are not heard but count for the
            length (LibriMix's mix_single).
    """

    sources: Tuple[Source, ...]
    onsets: Tuple[float, ...]
    noise: Optional[Noise] = None
    rate: int = 16000
    mode: str = "max"
    left_out: Tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the mixture is."""
        ends = [
            onset + source.seconds / source.speed
            for onset, source in zip(self.onsets, self.sources)
        ]
        ends += self.left_out
        return max(ends) if self.mode == "max" else min(ends)

    def to_line(self) -> str:
        """Write as JSON, without what has its default value."""
        line: dict = {
            "sources": [_without_defaults(source) for source in self.sources],
            "onsets": list(self.onsets),
        }
        if self.noise is not None:
            line["noise"] = _without_defaults(self.noise)
        line["rate"] = self.rate
        if self.mode != "max":
            line["mode"] = self.mode
        if self.left_out:
            line["left_out"] = list(self.left_out)
        return json.dumps(line, ensure_ascii=False)


def _without_defaults(part: Any) -> dict:
    defaults = {
        name: field.default for name, field in type(part).__dataclass_fields__.items()
    }
    return {name: v for name, v in asdict(part).items() if v != defaults[name]}


def parse_recipe(fields: Mapping[str, Any], name: str) -> MixtureRecipe:
    """Read what `MixtureRecipe.to_line` wrote.

    Args:
        fields: The JSON object.
        name: File and utterance, for messages.

    Raises:
        UserError: a field is missing, unknown or of the wrong kind.
    """
    try:
        recipe = MixtureRecipe(
            tuple(Source(**source) for source in fields["sources"]),
            tuple(map(float, fields["onsets"])),
            Noise(**fields["noise"]) if "noise" in fields else None,
            int(fields["rate"]),
            fields.get("mode", "max"),
            tuple(map(float, fields.get("left_out", ()))),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{name}: no recipe of a mixture ({e}); make it anew") from None
    if recipe.mode not in MODES:
        raise UserError(f"{name}: mode {recipe.mode!r}: choose one of {MODES}")
    if not len(recipe.sources) == len(recipe.onsets) > 0:
        raise UserError(
            f"{name}: {len(recipe.sources)} sources, {len(recipe.onsets)} onsets; "
            f"give one onset per source"
        )
    return recipe
