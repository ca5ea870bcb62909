"""Two scored decodings side by side: the test's figures, and what is refused."""

import json

import numpy as np
import pytest
import soundfile
from helpers.pages import Page

from espnet_mtasr.bin.main import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError

EVIL = "<script>alert(1)</script>"
REFERENCE = "a b c d <sc> e f"


def decode(root, folder, texts, references=None, sets=("t",), options=()):
    """Decode and score sets of mixtures, all with the same texts."""
    references = references or dict.fromkeys(texts, REFERENCE)
    for name in sets:
        for place, table in (("data", references), (folder, texts)):
            write_table(root / place / name / "text", table)
            counts = {u: str(t.count("<sc>") + 1) for u, t in table.items()}
            write_table(root / place / name / "utt2num_spk", counts)
    words = ["score", "--sets", " ".join(sets), "--data_dir", root / "data"]
    words += ["--decode_dir", root / folder, "--output_dir", root / folder]
    words += ["--mixtures", "m", "--model", f"{folder} {EVIL}", *options]
    main([str(word) for word in words])


def texts(right):
    """40 mixtures, of which so many have no error; the others lack two words."""
    return {f"u{k:02d}": REFERENCE if k < right else "a b c <sc> e" for k in range(40)}


def run(*words):
    main(["score", "--compare", *map(str, words)])


def test_figures(tmp_path, capsys):
    decode(tmp_path, "a", texts(10), sets=("t", "v"))
    decode(tmp_path, "b", texts(30), sets=("v", "t", "w"))
    capsys.readouterr()
    run(tmp_path / "a", tmp_path / "b")
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    rows = {row[0].strip("| "): row for row in table if len(row) == 8}
    assert list(rows)[2:] == ["t", "v", "all sets"]
    # 60 and 20 errors of 240 words.
    assert rows["t"][1:6] == ["40", "240", "25.00", "8.33", "-16.67"]
    low, high = map(float, rows["t"][6].split(" to "))
    assert low < -16.67 < high < 0 and rows["t"][7] == "B is better |"
    assert rows["all sets"][1:3] == ["80", "480"]
    run(tmp_path / "b", tmp_path / "a")
    assert "| +16.67 |" in capsys.readouterr().out
    assert not list(tmp_path.rglob("COMPARISON*"))


def test_what_is_no_difference(tmp_path, capsys):
    decode(tmp_path, "a", texts(10))
    decode(tmp_path, "b", texts(11))
    capsys.readouterr()
    run(tmp_path / "a", tmp_path / "b")
    assert "| -0.83 | -2.50 to +0.00 | no difference shown |" in capsys.readouterr().out


def test_the_page(tmp_path):
    folder = f"b{EVIL.replace('/', '')}"
    said = {"u": f"{EVIL} b c <sc> d", "v": "a <sc> b", "w": "a <sc> b"}
    decode(tmp_path, "a", {"u": "x <sc> d", "v": "a <sc> b", "w": "a <sc> b"}, said)
    better = {**said, "v": "a <sc> x <sc> y"}
    decode(tmp_path, folder, better, said, options=["--talker_counts", "2 3"])
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    soundfile.write(tmp_path / "u.wav", wave, 16000)
    write_table(tmp_path / "data/t/wav.scp", {"u": str(tmp_path / "u.wav")})
    out = tmp_path / "out"
    options = ["--output_dir", out, "--data_dir", tmp_path / "data"]
    run(tmp_path / "a", tmp_path / folder, *options)
    assert sorted(p.name for p in out.iterdir()) == ["COMPARISON.html", "COMPARISON.md"]
    page = Page(out / "COMPARISON.html")
    headings = [text for text in page.texts if " (B: " in text]
    assert headings == ["u (B: -3 errors)", "v (B: +2 errors)"]
    assert EVIL in page.texts and len(page.all("script")) == 1
    assert len(page.all("audio")) == 1
    assert "No sound: " in page.text and "has no recording of v" in page.text
    assert "A: cpWER 75.0 %, 2 talkers, 2 streams, 3 errors in 4 words" in page.text


def test_a_training_means_its_default_decoding(tmp_path, capsys):
    collect = ["--collect_dir", tmp_path / "exp", "--default_decoding", "one"]
    decode(tmp_path, "exp/one", texts(10), options=collect)
    decode(tmp_path, "exp/two", texts(20), options=collect)
    capsys.readouterr()
    run(tmp_path / "exp", tmp_path / "exp/two")
    assert "| 25.00 | 16.67 | -8.33 |" in capsys.readouterr().out
    (tmp_path / "exp/results.json").unlink()
    with pytest.raises(
        UserError, match="exp: has several decodings; choose one: one, tw"
    ):
        run(tmp_path / "exp", tmp_path / "exp/two")


def test_what_cannot_be_compared(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with pytest.raises(UserError, match="a: has no results.json; give a folder that"):
        run(a, b)
    decode(tmp_path, "a", texts(10))
    decode(tmp_path, "b", texts(10), dict.fromkeys(texts(0), "a b c x <sc> e f"))
    with pytest.raises(
        UserError, match="t has different references, for instance of u00;"
    ):
        run(a, b)
    decode(tmp_path, "b", texts(10), sets=("v",))
    with pytest.raises(UserError, match="have no set in common"):
        run(a, b)
    decode(tmp_path, "b", texts(10))
    results = json.loads((b / "results.json").read_text())
    (b / "results.json").write_text(json.dumps({**results, "text_normalizer": "x"}))
    with pytest.raises(UserError, match=r"different text normalizers \(none, x\)"):
        run(a, b)
    (b / "results.json").write_text(json.dumps(results))
    (b / "scoring/t/hyp.seglst.json").write_text("{}]")
    with pytest.raises(UserError, match="hyp.seglst.json: is not a SegLST file"):
        run(a, b)
    (b / "scoring/t/hyp.seglst.json").unlink()
    with pytest.raises(UserError, match="hyp.seglst.json: no such file; run stage 13"):
        run(a, b, "--output_dir", tmp_path / "out")
    with pytest.raises(UserError, match="--data_dir .*none: no such folder"):
        run(a, b, "--data_dir", tmp_path / "none")
    with pytest.raises(UserError, match="--fs 0"):
        run(a, b, "--fs", 0)
    assert not (tmp_path / "out").exists()
