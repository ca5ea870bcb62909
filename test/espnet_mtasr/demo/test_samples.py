"""The page's samples are the recipe's, which were mixed by stage 1."""

from pathlib import Path

import numpy as np
import soundfile

from espnet_mtasr.demo.mixer import render_sample
from espnet_mtasr.demo.samples import FOLDER, NOISE, read_samples

RECIPE = Path(__file__).resolve().parents[3] / "egs2" / "mini_librimix" / "samples"


def test_as_the_recipes_samples():
    samples = read_samples()
    assert [sample.title for sample in samples] == [
        "Two talkers, clean",
        "Two talkers, noisy",
        "Three talkers, clean",
    ]
    for sample in samples:
        expected, rate = soundfile.read(RECIPE / f"{sample.name}.flac", dtype="float32")
        assert np.array_equal(render_sample(sample.spec, rate), expected)
        assert len(render_sample(sample.spec, rate // 2)) == -(-len(expected) // 2)
        line = next(
            line
            for line in (RECIPE / "references").read_text().splitlines()
            if line.startswith(sample.name)
        )
        assert line.split(maxsplit=2)[2] == " <sc> ".join(sample.texts)


def test_no_recording_is_idle():
    used = {s.path for sample in read_samples() for s in sample.spec.sources} | {NOISE}
    assert used == {str(path) for path in FOLDER.glob("*.flac")}
