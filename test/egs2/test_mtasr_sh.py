"""mtasr.sh and the mini recipe's run.sh: wrong options are refused at once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stand_in_decoder import ANSWERS, DECODE
from helpers.stand_in_hub import stand_in_hub

from espnet_mtasr.mixture.speech_list import speech_entry

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


def call(recipe, *options, script="./mtasr.sh", cwd=None, environment=None):
    started = time.monotonic()
    done = subprocess.run(
        [script, *map(str, options)],
        cwd=cwd or recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, **(environment or {})},
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
        ([*SETS, "more"], "error: unknown option more"),
        ([*SETS, "--stage"], "error: --stage needs a value"),
        ([], "error: --train_set is missing"),
        (SETS[:2], "error: --valid_set is missing"),
        (SETS[:4], "error: --test_sets is missing"),
        ([*SETS, "--stage", "16"], "error: --stage 16: the last stage is 15"),
        ([*SETS, "--stop-stage", "16"], "error: --stop_stage 16: the last stage is 15"),
        ([*SETS, "--stage", "one"], "error: --stage one: give a number"),
        ([*SETS, "--stage", "5", "--stop_stage", "4"], "error: --stage 5 comes after"),
        ([*SETS, "--nj", "0"], "error: --nj 0: give a number from 1"),
        ([*SETS, "--inference-nj", "-1"], "error: --inference_nj -1: give a number"),
        ([*SETS, "--ngpu", "many"], "error: --ngpu many: give a number"),
        ([*SETS, "--skip_train", "yes"], "--skip_train takes true or false, not 'yes'"),
        ([*SETS, "--cache_trunk", "1"], "--cache_trunk takes true or false, not '1'"),
        ([*SETS, "--drawn_epochs", "ten"], "error: --drawn_epochs ten: give a number"),
        ([*SETS, "--cache_dtype", "int8"], "error: --cache_dtype int8: choose float16"),
        (
            [*SETS, "--cache_trunk", "true", "--dynamic_mixing", "true"],
            "error: --cache_trunk true: mixtures that change in each epoch "
            "can't be cached; add --drawn_epochs N (12, for example), "
            "--dynamic_mixing false or --cache_trunk false",
        ),
        ([*SETS, "--audio_format", "mp3"], "error: --audio_format mp3: choose flac"),
        (
            [*SETS, "--text_normalizer", "whisper"],
            "error: --text_normalizer whisper: choose none, whisper_basic or",
        ),
        ([*SETS, "--on_the_fly", "1"], "--on_the_fly takes true or false, not '1'"),
        ([*SETS, "--token_type", "phone"], "error: --token_type phone: choose bpe"),
        (
            [*SETS, "--token_type", "hugging_face"],
            "error: --token_type hugging_face: uses the teacher's units; give",
        ),
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
    options = ["--token_type", "char", "--phase2_args", "--model_conf ctc_wieght=1.0"]
    done, _ = call(recipe, *SETS, *options, "--python", recipe / "python")
    assert done.returncode == 1
    assert (recipe / "calls").read_text() == (
        "-m espnet_mtasr.bin.check_config --phase1_config conf/train_phase1.yaml "
        "--phase1_args= --phase2_config conf/train_phase2.yaml "
        "--phase2_args=--model_conf ctc_wieght=1.0 "
        "--phase1_model exp/mtasr_phase1 valid.loss_sot.ave.pth "
        "--inference_mtasr_model exp/mtasr_phase2 valid.loss_ctc.ave.pth "
        "--inference_config conf/decode.yaml --inference_args= "
        "--cache_trunk false --draws false --task_options "
        "--talker_counts 2 3 --token_type char --token_list "
        "data/token_list/char/tokens.txt --use_preprocessor true --sampling_rate 16000"
        "\n"
    )
    assert "Stage 1" not in done.stdout


@pytest.mark.parametrize(
    "model, checked", [("/no/such.zip", True), ("exp/mtasr_phase1/1epoch.pth", False)]
)
def test_models_are_checked_before_stage_1(recipe, model, checked):
    """Except one that stage 8 makes."""
    options = ["--python", recipe / "python", "--aligned_start", model]
    (recipe / "calls").unlink(missing_ok=True)
    call(recipe, *SETS, *options)
    (check,) = calls(recipe, "check_config")
    assert ("--aligned_start" in check) == checked


@pytest.mark.parametrize("options", ["--stage 9", "--stage 10", "--skip_stages 8"])
def test_the_model_of_phase_1_is_needed_before_stage_1(recipe, options):
    python = recipe / "answering"
    python.write_text(f"#!/usr/bin/env bash\n{ANSWERS}")
    python.chmod(0o755)
    done, _ = call(recipe, *SETS, *options.split(), "--python", python)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    missing = "exp/mtasr_phase1/valid.loss_sot.ave.pth: no such file; run stage 8 first"
    assert missing in done.stderr and "Stage" not in done.stdout


@pytest.mark.parametrize("llm, folder", [("a/b-1.0", "llm"), ("encoder", "encoder")])
def test_units_of_the_teacher(recipe, llm, folder):
    """Stage 5 needs the tokenizer, so it gets the models first."""
    python = recipe / "answering"
    python.write_text(f'#!/usr/bin/env bash\necho "$@" >>{recipe}/calls\n{ANSWERS}')
    python.chmod(0o755)
    (recipe / "calls").unlink(missing_ok=True)
    options = [*SETS, "--token_type", "hugging_face", "--llm", llm, "--stage", 5]
    done, _ = call(recipe, *options, "--stop_stage", 7, "--python", python)
    assert done.returncode == 2 and "Stage 6 took" in done.stdout
    (token_list,) = calls(recipe, "make_token_list")
    assert value(token_list, "--token_type") == "hugging_face"
    assert value(token_list, "--llm") == f"exp/models/{folder}"
    units = f"data/token_list/hugging_face_{llm.replace('/', '_')}"
    assert value(token_list, "--output_dir") == units
    (check,) = calls(recipe, "check_config")
    assert value(check, "--bpemodel") == f"{units}/tokenizer.json"
    lines = (recipe / "calls").read_text().splitlines()
    before = lines[[k for k, x in enumerate(lines) if "make_token_list" in x][0] - 1]
    assert "get_models" in before and "check_access" not in before


@pytest.mark.parametrize(
    "options, asked",
    [
        ("--ngpu 4", "--ngpu 4"),
        ("--ngpu 4 --stage 9 --stop_stage 9", "--ngpu 4"),
        ("--ngpu 4 --stage 10 --stop_stage 10 --cache_trunk true", "--ngpu 4"),
        ("--ngpu 4 --stage 10 --stop_stage 10", None),
        ("--ngpu 4 --stop_stage 7", None),
        ("--ngpu 4 --stage 12 --gpu_inference true", "--ngpu 1"),
        ("--ngpu 4 --stage 12", None),
        ("--ngpu 0", None),
        # On the nodes of a cluster.
        ("--ngpu 4 --num_nodes 2", None),
    ],
)
def test_gpus_are_asked_for_before_stage_1(recipe, tmp_path, options, asked):
    environment = {}
    if "num_nodes" in options:
        (tmp_path / "sbatch").touch(mode=0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        environment = dict(cmd_backend="slurm", PATH=path)
    (recipe / "calls").unlink(missing_ok=True)
    (recipe / "local" / "data.sh").write_text("exit 77\n")
    done, _ = call(
        recipe,
        *SETS,
        *options.split(),
        *("--token_type", "char", "--python", recipe / "python"),
        environment=environment,
    )
    assert done.returncode != 0 and "Stage 1:" not in done.stdout
    first = []
    if (recipe / "calls").exists():
        first = (recipe / "calls").read_text().splitlines()[0].split()
        assert "espnet_mtasr.bin.check_config" in first or asked is None
    wanted = [] if asked is None else asked.split()[1:]
    assert [first[k + 1] for k, word in enumerate(first) if word == "--ngpu"] == wanted


@pytest.mark.parametrize(
    "backend, options, message",
    [
        (
            "local",
            ["--num_nodes", 2],
            "--num_nodes 2: cmd.sh starts jobs only on this mach",
        ),
        ("slurm", [], "cmd.sh: there is no sbatch on this machine; set cmd_backend=lo"),
    ],
)
def test_jobs_that_cannot_be_started(recipe, backend, options, message):
    if backend == "slurm" and shutil.which("sbatch"):
        pytest.skip("slurm is installed here")
    environment = dict(cmd_backend=backend)
    done, _ = call(recipe, *SETS, *options, environment=environment)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "file, line, data",
    [
        ("wav.scp", "a dir/a.flac", "wav.scp,speech,sound"),
        ("wav.scp", "a dir/b c.ark:15", "wav.scp,speech,kaldi_ark"),
        ("utt2mixture", 'a {"rate": 16000}', "utt2mixture,speech,text"),
    ],
)
def test_data_types_follow_the_data(recipe, file, line, data):
    """In decoding and in statistics; as `speech_entry` has it."""
    for name in ("train", "dev", "t1"):
        dump = recipe / "dump" / "raw" / name
        shutil.rmtree(dump, ignore_errors=True)
        dump.mkdir(parents=True)
        (dump / file).write_text(line + "\n")
        entry = speech_entry(dump)
        assert data == f"{Path(entry[0]).name},{entry[1]},{entry[2]}"
    python = recipe / "decoder"
    python.write_text(f"""#!/usr/bin/env bash
echo "$@" >>{recipe}/calls
{ANSWERS}
case $* in *mtasr_inference*) ;; *) exit 0 ;; esac
""" + DECODE)
    python.chmod(0o755)
    (recipe / "calls").unlink(missing_ok=True)
    options = [*SETS[:4], "--test_sets", "t1", "--inference_nj", 1, "--python", python]
    for stage in (10, 12):
        call(recipe, *options, "--stage", stage, "--stop_stage", stage)
    calls = (recipe / "calls").read_text()
    assert f"--data_path_and_name_and_type dump/raw/t1/{data} " in calls
    assert f"--train_data_path_and_name_and_type dump/raw/train/{data} " in calls
    assert f"--valid_data_path_and_name_and_type dump/raw/dev/{data} " in calls
    shutil.rmtree(recipe / "dump")


def test_an_earlier_runs_jobs_are_not_collected(recipe):
    """Decoded first with three jobs, then with one: the others' texts must go."""
    dump = recipe / "dump" / "raw" / "t1"
    dump.mkdir(parents=True)
    (dump / "wav.scp").write_text("a 1\nb 2\nc 3\n")
    python = recipe / "decoder"
    python.write_text(f"""#!/usr/bin/env bash
{ANSWERS}
case $* in *mtasr_inference*) ;; *) exit 0 ;; esac
""" + DECODE)
    python.chmod(0o755)
    options = [*SETS[:4], "--test_sets", "t1", "--stage", 12, "--stop_stage", 12]
    for jobs in (3, 1):
        done, _ = call(recipe, *options, "--python", python, "--inference_nj", jobs)
        assert done.returncode == 0, done.stdout + done.stderr
        decoded = recipe / "exp" / "mtasr_phase2" / "decode_valid.loss_ctc.ave" / "t1"
        assert (decoded / "text").read_text() == "a\nb\nc\n"
        posteriors = decoded / "posteriors"
        assert posteriors.read_text() == "a word\nb word\nc word\n"
        rtf = '{"rtf": 0.25000, "batch_size": 1}\n'
        assert (decoded / "rtf.json").read_text() == rtf
        keys = sorted(p.name for p in (decoded / "logdir").glob("keys.*"))
        assert keys == [f"keys.{n + 1}.scp" for n in range(jobs)]
    # Not even those of before stay.
    options += ["--python", python, "--store_posteriors", "false"]
    done, _ = call(recipe, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (decoded / "text").exists() and not posteriors.exists()


# Stands for Python, and decodes.
LLM_PYTHON = f"""#!/usr/bin/env bash
echo "$@" >>calls
{ANSWERS}
case $* in
    *mtasr_inference*) ;;
    *mtasr_perplexity*) echo SOT perplexity; exit ;;
    *) exit 0 ;;
esac
"""


@pytest.fixture
def llm_recipe(recipe):
    """Two mixtures, and a configuration whose decoder is llm."""
    dump = recipe / "dump" / "raw"
    for name in ("t1", "dev"):
        (dump / name).mkdir(parents=True, exist_ok=True)
        (dump / name / "wav.scp").write_text("a 1\nb 2\n")
    (recipe / "conf" / "llm.yaml").write_text("decoder: llm\n")
    python = recipe / "llm_python"
    python.write_text(LLM_PYTHON + DECODE)
    python.chmod(0o755)
    shutil.rmtree(recipe / "exp", ignore_errors=True)
    (recipe / "calls").unlink(missing_ok=True)
    return recipe


LLM_OPTIONS = [*SETS[:4], "--test_sets", "t1", "--python", "./llm_python"]


def calls(recipe, module):
    """Options of the calls of a module."""
    lines = (recipe / "calls").read_text().splitlines()
    return [line.split() for line in lines if f"-m espnet_mtasr.bin.{module} " in line]


def value(call, option):
    return call[call.index(option) + 1]


def curves(call):
    """Paths after --curves."""
    given = call[call.index("--curves") + 1 :]
    return given[: next(k for k, word in enumerate(given) if word.startswith("--"))]


def test_the_language_model_is_phase_1s(llm_recipe):
    options = "--stage 12 --stop_stage 13 --inference_config conf/llm.yaml"
    done, _ = call(llm_recipe, *LLM_OPTIONS, *options.split())
    assert done.returncode == 0, done.stdout + done.stderr
    exp = llm_recipe / "exp" / "mtasr_phase1"
    assert not exp.with_name("mtasr_phase2").exists()
    decoded = exp / "llm_valid.loss_sot.ave" / "t1"
    assert (decoded / "text").read_text() == "a\nb\n"
    assert (decoded / "rtf.json").exists() and not (decoded / "posteriors").exists()
    oracle = exp / "llm_valid.loss_sot.ave_oracle" / "t1"
    assert sorted(p.name for p in oracle.iterdir()) == ["text", "utt2num_spk"]
    for got in calls(llm_recipe, "mtasr_inference"):
        assert value(got, "--config") == "conf/llm.yaml"
        model = "exp/mtasr_phase1/valid.loss_sot.ave.pth"
        assert value(got, "--mtasr_model_file") == model
        assert value(got, "--mtasr_train_config") == "exp/mtasr_phase1/config.yaml"
    (got,) = calls(llm_recipe, "mtasr_score")
    assert value(got, "--output_dir") == "exp/mtasr_phase1/llm_valid.loss_sot.ave"
    assert value(got, "--collect_dir") == "exp/mtasr_phase1"
    assert value(got, "--default_decoding") == "decode_llm_valid.loss_sot.ave"
    assert value(got, "--decode_dir") == value(got, "--output_dir")
    assert value(got, "--model").startswith(model)
    assert "decoded by its language model" in " ".join(got)
    assert curves(got) == ["exp/mtasr_phase1/learning_curve.json"]


def test_ctc_is_phase_2s_and_bound_to_the_given_count(llm_recipe):
    options = [*LLM_OPTIONS, "--stage", 12, "--stop_stage", 13]
    exp = llm_recipe / "exp" / "mtasr_phase2"
    oracle = exp / "decode_valid.loss_ctc.ave_oracle" / "t1"
    oracle.mkdir(parents=True)
    # Of an LLM that has decoded into the same folder.
    (oracle / "utt2num_spk").write_text("a 7\nb 1\n")
    done, _ = call(llm_recipe, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [p.name for p in oracle.iterdir()] == ["text"]
    (got,) = calls(llm_recipe, "mtasr_score")
    assert value(got, "--collect_dir") == "exp/mtasr_phase2"
    assert value(got, "--default_decoding") == "decode_valid.loss_ctc.ave"
    assert value(got, "--output_dir") == "exp/mtasr_phase2/decode_valid.loss_ctc.ave"
    phases = [f"exp/mtasr_phase{n}/learning_curve.json" for n in (1, 2)]
    assert curves(got) == phases
    assert "--num_talkers" not in got
    assert "language" not in " ".join(got)
    assert not exp.with_name("mtasr_phase1").exists()


@pytest.mark.parametrize(
    "options, name",
    [
        (
            ["--inference_args", "--beam_size 20 --num_talkers 2"],
            "decode_beam_size20_num_talkers2",
        ),
        (["--inference_args", "--maxlen_ratio=a/b c"], "decode_maxlen_ratioa_bc"),
        (["--rescore_routing", "false"], "decode_rescore_routingfalse"),
        (["--inference_tag", "mine", "--inference_args", "--beam_size 2"], "mine"),
        (["--inference_mtasr_model", "latest.pth"], "decode"),
    ],
)
def test_each_decoding_has_its_own_folder(llm_recipe, options, name):
    """What the default decoding left stays as it is."""
    stages = ["--stage", 12, "--stop_stage", 13]
    exp = llm_recipe / "exp" / "mtasr_phase2"
    for added in ([], options):
        done, _ = call(llm_recipe, *LLM_OPTIONS, *stages, *added)
        assert done.returncode == 0, done.stdout + done.stderr
        (exp / "decode_valid.loss_ctc.ave" / "t1" / "text").write_text("default\n")
    checkpoint = "latest" if "latest.pth" in options else "valid.loss_ctc.ave"
    folder = exp / f"{name}_{checkpoint}"
    assert (folder / "t1" / "text").read_text() == "a\nb\n"
    *_, got = calls(llm_recipe, "mtasr_score")
    assert value(got, "--output_dir") == str(folder.relative_to(llm_recipe))
    assert value(got, "--default_decoding") == "decode_valid.loss_ctc.ave"
    default, other = (
        (x / "t1" / "decoded_by.json").read_text()
        for x in (exp / "decode_valid.loss_ctc.ave", folder)
    )
    assert (default == other) == ("latest.pth" in options)


def test_another_configuration_of_the_same_name(llm_recipe, tmp_path):
    """It doesn't take the folder of the recipe's own."""
    mine = tmp_path / "decode.yaml"
    mine.write_text("beam_size: 2\n")
    options = [*LLM_OPTIONS, "--stage", 12, "--stop_stage", 12, "--inference_config"]
    for more, message in (
        (
            [],
            f"--inference_config {mine}: has the name of the recipe's conf/decode.yaml",
        ),
        (["--inference_tag", "decode"], "--inference_tag decode: is the name of the"),
    ):
        done, _ = call(llm_recipe, *options, mine, *more)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
    # Nor does one of the recipe's others.
    tag = ["--inference_tag", "decode"]
    other = llm_recipe / "conf" / "beam.yaml"
    other.write_text("beam_size: 2\n")
    done, _ = call(llm_recipe, *options, other, *tag)
    assert done.returncode == 2 and "is the name of the decoding by" in done.stderr
    done, _ = call(llm_recipe, *options, mine, "--inference_tag", "mine")
    assert done.returncode == 0, done.stderr
    exp = llm_recipe / "exp" / "mtasr_phase2"
    assert [x.name for x in exp.glob("*ave")] == ["mine_valid.loss_ctc.ave"]
    # The recipe's own by another path.
    done, _ = call(llm_recipe, *options, llm_recipe / "conf" / "decode.yaml")
    assert done.returncode == 0, done.stderr
    assert (exp / "decode_valid.loss_ctc.ave" / "t1" / "text").exists()


def test_names_of_decodings_that_cannot_be(llm_recipe):
    options = [*LLM_OPTIONS, "--stage", 12, "--inference_args", "--beam_size 2"]
    done, _ = call(llm_recipe, *options, "--inference_tag", "decode")
    assert done.returncode == 2
    assert "--inference_tag decode: is the name of the decoding by" in done.stderr
    done, _ = call(llm_recipe, *options[:-1], "--beam_size " + "1" * 200)
    assert done.returncode == 2
    assert "give too long a folder name; choose one with" in done.stderr


def test_scoring_measures_conditions_and_normalizes(llm_recipe):
    options = [*LLM_OPTIONS[:4], "--test_sets", "t1 dev", *LLM_OPTIONS[6:]]
    options += ["--stage", 13, "--stop_stage", 13, "--nj", 3, "--fs", 8000]
    done, _ = call(llm_recipe, *options, "--text_normalizer", "whisper_basic")
    assert done.returncode == 0, done.stdout + done.stderr
    (measured,) = calls(llm_recipe, "measure_conditions")
    assert value(measured, "--nj") == "3"
    assert measured[-2:] == ["dump/raw/t1", "dump/raw/dev"]
    (got,) = calls(llm_recipe, "mtasr_score")
    assert value(got, "--text_normalizer") == "whisper_basic"
    # What isn't normalized stays as it is.
    decoded = "exp/mtasr_phase2/decode_valid.loss_ctc.ave"
    assert value(got, "--decode_dir") == decoded
    assert value(got, "--output_dir") == f"{decoded}_whisper_basic"
    assert value(got, "--fs") == "8000"


def test_a_missing_normalizer_is_told_before_any_stage(llm_recipe):
    """Not after days of training."""
    python = llm_recipe / "without"
    python.write_text(
        "#!/usr/bin/env bash\n"
        'case $* in *"import whisper"*) exit 1 ;; esac\n'
        'exec ./llm_python "$@"\n'
    )
    python.chmod(0o755)
    options = [*LLM_OPTIONS[:6], "--python", "./without", "--stage", 2]
    done, _ = call(llm_recipe, *options, "--text_normalizer", "whisper_english")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs a package; run: ./without -m pip install whisper-" in done.stderr
    assert "Stage" not in done.stdout


def test_decoding_that_cannot_be(llm_recipe):
    options = "--stage 12 --skip_phase1 true --inference_config conf/llm.yaml"
    done, _ = call(llm_recipe, *LLM_OPTIONS, *options.split())
    assert done.returncode == 2
    assert "conf/llm.yaml: its decoder is phase 1's language model" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not calls(llm_recipe, "mtasr_inference")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--librispeech"], "error: --librispeech needs a value"),
        (["--wham-noise", "nowhere"], "error: --wham_noise nowhere: no such folder"),
        (["--librispeech", "a b"], "a b: contains a space; use a symlink"),
        (["--librispeech=nowhere"], "error: --librispeech nowhere: no such folder"),
        (["--n_train"], "error: --n_train needs a value"),
        (["--n_trian", "3"], "error: unknown option --n_trian"),
        (["--stage", "16"], "error: --stage 16: the last stage is 15"),
    ],
)
def test_the_mini_recipes_own_options(tmp_path, options, message):
    (tmp_path / "a b").mkdir()
    script = ROOT / "egs2" / "mini_librimix" / "mtasr1" / "run.sh"
    done, seconds = call(None, *options, script=script, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert seconds < 10


def test_a_gated_model_stops_the_run_before_stage_1(recipe):
    """The real check, against a stand-in for the hub; the rest of Python is a mark."""
    marks = recipe / "marks"
    marks.unlink(missing_ok=True)
    python = recipe / "checker"
    python.write_text(f"""#!/usr/bin/env bash
echo "$@" >>{marks}
{ANSWERS}
case $* in *get_models*) exec {sys.executable} "$@" ;; esac
""")
    python.chmod(0o755)
    (recipe / "local" / "data.sh").write_text(f"#!/bin/sh\necho data >>{marks}\n")
    (recipe / "local" / "data.sh").chmod(0o755)
    options = [*SETS, "--python", python, "--llm", "a/b", "--encoder", recipe / "conf"]
    with stand_in_hub("a/b", {}, (403, "GatedRepo")) as (endpoint, _):
        environment = {
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(recipe / "home"),
        }
        done, _ = call(recipe, *options, environment=environment)
        assert done.returncode == 2
        assert done.stderr.startswith("get_models: error: --llm a/b: is gated; request")
        assert done.stderr.count("\n") == 1
        assert "data" not in marks.read_text().split()
        assert not (recipe / "exp" / "models").exists()
        # Without stage 6 nothing is asked.
        done, _ = call(recipe, *options, "--stop_stage", 1, environment=environment)
        assert done.returncode == 0, done.stderr
        assert marks.read_text().split()[-1] == "data"
