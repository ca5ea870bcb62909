"""Score sets, and write results.json, RESULTS.md and the small tables beside it.

doc/design.md, section "Results", describes the keys of results.json. The comparison is
in `error_counts.py` and `orc.py`; this file turns its counts into a report, from which
`markdown.py` makes RESULTS.md.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
)

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.bootstrap import bootstrap_interval
from espnet_mtasr.scoring.breakdown import (
    EDGES,
    Bin,
    by_condition,
    by_gender,
    by_overlap,
    by_talkers,
)
from espnet_mtasr.scoring.error_counts import (
    ErrorCounts,
    TalkerErrors,
    character_errors,
    cp_errors,
    fifo_errors,
    talker_errors,
)
from espnet_mtasr.scoring.espnet_form import sclite_files
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.markdown import format_results
from espnet_mtasr.scoring.orc import orc_errors
from espnet_mtasr.scoring.talker_count import count_accuracy, count_confusion
from espnet_mtasr.scoring.text_normalizer import NONE

DECIMALS = 4
T = TypeVar("T")


@dataclass(frozen=True)
class SetScore:
    """A set's entry in results.json, and what it was made from.

    Attributes:
        report: The entry.
        by_talkers: True talker count to cpWER counts.
        errors: Utterance id to cpWER counts.
    """

    report: Dict[str, Any]
    by_talkers: Dict[int, ErrorCounts]
    errors: Dict[str, ErrorCounts]


def score_set(
    references: References,
    hypotheses: Hypotheses,
    oracle: Optional[Hypotheses] = None,
    talker_counts: Sequence[int] = (2, 3),
) -> SetScore:
    """Compare all references with the hypotheses.

    A missing hypothesis counts as all deletions.

    Args:
        references: What was said.
        hypotheses: Decoded with the predicted talker count.
        oracle: Decoded with the true talker count, if that was done.
        talker_counts: The counts that the model knows.

    Raises:
        UserError: the references have no words.
    """

    cp = _compare(cp_errors, references, hypotheses)
    cp_total = sum(cp.values(), ErrorCounts())
    if not cp_total.words:
        raise UserError("the reference text has no words; fix it before scoring")
    num_talkers = references.num_talkers
    confusion = count_confusion(num_talkers, hypotheses.num_talkers, talker_counts)
    low, high = bootstrap_interval(list(cp.values()))
    report = {
        "n_utt": len(references.texts),
        "n_scored": len(cp),
        "n_missing": sum(utt not in hypotheses.texts for utt in references.texts),
        "n_words": cp_total.words,
        "fifo_wer": _rate(fifo_errors, references, hypotheses),
        "orc_wer": _rate(orc_errors, references, hypotheses),
        "cpwer": cp_total.percent,
        "cpwer_ci95": [low, high],
        "cpwer_oracle_count": (
            None if oracle is None else _rate(cp_errors, references, oracle)
        ),
        "sub": cp_total.substitutions,
        "del": cp_total.deletions,
        "ins": cp_total.insertions,
        "n_utt_with_errors": sum(errors.errors > 0 for errors in cp.values()),
        "cer": _rate(character_errors, references, hypotheses),
        **_talkers(references, hypotheses),
        "count_accuracy": count_accuracy(confusion),
        "count_confusion": confusion,
        **_breakdowns(cp, references),
        "rtf": hypotheses.rtf,
    }
    return SetScore(round_floats(report), by_talkers(cp, num_talkers), cp)


def _compare(
    compare: Callable[[Sequence[str], Sequence[str]], T],
    references: References,
    hypotheses: Hypotheses,
) -> Dict[str, T]:
    """Compare utterance by utterance; one without a hypothesis has no streams."""
    return {
        utt: compare(texts, hypotheses.texts.get(utt, []))
        for utt, texts in references.texts.items()
    }


def _rate(
    compare: Callable[[Sequence[str], Sequence[str]], ErrorCounts],
    references: References,
    hypotheses: Hypotheses,
) -> Optional[float]:
    counts = _compare(compare, references, hypotheses)
    return sum(counts.values(), ErrorCounts()).percent


def _talkers(references: References, hypotheses: Hypotheses) -> Dict[str, Any]:
    counts = _compare(talker_errors, references, hypotheses)
    total = sum(counts.values(), TalkerErrors())
    return {
        "n_talkers": total.talkers,
        "n_missed_talkers": total.missed,
        "n_false_alarm_talkers": total.false_alarms,
        "missed_talkers": total.percent(total.missed),
        "false_alarm_talkers": total.percent(total.false_alarms),
    }


def _breakdowns(
    errors: Mapping[str, ErrorCounts], references: References
) -> Dict[str, List[Bin]]:
    """Return all breakdowns; [] for what isn't known."""
    overlaps, conditions = references.overlaps, references.conditions
    parts = {"by_overlap": [] if overlaps is None else by_overlap(errors, overlaps)}
    for name in EDGES:
        parts[f"by_{name}"] = (
            [] if conditions is None else by_condition(errors, conditions, name)
        )
    parts["by_gender"] = [] if conditions is None else by_gender(errors, conditions)
    return parts


def round_floats(value: Any) -> Any:
    """Round all floats of nested dicts and lists to `DECIMALS` decimals."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: round_floats(v) for key, v in value.items()}
    if isinstance(value, list):
        return [round_floats(v) for v in value]
    return value


def assemble_results(
    mixtures: str,
    model: str,
    scores: Mapping[str, SetScore],
    text_normalizer: str = NONE,
    facts: Optional[Mapping[str, Any]] = None,
) -> Dict[str, Any]:
    """Return the content of results.json.

    Args:
        mixtures: Which mixtures the figures were measured on.
        model: Which model.
        scores: Set name to score.
        text_normalizer: How references and hypotheses were normalized.
        facts: Other facts about the decoding; None values are left out.
    """
    known = {name: v for name, v in (facts or {}).items() if v is not None}
    return {
        "mixtures": mixtures,
        "model": model,
        "text_normalizer": text_normalizer,
        **known,
        "sets": {name: score.report for name, score in scores.items()},
    }


def write_results(
    output_dir: Union[str, Path],
    results: Mapping[str, Any],
    cpwer_by_num_talkers: Mapping[str, Optional[float]],
    command: str = "",
    machine: str = "",
    more_files: Optional[Mapping[str, str]] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> None:
    """Write all files of stage 13; results.json is written last, to mark the end.

    Args:
        output_dir: Created if it doesn't exist.
        results: What `assemble_results` returned.
        cpwer_by_num_talkers: What `breakdown.cpwer_by_talkers` returned.
        command: For RESULTS.md.
        machine: For RESULTS.md.
        more_files: Further files, path in `output_dir` to content.
        environment: For RESULTS.md; see `espnet_form.environment_of`.

    Raises:
        UserError: the directory can't be written.
    """
    output_dir = Path(output_dir)
    sets = results["sets"]
    count_keys = ("count_accuracy", "count_confusion")
    tables = {
        "cpwer.json": {name: r["cpwer"] for name, r in sets.items()},
        "cpwer_by_num_speakers.json": round_floats(cpwer_by_num_talkers),
        "speaker_count.json": {
            name: {key: r[key] for key in count_keys} for name, r in sets.items()
        },
        "results.json": results,
    }
    contents = dict(more_files or {})
    contents.update(sclite_files(results))
    contents["RESULTS.md"] = format_results(results, command, machine, environment)
    for name, table in tables.items():
        contents[name] = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    try:
        for name, content in contents.items():
            write_whole(output_dir / name, content)
    except OSError as e:
        raise UserError(
            f"--output_dir {output_dir}: can't be written ({e.strerror}); give another "
            f"directory"
        ) from None
