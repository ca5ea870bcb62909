"""Where long recordings are cut."""

import numpy as np
import pytest

from espnet_mtasr.transcription.long.windows import Place, WindowCutter
from espnet_mtasr.transcription.speech_detector import FRAME

RATE = 1000
PER_FRAME = 32


def cut(probabilities, longest=8.0, step=7, **options):
    """Windows of a recording whose samples are their own numbers."""
    cutter = WindowCutter(RATE, longest, **options)
    first = options.get("first", 0)
    probabilities = np.asarray(probabilities, np.float32)[first:]
    samples = np.arange(len(probabilities) * PER_FRAME, dtype=np.float32)
    samples += first * PER_FRAME
    windows = []
    for at in range(0, len(probabilities), step):
        block = slice(at * PER_FRAME, (at + step) * PER_FRAME)
        windows += cutter.push(samples[block], probabilities[at : at + step])
    windows += cutter.end(np.zeros(0, np.float32))
    for window in windows:
        assert window.samples[0] == round(window.place.start * RATE)
        assert len(window.samples) == round((window.end - window.place.start) * RATE)
        assert window.end - window.place.start <= longest + 1e-6
    return windows, cutter


def speech(*seconds):
    """Speech and silence, by turns."""
    parts = [
        np.full(round(s / FRAME), 0.9 if n % 2 == 0 else 0.05)
        for n, s in enumerate(seconds)
    ]
    return np.concatenate(parts)


def spans(windows):
    return [(round(w.place.start, 2), round(w.end, 2)) for w in windows]


def test_silence_has_no_windows():
    assert cut(np.full(9999, 0.05))[0] == []
    # Nor has a click.
    click = np.full(999, 0.05)
    click[500:503] = 0.9
    assert cut(click)[0] == []


def test_without_overlap():
    """Windows without a pause between them share nothing and lose nothing."""
    probabilities = speech(30)
    overlapping, _ = cut(probabilities)
    assert any(window.place.seam is not None for window in overlapping)
    windows, _ = cut(probabilities, overlap=False)
    assert all(window.place.seam is None for window in windows)
    assert windows[0].place.start == 0.0
    assert windows[-1].end == pytest.approx(30, abs=FRAME)
    for before, after in zip(windows, windows[1:]):
        assert after.place.start == pytest.approx(before.end)


@pytest.mark.parametrize("step", [1, 7, 100, 9999])
def test_pauses(step):
    windows, _ = cut(speech(0, 2, 3, 1, 2, 0.3, 1, 4), step=step)
    margin = 0.4
    expected = [(2 - margin, 5 + margin), (6 - margin, 9.3 + margin)]
    for found, wanted in zip(spans(windows), expected, strict=True):
        assert found == pytest.approx(wanted, abs=0.1)
    assert all(window.place.seam is None for window in windows)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_pause_may_begin_where_the_window_must_end(step):
    windows, _ = cut(speech(7.8, 0.7, 3.0), step=step)
    (start, end), (following, _) = spans(windows)
    assert (start, end) == pytest.approx((0.0, 8.0), abs=FRAME)
    assert following == pytest.approx(7.8 + 0.7 - 0.4, abs=FRAME)
    assert windows[1].place.seam is None


def test_a_short_pause_ends_a_window_that_is_too_long():
    windows, _ = cut(speech(6, 0.25, 7))
    assert spans(windows) == [
        pytest.approx((0, 6.1), abs=0.1),
        pytest.approx((6.1, 13.25), abs=0.1),
    ]
    assert windows[1].place.seam is None


@pytest.mark.parametrize("step", [1, 50])
def test_the_quietest_place(step):
    probabilities = speech(30)
    probabilities[round(6.5 / FRAME) + np.arange(-2, 3)] = 0.45
    windows, _ = cut(probabilities, step=step)
    first, second = windows[:2]
    assert second.place.seam == pytest.approx(6.5, abs=2 * FRAME)
    # 2 s are shared, the seam in their middle.
    assert second.place.start == pytest.approx(5.5, abs=2 * FRAME)
    assert first.end == pytest.approx(7.5, abs=2 * FRAME)
    assert spans(windows)[-1][1] == pytest.approx(30, abs=FRAME)
    for before, after in zip(windows, windows[1:]):
        assert after.place.start < before.end


def test_what_the_window_before_has_is_not_heard_again():
    # For a while it's open whether more than a click follows: that is no pause yet.
    probabilities = np.concatenate(
        [speech(7.36, 0.1), np.full(50, 0.15), speech(0, 20)]
    )
    dip = np.exp(-((np.arange(len(probabilities)) * FRAME - 6.43) ** 2))
    probabilities = probabilities * (1 - dip / 2)
    windows, _ = cut(np.concatenate([probabilities, speech(2)]), longest=7.5)
    assert [w.place.seam for w in windows] == [None, None]
    assert spans(windows)[0] == pytest.approx((0, 7.36), abs=0.1)


def test_everything_is_speech_at_a_threshold_of_0():
    windows, _ = cut(np.zeros(1000), threshold=0.0)
    assert spans(windows)[0][0] == 0 and spans(windows)[-1][1] == 32.0
    covered = sorted(spans(windows))
    assert all(b[0] <= a[1] for a, b in zip(covered, covered[1:]))


@pytest.fixture
def wild():
    rng = np.random.default_rng(0)
    return np.repeat(rng.random(300), rng.integers(1, 40, 300))


def test_blocks_of_any_length_give_the_same(wild):
    expected = spans(cut(wild, step=9999)[0])
    for step in (1, 10, 31):
        assert spans(cut(wild, step=step)[0]) == expected


@pytest.mark.parametrize("seed", range(30))
def test_only_seams_are_heard_twice(seed):
    rng = np.random.default_rng(seed)
    runs = rng.choice([0.0, 0.15, 0.3, 0.55, 0.7, 1.0], 400)
    windows, _ = cut(np.repeat(runs, rng.integers(1, 30, 400)))
    assert any(window.place.seam for window in windows)
    for before, window in zip(windows, windows[1:]):
        seam = window.place.seam
        if seam is None:
            assert window.place.start >= before.end - FRAME
        else:
            assert window.place.start < seam < before.end


def test_it_goes_on_where_it_was(wild):
    probabilities = wild
    windows, cutter = cut(probabilities)
    assert len(windows) > 20 and any(w.place.seam for w in windows)
    for done in range(len(windows) - 1):
        begin = windows[done].next
        first = max(int(begin.start / FRAME) - 30, 0)
        again, _ = cut(probabilities, begin=begin, first=first)
        assert spans(again) == spans(windows[done + 1 :])


def test_memory_is_bounded():
    cutter = WindowCutter(RATE, 8.0)
    rng = np.random.default_rng(0)
    longest = 0
    for _ in range(500):
        frames = np.repeat(rng.random(10) < 0.8, 10) * 0.9
        list(cutter.push(np.zeros(len(frames) * PER_FRAME, np.float32), frames))
        longest = max(longest, len(cutter.samples) / RATE)
    assert longest < 8.0 + 4.0
    assert Place(1.0).seam is None
