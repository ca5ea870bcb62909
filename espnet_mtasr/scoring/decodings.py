"""The decodings of a training, each in its own folder with its own results.

Stage 12 writes `decoded_by.json` beside a set's texts: hashes of the model and of the
options. They keep figures of different decodings apart. Stage 13 writes RESULTS.md and
RESULTS.html of all decodings, the default first, into the training's folder.
"""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import read_json, write_whole
from espnet_mtasr.scoring.markdown import format_others, format_results
from espnet_mtasr.scoring.report.html import Markup, document, tag
from espnet_mtasr.scoring.report.looks import STYLE
from espnet_mtasr.scoring.report.page import OTHERS, render_others

MARK = "decoded_by.json"
RESULTS = "results.json"
PAGE = "RESULTS.html"
# The default decoding's are also copied to the training's folder.
TABLES = ("cpwer.json", "cpwer_by_num_speakers.json", "speaker_count.json", RESULTS)


def decoded_by(decode_dir: Path, names: Sequence[str]) -> Dict[str, str]:
    """Return what decoded these sets; {} if that isn't known for any.

    Raises:
        UserError: they were decoded by different models or with different options.
    """
    marks = {name: read_json(decode_dir / name / MARK) for name in names}
    known = {name: mark for name, mark in marks.items() if mark}
    if not known:
        return {}
    first, *others = known
    for other in others:
        if known[other] != known[first]:
            raise UserError(
                f"{decode_dir}: {first} and {other} were decoded by different models "
                f"or with different options; run stage 12 for both of them"
            )
    return known[first]


def with_sets_of_before(
    names: Sequence[str], output_dir: Path, decode_dir: Path, data_dir: Path
) -> List[str]:
    """Return the sets to score: the given ones, and those `output_dir` already has.

    Earlier sets are left out if another model or other options decoded them, or if
    their texts or references are gone.
    """
    earlier = read_json(output_dir / RESULTS).get("sets", {})
    mark = decoded_by(decode_dir, names)
    kept = [
        name
        for name in earlier
        if name in names
        or (
            read_json(decode_dir / name / MARK) == mark
            and (decode_dir / name / "text").is_file()
            and (data_dir / name / "text").is_file()
        )
    ]
    if set(kept) <= set(names):
        return list(names)
    return [*kept, *(name for name in names if name not in kept)]


def collect_results(folder: Path, default: str, scored: Mapping[str, Any]) -> None:
    """Write RESULTS.md and .html of all decodings, and the default's tables.

    Args:
        folder: The training's folder, which gets them; each folder in it with a
            results.json is a decoding.
        default: Name of the default decoding's folder.
        scored: results.json of the decoding that was scored last. If others decoded an
            earlier version of its checkpoint, the pages say so.

    Raises:
        UserError: a results.json is damaged.
    """
    found = {path.parent.name: path for path in sorted(folder.glob(f"*/{RESULTS}"))}
    decodings = {name: read_json(path) for name, path in found.items()}
    for results in decodings.values():
        if results.get("model") == scored["model"] and (
            results.get("model_sha256") != scored.get("model_sha256")
        ):
            results["model"] += ", an earlier version, since trained again"
    first = decodings.pop(default, None)
    if first is not None:
        for name in TABLES:
            content = (folder / default / name).read_text(encoding="utf-8")
            write_whole(folder / name, content)
        text = (folder / default / "RESULTS.md").read_text(encoding="utf-8")
        if first["model"] != read_json(found[default])["model"]:
            text = text.replace("# Results\n", f"# Results of {first['model']}\n", 1)
    elif (folder / RESULTS).is_file():
        # In an older version, decodings had no results of their own.
        text = format_results(read_json(folder / RESULTS))
    else:
        text = "# Results\n"
    write_whole(folder / "RESULTS.md", text + format_others(decodings))
    page = folder / default / PAGE
    if first is None or not page.is_file():
        text = document("Results", [tag("h1", "Results"), Markup(OTHERS)], STYLE)
    else:
        text = page.read_text(encoding="utf-8")
    write_whole(folder / PAGE, text.replace(OTHERS, render_others(decodings), 1))
