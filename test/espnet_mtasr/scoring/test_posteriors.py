"""Stored CTC posteriors: what is kept of them, and files that are damaged or gone."""

import base64
import re
import zlib

import numpy as np
import pytest

from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.posteriors import (
    Peak,
    Posteriors,
    find_peaks,
    pack,
    read_by_id,
    summarize,
    unpack,
)

FRAMES = np.array(
    [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0], [1, 0, 0]]
)
TOKENS = ["<blank>", "a", "b"]


def of(frames):
    best = frames[:, 1:].max(axis=1)
    return summarize(best, frames[:, 0], frames.argmax(axis=1), TOKENS)


def test_curves_and_tokens():
    assert of(FRAMES) == Posteriors(
        [10, 80, 60, 100, 0], [90, 20, 10, 0, 100], [Peak(1, "a"), Peak(3, "b")]
    )
    assert of(FRAMES[:0]) == Posteriors([], [], [])
    assert of(FRAMES[4:]).peaks == []


def test_a_token_that_is_repeated_across_a_blank_is_written_twice():
    ids, best = np.array([1, 0, 1, 1, 2]), np.array([0.9, 0.1, 0.6, 0.7, 0.8])
    found = find_peaks(ids, best, TOKENS)
    assert found == [Peak(0, "a"), Peak(3, "a"), Peak(4, "b")]


def test_a_table_is_small(tmp_path):
    """Ten seconds of two streams at 50 frames per second, with 30 tokens each."""
    rng, frames = np.random.default_rng(0), 500
    streams = []
    for _ in range(2):
        best = rng.integers(0, 3, frames)
        places = np.sort(rng.choice(frames, 30, replace=False))
        best[places] = rng.integers(60, 101, 30)
        peaks = [Peak(int(place), f"▁{place}") for place in places]
        streams.append(Posteriors(best.tolist(), (100 - best).tolist(), peaks))
    word = pack(streams)
    assert len(word) < 3000 and re.fullmatch("[A-Za-z0-9+/=]+", word)
    assert unpack(word) == streams


def test_what_is_not_there_and_what_is_damaged(tmp_path):
    assert read_by_id(tmp_path, ["old"]) is None
    word = pack([of(FRAMES)])
    bad = {"b": word[:-8], "c": "no", "d": pack([])[:-4] + "AAA=", "e": "#"}
    # Of another version.
    bad["f"] = base64.b64encode(zlib.compress(b'[{"top": []}]')).decode()
    bad["g"] = base64.b64encode(zlib.compress(b"7")).decode()
    write_table(tmp_path / "new" / "posteriors", {"a": word, **bad, "h": pack([])})
    read = read_by_id(tmp_path, ["old", "new"])
    assert read("old", "a") is None and read("new", "z") is None
    assert read("new", "a") == [of(FRAMES)] and read("new", "h") == []
    for utt in bad:
        message = f"new/posteriors: {utt} is damaged; run stage 12 again"
        with pytest.raises(UserError, match=message):
            read("new", utt)
    (tmp_path / "new" / "posteriors").write_text("a x\na y\n")
    with pytest.raises(UserError, match="posteriors:2: duplicate id a"):
        read_by_id(tmp_path, ["new"])("new", "a")
