"""A picture of a transcript: waveform, each talker's words over time, talker counts."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.transcription.channels import MIX
from espnet_mtasr.transcription.formats.tidy import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from espnet_mtasr.transcription.inputs import Audio
    from espnet_mtasr.transcription.transcript import Talker, Transcript

PICTURES = (".png", ".svg", ".pdf")
# Inches of a second, and minimum and maximum of the whole time line.
INCHES_PER_SECOND, LEAST, MOST = 1.3, 7.0, 150.0
FONT_SIZE = 9
# Approximate inches of a character at that size.
CHARACTER = 0.62 * FONT_SIZE / 72
# Lines for a talker's words, so that short words don't cover each other.
LINES = 3
# Seconds by which a text may be shifted after its word.
LATE = 0.5
# Columns of a drawn waveform; more would be invisible.
COLUMNS = 4000
# Hz at which a waveform is read to be drawn.
RATE = 16000


class Place(NamedTuple):
    """Position of a word's text.

    Attributes:
        start: Seconds.
        line: From 0, the nearest to the word's bar.
    """

    start: float
    line: int


def is_picture(path: Path) -> bool:
    """Return whether a name is that of a picture, not of a folder.

    Raises:
        UserError: it is the name of another kind of file.
    """
    if path.is_dir() or path.suffix == "":
        return False
    if path.suffix.lower() in PICTURES:
        return True
    raise UserError(
        f"--plot {path}: give a file that ends in {', '.join(PICTURES)}, or a folder "
        "(create it first if its name has a dot)"
    )


def plot_transcript(
    transcript: Transcript,
    path: Union[str, Path],
    audio: Optional[Audio] = None,
    fs: Optional[float] = None,
) -> None:
    """Write a picture; see `Transcript.plot`."""
    path = Path(path)
    if not is_picture(path):
        raise UserError(f"{path}: end its name in {', '.join(PICTURES)}")
    waves: Sequence[np.ndarray] = ()
    if audio is not None:
        from espnet_mtasr.transcription.inputs import open_input

        channel = transcript.origin.settings.get("channel", MIX)
        recording = open_input(audio, 0, fs, RATE, channel).read()
        waves = recording.channels
        seconds = len(waves[0]) / RATE
        if abs(seconds - transcript.seconds) > 0.1:
            raise UserError(
                f"{recording.name}: has {seconds:.3f} s, but the transcript is of "
                f"{transcript.seconds:.3f} s; give the same recording (and fs)"
            )
    write_whole(path, draw_transcript(transcript, waves, path.suffix))


def draw_transcript(
    transcript: Transcript,
    waves: Sequence[np.ndarray] = (),
    kind: str = ".png",
) -> bytes:
    """Draw a transcript over time, a color per talker; faint words are unsure.

    Args:
        transcript: Its words have times.
        waves: The recording's channels `(N,)`, each over its whole length; none: no
            waveform is drawn.
        kind: One of `PICTURES`.

    Returns:
        The file's content.

    Raises:
        UserError: words have no times.
    """
    # Without pyplot there are no windows and no global state.
    from matplotlib.figure import Figure

    if not transcript.timed:
        raise UserError(
            f"{transcript.recording}: can't be drawn, because a teacher gives no times "
            "of words; decode by CTC"
        )
    transcript = tidy(transcript)
    width = min(max(INCHES_PER_SECOND * transcript.seconds, LEAST), MOST)
    heights = [1.1] * len(waves) + [1.0] * max(1, transcript.num_talkers)
    figure = Figure(figsize=(width + 2.5, sum(heights) + 1.0), layout="constrained")
    grid = figure.add_gridspec(
        len(heights), 2, width_ratios=(width, 1.6), height_ratios=heights
    )
    time_line: List[Axes] = []
    for row in range(len(heights)):
        share = time_line[0] if time_line else None
        time_line.append(figure.add_subplot(grid[row, 0], sharex=share))
    for number, (axes, wave) in enumerate(zip(time_line, waves)):
        _draw_wave(axes, wave, transcript.seconds)
        axes.set_ylabel("waveform" if len(waves) == 1 else f"channel {number}")
    rows = time_line[len(waves) :]
    for number, (axes, talker) in enumerate(zip(rows, transcript.talkers), 1):
        _draw_talker(axes, talker, f"C{number - 1}", width / max(transcript.seconds, 1))
        axes.set_ylabel(f"talker {number}", color=f"C{number - 1}")
    if not transcript.talkers:
        rows[0].set_yticks([])
        rows[0].set_ylabel("no talker")
    for axes in time_line[:-1]:
        axes.tick_params(labelbottom=False)
    time_line[-1].set_xlabel("seconds (pale words: low confidence)")
    time_line[-1].set_xlim(0.0, max(transcript.seconds, 1e-3))
    _draw_counts(figure.add_subplot(grid[:, 1]), transcript)
    figure.suptitle(transcript.recording, fontsize=11, parse_math=False)
    content = BytesIO()
    figure.savefig(content, dpi=110, format=kind.lstrip("."))
    return content.getvalue()


def _draw_wave(axes: Axes, wave: np.ndarray, seconds: float) -> None:
    """Draw the smallest and the largest sample of each column."""
    columns = np.array_split(wave, min(len(wave), COLUMNS))
    times = np.linspace(0.0, seconds, len(columns))
    low, high = [[f(c) for c in columns] for f in (np.min, np.max)]
    axes.fill_between(times, low, high, color="0.4", linewidth=0.5)
    axes.set_yticks([])
    axes.margins(y=0.1)


def _draw_talker(
    axes: Axes, talker: Talker, color: str, inches_per_second: float
) -> None:
    places = place_words(talker, inches_per_second)
    for word, place in zip(talker.words, places):
        pale = 0.25 + 0.75 * word.confidence
        axes.barh(
            0.0,
            word.end - word.start,
            left=word.start,
            height=0.7,
            color=color,
            alpha=pale,
            edgecolor="white",
        )
        if place is None:
            continue
        axes.text(
            place.start,
            place.line + 0.5,
            word.text,
            fontsize=FONT_SIZE,
            color=color,
            alpha=max(pale, 0.6),
            clip_on=True,
            parse_math=False,
        )
    axes.set_ylim(-0.5, LINES + 0.5)
    axes.set_yticks([])


def place_words(talker: Talker, inches_per_second: float) -> List[Optional[Place]]:
    """Place each word's text where it begins, on the first line with room for it.

    If all lines are full, it is shifted to the right on the line that ends first; None
    if the shift would be more than `LATE`.
    """
    ends = [0.0] * LINES
    places: List[Optional[Place]] = []
    for word in talker.words:
        free = [k for k in range(LINES) if ends[k] <= word.start]
        line = free[0] if free else ends.index(min(ends))
        start = max(word.start, ends[line])
        if start > word.start + LATE:
            places.append(None)
            continue
        ends[line] = start + (len(word.text) + 1) * CHARACTER / inches_per_second
        places.append(Place(start, line))
    return places


def _draw_counts(axes: Axes, transcript: Transcript) -> None:
    axes.set_title("talkers", fontsize=10)
    axes.set_ylim(0.0, 1.0)
    probabilities = transcript.count_probabilities
    if probabilities is None:
        axes.set_axis_off()
        why = "the model\ncan't count"
        if not transcript.talkers:
            why = "no speech"
        elif transcript.parts:
            why = "counted in\neach part"
        axes.text(0.5, 0.5, why, ha="center", fontsize=FONT_SIZE)
        return
    names = [str(count) for count in probabilities]
    shades = ["0.2" if n == str(transcript.num_talkers) else "0.75" for n in names]
    bars = axes.bar(names, list(probabilities.values()), color=shades)
    axes.bar_label(bars, fmt="%.2f", fontsize=FONT_SIZE)
    axes.set_ylabel("probability")
    axes.set_ylim(0.0, 1.12)
