"""Kaldi's wav.scp: commands and places in archives, as stage 3 reads them."""

import io

import kaldiio
import numpy as np
import pytest
import soundfile

from espnet_mtasr.bin.prepare_data import main
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.speech_list import read_speech_list

RATE = 16000


def noise(n, seed=0):
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, n)


WAVES = {f"u{k}": noise(4000 + 100 * k, k) for k in range(3)}


def bytes_of(samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


def form(root, entries, *more, kind="--train_sets", segments=None):
    """Stage 3 on a set with these entries of wav.scp; what it gives."""
    data = root / "data" / "x"
    write_table(data / "wav.scp", entries)
    write_table(data / "text", {utt: "a <sc> b" for utt in segments or entries})
    if segments:
        write_table(data / "segments", segments)
    words = ["format", "--source", data.parent, "--target", root / "org", kind, "x"]
    main([str(word) for word in (*words, *more)])
    return {utt: s.read() for utt, s in read_speech_list(root / "org" / "x").items()}


def write_archive(path, files):
    """As Kaldi does: key, blank, file. Returns the entries of wav.scp."""
    entries, content = {}, b""
    for utt, file in files.items():
        content += utt.encode() + b" "
        entries[utt] = f"{path}:{len(content)}"
        content += file
    path.write_bytes(content)
    return entries


def assert_are_the_waves(found):
    assert list(found) == list(WAVES)
    for utt, wave in WAVES.items():
        assert np.abs(found[utt] - wave).max() <= 2**-14


@pytest.mark.parametrize("options", [{}, {"subtype": "FLOAT"}, {"subtype": "PCM_24"}])
@pytest.mark.parametrize("audio_format", ["flac", "flac.ark"])
def test_kaldis_archives(tmp_path, options, audio_format):
    files = {utt: bytes_of(wave, **options) for utt, wave in WAVES.items()}
    entries = write_archive(tmp_path / "wav.1.ark", files)
    rate, samples = (
        kaldiio.load_mat(entries["u1"]) if not options else (RATE, WAVES["u1"])
    )
    assert (rate, len(samples)) == (RATE, 4100)
    assert_are_the_waves(form(tmp_path, entries, f"--audio_format={audio_format}"))


@pytest.mark.parametrize("options", [{}, {"format": "FLAC"}, {"format": "WAV"}])
def test_archives_that_kaldiio_writes(tmp_path, options):
    """ESPnet's flac.ark and wav.ark, and WAV as scipy has it."""
    how = dict(write_function="soundfile", write_kwargs=options) if options else {}
    arrays = {utt: (RATE, (w * 2**15).astype(np.int16)) for utt, w in WAVES.items()}
    kaldiio.save_ark(f"{tmp_path}/a.ark", arrays, f"{tmp_path}/a.scp", **how)
    assert_are_the_waves(form(tmp_path, read_table(tmp_path / "a.scp")))


@pytest.mark.parametrize("nj", ["1", "2"])
def test_pipes(tmp_path, nj, monkeypatch):
    """A decoder's output, other rates, two channels, two commands in a row."""
    for utt, wave in WAVES.items():
        soundfile.write(tmp_path / f"{utt}.flac", wave, RATE)
    stereo = np.stack([WAVES["u0"]] * 2, 1)
    soundfile.write(tmp_path / "two.flac", stereo, RATE)
    soundfile.write(tmp_path / "slow.wav", noise(8000), 8000)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sph2pipe").write_text('#!/bin/sh\nshift 4\nexec cat "$1"\n')
    (tmp_path / "bin" / "sph2pipe").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    entries = {
        "u0": f"cat {tmp_path}/u0.flac |",
        "u1": f"sph2pipe -f wav -p -c1 {tmp_path}/u1.flac |",
        "u2": f"cat <{tmp_path}/u2.flac | cat - |",
        "v_slow": f"cat {tmp_path}/slow.wav|",
        "w_two": f"cat {tmp_path}/two.flac |",
    }
    found = form(tmp_path, entries, f"--max_unreadable=0.{nj}")
    assert len(found.pop("v_slow")) == 16000
    assert np.abs(found.pop("w_two") - WAVES["u0"]).max() <= 2**-14
    assert_are_the_waves(found)
    assert not list((tmp_path / "org").rglob("*.part"))


def test_what_a_program_that_writes_to_a_pipe_cannot_know(tmp_path):
    """The length in the header is a placeholder, as sox leaves it."""
    content = bytearray(bytes_of(WAVES["u0"]))
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    (tmp_path / "sox.wav").write_bytes(content)
    found = form(tmp_path, {"u0": f"cat {tmp_path}/sox.wav |"})
    assert np.abs(found["u0"] - WAVES["u0"]).max() <= 2**-14


def test_segments_of_a_pipe(tmp_path):
    """The command runs once for the segments of a recording."""
    soundfile.write(tmp_path / "a.wav", noise(32000), RATE)
    command = f"echo >>{tmp_path}/calls; cat {tmp_path}/a.wav |"
    segments = {f"u{k}": f"a {k * 0.2} {k * 0.2 + 0.2}" for k in range(9)}
    found = form(tmp_path, {"a": command}, segments=segments)
    assert np.allclose(
        np.concatenate([*found.values()]), noise(32000)[:28800], atol=1e-4
    )
    assert (tmp_path / "calls").read_text() == "\n"


def test_other_speeds(tmp_path):
    (tmp_path / "a.wav").write_bytes(bytes_of(WAVES["u0"]))
    data = tmp_path / "data" / "x"
    write_table(data / "wav.scp", {"a": f"cat {tmp_path}/a.wav |"})
    write_table(data / "text", {"a": "a <sc> b"})
    main(["perturb", str(data), f"{data}_sp", "--factors", "0.5 1.0"])
    paths = read_table(f"{data}_sp/wav.scp")
    assert soundfile.info(paths["sp0.5-a"]).frames == 8000
    assert paths["a"] == f"cat {tmp_path}/a.wav |"


def bad_entries(root):
    wave = bytes_of(WAVES["u0"])
    (root / "cut.wav").write_bytes(wave[:-1000])
    features, cut = io.BytesIO(), io.BytesIO()
    kaldiio.save_ark(features, {"u0": np.zeros((3, 2), dtype=np.float32)})
    kaldiio.save_ark(cut, {"u0": (RATE, WAVES["u0"])}, write_function="soundfile")
    pickled = b"PKL\x80\x04N."
    (root / "cut.ark").write_bytes(wave[:-1000])
    (root / "features.ark").write_bytes(features.getvalue())
    (root / "cut2.ark").write_bytes(cut.getvalue()[:-1000])
    (root / "code.ark").write_bytes(pickled)
    return {
        "no_such_program -c x |": "the command ended with code 127: .*not found; fix",
        "echo why >&2; exit 3 |": "the command ended with code 3: why; fix it, or",
        "true |": "the command wrote nothing; fix it",
        "echo hello |": "is not readable audio",
        f"cat {root}/cut.wav |": "is truncated",
        f"{root}/none.ark:3": r"the archive can't be read \(No such file",
        f"{root}/cut.ark:0": "the archive is truncated",
        f"{root}/cut2.ark:3": "the archive is truncated",
        f"{root}/cut.ark:99999": "the archive has no recording there",
        f"{root}/features.ark:3": "the archive has no recording there",
        f"{root}/code.ark:0": "the archive has no recording there",
    }


@pytest.mark.parametrize("number", range(11))
def test_what_cannot_be_read(tmp_path, number):
    """It stops a test set in one line; training lists it."""
    entry, says = [*bad_entries(tmp_path).items()][number]
    soundfile.write(tmp_path / "good.wav", WAVES["u0"], RATE)
    entries = {"bad": entry, "good": tmp_path / "good.wav"}
    with pytest.raises(UserError, match=rf"\(utterance bad\).*{says}") as error:
        form(tmp_path, entries, kind="--eval_sets")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "org" / "x" / "wav.scp").exists()
    assert list(form(tmp_path, entries, "--max_unreadable=1")) == ["good"]
    assert list(read_table(tmp_path / "org" / "x" / "skipped.txt")) == ["bad"]
