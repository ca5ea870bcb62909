"""Sources of a set: one or more lists of mixtures, or single utterances."""

from glob import glob
from pathlib import Path
from typing import Dict, List

from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.librispeechmix import read_librispeechmix
from espnet_mtasr.mixture.metadata import MixtureRow, is_info_file, read_metadata


def expand_lists(names: str) -> List[Path]:
    """Split names at commas and expand `*`, which skips `*_info.csv`.

    Raises:
        UserError: a pattern matches no file, or there are no names.
    """
    paths: List[Path] = []
    for name in filter(None, names.split(",")):
        if "*" not in name:
            paths.append(Path(name))
            continue
        found = [p for p in map(Path, sorted(glob(name))) if not is_info_file(p)]
        if not found:
            raise UserError(f"{name}: no list of mixtures matches; check the pattern")
        paths += found
    if not paths:
        raise UserError(f"{names!r} names no list of mixtures; give CSV or jsonl files")
    return paths


def read_lists(names: str) -> List[MixtureRow]:
    """Read the mixtures of all lists: LibriMix's CSVs, LibriSpeechMix's `*.jsonl`.

    Args:
        names: Paths or patterns, separated by commas.

    Raises:
        UserError: see `expand_lists`, `read_metadata` and `read_librispeechmix`; or two
            lists share an id.
    """
    rows: List[MixtureRow] = []
    for path in expand_lists(names):
        read = read_librispeechmix if path.suffix == ".jsonl" else read_metadata
        rows += read(path)
    first: Dict[str, str] = {}
    for row in rows:
        if row.mixture_id in first:
            raise UserError(
                f"{row.origin}: mixture {row.mixture_id} stands in "
                f"{first[row.mixture_id]} too; ids of a set must differ"
            )
        first[row.mixture_id] = row.origin
    return rows


def single_talker_rows(librispeech: Path, subsets: str) -> List[MixtureRow]:
    """Return each transcribed utterance of LibriSpeech subsets as a mixture of one.

    Args:
        librispeech: Folder of the subsets.
        subsets: Names, separated by commas.

    Raises:
        UserError: see `scan_corpus`; or a transcribed utterance has no recording.
    """
    scan = scan_corpus(librispeech, subsets.replace(",", " "))
    if scan.missing:
        raise UserError(
            f"{librispeech}: {scan.missing[0]} is transcribed but has no FLAC or WAV; "
            f"restore it or remove its line"
        )
    return [
        MixtureRow(u.id, (u.path,), (1.0,), (0.0,), origin=str(librispeech / u.path))
        for u in scan.utterances
    ]
