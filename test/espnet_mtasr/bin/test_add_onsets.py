"""Onsets for stock LibriMix metadata."""

import pytest

from espnet_mtasr.bin.add_onsets import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import read_metadata


def write_stock(path, n_talkers, names):
    """Write metadata with LibriMix's own columns."""
    header = ["mixture_ID"]
    for k in range(1, n_talkers + 1):
        header += [f"source_{k}_path", f"source_{k}_gain"]
    header += ["noise_path", "noise_gain"]
    lines = [",".join(header)]
    for name in names:
        cells = [name]
        for k in range(n_talkers):
            cells += [f"dev-clean/{k}/0/{k}-0-{name}.flac", "1.0978411631972202"]
        lines.append(",".join([*cells, "cv/n.wav", "0.3175738454757897"]))
    path.write_text("\n".join(lines) + "\n")
    return path


def onsets_of(path):
    return {row.mixture_id: row.onsets for row in read_metadata(path)}


NAMES = [f"m{i}" for i in range(100)]


def test_onsets_are_sorted_distinct_and_in_their_ranges(tmp_path):
    stock = write_stock(tmp_path / "libri3mix_dev-clean.csv", 3, NAMES)
    (tmp_path / "libri3mix_dev-clean_info.csv").write_text("mixture_ID\nm1\n")
    main([str(tmp_path), "--out", str(tmp_path / "out")])
    out = tmp_path / "out" / "libri3mix_dev-clean.csv"
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    onsets = onsets_of(out)
    assert list(onsets) == NAMES
    for first, second, third in onsets.values():
        assert first == 0
        assert 1.0 <= second <= 1.5
        assert 2.5 <= third <= 3.0
    assert len(set(onsets.values())) == 100
    before, after = read_metadata(stock)[3], read_metadata(out)[3]
    assert before.source_gains == after.source_gains
    assert before.noise_gain == after.noise_gain == 0.3175738454757897
    assert before.source_paths == after.source_paths


def test_made_again_it_is_the_same_whatever_else_is_there(tmp_path):
    one = write_stock(tmp_path / "one.csv", 2, NAMES)
    other = write_stock(tmp_path / "other.csv", 2, ["x", "m7", "m3"])
    main([str(one), "--out", str(tmp_path / "a")])
    content = (tmp_path / "a" / "one.csv").read_bytes()
    main([str(one), str(other), "--out", str(tmp_path / "a")])
    assert (tmp_path / "a" / "one.csv").read_bytes() == content
    wanted, got = (onsets_of(tmp_path / "a" / f"{n}.csv") for n in ("one", "other"))
    assert got["m7"] == wanted["m7"]
    assert got["m3"] == wanted["m3"]
    main([str(one), "--out", str(tmp_path / "b"), "--seed", "2"])
    assert onsets_of(tmp_path / "b" / "one.csv") != wanted


def test_policies(tmp_path):
    stock = write_stock(tmp_path / "m.csv", 3, NAMES)
    none = ["--out", str(tmp_path / "none"), "--onsets", "none"]
    main([str(stock), *none])
    assert set(onsets_of(tmp_path / "none" / "m.csv").values()) == {(0.0, 0.0, 0.0)}
    main([str(stock), "--out", str(tmp_path / "s"), "--onsets", "successive", "1", "1"])
    assert set(onsets_of(tmp_path / "s" / "m.csv").values()) == {(0.0, 1.0, 2.0)}


def test_metadata_with_onsets_is_left_alone(tmp_path):
    stock = write_stock(tmp_path / "m.csv", 2, ["m1"])
    main([str(stock), "--out", str(tmp_path / "a")])
    ready = tmp_path / "a" / "m.csv"
    command = [str(ready), "--out", str(tmp_path / "b"), "--seed", "9"]
    with pytest.raises(
        UserError, match=r"a/m.csv:2: m1 has onsets; .* --keep, or --redraw"
    ):
        main(command)
    assert not (tmp_path / "b").exists()
    main([*command, "--redraw"])
    assert onsets_of(tmp_path / "b" / "m.csv") != onsets_of(ready)


def test_what_is_there_is_kept_and_what_is_not_is_drawn(tmp_path, capsys):
    stock = write_stock(tmp_path / "libri3mix_test-clean.csv", 3, NAMES)
    plain = write_stock(tmp_path / "plain.csv", 2, ["m1", "m2"])
    given = tmp_path / "libri2mix_test-clean.csv"
    header, *lines = plain.read_text().splitlines()
    # An onset of 0 is given too.
    rows = zip([f"{header},offset", *lines], ["", ",3.125", ",0"])
    given.write_text("".join(f"{line}{end}\n" for line, end in rows))
    plain.unlink()
    out = tmp_path / "out"
    main([str(stock), str(given), "--out", str(out), "--keep"])
    assert onsets_of(out / given.name) == {"m1": (0.0, 3.125), "m2": (0.0, 0.0)}
    assert read_metadata(out / given.name) == read_metadata(given)
    main([str(stock), "--out", str(tmp_path / "drawn")])
    drawn = onsets_of(tmp_path / "drawn" / stock.name)
    assert onsets_of(out / stock.name) == drawn
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("100 mixtures of 3 talkers, onsets drawn")
    assert said[1].endswith("2 mixtures of 2 talkers, onsets kept")
    with pytest.raises(UserError, match="--keep and --redraw: can't be combined"):
        main([str(stock), "--out", str(out), "--keep", "--redraw"])


def test_errors(tmp_path):
    stock = write_stock(tmp_path / "m.csv", 2, ["m1"])
    content = stock.read_bytes()
    with pytest.raises(UserError, match="would be overwritten"):
        main([str(stock), "--out", str(tmp_path)])
    assert stock.read_bytes() == content
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="other: has no CSV"):
        main([str(tmp_path / "other"), "--out", str(tmp_path / "out")])
    (tmp_path / "other" / "m_info.csv").write_text("mixture_ID\n")
    with pytest.raises(UserError, match=r"only \*_info.csv files"):
        info = tmp_path / "other" / "m_info.csv"
        main([str(info), "--out", str(tmp_path / "out")])
    twin = write_stock(tmp_path / "other" / "m.csv", 2, ["m1"])
    with pytest.raises(UserError, match="would both become m.csv"):
        main([str(stock), str(twin), "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match="0.001 <= low <= high"):
        out = str(tmp_path / "out")
        main([str(stock), "--out", out, "--onsets", "successive", "0", "0"])
