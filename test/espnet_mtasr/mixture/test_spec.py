"""Lines of `utt2mixture`: round trip, lines of before, lengths, what is refused."""

import json

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import (
    MixtureSpec,
    Noise,
    Source,
    parse_spec,
    read_specs,
)

SOURCES = (Source("/a.flac", 0.5, "11", 2.0), Source("/b.flac", 0.25, "12", 3.0))


def test_round_trip_of_every_field():
    spec = MixtureSpec(
        SOURCES[:1], (0.5,), Noise("/n.wav", 0.1, 2.0, 0.8), 8000, "min", (1.25, 3.5)
    )
    assert parse_spec(spec.to_line(), "u") == spec


def test_a_line_of_before_modes_is_readable_and_not_longer_now():
    line = (
        '{"sources": [{"path": "/a.flac", "gain": 0.5, "talker": "11", "seconds": 2.0},'
        ' {"path": "/b.flac", "gain": 0.25, "talker": "12", "seconds": 3.0}],'
        ' "onsets": [0.0, 1.0], "noise": {"path": "/n.wav", "gain": 0.1},'
        ' "rate": 16000}'
    )
    spec = parse_spec(line, "u")
    assert spec == MixtureSpec(SOURCES, (0.0, 1.0), Noise("/n.wav", 0.1))
    assert spec.to_line() == line


@pytest.mark.parametrize(
    "mode, left_out, seconds",
    [("max", (), 4.0), ("min", (), 2.0), ("max", (5.0,), 5.0), ("min", (1.5,), 1.5)],
)
def test_length(mode, left_out, seconds):
    spec = MixtureSpec(SOURCES, (0.0, 1.0), None, 16000, mode, left_out)
    assert spec.seconds == seconds


def test_an_unknown_mode():
    fields = json.loads(MixtureSpec(SOURCES, (0.0, 1.0)).to_line())
    with pytest.raises(UserError, match="u: mode 'mean': choose one of"):
        parse_spec(json.dumps({**fields, "mode": "mean"}), "u")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, "is not a spec of a mixture"),
        ({"sources": [{"path": "a"}], "onsets": [0], "rate": 8}, "is not a spec"),
        ({"sources": [], "onsets": [], "rate": 8}, "0 sources, 0 onsets"),
        ({"sources": [], "onsets": ["x"], "rate": 8}, "is not a spec of a mixture"),
    ],
)
def test_what_is_no_spec(fields, message):
    with pytest.raises(UserError, match=f"^f: u: {message}"):
        parse_spec(json.dumps(fields), "f: u")


def test_a_line_that_is_no_json(tmp_path):
    (tmp_path / "m").write_text("u {oops\n")
    with pytest.raises(UserError, match="m: u: is not JSON"):
        read_specs(tmp_path / "m")
