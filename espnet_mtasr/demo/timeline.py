"""A model's result as HTML: counts, waveform, words on a time line, posteriors.

`assets/page.css` lays it out and `assets/page.js` plays the words.
"""

import base64
import io
from html import escape
from typing import List, Sequence, Set, Tuple

import numpy as np

from espnet_mtasr.data.audio import to_int16
from espnet_mtasr.demo.figures import color_of, posteriors_svg, waveform_svg
from espnet_mtasr.demo.hearing import Heard
from espnet_mtasr.demo.mixer import Mixed
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.scoring.report.posteriors import EXPLAINED
from espnet_mtasr.transcription.formats import FORMATS
from espnet_mtasr.transcription.transcript import Talker, Transcript, Word

DOWNLOADS = ("srt", "json", "textgrid")
# CSS pixels of a letter, of a word's padding, and of a second.
LETTER, MARGIN = 7.0, 8.0
NARROWEST, WIDEST = 60.0, 220.0
TICKS = (0.5, 1.0, 2.0, 5.0, 10.0)


def render_error(message: str) -> str:
    """Show an error."""
    return f'<p class="mt-error" role="alert">{escape(message)}</p>'


def render_heard(heard: Heard) -> str:
    """Show a recording and its transcript."""
    transcript = heard.transcript
    wrong, errors = _find_errors(heard)
    lanes = []
    for number, talker in enumerate(transcript.talkers):
        posteriors = heard.posteriors[number] if heard.posteriors else None
        lanes.append(_talker(number, talker, transcript.seconds, wrong))
        if posteriors is not None:
            lanes.append(_posteriors(number, posteriors))
    return "".join(
        [
            f'<section class="mt" data-seconds="{transcript.seconds}">',
            *(f'<p class="mt-note">{escape(w)}</p>' for w in _notes(transcript)),
            _counts(transcript),
            _audio(heard.samples, heard.rate),
            _scroll(
                transcript.seconds,
                scale_of(transcript),
                f'<div class="mt-wave">{waveform_svg(heard.samples)}</div>'
                + "".join(lanes),
            ),
            _texts(transcript),
            errors,
            _downloads(transcript),
            "</section>",
        ]
    )


def _notes(transcript: Transcript) -> List[str]:
    if transcript.labels == "recording":
        return [*transcript.warnings]
    unclear = "Talker 1 before a pause may be another person than after it."
    return [*transcript.warnings, unclear]


def render_mixed(mixed: Mixed, slots: Sequence[int]) -> str:
    """Show a mixture before it is transcribed, with a bar per talker to drag.

    Args:
        mixed: Its parts.
        slots: Index of each part's sliders on the page.
    """
    full = max((float(np.abs(voice).max()) for voice in mixed.voices), default=0.0)
    bars = []
    for number, (slot, part, voice) in enumerate(zip(slots, mixed.parts, mixed.voices)):
        seconds = len(voice) / mixed.rate
        bars.append(
            f'<div class="mt-lane"><div class="mt-bar" data-slot="{slot}" '
            f'style="left:{_share(part.onset, mixed.seconds)};'
            f"width:{_share(seconds, mixed.seconds)};"
            f'--c:{color_of(number)}" title="{escape(part.name)}: drag sideways to '
            f'move it, up and down for its level">'
            f"{waveform_svg(voice, color_of(number), full)}"
            f"<span>{escape(part.name)}, {part.onset:.2f} s, {part.level:+.0f} dB"
            f"</span></div></div>"
        )
    return "".join(
        [
            f'<section class="mt" data-seconds="{mixed.seconds:.3f}">',
            f'<p class="mt-overlap">{100 * mixed.overlap:.0f} % of the speech time '
            f"overlaps</p>",
            _audio(mixed.samples, mixed.rate),
            _scroll(
                mixed.seconds,
                NARROWEST,
                f'<div class="mt-wave">{waveform_svg(mixed.samples)}</div>'
                + "".join(bars),
            ),
            "</section>",
        ]
    )


def scale_of(transcript: Transcript) -> float:
    """Pixels per second at which every word fits before the next one starts."""
    widest = NARROWEST
    for talker in transcript.talkers:
        for word, room in _rooms(talker.words, transcript.seconds):
            widest = max(widest, _pixels(word) / max(room, 0.02))
    return min(widest, WIDEST)


def _pixels(word: Word) -> float:
    return LETTER * len(word.text) + MARGIN


def _rooms(words: Sequence[Word], seconds: float) -> List[Tuple[Word, float]]:
    """Each word, and the seconds from its start to the next one's."""
    ends = [*(word.start for word in words[1:]), seconds]
    return [(word, end - word.start) for word, end in zip(words, ends)]


def _find_errors(heard: Heard) -> Tuple[Set[Tuple[int, int]], str]:
    """Indices (talker, word) of wrong words, and HTML that describes the errors."""
    if heard.reference is None:
        return set(), ""
    from espnet_mtasr.scoring.error_counts import cp_errors
    from espnet_mtasr.scoring.word_matches import match_words

    reference = list(heard.reference)
    texts = [talker.text for talker in heard.transcript.talkers]
    matches = match_words(reference, texts)
    counts = cp_errors(reference, texts)
    said = "".join(f"<li>{escape(text)}</li>" for text in reference)
    return {(m.stream, m.place) for m in matches if not m.correct}, (
        f'<p class="mt-errors">cpWER {counts.percent or 0.0:.0f} %: of {counts.words} '
        f"words {counts.substitutions} substituted, {counts.deletions} deleted; "
        f"{counts.insertions} inserted. What was said:</p><ol>{said}</ol>"
    )


def _counts(transcript: Transcript) -> str:
    count = transcript.num_talkers
    head = f"{count} talker{'' if count == 1 else 's'}"
    bars = "".join(
        f'<li{" class=mt-chosen" if n == count else ""}><span>{n}</span>'
        f'<i style="width:{100 * p:.1f}%"></i><b>{p:.2f}</b></li>'
        for n, p in sorted((transcript.count_probabilities or {}).items())
    )
    listed = f'<ul aria-label="probability of each talker count">{bars}</ul>'
    return f'<div class="mt-counts"><h3>{head}</h3>{listed if bars else ""}</div>'


def _audio(samples: np.ndarray, rate: int) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, to_int16(samples), rate, "PCM_16", format="WAV")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<audio controls preload="auto" src="data:audio/wav;base64,{data}"></audio>'


def _scroll(seconds: float, scale: float, content: str) -> str:
    step = next((t for t in TICKS if t * scale >= 50), TICKS[-1])
    ticks = "".join(
        f'<span style="left:{_share(k * step, seconds)}">{k * step:g} s</span>'
        for k in range(int(seconds / step) + 1)
    )
    return (
        f'<div class="mt-scroll" tabindex="0"><div class="mt-track" '
        f'style="width:max(100%,{seconds * scale:.0f}px)">'
        f'<div class="mt-axis">{ticks}</div>{content}<div class="mt-head"></div>'
        f"</div></div>"
    )


def _talker(
    number: int, talker: Talker, seconds: float, wrong: Set[Tuple[int, int]]
) -> str:
    buttons = []
    for place, (word, room) in enumerate(_rooms(talker.words, seconds)):
        # A short word may extend into the pause after it as far as its letters need.
        width = (
            f"max({_share(word.end - word.start, seconds)},"
            f"min({_share(room, seconds)},{_pixels(word):.0f}px))"
        )
        is_wrong = (number, place) in wrong
        about = (
            f"{word.text}: {word.start:.2f} to {word.end:.2f} s, confidence "
            f"{word.confidence:.2f}{', wrong' if is_wrong else ''}"
        )
        buttons.append(
            f'<button type="button" class="mt-word{" mt-wrong" if is_wrong else ""}" '
            f'data-start="{word.start}" data-end="{word.end}" '
            f'style="left:{_share(word.start, seconds)};width:{width}" '
            f'title="{escape(about)}">{escape(word.text)}</button>'
        )
    nothing = "" if buttons else '<span class="mt-note">no words</span>'
    return (
        f'<h4 style="color:{color_of(number)}">talker {number + 1}</h4>'
        f'<div class="mt-lane" style="--c:{color_of(number)}">'
        f'{"".join(buttons)}{nothing}</div>'
    )


def _posteriors(number: int, posteriors: Posteriors) -> str:
    frames = len(posteriors.best)
    peaks = "".join(
        f'<span style="left:{_share(peak.frame + 0.5, frames)}" '
        f'title="{posteriors.best[peak.frame]} %">{escape(peak.token)}</span>'
        for peak in posteriors.peaks
    )
    return (
        f'<div class="mt-ctc" title="{EXPLAINED}">'
        f"{posteriors_svg(posteriors, color_of(number))}"
        f'<div class="mt-peaks">{peaks}</div></div>'
    )


def _texts(transcript: Transcript) -> str:
    if not transcript.talkers:
        return '<p class="mt-note">No speech was detected.</p>'
    lines = "".join(
        f'<li style="color:{color_of(number)}">{escape(talker.text) or "–"}</li>'
        for number, talker in enumerate(transcript.talkers)
    )
    return f'<p>Transcript:</p><ol class="mt-texts">{lines}</ol>'


def _downloads(transcript: Transcript) -> str:
    links = []
    for name in DOWNLOADS:
        data = base64.b64encode(transcript.render(name).encode()).decode()
        file = escape(f"{transcript.recording}{FORMATS[name].suffix}")
        links.append(
            f'<a download="{file}" href="data:application/octet-stream;base64,{data}">'
            f"{FORMATS[name].suffix[1:]}</a>"
        )
    return f'<p class="mt-downloads">Download: {" ".join(links)}</p>'


def _share(part: float, seconds: float) -> str:
    return f"{100 * part / max(seconds, 1e-3):.3f}%"
