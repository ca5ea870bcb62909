"""mtasr.sh and the mini recipe's run.sh: wrong options are refused at once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stand_in_decoder import DECODE

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "egs2" / "TEMPLATE" / "mtasr1"
SETS = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "t1 t2"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe made by setup.sh, whose Python leaves a mark when it is started."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    recipe = root / "egs2" / "tiny" / "mtasr1"
    subprocess.run([root / "egs2/TEMPLATE/mtasr1/setup.sh", recipe], check=True)
    for name in ("train_phase1", "train_phase2", "decode"):
        (recipe / "conf" / f"{name}.yaml").write_text("{}\n")
    python = recipe / "python"
    python.write_text(f'#!/usr/bin/env bash\necho "$@" >>{recipe}/calls\nexit 1\n')
    python.chmod(0o755)
    return recipe


def call(recipe, *options, script="./mtasr.sh", cwd=None):
    started = time.monotonic()
    done = subprocess.run(
        [script, *map(str, options)],
        cwd=cwd or recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done, time.monotonic() - started


@pytest.mark.parametrize(
    "options, message",
    [
        (["--beams", "3"], "error: unknown option --beams (see mtasr.sh --help)"),
        ([*SETS, "--phase-3-args", "x"], "error: unknown option --phase-3-args"),
        ([*SETS, "more"], "error: more is no option"),
        ([*SETS, "--stage"], "error: --stage needs a value"),
        ([], "error: --train_set is missing"),
        (SETS[:2], "error: --valid_set is missing"),
        (SETS[:4], "error: --test_sets is missing"),
        ([*SETS, "--stage", "14"], "error: --stage 14: the last stage is 13"),
        ([*SETS, "--stop-stage", "14"], "error: --stop_stage 14: the last stage is 13"),
        ([*SETS, "--stage", "one"], "error: --stage one: give a number"),
        ([*SETS, "--stage", "5", "--stop_stage", "4"], "error: --stage 5 comes after"),
        ([*SETS, "--nj", "0"], "error: --nj 0: give a number from 1"),
        ([*SETS, "--inference-nj", "-1"], "error: --inference_nj -1: give a number"),
        ([*SETS, "--ngpu", "many"], "error: --ngpu many: give a number"),
        ([*SETS, "--skip_train", "yes"], "--skip_train takes true or false, not 'yes'"),
        ([*SETS, "--cache_trunk", "1"], "--cache_trunk takes true or false, not '1'"),
        ([*SETS, "--cache_dtype", "int8"], "error: --cache_dtype int8: choose float16"),
        (
            [*SETS, "--cache_trunk", "true", "--dynamic_mixing", "true"],
            "error: --cache_trunk true: mixtures that change in each epoch "
            "can't be cached; add --dynamic_mixing false",
        ),
        ([*SETS, "--token_type", "phone"], "error: --token_type phone: choose bpe"),
        (
            [*SETS, "--phase1_config", "conf/none.yaml"],
            "error: --phase1_config conf/none.yaml: no such file",
        ),
        (
            [*SETS, "--inference-config", "none.yaml"],
            "error: --inference_config none.yaml: no such file",
        ),
    ],
)
def test_wrong_options(recipe, options, message):
    done, seconds = call(recipe, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert seconds < 5


def test_help_lists_the_options(recipe):
    done, _ = call(recipe, "--help")
    assert done.returncode == 0
    for option in ("--stage 1 ", "--train_set ", "--max_unalignable 0.01 ", "--nbpe"):
        assert f"    {option}" in done.stdout


def test_configurations_are_checked_before_stage_1(recipe):
    (recipe / "calls").unlink(missing_ok=True)
    (recipe / "local" / "data.sh").write_text("exit 77\n")
    done, _ = call(recipe, *SETS, "--python", recipe / "python")
    assert done.returncode == 1
    assert (recipe / "calls").read_text() == (
        "-m espnet_mtasr.bin.check_config --train_configs conf/train_phase1.yaml "
        "conf/train_phase2.yaml --inference_config conf/decode.yaml\n"
    )
    assert "Stage 1" not in done.stdout


def test_an_earlier_runs_jobs_are_not_collected(recipe):
    """Decoded first with three jobs, then with one: the others' texts must go."""
    dump = recipe / "dump" / "raw" / "t1"
    dump.mkdir(parents=True)
    (dump / "wav.scp").write_text("a 1\nb 2\nc 3\n")
    python = recipe / "decoder"
    python.write_text("""#!/usr/bin/env bash
case $* in *mtasr_inference*) ;; *) exit 0 ;; esac
""" + DECODE)
    python.chmod(0o755)
    options = [*SETS[:4], "--test_sets", "t1", "--stage", 12, "--stop_stage", 12]
    for jobs in (3, 1):
        done, _ = call(recipe, *options, "--python", python, "--inference_nj", jobs)
        assert done.returncode == 0, done.stdout + done.stderr
        decoded = recipe / "exp" / "mtasr_phase2" / "decode_valid.loss_ctc.ave" / "t1"
        assert (decoded / "text").read_text() == "a\nb\nc\n"
        rtf = '{"rtf": 0.25000, "batch_size": 1}\n'
        assert (decoded / "rtf.json").read_text() == rtf
        keys = sorted(p.name for p in (decoded / "logdir").glob("keys.*"))
        assert keys == [f"keys.{n + 1}.scp" for n in range(jobs)]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--librispeech"], "error: --librispeech needs a value"),
        (["--wham-noise", "nowhere"], "error: --wham_noise nowhere: no such folder"),
        (["--librispeech", "a b"], "a b: has a blank in it; give a link"),
        (["--librispeech=nowhere"], "error: --librispeech nowhere: no such folder"),
        (["--n_train"], "error: --n_train needs a value"),
        (["--n_trian", "3"], "error: unknown option --n_trian"),
        (["--stage", "14"], "error: --stage 14: the last stage is 13"),
    ],
)
def test_the_mini_recipes_own_options(tmp_path, options, message):
    (tmp_path / "a b").mkdir()
    script = ROOT / "egs2" / "mini_librimix" / "mtasr1" / "run.sh"
    done, seconds = call(None, *options, script=script, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert seconds < 10
