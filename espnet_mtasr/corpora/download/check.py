"""Check that existing folders have what the recipe reads.

It only checks folders and a few files, not every recording, because it runs each time.
"""

from pathlib import Path
from typing import List, Optional, Sequence

from espnet_mtasr.corpora.librispeech import AUDIO_SUFFIXES

# LibriSpeech's paper, table 1.
NUM_TALKERS = {
    "dev-clean": 40,
    "test-clean": 40,
    "train-clean-100": 251,
    "train-clean-360": 921,
}
NOISE_SPLITS = ("tr", "cv", "tt")


def lacking_in_librispeech(folder: Path) -> Optional[str]:
    """Return what a subset's folder (TALKER/CHAPTER/*.trans.txt and audio) lacks."""
    transcripts = next(folder.glob("*/*/*.trans.txt"), None)
    if transcripts is None:
        return f"{folder.name}/TALKER/CHAPTER/*.trans.txt"
    if not _has_audio(transcripts.parent):
        return f"recordings in {transcripts.parent.relative_to(folder.parent)}"
    return None


def lacking_in_speechocean762(folder: Path) -> Optional[str]:
    """Return what speechocean762's folder (tables in train and test, WAVE) lacks."""
    tables = ("wav.scp", "text", "utt2spk", "spk2gender")
    wanted = [f"{part}/{table}" for part in ("train", "test") for table in tables]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if next(folder.glob("WAVE/*/*.WAV"), None) is None:
        missing.append("recordings in WAVE")
    return ", ".join(missing) if missing else None


def lacking_in_wham_noise(folder: Path) -> Optional[str]:
    """Return what a folder of WHAM!'s noise lacks."""
    missing = [split for split in NOISE_SPLITS if not _has_audio(folder / split)]
    return "recordings in " + ", ".join(missing) if missing else None


def lacking_in_metadata(
    folder: Path, subsets: Sequence[str], talker_counts: Sequence[int]
) -> Optional[str]:
    """Return which CSV files of LibriMix's metadata are missing."""
    missing = [
        name
        for count in talker_counts
        for subset in subsets
        if not (folder / (name := metadata_file(count, subset))).is_file()
    ]
    return ", ".join(missing) if missing else None


def metadata_file(talker_count: int, subset: str) -> str:
    """Return the name of a metadata file as LibriMix has it.

    >>> metadata_file(2, "dev-clean")
    'Libri2Mix/libri2mix_dev-clean.csv'
    """
    return f"Libri{talker_count}Mix/libri{talker_count}mix_{subset}.csv"


def incomplete_subsets(root: Path, subsets: Sequence[str]) -> List[str]:
    """Compare the number of talkers with LibriSpeech's own; a note per difference."""
    notes = []
    for subset in subsets:
        found = sum(1 for p in (root / subset).iterdir() if p.is_dir())
        expected = NUM_TALKERS.get(subset, found)
        if found != expected:
            notes.append(
                f"note: {root / subset} has {found} talkers, LibriSpeech's {expected}"
            )
    return notes


def _has_audio(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix in AUDIO_SUFFIXES for p in folder.iterdir())
