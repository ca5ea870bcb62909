"""How much room the corpora need, worked out by hand."""

import pytest

from espnet_mtasr.bin.download_corpora import get_parser, request_of
from espnet_mtasr.corpora.download.archives import ARCHIVES
from espnet_mtasr.corpora.download.corpora import Step, space_needed


def step(part, size, unpacked, folder, sources=("http://x",)):
    archive = next(a for a in ARCHIVES if a.part == part)
    return Step(archive, folder / archive.file, list(sources), size, unpacked)


def test_space_needed(tmp_path):
    def request(*options):
        words = ["--download_dir", str(tmp_path), *options]
        return request_of(get_parser().parse_args(words))

    steps = [
        step("wham_noise", 100, 200, tmp_path),
        step("dev-clean", 50, 60, tmp_path),
    ]
    # 300 for the noise and its archive; then 200 + 50 + 60 without that archive.
    assert space_needed(steps, request()) == 310
    assert space_needed(steps, request("--keep_archives")) == 410
    # 80 of the first archive are there.
    (tmp_path / "wham_noise.zip.part").write_bytes(b"x" * 80)
    assert space_needed(steps, request()) == 230
    # A mirror on this machine takes no room, and is not removed.
    local = step("dev-clean", 50, 60, tmp_path / "mirror", sources=())
    assert space_needed([steps[0], local], request()) == 220


def test_what_all_of_it_needs(tmp_path):
    """By the published sizes: LibriSpeech's 30 GB, 35 GB of noise, and archives."""
    steps = [
        step(a.part, size := a.size or a.expected_size, size * a.expansion, tmp_path)
        for a in ARCHIVES
    ]
    steps.sort(key=lambda s: s.size, reverse=True)
    words = ["--download_dir", str(tmp_path)]
    needed = space_needed(steps, request_of(get_parser().parse_args(words)))
    # The peak: train-clean-360 is unpacked, WHAM!'s archive and noise are there.
    assert needed == pytest.approx(23.05e9 * 1.05 + 17.65e9 * 3, rel=1e-3)
