"""Stages 14 and 15 of mtasr.sh, and --download_model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml
from helpers.recipe_copy import write_script
from helpers.stand_in_decoder import ANSWERS, DECODE
from helpers.stand_in_writable_hub import TOKEN, stand_in_writable_hub
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_results import save_results

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = "valid.loss_ctc.ave"
OPTIONS = "--train_set train --valid_set dev --test_sets t1 --inference_nj 1".split()
# Stands for Python; a downloaded model lies in the folder `theirs`.
NOTE = """
echo "$@" >>calls
case $* in
    *mtasr_download*) printf '%s\\n' model theirs/config.yaml theirs/some.pth; exit ;;
    *mtasr_inference* | *check_config* | *speech_entries*) ;;
    *) exit 0 ;;
esac
"""


def make_recipe(root):
    """A recipe's folder, as setup.sh makes it, after stage 4: two mixtures."""
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    (root / "espnet_mtasr").symlink_to(ROOT / "espnet_mtasr")
    recipe = root / "egs2" / "tiny" / "mtasr1"
    setup = root / "egs2" / "TEMPLATE" / "mtasr1" / "setup.sh"
    subprocess.run([setup, recipe], check=True)
    for name in ("train_phase1", "train_phase2", "decode"):
        (recipe / "conf" / f"{name}.yaml").write_text("{}\n")
    (recipe / "conf" / "llm.yaml").write_text("decoder: llm\n")
    data = recipe / "dump" / "raw" / "t1"
    data.mkdir(parents=True)
    for name, wave in zip("ab", noises(9000, 7000)):
        soundfile.write(data / f"{name}.flac", wave, 16000)
    (data / "wav.scp").write_text("".join(f"{n} {data}/{n}.flac\n" for n in "ab"))
    (data / "text").write_text("a had lunch <sc> good day\nb good <sc> day\n")
    (data / "utt2num_spk").write_text("a 2\nb 2\n")
    save_results(recipe / "exp" / "mtasr_phase2" / f"{CHECKPOINT}.pth")
    write_script(recipe / "noting_python", NOTE + ANSWERS + DECODE)
    return recipe


@pytest.fixture
def recipe(tmp_path):
    return make_recipe(tmp_path / "repository")


def call(recipe, *options, python="./noting_python", **environment):
    return subprocess.run(
        ["./mtasr.sh", *OPTIONS, "--python", python, *map(str, options)],
        cwd=recipe,
        env={
            **os.environ,
            "VIRTUAL_ENV": sys.prefix,
            "HOME": str(recipe),
            "HF_HOME": str(recipe / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def calls(recipe, module):
    """Options of the calls of a module."""
    lines = (recipe / "calls").read_text().splitlines()
    return [line.split() for line in lines if f"-m espnet_mtasr.bin.{module} " in line]


def value(call, option):
    return call[call.index(option) + 1]


@pytest.mark.parametrize(
    "options, stages, last",
    [
        ("--stage 13", [13], 13),
        ("--stage 13 --skip_packing false", [13, 14], 14),
        ("--stage 13 --stop_stage 14", [13, 14], 14),
        ("--stage 14", [14], 14),
        ("--stage 13 --hf_repo me/m", [13, 14, 15], 15),
        ("--stage 13 --hf_repo me/m --skip_upload_hf true", [13], 13),
        ("--stage 13 --hf_repo me/m --skip_packing true", [13, 15], 15),
        ("--stage 14 --hf_repo me/m --dry_run true", [14, 15], 15),
        ("--stage 15 --hf_repo me/m", [15], 15),
        ("--stage 13 --stop_stage 13 --hf_repo me/m", [13], 13),
    ],
)
def test_which_stages_run(recipe, options, stages, last):
    done = call(recipe, *options.split())
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in (13, 14, 15):
        assert (f"Stage {stage} took" in done.stdout) == (stage in stages)
    assert f" to {last} took" in done.stdout
    checks = [c for c in calls(recipe, "mtasr_upload") if "--check_access" in c]
    assert len(checks) == (15 in stages and "--dry_run" not in options)


def test_the_hub_is_asked_before_anything_long(recipe):
    write_script(recipe / "local" / "data.sh", "echo data >>calls")
    write_script(
        recipe / "refused",
        "case $* in *--check_access*) exit 2 ;; esac\n" + NOTE + ANSWERS,
    )
    done = call(recipe, "--hf_repo", "me/m", python="./refused")
    assert done.returncode == 2
    assert "data" not in (recipe / "calls").read_text().split()


def test_what_packing_and_upload_are_told(recipe):
    models = recipe / "exp" / "models" / "models.json"
    models.parent.mkdir()
    models.write_text("{}")
    (recipe / "data").mkdir()
    (recipe / "data" / "mixtures.txt").write_text("tiny mixtures\n")
    options = "--hf_repo me/m --hf_private false --packed_dtype float16 --model_card"
    done = call(recipe, "--stage", 14, *options.split(), "conf/decode.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    exp = "exp/mtasr_phase2"
    archive = f"{exp}/mtasr_phase2_{CHECKPOINT}.zip"
    [pack] = calls(recipe, "mtasr_pack")
    assert value(pack, "--outpath") == archive
    assert value(pack, "--mtasr_train_config") == f"{exp}/config.yaml"
    assert value(pack, "--mtasr_model_file") == f"{exp}/{CHECKPOINT}.pth"
    assert value(pack, "--dtype") == "float16"
    assert value(pack, "--pack_teacher") == "false"
    assert value(pack, "--model_card") == "conf/decode.yaml"
    assert value(pack, "--pretrained") == "exp/models/models.json"
    assert "--mixtures tiny mixtures" in " ".join(pack)
    _, upload = calls(recipe, "mtasr_upload")
    assert value(upload, "--packed_model") == archive
    assert value(upload, "--hf_repo") == "me/m"
    assert value(upload, "--hf_private") == "false"
    assert value(upload, "--hf_without_results") == "false"
    assert value(upload, "--dry_run") == "false"


def test_what_was_not_scored_is_not_packed_for_upload(recipe):
    shutil.rmtree(recipe / "exp")
    options = ["--hf_repo", "me/m", "--stage", 14]
    done = call(recipe, *options)
    assert done.returncode == 2 and "Stage" not in done.stdout
    message = "--hf_repo me/m: valid.loss_ctc.ave.pth was not scored; run stages 12 and"
    assert message in done.stderr and done.stderr.count("\n") == 1
    # Normalized figures are not packed.
    normalized = ["--stage", 13, "--skip_packing", "false", "--text_normalizer"]
    done = call(recipe, *options[:2], *normalized, "whisper_basic")
    assert done.returncode == 2 and "without --text_normalizer" in done.stderr
    done = call(recipe, *options, "--hf_without_results", "true")
    assert done.returncode == 0, done.stderr
    upload = calls(recipe, "mtasr_upload")[-1]
    assert value(upload, "--hf_without_results") == "true"
    assert value(upload, "--hf_private") == "true"


@pytest.mark.parametrize(
    "options, message",
    [
        ("--stage 15", "--hf_repo is missing"),
        ("--skip_upload_hf false", "--hf_repo is missing"),
        ("--dry_run true", "--hf_repo is missing"),
        (
            "--hf_repo model --dry_run true",
            "--hf_repo model: must have the form owner/",
        ),
        ("--skip_packing yes", "--skip_packing takes true or false, not 'yes'"),
        ("--skip_upload_hf 1", "--skip_upload_hf takes true or false, not '1'"),
        ("--hf_private no", "--hf_private takes true or false, not 'no'"),
        (
            "--packed_dtype half",
            "--packed_dtype half: choose float32, float16, int8",
        ),
        ("--pack_teacher yes", "--pack_teacher takes true or false, not 'yes'"),
        (
            "--stage 11 --stop_stage 14 --phase2_args ctc_weight=1.0 "
            "--pack_teacher true",
            "--pack_teacher true: phase 2 has no teacher; omit it, or",
        ),
        ("--model_card none.yaml", "--model_card none.yaml: no such file"),
        ("--stage 14 --skip_packing true", "--stage 14 comes after --stop_stage 13"),
        (
            "--download_model a/b --hf_repo me/m",
            "--download_model a/b: is already packed",
        ),
        ("--download_model a/b --stage 14", "--download_model a/b: is already packed"),
    ],
)
def test_wrong_options(recipe, options, message):
    done = call(recipe, *options.split())
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert "Stage" not in done.stdout


def test_a_downloaded_model_decodes(recipe):
    write_script(recipe / "local" / "data.sh", "echo data >>calls")
    done = call(recipe, "--download_model", "owner/model@v1")
    assert done.returncode == 0, done.stdout + done.stderr
    stages = [n for n in range(1, 16) if f"Stage {n} took" in done.stdout]
    assert stages == [1, 2, 3, 4, 12, 13]
    said = "Skipping training: decoding t1 with theirs/some.pth into exp/model"
    assert said in done.stdout
    first, second = calls(recipe, "mtasr_download") + calls(recipe, "mtasr_inference")
    assert value(first, "--model") == "owner/model@v1"
    assert value(second, "--mtasr_model_file") == "theirs/some.pth"
    assert value(second, "--mtasr_train_config") == "theirs/config.yaml"
    decoded = recipe / "exp" / "model" / "decode_some" / "t1" / "text"
    assert decoded.read_text() == "a\nb\n"
    [score] = calls(recipe, "mtasr_score")
    # Another's model: the curves here are not its own.
    assert "--curves" not in score
    assert value(score, "--collect_dir") == "exp/model"
    assert "--model owner/model@v1 (some.pth)" in " ".join(score)
    [check] = calls(recipe, "check_config")
    assert "conf/train_phase2.yaml" not in check
    # The model is there before the first stage, and stages 1 to 4 need none.
    lines = (recipe / "calls").read_text()
    assert lines.index("mtasr_download") < lines.index("data\n")
    (recipe / "calls").unlink()
    done = call(recipe, "--download_model", "owner/model", "--stop_stage", 4)
    assert done.returncode == 0 and not calls(recipe, "mtasr_download")


def test_a_downloaded_models_teacher_decodes(recipe):
    options = ["--download_model", "owner/model", "--stage", 12, "--stop_stage", 13]
    done = call(recipe, *options, "--inference_config", "conf/llm.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    [download] = calls(recipe, "mtasr_download")
    assert value(download, "--decoder") == "llm"
    [inference] = calls(recipe, "mtasr_inference")
    assert value(inference, "--mtasr_model_file") == "theirs/some.pth"
    assert value(inference, "--config") == "conf/llm.yaml"
    [score] = calls(recipe, "mtasr_score")
    assert value(score, "--decode_dir") == "exp/model/llm_some"
    # The model's own is that by CTC.
    assert value(score, "--default_decoding") == "decode_some"


def test_a_downloaded_model_spares_trainings(recipe):
    (recipe / "exp" / "model").mkdir(parents=True)
    (recipe / "exp" / "model" / "config.yaml").touch()
    done = call(recipe, "--download_model", "owner/model", "--stage", 12)
    assert done.returncode == 2
    assert "exp/model contains a training, whose results would be lost" in done.stderr


def test_packed_uploaded_downloaded_decoded(tmp_path):
    """With the real Python, from one recipe to another by a stand-in of the hub."""
    ours = make_recipe(tmp_path / "ours")
    model = save_tiny_model(ours / "exp" / "tiny")
    exp = ours / "exp" / "mtasr_phase2"
    model.rename(exp / f"{CHECKPOINT}.pth")
    model.with_name("config.yaml").rename(exp / "config.yaml")
    (exp / ".commands").write_text("./run.sh --nj 2\n")
    card = ours / "conf" / "model_card.yaml"
    card.write_text(yaml.safe_dump({"title": "Tiny talkers", "license": "mit"}))
    # The configurations are empty; to check them takes longer than all the rest.
    python = "./python_without_checks"
    write_script(ours / python, f'{ANSWERS}exec {sys.executable} "$@"')
    with stand_in_writable_hub() as hub:
        place = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        options = ["--hf_repo", "me/tiny", "--model_card", "conf/model_card.yaml"]
        done = call(ours, *options, "--stage", 14, python=python, **place)
        assert done.returncode == 0, done.stdout + done.stderr
        readme = hub.files("me/tiny")["README.md"].decode()
        assert "license: mit" in readme and "# Tiny talkers\n" in readme
        assert "./run.sh --nj 2\n" in readme
        theirs = make_recipe(tmp_path / "theirs")
        shutil.copy(ours / python, theirs)
        options = ["--download_model", "me/tiny", "--stage", 12]
        done = call(theirs, *options, python=python, **place)
    assert done.returncode == 0, done.stdout + done.stderr
    results = (theirs / "exp" / "tiny" / "RESULTS.md").read_text()
    assert f"- Model: me/tiny ({CHECKPOINT}.safetensors)\n" in results
    assert "| t1 | 2 | 0 | 6 |" in results
