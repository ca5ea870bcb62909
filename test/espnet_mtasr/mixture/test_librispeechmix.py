"""LibriSpeechMix's lists: what is read, what is refused, and the mixtures."""

import json

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin.simulate import main
from espnet_mtasr.data.tables import read_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.librispeechmix import read_librispeechmix

TALKERS = {
    "11": ("test-clean/11/7/11-7-0002.wav", "ALPHA CHARLIE", 0.6),
    "12": ("test-clean/12/7/12-7-0002.wav", "BRAVO CHARLIE", 0.9),
    "13": ("test-clean/13/7/13-7-0002.wav", "CHARLIE CHARLIE", 1.2),
}


def entry(n, number=0):
    """A line as LibriSpeechMix has it, with all of its fields."""
    talkers = list(TALKERS)[:n]
    name = f"test-clean-{n}mix/test-clean-{n}mix-{number:04d}"
    return {
        "id": name,
        "mixed_wav": f"{name}.wav",
        "texts": [TALKERS[t][1] for t in talkers],
        "speaker_profile": [["test-clean/11/7/11-7-0000.wav"]],
        "speaker_profile_index": [0] * n,
        "wavs": [TALKERS[t][0] for t in talkers],
        "delays": [0.0, 0.5123456, 0.7654321][:n],
        "speakers": talkers,
        "durations": [TALKERS[t][2] for t in talkers],
        "genders": ["m"] * n,
    }


def write_list(root, *entries):
    path = root / "test-clean-mix.jsonl"
    path.write_text("".join(json.dumps(e) + "\n" for e in entries))
    return path


@pytest.fixture
def root(tmp_path):
    return make_tiny_corpus(tmp_path, seconds=(0.4, 1.2))


def simulate(root, path):
    main(
        [
            *("--librispeech", str(root / "LibriSpeech"), "--nj", "1"),
            *("--audio", str(root / "audio"), "--data", str(root / "data")),
            *("--set", "test_librispeechmix", str(path), "clean"),
        ]
    )
    return root / "data" / "test_librispeechmix_clean"


def test_one_to_three_talkers(root):
    """The corpus has FLAC where the list names WAV."""
    data = simulate(root, write_list(root, entry(1), entry(2), entry(3)))
    tables = read_data_dir(data, [1, 2, 3])
    prefix = "librispeechmix_clean_test-clean"
    assert tables["text"] == {
        f"{prefix}-1mix-0000": "alpha charlie",
        f"{prefix}-2mix-0000": "alpha charlie <sc> bravo charlie",
        f"{prefix}-3mix-0000": "alpha charlie <sc> bravo charlie <sc> charlie charlie",
    }
    assert tables["onsets"][f"{prefix}-3mix-0000"] == "0.0000 0.5123 0.7654"
    for n in (1, 2, 3):
        made, _ = soundfile.read(tables["wav.scp"][f"{prefix}-{n}mix-0000"])
        parts = []
        for wav, delay in zip(entry(n)["wavs"], entry(n)["delays"]):
            path = root / "LibriSpeech" / wav.replace(".wav", ".flac")
            silence = np.zeros(int(delay * 16000))
            parts.append(np.append(silence, soundfile.read(path)[0]))
        longest = max(map(len, parts))
        wanted = sum(np.append(p, np.zeros(longest - len(p))) for p in parts)
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(texts=["ALPHA", "BRAVO CHARLIE"]), "'ALPHA CHARLIE', .*says 'ALPHA'"),
        (dict(durations=[0.6, 1.0]), "lasts 0.9 s, .*jsonl:1 says 1 s"),
        (dict(delays=[0.5, 0.5]), "two talkers begin at the same time"),
        (dict(delays=[0.0]), "jsonl:1: field delays has 1 values, wavs 2"),
        (dict(delays=[0.0, "x"]), "jsonl:1: field delays is not a list of numbers"),
        (dict(delays=[0.0, -1.0]), "jsonl:1: field delays has .*start at 0"),
        (dict(texts=None), "jsonl:1: field texts is not a list of texts"),
        (dict(wavs=[]), "jsonl:1: field wavs is empty"),
        (dict(id=" "), "jsonl:1: id ' ' is empty or"),
        (dict(id=7), "jsonl:1: has no text in field id"),
    ],
)
def test_bad_lines(root, change, message):
    with pytest.raises(UserError, match=message):
        simulate(root, write_list(root, {**entry(2), **change}))


def test_bad_lists(tmp_path):
    with pytest.raises(UserError, match="nowhere.jsonl: no such list"):
        read_librispeechmix(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match="has no mixture"):
        read_librispeechmix(write_list(tmp_path))
    with pytest.raises(UserError, match="jsonl:2: .*stands in line 1 too"):
        read_librispeechmix(write_list(tmp_path, entry(2), entry(2)))
    (tmp_path / "a.jsonl").write_text("{\n")
    with pytest.raises(UserError, match="a.jsonl:1: is not JSON"):
        read_librispeechmix(tmp_path / "a.jsonl")
