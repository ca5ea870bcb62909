"""Results as ESPnet's recipes show them."""

import platform
import re
import subprocess

from espnet_mtasr.scoring import espnet_form
from espnet_mtasr.scoring.espnet_form import averages, environment_of, sclite_files
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.markdown import format_results
from espnet_mtasr.scoring.results import assemble_results, score_set, write_results

SAID = {"u1": ["a b c", "d e f g"], "u2": ["h", "i j"]}
# A substitution, a deletion and two insertions in u1; u2 is right.
WRITTEN = {"u1": ["a x c y z", "d e f"], "u2": ["h", "i j"]}
TALKERS = {"u1": 2, "u2": 2}


def results():
    score = score_set(References(SAID), Hypotheses(WRITTEN, TALKERS))
    return assemble_results("m", "m", {"test_x": score})


def test_averages_are_those_of_sclite():
    figures = averages(results()["sets"]["test_x"])
    assert figures == ["2", "10", "80.0", "10.0", "10.0", "20.0", "40.0", "50.0"]


def test_older_results_do_not_know_how_many_mixtures_are_wrong():
    report = dict(results()["sets"]["test_x"])
    del report["n_utt_with_errors"]
    assert averages(report)[-2:] == ["40.0", "-"]


def test_show_asr_result_finds_the_averages(tmp_path):
    """By what that script does to a training's folder."""
    decoding = tmp_path / "exp" / "decode_x"
    write_results(decoding, results(), {})
    text = (decoding / "RESULTS.md").read_text()
    assert "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|" in text.replace(" ", "")
    found = subprocess.run(
        ["grep", "-H", "-e", "Avg", f"{decoding}/test_x/score_wer/result.txt"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    row = re.split(r"[|\s]+", found.split("result.txt:", 1)[1].strip(" |\n"))
    assert row == ["Sum/Avg", *averages(results()["sets"]["test_x"])]
    assert [*sclite_files(results())] == ["test_x/score_wer/result.txt"]


def test_environment(tmp_path, monkeypatch):
    found = environment_of()
    assert found["python version"] == platform.python_version()
    assert re.match(r"20\d\d-\d\d-\d\d$", found["date"])
    assert {"espnet version", "pytorch version"} <= set(found)
    monkeypatch.setattr(espnet_form, "REPOSITORY", tmp_path)
    assert not {"git hash", "commit date"} & set(environment_of())


def test_the_commit_and_its_date(tmp_path, monkeypatch):
    def git(*words):
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run([*command, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-02-03T04:05:06+0100")
    monkeypatch.setattr(espnet_form, "REPOSITORY", tmp_path)
    git("init")
    # There is no commit yet.
    assert not {"git hash", "commit date"} & set(environment_of())
    git("commit", "--allow-empty", "-m", "x")
    found = environment_of()
    assert found["git hash"] == git("rev-parse", "HEAD")
    assert found["commit date"] == "Tue Feb 3 04:05:06 2026 +0100"
    page = format_results(results(), environment=found)
    assert f"- git hash: `{found['git hash']}`\n- commit date: `Tue Feb 3 " in page
