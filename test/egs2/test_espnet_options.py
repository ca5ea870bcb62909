"""Options of ESPnet's asr.sh, given to mtasr.sh; options that are checked early."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETS = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "t1 t2"]
SHOWN = (
    "fs stop_stage stage phase2_config phase2_args phase2_tag phase1_args "
    "inference_mtasr_model phase2_exp phase2_stats skip_stages test_sets "
    "inference_args bpe_train_text audio_format"
).split()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe whose mtasr.sh shows what it has taken its options for."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    recipe = root / "egs2" / "tiny" / "mtasr1"
    subprocess.run([root / "egs2/TEMPLATE/mtasr1/setup.sh", recipe], check=True)
    for name in ("train_phase1", "train_phase2", "other", "decode"):
        (recipe / "conf" / f"{name}.yaml").write_text("{}\n")
    script = root / "egs2" / "TEMPLATE" / "mtasr1" / "mtasr.sh"
    lines = "".join(f"echo {name}=${{{name}}};" for name in SHOWN)
    checked = 'if [ "${check_options}" = true ]; then exit 0; fi'
    text = script.read_text()
    assert text.count(checked) == 1
    script.write_text(text.replace(checked, f"{lines} {checked}"))
    return recipe


def call(recipe, *options):
    return subprocess.run(
        ["./mtasr.sh", *SETS, "--check_options", "true", *map(str, options)],
        cwd=recipe,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def taken(recipe, *options):
    done = call(recipe, *options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize(
    "options, name, value",
    [
        (["--fs", "16k"], "fs", "16000"),
        (["--fs=8k"], "fs", "8000"),
        (["--fs", "16000"], "fs", "16000"),
        # Nobody asks for packing.
        (["--stop_stage", "10000"], "stop_stage", "13"),
        (["--stop-stage", "100"], "stop_stage", "13"),
        (["--stop_stage", "12"], "stop_stage", "12"),
        (["--asr_config", "conf/other.yaml"], "phase2_config", "conf/other.yaml"),
        (["--asr-config=conf/other.yaml"], "phase2_tag", "other"),
        (["--asr_tag", "mine"], "phase2_exp", "exp/mtasr_mine"),
        (["--asr_args", "--max_epoch 3"], "phase2_args", "--max_epoch 3"),
        (["--asr_exp", "exp/x"], "phase2_exp", "exp/x"),
        (["--asr_stats_dir", "exp/s"], "phase2_stats", "exp/s"),
        (
            ["--inference_asr_model", "3epoch.pth"],
            "inference_mtasr_model",
            "3epoch.pth",
        ),
        (["--eval_valid_set", "true"], "test_sets", "dev t1 t2"),
        (["--skip_stages", "2 5"], "skip_stages", "2 5"),
        (["--bpe_train_text", "data/lm/text"], "bpe_train_text", "data/lm/text"),
        (["--audio_format", "wav.ark"], "audio_format", "wav.ark"),
        # What looks like one of ESPnet's is the value of one of ours.
        (["--inference_args", "--batch_size=8"], "inference_args", "--batch_size=8"),
        (["--phase1_args", "--cleaner"], "phase1_args", "--cleaner"),
    ],
)
def test_options_that_work(recipe, options, name, value):
    assert taken(recipe, *options)[name] == value


@pytest.mark.parametrize(
    "options",
    [
        "--feats_type raw",
        "--lang en",
        "--lang noinfo",
        "--use_lm false",
        "--cleaner none",
        "--g2p none",
        "--nlsyms_txt none",
        "--skip_upload true",
        "--oov <unk>",
        "--blank <blank>",
        "--sos_eos <sos/eos>",
        "--num_splits_asr 1",
        "--batch_size 1",
        "--use_k2 false",
        "--use_nbest_rescoring false",
        "--k2_ctc_decoding true",
        "--num_paths 1000",
        "--asr_task asr",
        "--hyp_cleaner none",
        "--eval_valid_set false",
    ],
)
def test_options_that_ask_for_nothing(recipe, options):
    assert taken(recipe, *options.split()) == taken(recipe)


@pytest.mark.parametrize(
    "name", ["score_opts", "local_score_opts", "lm_config", "lm_tag"]
)
def test_empty_options_ask_for_nothing(recipe, name):
    assert (
        taken(recipe, f"--{name}", "") == taken(recipe, f"--{name}=") == taken(recipe)
    )


@pytest.mark.parametrize(
    "options, says",
    [
        ("--feats_type fbank", "set frontend in the configurations"),
        ("--feats_normalize utterance_mvn", "--phase1_config, --phase2_config"),
        ("--asr_text_fold_length 80", "--phase1_config, --phase2_config"),
        ("--use_lm true", "--inference_config conf/decode_llm.yaml decodes by"),
        ("--inference_ngram 4gram.bin", "--use_ngram true trains one"),
        ("--lm_config conf/lm.yaml", "--llm names the teacher"),
        ("--inference_lm 3epoch.pth", "--llm names the teacher"),
        ("--cleaner whisper_basic", "--phase2_args '--cleaner whisper_basic'"),
        ("--g2p g2p_en", "choose --token_type bpe, char, word or hugging_face"),
        ("--nlsyms_txt data/nlsyms", "remove such symbols in local/data.sh"),
        ("--score_opts -s", "see --text_normalizer"),
        ("--local_score_opts=-s", "see --text_normalizer"),
        ("--skip_upload false", "--skip_packing false to pack, --hf_repo OWNER/NAME"),
        ("--batch_size 8", "give --inference_args '--batch_size 8'"),
        ("--use_streaming true", "is not supported; omit it"),
        ("--use_k2 true", "--inference_args '--beam_size 10' decodes by"),
        ("--k2_config conf/k2.yaml", "k2 is not used; --inference_args"),
        ("--use_nbest_rescoring true", "--inference_config conf/decode_llm.yaml dec"),
        ("--use_maskctc true", "choose an --inference_config"),
        ("--asr_task enh_s2t", "the task is always this recipe's"),
        ("--num_ref 2", "give the talkers by --talker_counts"),
        ("--ref_text_files text_spk1", "with <sc> between talkers"),
        ("--auxiliary_data_tags utt2lang", "further data is not read"),
        ("--post_process_local_data_opts x", "give --local_data_opts"),
        ("--multi_columns_input_wav_scp true", "mixtures have one channel"),
        ("--hugging_face_model_name_or_path a/b", "give --llm with --token_type"),
        ("--hyp_cleaner whisper_en", "scored through --text_normalizer"),
        ("--oov <oov>", "it is always <unk> here; omit it"),
        ("--num_splits_asr 8", "lists are not split"),
        ("--bpe_nlsyms <x>", "remove such symbols"),
    ],
)
def test_options_that_are_refused(recipe, options, says):
    done = call(recipe, *options.split())
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    named = options.replace("=", " ").split()[0]
    assert done.stderr.startswith(f"mtasr.sh: error: {named} ")
    assert says in done.stderr


def test_a_value_that_is_forgotten(recipe):
    done = call(recipe, "--asr_config")
    assert done.returncode == 2 and "unknown option --asr_config" in done.stderr


@pytest.mark.parametrize(
    "options, says",
    [
        (["--fs", "16kHz"], "--fs 16kHz: give a number from 1"),
        (["--nbpe", "0"], "--nbpe 0: give a number from 1"),
        (["--num_threads", "all"], "--num_threads all: give a number from 1"),
        (["--max_unalignable", "1.5"], "--max_unalignable 1.5: give a share"),
        (["--max_unreadable", "-1"], "--max_unreadable -1: give a share from 0 to 1"),
        (["--max_wav_duration", "long"], "--max_wav_duration long: give seconds"),
        (["--min_wav_duration", "30"], "30: is not above --min_wav_duration 30"),
        (["--talker_counts", "2,3"], "--talker_counts 2,3: give counts from 1, as in"),
        (["--speed_perturb_factors", "0.9 fast"], "--speed_perturb_factors fast: give"),
        (["--skip_stages", "3 16"], "--skip_stages 16: give stages from 1 to 15"),
        (["--bpemode", "word"], "--bpemode word: choose unigram or bpe"),
        (["--phase2_tag", "a b"], "--phase2_tag a b: give a name"),
        (["--test_sets", "data/t1"], "--test_sets data/t1: give names"),
        (["--packed_model", "m.tar"], "--packed_model m.tar: must end in .zip"),
        (["--ngram_num", "0"], "--ngram_num 0: give a number from 1"),
        (["--lm_train_text", "no/text"], "--lm_train_text no/text: no such file or"),
        (["--bpe_train_text", "no/text"], "--bpe_train_text no/text: no such file"),
    ],
)
def test_mistakes_are_found_before_stage_1(recipe, options, says):
    done = call(recipe, *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mtasr.sh: error: ") and says in done.stderr


@pytest.mark.parametrize("share", ["0", "1", ".5", "1e-3", "0.25"])
def test_numbers(recipe, share):
    taken(recipe, "--max_unalignable", share, "--min_wav_duration", share)


def test_skipped_stages(recipe):
    """Nothing is left to do but to say so."""
    python = recipe / "python"
    python.write_text("#!/bin/sh\necho decoder ctc\necho phase2_has_teacher true\n")
    python.chmod(0o755)
    (recipe / "local" / "data.sh").write_text("#!/bin/sh\nexit 77\n")
    done = subprocess.run(
        ["./mtasr.sh", *SETS, "--stop_stage", "3", "--skip_stages", "1 3"]
        + ["--python", str(python)],
        cwd=recipe,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "Stage 2" in done.stdout
    assert "Stage 1:" not in done.stdout and "Stage 3:" not in done.stdout
