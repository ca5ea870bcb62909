"""RESULTS.html as stage 13 writes it: with recordings, curves, and what is missing."""

import json

import numpy as np
import pytest
import soundfile
from helpers.pages import Page

from espnet_mtasr.bin.mtasr_score import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.posteriors import Peak, Posteriors, pack


@pytest.fixture
def root(tmp_path):
    texts = {utt: "a b <sc> c" for utt in ("u", "v", "w")}
    for folder in ("data", "decode"):
        write_table(tmp_path / folder / "t" / "text", texts)
        write_table(tmp_path / folder / "t" / "utt2num_spk", dict.fromkeys(texts, "2"))
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    soundfile.write(tmp_path / "u.wav", wave, 16000)
    soundfile.write(tmp_path / "w.flac", wave, 16000)
    (tmp_path / "w.flac").write_bytes((tmp_path / "w.flac").read_bytes()[:9000])
    names = {"u": "u.wav", "v": "gone.wav", "w": "w.flac"}
    wavs = {utt: str(tmp_path / name) for utt, name in names.items()}
    write_table(tmp_path / "data" / "t" / "wav.scp", wavs)
    return tmp_path


def score(root, *options):
    words = ["--sets", "t", "--data_dir", root / "data", "--decode_dir"]
    words += [root / "decode", "--output_dir", root / "exp", "--mixtures", "m"]
    main([str(word) for word in [*words, "--model", "none", *options]])
    return Page(root / "exp" / "RESULTS.html")


def test_recordings_that_are_gone_or_broken_do_not_stop_the_scores(root):
    page = score(root)
    assert len(page.all("audio")) == 1
    notes = [text for text in page.texts if text.startswith("No sound: ")]
    gone, broken = notes
    assert "gone.wav" in gone and "w.flac" in broken
    assert (root / "exp" / "results.json").exists()


def test_a_data_directory_without_recordings(root):
    wavs = root / "data" / "t" / "wav.scp"
    write_table(wavs, {"u": str(root / "u.wav")})
    assert (
        "No sound: " + str(wavs.parent) + ": has no recording of v" in score(root).text
    )
    wavs.unlink()
    page = score(root)
    assert page.all("audio") == [] and "wav.scp: no such file" in page.text


def test_posteriors_of_decodings(root):
    """Of one before there were any, of the present one, and damaged ones."""
    assert "CTC" not in score(root).text
    table = root / "decode" / "t" / "posteriors"
    lengths = dict.fromkeys("uvw", 8000)
    write_table(root / "data" / "t" / "utt2num_samples", lengths)
    streams = [Posteriors([5, 90], [95, 10], [Peak(1, "▁a")])] * 2
    write_table(table, {"u": pack(streams), "v": "damaged"})
    page = score(root)
    # u's: w has none.
    assert len(page.all("g", class_="ctc")) == 2 and page.text.count("▁a") == 2
    assert f"No CTC posteriors: {table}: v is damaged; run stage 12 again" in page.texts
    table.write_bytes(b"\xff")
    assert f"{table}: is not UTF-8" in score(root).text
    assert (root / "exp" / "results.json").exists()


def test_curves(root):
    lines = {"all": {"train": [2.0, 1.0], "valid": [2.0, 1.5]}}
    panel = dict(title="CTC", log=True, note="", lines=lines)
    curve = dict(title="phase 2", epochs=[1, 2], best=2, panels=[panel])
    (root / "curve.json").write_text(json.dumps(curve))
    page = score(root, "--curves", root / "none.json", root / "curve.json")
    assert "phase 2 CTC (log axis)" in page.text
    (root / "curve.json").write_text("{")
    with pytest.raises(UserError, match="curve.json: is damaged"):
        score(root, "--curves", root / "curve.json")
