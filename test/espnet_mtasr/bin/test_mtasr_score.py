"""The command line of stage 13: every file it writes, and what it refuses."""

import json
import subprocess
import sys

import pytest

from espnet_mtasr.bin.mtasr_score import main
from espnet_mtasr.errors import UserError

TWO, THREE, DEV = "test_mini2mix_clean", "test_mini3mix_clean", "dev_mini2mix_clean"

# Of 18 words: u1 loses a repeated word (1 deletion); u2's talkers are swapped (cp 0,
# FIFO 4 substitutions); u3 has a surplus stream (2 insertions); u4 has no hypothesis
# and u5 an empty one (3 deletions each). cp: 9 errors, FIFO: 13.
FILES = {
    f"data/{TWO}/text": (
        "u1 had had lunch <sc> good day\nu2 a b <sc> c d\nu3 e f <sc> g\n"
        "u4 h i <sc> j\nu5 k <sc> l m\n"
    ),
    f"data/{TWO}/utt2num_spk": "u1 2\nu2 2\nu3 2\nu4 2\nu5 2\n",
    f"data/{TWO}/utt2overlap": "u1 0.1\nu2 0.2\nu3 1.0\nu4 0.5\nu5 0.5\n",
    f"decode/{TWO}/text": (
        "u1 had lunch <sc> good day\nu2 c d <sc> a b\nu3 e f <sc> g <sc> x y\nu5\n"
    ),
    f"decode/{TWO}/utt2num_spk": "u1 2\nu2 2\nu3 3\nu5 2\n",
    f"decode/{TWO}/rtf.json": '{"rtf": 0.0123456, "batch_size": 1}',
    # One deletion (u5) in 18 words.
    f"oracle/{TWO}/text": (
        "u1 had had lunch <sc> good day\nu2 c d <sc> a b\nu3 e f <sc> g\n"
        "u4 h i <sc> j\nu5 k <sc> l\n"
    ),
    # Of 5 words: cp 1 deletion; FIFO 1 substitution, 1 insertion, 2 deletions.
    f"data/{THREE}/text": "v1 a b <sc> c <sc> d e\n",
    f"data/{THREE}/utt2num_spk": "v1 3\n",
    f"decode/{THREE}/text": "v1 a b <sc> d e\n",
    f"decode/{THREE}/utt2num_spk": "v1 2\n",
    f"oracle/{THREE}/text": "v1 a b <sc> <sc> d e\n",
    f"data/{DEV}/text": "w1 a <sc> b\n",
    f"data/{DEV}/utt2num_spk": "w1 2\n",
    f"decode/{DEV}/text": "w1 a <sc>\n",
    f"decode/{DEV}/utt2num_spk": "w1 2\n",
    f"oracle/{DEV}/text": "w1 a <sc> b\n",
}


@pytest.fixture
def root(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def arguments(root, sets=f"{DEV} {TWO} {THREE}"):
    return (
        ["--sets", sets, "--data_dir", f"{root}/data", "--output_dir", f"{root}/exp"]
        + ["--decode_dir", f"{root}/decode", "--talker_counts", "2", "3"]
        + ["--mixtures", "hand-made mixtures", "--model", "no model"]
        + ["--command", "./run.sh"]
    )


def load(root, name):
    return json.loads((root / "exp" / name).read_text())


def written(root):
    files = [path for path in (root / "exp").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def test_weakness_7_all_utterances_and_talkers_are_scored(root, capsys, caplog):
    main(arguments(root) + ["--oracle-decode-dir", f"{root}/oracle"])
    assert sorted(p.name for p in (root / "exp").iterdir()) == [
        "RESULTS.html",
        "RESULTS.md",
        "cpwer.json",
        "cpwer_by_num_speakers.json",
        DEV,
        "results.json",
        "scoring",
        "speaker_count.json",
        TWO,
        THREE,
    ]
    results = load(root, "results.json")
    assert results["mixtures"] == "hand-made mixtures"
    assert results["model"] == "no model"
    assert results["text_normalizer"] == "none"
    assert list(results["sets"]) == [DEV, TWO, THREE]
    two = results["sets"][TWO]
    low, high = two.pop("cpwer_ci95")
    assert 0.0 <= low < 50.0 < high <= 100.0
    confusion = {"2": {"2": 3, "3": 1, "missing": 1}, "3": {"2": 0, "3": 0}}
    assert two == {
        "n_utt": 5,
        "n_scored": 5,
        "n_missing": 1,
        "n_words": 18,
        "fifo_wer": 72.2222,
        "orc_wer": 50.0,
        "cpwer": 50.0,
        "cpwer_oracle_count": 5.5556,
        "sub": 0,
        "del": 7,
        "ins": 2,
        # All but u2.
        "n_utt_with_errors": 4,
        # Of 39 characters 12 are lost, and 3 too many.
        "cer": 38.4615,
        "n_talkers": 10,
        "n_missed_talkers": 4,
        "n_false_alarm_talkers": 1,
        "missed_talkers": 40.0,
        "false_alarm_talkers": 10.0,
        "count_accuracy": 60.0,
        "count_confusion": confusion,
        "by_overlap": [
            {"lo": 0.0, "hi": 0.2, "n_words": 5, "cpwer": 20.0},
            {"lo": 0.2, "hi": 0.4, "n_words": 4, "cpwer": 0.0},
            {"lo": 0.4, "hi": 0.6, "n_words": 6, "cpwer": 100.0},
            {"lo": 0.6, "hi": 0.8, "n_words": 0, "cpwer": None},
            {"lo": 0.8, "hi": 1.0, "n_words": 3, "cpwer": 66.6667},
        ],
        "by_onset_gap": [],
        "by_snr": [],
        "by_level_difference": [],
        "by_gender": [],
        "rtf": 0.0123,
    }
    three = results["sets"][THREE]
    assert (three["cpwer"], three["fifo_wer"]) == (20.0, 80.0)
    assert (three["sub"], three["del"], three["ins"]) == (0, 1, 0)
    assert three["cpwer_oracle_count"] == 20.0
    assert three["cpwer_ci95"] == [20.0, 20.0]
    assert three["by_overlap"] == []
    assert three["rtf"] is None

    assert load(root, "cpwer.json") == {DEV: 50.0, TWO: 50.0, THREE: 20.0}
    # dev's mixtures are not pooled: 9 of 18 and 1 of 5
    assert load(root, "cpwer_by_num_speakers.json") == {"2": 50.0, "3": 20.0}
    counts = load(root, "speaker_count.json")
    assert counts[TWO] == {"count_accuracy": 60.0, "count_confusion": confusion}
    assert counts[THREE]["count_accuracy"] == 0.0

    markdown = (root / "exp" / "RESULTS.md").read_text()
    printed = capsys.readouterr().out
    assert printed.strip() in markdown
    assert f"| {TWO} | 5 | 1 | 18 | 50.00 | " in printed
    assert "| 0 / 7 / 2 | 5.56 | 72.22 | 60.00 | 0.0123 |" in printed
    assert "hand-made mixtures" in markdown and "./run.sh" in markdown
    # No set has words at an overlap of 0.6 to 0.8.
    assert "| set | 0 to 0.2 | 0.2 to 0.4 | 0.4 to 0.6 | 0.8 to 1 |" in markdown
    assert f"| {TWO} | 20.00 (5) | 0.00 (4) | 100.00 (6) | 66.67 (3) |" in markdown
    assert f"| {TWO} | 50.00 | 38.46 | 10 | 4 (40.00) | 1 (10.00) |" in markdown
    assert f"| {THREE} | 20.00 | 14.29 | 3 | 1 (33.33) | 0 (0.00) |" in markdown
    assert "by gender" not in markdown
    assert "lacks 1 of 5 utterances; scored as deletions" in caplog.text


def test_two_runs_write_the_same(root):
    main(arguments(root))
    first = written(root)
    assert len(first) == 6 + 3 * 4 + 3
    main(arguments(root))
    assert first == written(root)
    assert load(root, "results.json")["sets"][TWO]["cpwer_oracle_count"] is None


def test_without_test_sets_all_sets_are_pooled(root):
    main(arguments(root, DEV))
    assert load(root, "cpwer_by_num_speakers.json") == {"2": 50.0, "3": None}


def test_a_decoder_that_is_not_bound_to_the_given_count(root):
    """Its `utt2num_spk` says so; v1 of 5 words then has 1 deletion in 2 texts."""
    (root / f"oracle/{THREE}/text").write_text("v1 a b <sc> d e\n")
    (root / f"oracle/{THREE}/utt2num_spk").write_text("v1 2\n")
    main(arguments(root) + ["--oracle_decode_dir", f"{root}/oracle"])
    assert load(root, "results.json")["sets"][THREE]["cpwer_oracle_count"] == 20.0
    (root / f"oracle/{THREE}/utt2num_spk").write_text("v1 3\n")
    with pytest.raises(UserError, match="v1 has 2 texts .*oracle.*utt2num_spk says 3"):
        main(arguments(root) + ["--oracle_decode_dir", f"{root}/oracle"])


def test_a_batched_real_time_factor_is_not_reported(root):
    (root / f"decode/{TWO}/rtf.json").write_text('{"rtf": 0.1, "batch_size": 8}')
    main(arguments(root))
    assert load(root, "results.json")["sets"][TWO]["rtf"] is None


@pytest.mark.parametrize(
    "name, content, message",
    [
        (f"decode/{TWO}/text", FILES[f"oracle/{TWO}/text"], "lacks id u4"),
        (f"decode/{DEV}/text", "w1 a <sc> b <sc> c\n", "has 3 texts .* says 2"),
        (f"decode/{DEV}/utt2num_spk", "w1 two\n", "talker count 'two'"),
        (f"decode/{TWO}/rtf.json", '{"factor": 1}', "rtf.json: has no"),
        (f"decode/{TWO}/rtf.json", "[", "rtf.json: has no"),
        (f"data/{DEV}/text", "w1\n", "w1 has 1 texts .* utt2num_spk says 2"),
        (f"data/{DEV}/text", "w1 <sc>\n", "w1 has a talker without words"),
        (f"data/{DEV}/text", "w1 a <sc> b\nw1 a <sc> b\n", "text:2: duplicate id w1"),
        (f"data/{DEV}/text", "w1 a <sc> b\nw0 a <sc> b\n", "text:2: .* not sorted"),
        (f"data/{DEV}/text", "", "is empty"),
        (f"data/{DEV}/utt2num_spk", None, "utt2num_spk: no such file"),
        (f"decode/{DEV}/text", None, "text: no such file"),
        (f"data/{DEV}/utt2overlap", "w1 50%\n", "utt2overlap: w1 has overlap '50%'"),
        (f"oracle/{THREE}/text", "v1 a <sc> b\n", "v1 has 2 texts .* says 3"),
    ],
)
def test_bad_files(root, name, content, message):
    if content is None:
        (root / name).unlink()
    else:
        (root / name).write_text(content)
    with pytest.raises(UserError, match=message) as e:
        main(arguments(root) + ["--oracle_decode_dir", f"{root}/oracle"])
    assert "\n" not in str(e.value)
    assert not (root / "exp").exists()


def test_hypothesis_without_reference(root):
    (root / f"decode/{DEV}/text").write_text("w1 a <sc> b\nw2 a <sc> b\n")
    (root / f"decode/{DEV}/utt2num_spk").write_text("w1 2\nw2 2\n")
    with pytest.raises(UserError, match=f"{DEV}/text: id w2 is not in the reference"):
        main(arguments(root))


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--talker_counts", "2 x"], "--talker_counts: '2 x' is not a list"),
        (["--talker_counts", "2"], "has 3 talkers, but --talker_counts is"),
        (["--sets", ""], "--sets: is empty"),
        (["--sets", DEV, DEV], "--sets: .* is given twice"),
    ],
)
def test_bad_options(root, extra, message):
    with pytest.raises(UserError, match=message):
        main(arguments(root) + extra)


def test_module_runs_without_torch_and_reports_one_line(root):
    code = (
        "import sys; from espnet_mtasr.bin.mtasr_score import main; main(sys.argv[1:])"
        "; heavy = {'torch', 'espnet', 'espnet2', 'transformers'} & set(sys.modules)"
        "; sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    (root / f"decode/{DEV}/text").unlink()
    module = [sys.executable, "-m", "espnet_mtasr.bin.mtasr_score"]
    done = subprocess.run(module + arguments(root), capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no such file; run the stage that makes it" in done.stderr


def test_examples_take_the_sets_in_turn(root, capsys):
    main(arguments(root) + ["--num_examples", "4"])
    printed = capsys.readouterr().out.splitlines()
    # DEV and THREE have one mixture each.
    assert [line for line in printed if line.startswith(("test_", "dev_"))] == [
        f"{DEV}: w1",
        f"{TWO}: u1",
        f"{THREE}: v1",
        f"{TWO}: u2",
    ]
    assert "  ref: had had lunch" in printed
