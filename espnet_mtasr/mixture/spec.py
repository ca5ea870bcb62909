"""The parts of a mixture as one line of JSON: the table `utt2mixture`.

With it, training can make the recording while loading (render.py), or a new mixture
instead (dynamic.py). speech_list.py defines how ESPnet reads the table. Length and
speed of a mixture are also computed here. Lines that were written before a field
existed stay readable; the field has its default value.
"""

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError

MODES = ("max", "min")
# Start and end in seconds.
Span = Tuple[float, float]
# Frames and Hz of a recording.
Header = Tuple[int, int]


@dataclass(frozen=True)
class Source:
    """One talker's part.

    Attributes:
        path: Recording.
        gain: Linear factor.
        talker: Name.
        seconds: Duration of the used part at the recorded speed.
        speed: Factor on the recorded speed.
        span: Start and end of the used part in seconds, at the recorded speed; None:
            the whole recording.
    """

    path: str
    gain: float
    talker: str
    seconds: float
    speed: float = 1.0
    span: Optional[Span] = None

    def __post_init__(self) -> None:
        if self.span is not None:
            begin, end = self.span
            object.__setattr__(self, "span", (float(begin), float(end)))

    @property
    def length(self) -> float:
        """Seconds of the used part at its speed."""
        return self.seconds / self.speed


@dataclass(frozen=True)
class Noise:
    """The noise of a mixture.

    Attributes:
        path: Recording.
        gain: Linear factor.
        start: Seconds at its beginning that are moved to its end.
        speed: Factor on the recorded speed; applied before `start`.
    """

    path: str
    gain: float
    start: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True)
class MixtureSpec:
    """What a mixture is made of.

    Attributes:
        sources: First talker to begin first. In an excerpt of a conversation
            (excerpts.py), a talker may have several.
        onsets: Seconds from the mixture's start, ascending.
        noise: None in clean mixtures.
        rate: Hz of the mixture.
        mode: `max`: it ends when the last talker ends; `min`: when the first does.
        left_out: Ends in seconds of talkers that aren't mixed in but count for the
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
        """Length of the mixture."""
        ends = [
            onset + source.length for onset, source in zip(self.onsets, self.sources)
        ]
        ends += self.left_out
        return max(ends) if self.mode == "max" else min(ends)

    def times_of_talkers(self) -> List[List[Span]]:
        """Return start and end of each talker's sources in seconds."""
        times: Dict[str, List[Span]] = {}
        for onset, source in zip(self.onsets, self.sources):
            span = (onset, onset + source.length)
            times.setdefault(source.talker, []).append(span)
        return list(times.values())

    def to_line(self) -> str:
        """Return JSON, without fields that have their default values."""
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


def parse_spec(line: str, name: str) -> MixtureSpec:
    """Read what `MixtureSpec.to_line` wrote.

    Args:
        line: Of `utt2mixture`, without its id.
        name: File and utterance, for messages.

    Raises:
        UserError: it isn't JSON, or a field is missing, unknown or of the wrong type.
    """
    try:
        fields = json.loads(line)
    except ValueError as e:
        raise UserError(f"{name}: is not JSON ({e}); make it again") from None
    try:
        spec = MixtureSpec(
            tuple(Source(**source) for source in fields["sources"]),
            tuple(map(float, fields["onsets"])),
            Noise(**fields["noise"]) if "noise" in fields else None,
            int(fields["rate"]),
            fields.get("mode", "max"),
            tuple(map(float, fields.get("left_out", ()))),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(
            f"{name}: is not a spec of a mixture ({e}); make it again"
        ) from None
    if spec.mode not in MODES:
        raise UserError(f"{name}: mode {spec.mode!r}: choose one of {MODES}")
    if not len(spec.sources) == len(spec.onsets) > 0:
        raise UserError(
            f"{name}: {len(spec.sources)} sources, {len(spec.onsets)} onsets; "
            f"give one onset per source"
        )
    return spec


def parse_specs(
    table: Mapping[str, str], path: Union[str, Path]
) -> Dict[str, MixtureSpec]:
    """Parse the lines of the table `utt2mixture` at `path`.

    Raises:
        UserError: see `parse_spec`.
    """
    return {utt: parse_spec(line, f"{path}: {utt}") for utt, line in table.items()}


def read_specs(path: Union[str, Path]) -> Dict[str, MixtureSpec]:
    """Read a table `utt2mixture`; UserError for a line that isn't a spec."""
    return parse_specs(read_table(path), path)


def recordings_of(spec: MixtureSpec) -> List[str]:
    """Return the paths of a mixture's recordings, noise last."""
    noise = [] if spec.noise is None else [spec.noise.path]
    return [source.path for source in spec.sources] + noise


def samples_until(seconds: float, rate: int) -> int:
    """Return the number of samples, rounded up: 1.5 is 2, but 1.0000001 is 1."""
    return ceil(seconds * rate - 1e-3)


def samples_of_span(span: Span, rate: float) -> Tuple[int, int]:
    """Return the first sample of `Source.span`, and the one after the last."""
    return round(span[0] * rate), round(span[1] * rate)


def num_samples(spec: MixtureSpec, headers: Mapping[str, Header]) -> int:
    """Return the length of a mixture from render.py, without reading recordings.

    Args:
        spec: Of the mixture.
        headers: Of each source, by path.
    """
    ends = [samples_until(end, spec.rate) for end in spec.left_out]
    for source, onset in zip(spec.sources, spec.onsets):
        frames, rate = headers[source.path]
        if source.span is not None:
            first, last = samples_of_span(source.span, rate)
            frames = last - first
        if source.speed != 1.0:
            ratio = (1 / Fraction(str(source.speed))).limit_denominator(100)
            frames = ceil(frames * ratio)
        ends.append(int(onset * spec.rate) + ceil(Fraction(frames * spec.rate, rate)))
    return max(ends) if spec.mode == "max" else min(ends)


def at_speed(spec: MixtureSpec, factor: float) -> MixtureSpec:
    """Return the spec of a mixture played `factor` times as fast, including noise."""
    if factor == 1.0:
        return spec
    noise = spec.noise
    if noise is not None:
        noise = replace(
            noise, speed=round(noise.speed * factor, 6), start=noise.start / factor
        )
    return replace(
        spec,
        sources=tuple(
            replace(s, speed=round(s.speed * factor, 6)) for s in spec.sources
        ),
        onsets=tuple(onset / factor for onset in spec.onsets),
        noise=noise,
        left_out=tuple(end / factor for end in spec.left_out),
    )
