"""The LibriMix recipe's run.sh and local/data.sh: options, variants, what they call."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espnet_mtasr.mixture.metadata import read_metadata

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs2" / "librimix" / "mtasr1"
VARIANTS = sorted(
    path.stem.removeprefix("train_phase2_")
    for path in (RECIPE / "conf" / "tuning").glob("train_phase2_*.yaml")
)
NOTE_ARGUMENTS = """#!/usr/bin/env bash
{ echo "${0##*/}"; [ $# -eq 0 ] || printf '%s\\n' "$@"; } >>calls
"""


@pytest.fixture
def recipe(tmp_path):
    """A copy whose mtasr.sh, set-up, downloads and Python write down their calls."""
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", tmp_path / "egs2" / "TEMPLATE")
    copy = tmp_path / "egs2" / "librimix" / "mtasr1"
    shutil.copytree(RECIPE, copy, symlinks=True)
    for path in (copy / "mtasr.sh", copy / "local" / "download.sh"):
        path.unlink(missing_ok=True)
        path.write_text(NOTE_ARGUMENTS)
        path.chmod(0o755)
    python = tmp_path / "bin" / "python"
    for path in (python, tmp_path / "tools" / "setup.sh"):
        path.parent.mkdir()
        path.write_text(NOTE_ARGUMENTS if path is python else "#!/bin/sh\n")
        path.chmod(0o755)
    return copy


def call(recipe, *options, script="run.sh", cwd=None, **environment):
    # The stand-in for Python stands before the environment's own.
    path = f"{recipe.parents[2] / 'bin'}:{Path(sys.executable).parent}"
    return subprocess.run(
        [recipe / script, *map(str, options)],
        cwd=cwd or recipe,
        env={
            **os.environ,
            "VIRTUAL_ENV": sys.prefix,
            "PATH": f"{path}:{os.environ['PATH']}",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def calls(recipe, name):
    """Arguments of each call of `name`."""
    found = []
    for line in (recipe / "calls").read_text().splitlines():
        if line in ("mtasr.sh", "download.sh", "python"):
            current = [line]
            found.append(current)
        else:
            current.append(line)
    return [words[1:] for words in found if words[0] == name]


def mtasr_options(recipe, *options, **environment):
    done = call(recipe, *options, **environment)
    assert done.returncode == 0, done.stderr
    check, run = calls(recipe, "mtasr.sh")
    assert check == [*run, "--check_options", "true"]
    # The last of several counts.
    return dict(zip(run[::2], run[1::2]))


def test_the_default_is_the_papers(recipe):
    options = mtasr_options(recipe)
    sets = [
        f"{p}_libri{k}mix_{v}"
        for p in ("dev", "test")
        for k in (2, 3)
        for v in ("clean", "noisy")
    ]
    assert options["--test_sets"].split() == sets
    assert options["--train_set"] == "train_both"
    assert options["--valid_set"] == "dev_both"
    assert options["--encoder"] == "microsoft/wavlm-large"
    assert options["--llm"] == "meta-llama/Llama-3.2-1B"
    assert options["--nbpe"] == "1000" and options["--ngpu"] == "1"
    assert options["--phase2_tag"] == "phase2" and options["--expdir"] == "exp"
    assert options["--gpu_inference"] == "true"
    assert "--on_the_fly" not in options
    # What 4 GPUs get is what the configurations have; 1 has the same audio a step.
    for phase, epochs in ((1, 40), (2, 80)):
        plan = (
            "--batch_seconds 60 --accum_grad 8 --optim_conf lr=3.00e-04 "
            f"--scheduler_conf warmup_steps={2000 * phase} "
            f"--num_iters_per_epoch 13680 --max_epoch {epochs}"
        )
        assert options[f"--phase{phase}_args"] == plan
    for name in ("encoder", "llm"):
        assert len(options[f"--{name}_revision"]) == 40


def plans(recipe, *options):
    """Options of both trainings as dicts."""
    (recipe / "calls").unlink(missing_ok=True)
    found = mtasr_options(recipe, *options)
    for phase in (1, 2):
        words = found[f"--phase{phase}_args"].split()
        yield dict(zip(words[::2], words[1::2]))


@pytest.mark.parametrize(
    "variant", ["wavlm_large_llama1b", "whisper_small_smollm2_360m"]
)
def test_four_gpus_have_what_the_configurations_have(recipe, variant):
    """In whose steps are 480 s of audio."""
    for phase, plan in zip((1, 2), plans(recipe, "--ngpu", 4, "--variant", variant)):
        config = RECIPE / "conf" / "tuning" / f"train_phase{phase}_{variant}.yaml"
        conf = yaml.safe_load(config.read_text())
        step = conf["batch_seconds"] * conf["accum_grad"]
        epoch = conf["batch_seconds"] * conf["num_iters_per_epoch"]
        batch = int(plan["--batch_seconds"])
        assert batch * int(plan["--accum_grad"]) == step == 480
        assert batch * int(plan["--num_iters_per_epoch"]) == epoch == 228 * 3600
        assert plan["--max_epoch"] == str(conf["max_epoch"])
        lr = float(plan["--optim_conf"].removeprefix("lr="))
        assert lr == pytest.approx(conf["optim_conf"]["lr"])
        warmup = conf["scheduler_conf"]["warmup_steps"]
        assert plan["--scheduler_conf"] == f"warmup_steps={warmup}"


def test_the_readmes_table_is_what_run_sh_takes(recipe):
    readme = (RECIPE / "README.md").read_text()
    table = readme.split("<!-- plan: begin -->\n")[1].split("<!-- plan: end -->")[0]
    for gpus, line in zip((1, 4, 8), table.splitlines()[2:]):
        one, two = plans(recipe, "--ngpu", gpus)
        warmups = [p["--scheduler_conf"].split("=")[1] for p in (one, two)]
        batch, accum = one["--batch_seconds"], one["--accum_grad"]
        cells = [gpus, batch, accum, f"{int(batch) * int(accum)} s"]
        cells += [one["--optim_conf"].split("=")[1], " / ".join(warmups)]
        cells += [one["--num_iters_per_epoch"]]
        cells += [" / ".join(p["--max_epoch"] for p in (one, two))]
        assert line == "| " + " | ".join(map(str, cells)) + " |"
    # Two machines of 4 are 8.
    assert (one, two) == tuple(plans(recipe, "--ngpu", 4, "--num_nodes", 2))


@pytest.mark.parametrize(
    "options, epochs, number",
    [
        (["--noise", "noisy"], 20, "3420"),
        (["--train_parts", "train-clean-100"], 10, "none"),
        (["--train_parts", "train-clean-100", "--noise", "clean"], 10, "none"),
        (["--speed_perturb_factors", "0.9 1.0 1.1"], 120, "3420"),
        (["--single_talker", "true"], 60, "3438"),
    ],
)
def test_passes_over_the_data_stay_the_same(recipe, options, epochs, number):
    """An epoch is as near to 228 h as a pass can be divided."""
    one, _ = plans(recipe, "--ngpu", 4, *options)
    assert (int(one["--max_epoch"]), one["--num_iters_per_epoch"]) == (epochs, number)


def test_a_short_training_has_a_short_warm_up(recipe):
    """10 passes over 98 h have 7,350 steps."""
    options = ["--train_parts", "train-clean-100", "--noise", "clean", "--ngpu", 4]
    one, _ = plans(recipe, *options)
    assert one["--scheduler_conf"] == "warmup_steps=735"


def test_the_users_own_comes_last_or_alone(recipe):
    options = mtasr_options(
        recipe,
        *("--phase1_args", "--max_epoch 3", "--phase2_config", "conf/mine.yaml"),
        *("--phase2_args", "--seed 5"),
    )
    assert options["--phase1_args"].endswith("--max_epoch 40 --max_epoch 3")
    assert options["--phase2_config"] == "conf/mine.yaml"
    assert options["--phase2_args"] == "--seed 5"
    assert options["--phase2_tag"] == "mine"


def test_espnets_names_are_phase_2s(recipe):
    """The plan stays with --asr_args, and leaves the user's own configuration alone."""
    options = mtasr_options(recipe, "--ngpu", 8, "--asr_args", "--max_epoch 20")
    assert options["--phase2_args"].endswith(" --max_epoch 20")
    assert "--num_iters_per_epoch " in options["--phase2_args"]
    assert "--asr_args" not in options
    (recipe / "calls").unlink()
    options = mtasr_options(
        recipe,
        *("--asr-config=conf/mine.yaml", "--asr_tag", "tag", "--inference_args"),
        *("--lm_weight=0.3", "--nj", 3),
    )
    assert options["--phase2_config"] == "conf/mine.yaml"
    assert (options["--phase2_args"], options["--phase2_tag"]) == ("", "tag")
    # It is a value, not one of ESPnet's options.
    assert options["--inference_args"] == "--lm_weight=0.3"
    assert options["--nj"] == "3"


def test_a_learning_rate_changes_nothing_else(recipe):
    from espnet_mtasr.tasks.mtasr import MTASRTask

    one, _ = plans(recipe, "--ngpu", 8)
    words = [word for pair in one.items() for word in pair]
    config = RECIPE / "conf" / "train_phase1.yaml"
    args = MTASRTask.parse_config(config, words)
    conf = yaml.safe_load(config.read_text())
    assert args.optim_conf == {**conf["optim_conf"], "lr": 4.24e-4}
    assert args.scheduler_conf == {"warmup_steps": 1000}
    assert args.num_iters_per_epoch == 1710
    one, _ = plans(recipe, "--preset", "day")
    args = MTASRTask.parse_config(config, [w for pair in one.items() for w in pair])
    assert args.num_iters_per_epoch is None


def test_one_gpu_for_a_day(recipe):
    options = mtasr_options(recipe, "--preset", "day")
    assert options["--encoder"] == "microsoft/wavlm-base-plus"
    assert options["--llm"] == "HuggingFaceTB/SmolLM2-360M"
    assert options["--on_the_fly"] == "true" and options["--ngpu"] == "1"
    assert "--train_parts train-clean-100 " in options["--local_data_opts"]
    name = "wavlm_base_plus_smollm2_360m"
    assert options["--phase2_tag"] == f"phase2_{name}_100"
    assert options["--train_set"] == "train_both_100"
    one, two = plans(recipe, "--preset", "day")
    assert (one["--max_epoch"], two["--max_epoch"]) == ("4", "8")
    assert {p["--num_iters_per_epoch"] for p in (one, two)} == {"none"}
    assert {p["--batch_seconds"] for p in (one, two)} == {"60"}
    (recipe / "calls").unlink()
    options = mtasr_options(
        recipe,
        *("--preset", "day", "--variant", "whisper_small_smollm2_360m"),
        *("--on_the_fly", "false", "--train_parts", "train-clean-360"),
    )
    assert options["--encoder"] == "openai/whisper-small"
    assert "--on_the_fly" not in options
    assert options["--train_set"] == "train_both_360"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_gets_the_models_that_its_configurations_name(recipe, variant):
    options = mtasr_options(recipe, "--variant", variant)
    configs = [
        yaml.safe_load((recipe / options[f"--phase{n}_config"]).read_text())
        for n in (1, 2)
    ]
    if options["--skip_phase1"] == "true":
        assert "teacher" not in configs.pop(1) and variant.endswith("no_teacher")
        assert options["--llm"] == ""
        configs = []
    for config in configs:
        assert options["--llm"] == config["teacher_conf"]["llm"]
        assert options["--encoder"] == config["encoder_conf"].get("model", "")
    for name in ("encoder", "llm"):
        assert bool(options[f"--{name}_revision"]) == bool(options[f"--{name}"])
    assert (recipe / options["--phase2_config"]).resolve().stem.endswith(variant)


def test_the_help_names_every_variant(recipe):
    done = call(recipe, "--help")
    assert done.returncode == 0
    for variant in VARIANTS:
        shown = variant.replace("wavlm_large_llama1b_", "_")
        assert f"{shown}" in done.stdout, variant


def test_another_llm_has_another_revision(recipe):
    options = mtasr_options(recipe, "--llm", "some/llm", "--stage", 7)
    assert (options["--llm"], options["--llm_revision"]) == ("some/llm", "")
    assert options["--stage"] == "7"
    (recipe / "calls").unlink()
    options = mtasr_options(recipe, "--llm_revision=abc", "--expdir", "here")
    assert options["--llm_revision"] == "abc" and options["--expdir"] == "here"


def test_what_a_model_is_trained_on_is_in_its_name(recipe):
    options = mtasr_options(
        recipe, "--noise", "noisy", "--single_talker", "true", "--on-the-fly=true"
    )
    assert options["--train_set"] == "train_noisy_1spk"
    assert options["--phase1_tag"] == "phase1_noisy_1spk"
    assert options["--phase2_tag"] == "phase2_noisy_1spk"
    assert options["--talker_counts"] == "1 2 3"
    assert options["--on_the_fly"] == "true"
    assert options["--test_sets"].split()[0] == "dev_libri1"
    data = options["--local_data_opts"].split()
    given = dict(zip(data[::2], data[1::2]))
    assert given["--noise"] == "noisy" and "--on_the_fly" not in given
    assert given["--train_set"] == "train_noisy_1spk"


CLEAN = "dev_libri2mix_clean dev_libri3mix_clean test_libri2mix_clean "
CLEAN += "test_libri3mix_clean"


def test_the_clean_recipe_needs_no_noise(recipe, tmp_path):
    done = call(recipe, "--noise", "clean")
    assert done.returncode == 0 and "There is no noise, so the noisy dev" in done.stdout
    given = calls(recipe, "mtasr.sh")[-1]
    assert given[given.index("--test_sets") + 1] == CLEAN
    data = given[given.index("--local_data_opts") + 1].split()
    simulate = simulate_call(recipe, *data)[-1]
    (asked,) = calls(recipe, "download.sh")
    assert "wham_noise" not in asked and "test-clean" in asked
    assert after(simulate, "--wham_noise") == []
    kinds = {name: kind for name, _, kind in after(simulate, "--set")}
    assert set(kinds.values()) == {"clean"} and len(kinds) == 6
    assert after(simulate, "--combine")[1] == ["dev_clean", *CLEAN.split()[:2]]


@pytest.mark.parametrize("where", ["named", "downloaded"])
def test_the_clean_recipe_tests_on_noise_that_is_there(recipe, where):
    environment = {"WHAM_NOISE": "corpora/noise"} if where == "named" else {}
    if where == "downloaded":
        (recipe / "downloads" / "wham_noise").mkdir(parents=True)
    options = mtasr_options(recipe, "--noise", "clean", **environment)
    assert len(options["--test_sets"].split()) == 8
    data = options["--local_data_opts"].split()
    assert data[data.index("--test_noise") + 1] == "both"


def test_what_is_not_trained_on_is_not_downloaded(recipe):
    simulate_call(recipe, "--train_parts", "train-clean-100")
    (asked,) = calls(recipe, "download.sh")
    assert "train-clean-100" in asked and "train-clean-360" not in asked


def test_on_a_cpu_nothing_is_decoded_on_a_gpu(recipe):
    assert "--gpu_inference" not in mtasr_options(recipe, "--ngpu", "0")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--noise", "loud"], "--noise loud: choose clean, noisy or both"),
        (["--variant", "tiny"], "--variant tiny: there is no conf/tuning/train_phase1"),
        (["--variant", "wavlm_large_llama1b_alpha2"], "there is no conf/tuning/train"),
        (["--on_the_fly", "yes"], "--on_the_fly takes true or false, not 'yes'"),
        (["--onsets", "late"], "--onsets late: choose auto, librimix, none or"),
        (["--ngpu", "all"], "--ngpu all: give a number"),
        (["--num_nodes", "0"], "--num_nodes 0: give a number from 1"),
        (["--preset", "week"], "--preset week: choose day, or omit it"),
        (["--train_parts", "dev-clean"], "--train_parts dev-clean: LibriMix has train"),
        (["--librispeechmix", "none"], "--librispeechmix none: no such folder"),
        (["--nj"], "--nj needs a value"),
    ],
)
def test_wrong_options_of_run(recipe, tmp_path, options, message):
    done = call(recipe, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("run.sh: error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (recipe / "calls").exists()


def test_mtasr_sh_takes_every_option_that_run_gives_it(recipe):
    (recipe / "mtasr.sh").unlink()
    (recipe / "mtasr.sh").symlink_to("../../TEMPLATE/mtasr1/mtasr.sh")
    done = call(recipe, "--check_options", "true")
    assert (done.returncode, done.stderr) == (0, "")
    done = call(recipe, "--beams", "3")
    assert done.returncode == 2 and "unknown option --beams" in done.stderr


def simulate_call(recipe, *options, **environment):
    (recipe / "data").mkdir()
    done = call(recipe, *options, script="local/data.sh", **environment)
    assert done.returncode == 0, done.stderr
    return calls(recipe, "python")


PARTS = ("train-clean-100", "train-clean-360", "dev-clean", "test-clean")
DRAWN = "talker 2 begins at 1.0 to 1.5 s, talker 3 at 2.5 to 3.0 s, seed 1"
SOME = "mixtures of 2 talkers have the metadata's onsets where these have some"


def write_metadata_row(recipe, n_talkers, part, with_onset):
    """A list of one mixture, in LibriMix's columns, as it is downloaded."""
    cells = {"mixture_ID": "m1"}
    for k in range(1, n_talkers + 1):
        cells |= {f"source_{k}_path": f"{part}/{k}/0/a.flac", f"source_{k}_gain": "0.5"}
    if with_onset:
        names = ["offset"] if n_talkers == 2 else ["offset1", "offset2"]
        cells |= {name: f"{4.25 + n}" for n, name in enumerate(names)}
    name = f"Libri{n_talkers}Mix/libri{n_talkers}mix_{part}.csv"
    path = recipe / "downloads" / "librimix_metadata" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")


def after(words, option):
    """What follows each `option`, up to the next one."""
    found = []
    for k, word in enumerate(words):
        if word == option:
            rest = words[k + 1 :]
            end = next((n for n, w in enumerate(rest) if w.startswith("--")), None)
            found.append(rest[:end])
    return found


def test_stage_1_of_downloaded_corpora(recipe):
    *onsets, simulate = simulate_call(recipe)
    wanted = ["train-clean-100", "train-clean-360", "dev-clean", "test-clean"]
    wanted += ["librimix_metadata", "wham_noise"]
    assert calls(recipe, "download.sh") == [["--parts", *wanted]]
    metadata = "downloads/librimix_metadata"
    parts = ("train-clean-100", "train-clean-360", "dev-clean", "test-clean")
    assert onsets == [
        ["-m", "espnet_mtasr.bin.add_onsets", "--onsets", "librimix", "--keep"]
        + ["--seed", "1", "--out", f"data/local/metadata/Libri{k}Mix"]
        + [f"{metadata}/Libri{k}Mix/libri{k}mix_{part}.csv" for part in parts]
        for k in (2, 3)
    ]
    assert after(simulate, "--librispeech") == [["downloads/LibriSpeech"]]
    assert after(simulate, "--wham_noise") == [["downloads/wham_noise"]]
    sets = []
    for k in (2, 3):
        lists = [f"data/local/metadata/Libri{k}Mix/libri{k}mix_{p}.csv" for p in parts]
        sets.append([f"train_libri{k}mix", ",".join(lists[:2]), "both"])
        sets.append([f"dev_libri{k}mix", lists[2], "both"])
        sets.append([f"test_libri{k}mix", lists[3], "both"])
    assert after(simulate, "--set") == sets
    combined = [
        [f"{part}_both"]
        + [f"{part}_libri{k}mix_{v}" for k in (2, 3) for v in ("clean", "noisy")]
        for part in ("train", "dev")
    ]
    assert after(simulate, "--combine") == combined
    assert after(simulate, "--on_the_fly") == []
    assert "seed 1" in (recipe / "data" / "mixtures.txt").read_text()


@pytest.mark.parametrize(
    "with_onsets, options, begins",
    [
        ([], [], f"{DRAWN}"),
        (
            ["2mix_train-clean-100", "2mix_train-clean-360", "2mix_dev-clean"]
            + ["2mix_test-clean"],
            [],
            f"{DRAWN}; mixtures of 2 talkers have the metadata's onsets",
        ),
        (
            ["2mix_test-clean"],
            [],
            f"{DRAWN}; {SOME}",
        ),
        (
            [f"{k}mix_{part}" for k in (2, 3) for part in PARTS],
            [],
            "onsets from the metadata",
        ),
        (["2mix_test-clean"], ["--onsets", "librimix"], None),
    ],
)
def test_onsets_that_are_there_are_kept(recipe, with_onsets, options, begins):
    """ESPnet's Libri2Mix lists have an offset, stock Libri3Mix has none."""
    (recipe / "data").mkdir()
    (recipe.parents[2] / "bin" / "python").write_text(
        "#!/bin/sh\ncase $* in *add_onsets*) exec "
        f'{sys.executable} "$@" ;; esac\n' + NOTE_ARGUMENTS.partition("\n")[2]
    )
    for k in (2, 3):
        for part in PARTS:
            write_metadata_row(recipe, k, part, f"{k}mix_{part}" in with_onsets)
    done = call(recipe, *options, script="local/data.sh", PYTHONPATH=str(ROOT))
    if begins is None:
        assert done.returncode == 2 and "m1 has onsets" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    said = (recipe / "data" / "mixtures.txt").read_text()
    assert said == f"LibriMix (16 kHz, max), {begins}\n"
    for k in (2, 3):
        for part in PARTS:
            name = f"Libri{k}Mix/libri{k}mix_{part}.csv"
            (row,) = read_metadata(recipe / "data" / "local" / "metadata" / name)
            if f"{k}mix_{part}" in with_onsets:
                assert row.onsets == (0.0, 4.25, 5.25)[:k]
            else:
                assert 1.0 <= row.onsets[1] <= 1.5


def test_stage_1_on_a_cluster(recipe, tmp_path):
    """Mixing is a job, and what needs a network is none."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(
        "#!/bin/sh\necho 4711; shift $(($# - 1)); echo job >>calls; bash $1"
    )
    sbatch.chmod(0o755)
    simulate_call(recipe, cmd_backend="slurm")
    order = [
        line
        for line in (recipe / "calls").read_text().splitlines()
        if line in ("job", "download.sh") or line.startswith("espnet_mtasr.bin.")
    ]
    modules = [
        f"espnet_mtasr.bin.{n}" for n in ("add_onsets", "add_onsets", "simulate")
    ]
    assert order == ["download.sh", *modules[:2], "job", modules[2]]


def test_stage_1_with_everything(recipe, tmp_path):
    lists = tmp_path / "LibriSpeechMix" / "list"
    lists.mkdir(parents=True)
    (lists / "test-clean-2mix.jsonl").touch()
    (simulate,) = simulate_call(
        recipe,
        *("--noise", "noisy", "--single_talker", "true", "--on_the_fly", "true"),
        *("--train_parts", "train-clean-100", "--onsets", "given"),
        *("--librispeechmix", lists.parent, "--train_set", "t", "--valid_set", "v"),
        LIBRISPEECH="corpora/LibriSpeech",
        WHAM_NOISE="corpora/noise",
        LIBRIMIX_METADATA="corpora/metadata",
    )
    assert after(simulate, "--librispeech") == [["corpora/LibriSpeech"]]
    # Of the 23 GB of train-clean-360 nothing is downloaded.
    assert "train-clean-360" not in calls(recipe, "download.sh")[0]
    sets = {name: rest for name, *rest in after(simulate, "--set")}
    csv = "corpora/metadata/Libri3Mix/libri3mix_train-clean-100.csv"
    assert sets["train_libri3mix"] == [csv, "noisy"]
    assert sets["test_libri3mix"][1] == "both"
    for k in (1, 2, 3):
        name = f"test_librispeechmix{k}"
        assert sets[name] == [f"{lists}/test-clean-{k}mix.jsonl", "clean"]
    assert after(simulate, "--single") == [
        ["train_libri1", "train-clean-100"],
        ["dev_libri1", "dev-clean"],
        ["test_libri1", "test-clean"],
    ]
    assert after(simulate, "--combine") == [
        ["t", "train_libri2mix_noisy", "train_libri3mix_noisy", "train_libri1"],
        ["v", "dev_libri2mix_noisy", "dev_libri3mix_noisy", "dev_libri1"],
    ]
    assert after(simulate, "--on_the_fly") == [["true"]]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--noise", "loud"], "--noise loud: choose clean, noisy or both"),
        (["--train_parts", "dev-clean"], "--train_parts dev-clean: LibriMix has"),
        (["--train_parts", ""], "--train_parts is empty"),
        (["--onsets", "late"], "--onsets late: choose auto, librimix, none or"),
        (["--test_noise", "clean"], "--test_noise clean: needs --noise clean"),
        (["--test_noise", "loud"], "--test_noise loud: choose both or clean"),
        (["--librispeechmix", "conf"], "conf: neither it nor its folder list has"),
        (["--on_the_fly", "1"], "--on_the_fly takes true or false, not '1'"),
        (["--audio_format", "mp3"], "--audio_format mp3: choose flac or wav"),
        (["--nj", "0"], "--nj 0: give a number from 1"),
        (["--seed", "x"], "--seed x: give a number"),
        (["more"], "unknown option more"),
    ],
)
def test_wrong_options_of_stage_1(recipe, options, message):
    done = call(recipe, *options, script="local/data.sh")
    assert done.returncode == 2
    assert done.stderr.startswith("data.sh: error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (recipe / "calls").exists()
