"""Without onsets the generator's samples are those of LibriMix's own script.

`librimix` restates what create_librimix_from_metadata.py computes for one mixture, as
plainly as that goes: sources read as float32, noise read up to the longest source and
repeated there, gains, resampling, padding or cutting, sum, 16 bits by soundfile.
"""

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus
from scipy.signal import resample_poly

from espnet_mtasr.bin.simulate import main
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.spec import read_specs

A = "test-clean/11/7/11-7-0002.flac"
B = "test-clean/12/7/12-7-0002.flac"
C = "test-clean/13/7/13-7-0002.flac"
HEADER = "mixture_ID,{}noise_path,noise_gain"
# Gains as LibriMix has them: not numbers that 32 bits hold; the sum clips at times.
ROWS = {
    "two": [
        ("m1", [(A, 1.011496427269507), (B, 1.0978411631972202)], "tt/long.wav", 0.31),
        ("m2", [(C, 0.430671628641197), (A, 7.2)], "tt/short.wav", 2.441805598827563),
    ],
    "three": [
        (
            "m3",
            [(B, 0.5652582631915), (A, 0.7895395788353), (C, 0.3331982390445737)],
            "tt/short.wav",
            0.6465986922268523,
        ),
        (
            "m4",
            [(C, 0.2831), (B, 0.1871), (A, 0.9999)],
            "tt/long.wav",
            1.6167259,
        ),
    ],
}


@pytest.fixture
def root(tmp_path):
    """Sources of 0.6, 0.9 and 1.2 s; noise of 2 s in stereo, and of 0.7 s."""
    make_tiny_corpus(tmp_path, seconds=(0.4, 1.2))
    rng = np.random.default_rng(1)
    folder = tmp_path / "wham_noise" / "tt"
    stereo = 0.1 * rng.standard_normal((32000, 2))
    soundfile.write(folder / "long.wav", stereo, 16000, subtype="PCM_16")
    mono = 0.1 * rng.standard_normal(11200)
    soundfile.write(folder / "short.wav", mono, 16000, subtype="PCM_16")
    return tmp_path


def write_csv(path, rows):
    columns = "".join(
        f"source_{k}_path,source_{k}_gain," for k in range(1, len(rows[0][1]) + 1)
    )
    lines = [HEADER.format(columns)]
    for name, sources, noise, gain in rows:
        cells = [f"{source},{g!r}" for source, g in sources]
        lines.append(",".join([name, *cells, noise, repr(gain)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def repeat_noise(noise, n):
    window = np.hanning(16001)
    up, down = window[:8001], window[8000::-1]
    longer = noise
    while len(longer) < n:
        faded = longer[-8001:] * down + noise[:8001] * up
        longer = np.concatenate([longer[:-8001], faded, noise[8001:]])
    return longer[:n]


def librimix(root, row, rate, mode, kind, path):
    _, sources, noise_path, noise_gain = row
    parts = [
        soundfile.read(root / "LibriSpeech" / source, dtype="float32")[0]
        for source, _ in sources
    ]
    longest = max(map(len, parts))
    noise, _ = soundfile.read(
        root / "wham_noise" / noise_path, dtype="float32", stop=longest
    )
    noise = noise if noise.ndim == 1 else noise[:, 0]
    if len(noise) < longest:
        noise = repeat_noise(noise, longest)
    parts.append(noise)
    gains = [gain for _, gain in sources] + [noise_gain]
    parts = [part * gain for part, gain in zip(parts, gains)]
    parts = [resample_poly(part, rate, 16000) for part in parts]
    if mode == "min":
        n = min(map(len, parts))
        parts = [part[:n] for part in parts]
    else:
        n = max(map(len, parts))
        parts = [np.pad(part, (0, n - len(part))) for part in parts]
    chosen = {
        "clean": parts[:-1],
        "noisy": parts,
        "single": [parts[0], parts[-1]],
    }[kind]
    mixture = np.zeros_like(parts[0])
    for part in chosen:
        mixture += part
    soundfile.write(path, mixture, rate)
    return soundfile.read(path, dtype="int16")[0]


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_samples_are_librimix_s(root, rate, mode, audio_format):
    csvs = [write_csv(root / f"{name}.csv", rows) for name, rows in ROWS.items()]
    main(
        [
            *("--librispeech", str(root / "LibriSpeech")),
            *("--wham_noise", str(root / "wham_noise")),
            *("--audio", str(root / "audio"), "--data", str(root / "data")),
            *("--rate", str(rate), "--mode", mode, "--audio_format", audio_format),
            *("--set", "test_x", ",".join(map(str, csvs))),
            "mix_clean,mix_both,mix_single",
        ]
    )
    for kind in ("clean", "noisy", "single"):
        wavs = read_table(root / "data" / f"test_x_{kind}" / "wav.scp")
        specs = read_specs(root / "data" / f"test_x_{kind}" / "utt2mixture")
        assert len(wavs) == 4
        for row in [row for rows in ROWS.values() for row in rows]:
            wanted = librimix(root, row, rate, mode, kind, root / "reference.wav")
            utt = f"x_{kind}_{row[0]}"
            made, own_rate = soundfile.read(wavs[utt], dtype="int16")
            assert own_rate == rate
            np.testing.assert_array_equal(made, wanted)
            rendered = render(specs[utt])
            assert rendered.dtype == np.float32
            np.testing.assert_array_equal(rendered * 32768, wanted)
            seconds = specs[utt].seconds
            assert abs(seconds * rate - len(wanted)) < 1
