"""The kept experiments on the teacher: collected as they are, tables made from them."""

import json

import numpy as np
import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.bootstrap import paired_bootstrap_interval
from tools import teacher_results

WORDS = [10, 20, 10, 10]


def write_arm(exp, arm, seed, errors, flat_start=0, words=WORDS, folder=None):
    entry = {
        **dict(arm=arm, seed=seed, flat_start=flat_start, phase1_steps=0),
        **dict(phase2_steps=996, seconds=90.0, dev_loss_ctc=1.5, perplexity=None),
    }
    entry["sets"] = {
        name: dict(
            **dict(cpwer=1.0, cpwer_ci95=[0.0, 2.0], count_accuracy=90.0, rtf=0.01),
            **dict(errors=[e + 1 for e in errors], oracle_errors=errors, words=words),
        )
        for name in teacher_results.SETS
    }
    path = exp / (folder or f"{arm}_{flat_start}_{seed}") / "arm.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(entry))


@pytest.fixture
def kept(tmp_path):
    exp = tmp_path / "exp"
    for seed in (0, 1):
        write_arm(exp, "no teacher", seed, [5, 5, 5, 5 + seed])
        write_arm(exp, "teacher", seed, [4, 4, 4, 4 + seed])
    write_arm(exp, "random LM", 1, [6, 6, 6, 6])
    write_arm(exp, "no teacher", 0, [1, 1, 1, 1], flat_start=2)
    seconds = {"phase 1": 0.3, "phase 2 with teacher": 0.4, "phase 2 without": 0.2}
    (exp / "step_seconds.json").write_text(json.dumps(seconds))
    teacher_results.main(["keep", "--expdir", str(exp), "--output", str(tmp_path)])
    return tmp_path


def test_results_are_kept_as_they_are(kept):
    entries = json.loads((kept / "teacher.json").read_text())
    assert len(entries) == 6
    assert [e["arm"] for e in entries if e["flat_start"] == 2] == ["no teacher"]
    row = entries[0]["sets"][teacher_results.SETS[0]]
    assert row["cpwer"] == 1.0 and "errors" not in row
    errors = json.loads((kept / "teacher_errors.json").read_text())
    key = "teacher, flat start 0, seed 1"
    of_set = errors["errors"][key][teacher_results.SETS[0]]
    assert of_set == [[5, 5, 5, 6], [4, 4, 4, 5]]


def test_arms_are_added_and_replaced(kept, tmp_path):
    exp = tmp_path / "later"
    write_arm(exp, "equal time", 0, [2, 2, 2, 2])
    write_arm(exp, "teacher", 1, [3, 3, 3, 3])
    seconds = {"phase 1": 0.3, "phase 2 with teacher": 0.4, "phase 2 without": 0.2}
    (exp / "step_seconds.json").write_text(json.dumps(seconds))
    teacher_results.main(["keep", "--expdir", str(exp), "--output", str(kept)])
    found = teacher_results.Experiments(kept)
    assert found.arms(0) == ["no teacher", "equal time", "random LM", "teacher"]
    assert len(found.entries) == 7
    for seed, wanted in (0, [4, 4, 4, 4]), (1, [3, 3, 3, 3]):
        of_sets = found.errors[f"teacher, flat start 0, seed {seed}"]
        assert of_sets[teacher_results.SETS[0]][1] == wanted


def test_rates_and_differences_by_hand(kept):
    found = teacher_results.Experiments(kept)
    sets = teacher_results.SETS
    # 20.5 errors of 50 words on average, in each of four sets.
    assert found.rate(found.of("no teacher", 0), sets, True) == pytest.approx(41.0)
    assert found.rate(found.of("no teacher", 0), sets, False) == pytest.approx(49.0)
    difference, low, high = found.difference("teacher", "no teacher", 0, sets)
    assert difference == pytest.approx(-8.0)
    assert low < difference < high
    # Of the seeds that both have: 24 less 21 errors.
    difference, _, _ = found.difference("random LM", "no teacher", 0, sets)
    assert difference == pytest.approx(6.0)
    assert found.difference("random LM", "no teacher", 2, sets) is None
    table = teacher_results.arms_table(found, 0)
    # Minutes are those of steps that were timed: 996 of 0.2 s, or of 0.4 s.
    assert "| no teacher | 2 | 0 + 996 | 3.3 | 1.50 | 41.0 |" in table
    assert "| teacher | 2 | 0 + 996 | 6.6 |" in table
    entry = {**found.of("teacher", 0)[0], "warmup_steps": 60, "phase1_steps": 100}
    assert found.minutes(entry) == pytest.approx((60 * 0.2 + 30 + 996 * 0.4) / 60)
    assert table.index("| no teacher") < table.index("| random LM")
    table = teacher_results.differences_table(found, 0)
    assert "| teacher less no teacher | -8.0 (" in table
    assert "| teacher less random LM | -14.0 (" in table


def test_other_mixtures_are_refused(tmp_path):
    write_arm(tmp_path, "no teacher", 0, [1, 1, 1, 1])
    write_arm(tmp_path, "teacher", 0, [1, 1, 1, 1], words=[9, 20, 10, 10])
    with pytest.raises(UserError, match="has different mixtures than the others'"):
        teacher_results.keep(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no arm is done"):
        teacher_results.keep(tmp_path / "nothing", tmp_path)


def test_paired_interval():
    rng = np.random.default_rng(1)
    words = rng.integers(5, 20, size=300)
    base = rng.binomial(words, 0.5)[None]
    # What both share cancels out: a constant gain has no width.
    found = paired_bootstrap_interval(base - 0.1 * words, base, words)
    np.testing.assert_allclose(found, [-10.0] * 3)
    # Two systems alike differ by chance alone, and the interval holds 0.
    other = rng.binomial(words, 0.5)[None]
    difference, low, high = paired_bootstrap_interval(other, base, words)
    assert low < difference < high and low < 0 < high
    # An independent estimate of its width: twice 1.96 standard errors.
    gain = 100 * (other - base)[0]
    standard = np.std(gain - difference * words / 100) / words.mean() / np.sqrt(300)
    assert high - low == pytest.approx(2 * 1.96 * standard, rel=0.15)
    with pytest.raises(ValueError, match="errors .1, 300., baseline .1, 299."):
        paired_bootstrap_interval(base, base[:, 1:], words)


def test_the_page_shows_the_kept_experiments(tmp_path):
    page = tmp_path / "results.md"
    page.write_text(teacher_results.PAGE.read_text())
    teacher_results.show(teacher_results.RESULTS, page)
    assert (
        page.read_text() == teacher_results.PAGE.read_text()
    ), "run: python -m tools.teacher_results show"


def test_kept_errors_give_the_kept_rates():
    kept = teacher_results.Experiments(teacher_results.RESULTS)
    for entry in kept.entries:
        for name, row in entry["sets"].items():
            for given, key in ((True, "cpwer_oracle_count"), (False, "cpwer")):
                rate = (
                    100
                    * sum(kept.errors[teacher_results.key_of(entry)][name][given])
                    / sum(kept.words[name])
                )
                assert rate == pytest.approx(row[key], abs=1e-3)
