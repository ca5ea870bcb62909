"""Stage 3 for mixtures that are made while loading: check their sources.

Lengths come from specs and the headers of sources. Only the header and the end of a
recording are read.
"""

from pathlib import Path
from typing import Dict, List, Mapping, Tuple

from espnet_mtasr.data.audio_check import check_audio
from espnet_mtasr.errors import UserError
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.mixture.spec import (
    Header,
    MixtureSpec,
    num_samples,
    parse_specs,
    recordings_of,
)
from espnet_mtasr.progress import progress

SECONDS_ERROR = 1e-4


def _probe(path: str) -> Tuple[str, Header, str]:
    """Return the path, its header, and what is wrong, if anything."""
    try:
        info = check_audio(path)
    except UserError as e:
        return path, (0, 1), str(e)
    return path, (info.num_samples, info.rate), ""


def _problem(
    spec: MixtureSpec,
    headers: Mapping[str, Header],
    unfit: Mapping[str, str],
    utt: str,
) -> str:
    """Return what is wrong with a mixture's sources; empty: nothing."""
    for path in recordings_of(spec):
        if unfit[path]:
            return f"{unfit[path]} (utterance {utt})"
    for source in spec.sources:
        frames, rate = headers[source.path]
        if abs(source.seconds - frames / rate) > SECONDS_ERROR:
            return (
                f"{source.path} (utterance {utt}): lasts {frames / rate:.4f} s, "
                f"utt2mixture says {source.seconds:.4f} s; run stage 1 again"
            )
    return ""


def format_specs(
    source: Path, tables: Dict[str, Dict[str, str]], fs: int, nj: int
) -> Tuple[Dict[str, Dict[str, str]], List[str]]:
    """Check the sources of a set's mixtures and compute their lengths.

    Args:
        source: Its folder, for messages.
        tables: From `read_data_dir`, with `utt2mixture`.
        fs: Wanted rate in Hz.
        nj: Processes.

    Returns:
        Tables of the good mixtures, with `utt2num_samples`, and a line for each bad
        one.

    Raises:
        UserError: a line of `utt2mixture` isn't a spec, or has another rate.
    """
    specs = parse_specs(tables["utt2mixture"], source / "utt2mixture")
    for utt, spec in specs.items():
        if spec.rate != fs:
            raise UserError(
                f"{source}/utt2mixture: {utt} is at {spec.rate} Hz, --fs says {fs}; "
                f"make the set with --rate {fs}"
            )
    paths = list(dict.fromkeys(p for r in specs.values() for p in recordings_of(r)))
    label = f"{source.name}: sources"
    if nj > 1:
        with worker_pool(nj) as pool:
            found = pool.map(_probe, paths, chunksize=64)
            probed = list(progress(found, len(paths), label))
    else:
        probed = list(progress(map(_probe, paths), len(paths), label))
    headers = {path: header for path, header, _ in probed}
    unfit = {path: why for path, _, why in probed}
    problems = {utt: _problem(spec, headers, unfit, utt) for utt, spec in specs.items()}
    kept = {
        name: {utt: value for utt, value in table.items() if not problems[utt]}
        for name, table in tables.items()
        if name != "segments"
    }
    kept["utt2num_samples"] = {
        utt: str(num_samples(specs[utt], headers)) for utt in kept["utt2mixture"]
    }
    return kept, [f"{utt} {why}" for utt, why in problems.items() if why]
