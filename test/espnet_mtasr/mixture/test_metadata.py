"""Metadata: what is read, what is refused, and the round trip."""

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow, read_metadata, write_metadata

STOCK = (
    "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,"
    "noise_path,noise_gain\n"
    "m1,a/1/2/x.flac,0.5,a/3/4/y.flac,1.25,tt/n.wav,0.75\n"
)


def write(path, text):
    path.write_text(text)
    return path


def test_stock_librimix_starts_every_talker_at_zero(tmp_path):
    rows = read_metadata(write(tmp_path / "m.csv", STOCK))
    assert rows == [
        MixtureRow(
            "m1",
            ("a/1/2/x.flac", "a/3/4/y.flac"),
            (0.5, 1.25),
            (0.0, 0.0),
            "tt/n.wav",
            0.75,
        )
    ]


@pytest.mark.parametrize("n_talkers", [1, 2, 3, 4])
@pytest.mark.parametrize("noise", [None, "tr/n.wav"])
def test_round_trip(tmp_path, n_talkers, noise):
    row = MixtureRow(
        "m",
        tuple(f"s/{k}/0/u.flac" for k in range(n_talkers)),
        tuple(0.1 + k for k in range(n_talkers)),
        tuple(0.6789 * k for k in range(n_talkers)),
        noise,
        None if noise is None else 1 / 3,
    )
    write_metadata(tmp_path / "m.csv", [row])
    assert read_metadata(tmp_path / "m.csv") == [row]
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_onset_columns_of_two_and_three_talkers(tmp_path):
    two = STOCK.replace("noise_gain\n", "noise_gain,offset\n").replace(
        "0.75\n", "0.75,1.2\n"
    )
    assert read_metadata(write(tmp_path / "2.csv", two))[0].onsets == (0.0, 1.2)
    three = (
        "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,"
        "source_3_path,source_3_gain,offset1,offset2\n"
        "m,a,1,b,1,c,1,2.5,1.5\n"
    )
    row = read_metadata(write(tmp_path / "3.csv", three))[0]
    assert row.onsets == (0.0, 2.5, 1.5)
    assert row.noise_path is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("noise_gain\n", "other\n", r"m.csv:1: lacks column noise_gain"),
        ("source_2_gain", "gain", r"m.csv:1: lacks column source_2_gain"),
        ("1.25", "loud", r"m.csv:2: column source_2_gain has 'loud', not a number"),
        ("1.25", "nan", r"m.csv:2: column source_2_gain has 'nan'"),
        ("a/3/4/y.flac", "", r"m.csv:2: column source_2_path is empty"),
        ("m1,", "m 1,", r"m.csv:2: mixture_ID 'm 1' contains white space"),
        ("noise_gain\n", "noise_gain,offset2\n", r"m.csv:1: column offset2 does not"),
        ("m1,a/1/2/x.flac,0.5,a/3/4/y.flac,1.25,tt/n.wav,0.75\n", "", "no mixture"),
    ],
)
def test_bad_metadata_names_line_and_column(tmp_path, old, new, message):
    assert old in STOCK
    with pytest.raises(UserError, match=message):
        read_metadata(write(tmp_path / "m.csv", STOCK.replace(old, new)))


def test_same_mixture_twice(tmp_path):
    text = STOCK + STOCK.splitlines()[1] + "\n"
    with pytest.raises(UserError, match="m.csv:3: mixture_ID m1 stands in line 2 too"):
        read_metadata(write(tmp_path / "m.csv", text))


def test_negative_onset(tmp_path):
    text = STOCK.replace("noise_gain\n", "noise_gain,offset\n")
    text = text.replace("0.75\n", "0.75,-0.1\n")
    with pytest.raises(UserError, match="m.csv:2: column offset is negative"):
        read_metadata(write(tmp_path / "m.csv", text))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such metadata file"):
        read_metadata(tmp_path / "m.csv")
