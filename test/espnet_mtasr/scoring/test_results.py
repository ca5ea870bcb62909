"""A set's report, and how results are laid out."""

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.markdown import format_results
from espnet_mtasr.scoring.results import (
    assemble_results,
    round_floats,
    score_set,
    write_results,
)


def test_keys_are_those_of_the_design():
    score = score_set(
        References({"u": ["a", "b"]}), Hypotheses({"u": ["a", "b"]}, {"u": 2}, 0.25)
    )
    assert score.report == {
        "n_utt": 1,
        "n_scored": 1,
        "n_missing": 0,
        "n_words": 2,
        "fifo_wer": 0.0,
        "orc_wer": 0.0,
        "cpwer": 0.0,
        "cpwer_ci95": [0.0, 0.0],
        "cpwer_oracle_count": None,
        "sub": 0,
        "del": 0,
        "ins": 0,
        "n_utt_with_errors": 0,
        "cer": 0.0,
        "n_talkers": 2,
        "n_missed_talkers": 0,
        "n_false_alarm_talkers": 0,
        "missed_talkers": 0.0,
        "false_alarm_talkers": 0.0,
        "count_accuracy": 100.0,
        "count_confusion": {"2": {"2": 1, "3": 0}, "3": {"2": 0, "3": 0}},
        "by_overlap": [],
        "by_onset_gap": [],
        "by_snr": [],
        "by_level_difference": [],
        "by_gender": [],
        "rtf": 0.25,
    }


def test_references_without_words():
    with pytest.raises(UserError, match="has no words"):
        score_set(References({"u": ["", ""]}), Hypotheses({}))


def test_floats_keep_four_decimals():
    assert round_floats({"a": [2 / 3, None, 1], "b": {"c": 100 / 3}}) == {
        "a": [0.6667, None, 1],
        "b": {"c": 33.3333},
    }


def test_markdown_says_what_was_measured_how():
    score = score_set(References({"u": ["a", "b"]}), Hypotheses({}))
    results = assemble_results("made-up\nmixtures", "tiny model", {"test_x": score})
    text = format_results(results, "./run.sh --stage 13", environment={"date": "x"})
    assert text.startswith("# Results\n\n## Environments\n\n- date: `x`\n\n## Dec")
    assert "- Measured on: made-up mixtures\n- Model: tiny model\n" in text
    assert "```\n./run.sh --stage 13\n```" in text
    assert (
        "| test_x | 1 | 1 | 2 | 100.00 | 100.00 to 100.00 | 0 / 2 / 0 | - | 100.00 "
        "| 0.00 | - |"
    ) in text
    assert "| set | true count | predicted 2 | predicted 3 | missing |" in text
    assert "| test_x | 2 | 0 | 0 | 1 |" in text
    assert "by overlap" not in text


def test_output_directory_that_is_a_file(tmp_path):
    (tmp_path / "taken").touch()
    results = assemble_results("m", "m", {})
    with pytest.raises(UserError, match="--output_dir .*taken: can't be written"):
        write_results(tmp_path / "taken", results, {})
