"""Archives of LibriSpeech's, WHAM!'s and LibriMix's shape with sound in them."""

import csv
import shutil
import tarfile
from pathlib import Path

from helpers.stand_in_mirror import LIBRIMIX_ZIP, SUBSETS, write_md5sums
from helpers.tiny_corpus import make_tiny_corpus

NOISE_OF = {"dev-clean": "cv", "test-clean": "tt"}


def make_librimix_mirror(root: Path, n_mixtures: int = 3) -> Path:
    """Write all archives and md5sum.txt into a folder; return it.

    Three talkers with three utterances of 1.5 to 3 s in each subset, and `n_mixtures`
    of two and of three of them, in stock LibriMix's columns.
    """
    corpus, mirror = root / "corpus", root / "mirror"
    mirror.mkdir(parents=True)
    metadata = root / LIBRIMIX_ZIP.removesuffix(".zip") / "metadata"
    for k, subset in enumerate(SUBSETS):
        first = 11 + 10 * k
        make_tiny_corpus(corpus, subset, seconds=(1.5, 3.0), first_talker=first)
        with tarfile.open(mirror / f"{subset}.tar.gz", "w:gz") as tar:
            tar.add(corpus / "LibriSpeech" / subset, f"LibriSpeech/{subset}")
        for count in (2, 3):
            path = metadata / f"Libri{count}Mix" / f"libri{count}mix_{subset}.csv"
            _write_metadata(path, subset, first, count, n_mixtures)
    shutil.make_archive(mirror / "wham_noise", "zip", corpus, "wham_noise")
    top = metadata.parent
    shutil.make_archive(mirror / top.name, "zip", root, top.name)
    write_md5sums(mirror)
    return mirror


def _write_metadata(
    path: Path, subset: str, first: int, count: int, n_mixtures: int
) -> None:
    header = ["mixture_ID"]
    for k in range(1, count + 1):
        header += [f"source_{k}_path", f"source_{k}_gain"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow([*header, "noise_path", "noise_gain"])
        for n in range(n_mixtures):
            talkers = [first + (n + k) % 3 for k in range(count)]
            utts = [f"{talker}-7-{(n + k) % 3:04d}" for k, talker in enumerate(talkers)]
            row = ["_".join(utts)]
            for k, (talker, utt) in enumerate(zip(talkers, utts)):
                row += [f"{subset}/{talker}/7/{utt}.flac", 0.9 - 0.2 * k]
            noise = f"{NOISE_OF.get(subset, 'tr')}/n{n % 2}.wav"
            writer.writerow([*row, noise, 0.3])
