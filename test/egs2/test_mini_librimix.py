"""Stages 1 to 13 of the mini recipe, once, on a corpus that is not its own.

The corpus has other words, 8 kHz, FLAC and WAV, and lengths from 0.3 s; the models are
the recipe's. One run is shared by all tests.
"""

import json
from pathlib import Path

import pytest
import torch
from helpers import recipe_copy
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.text.sot import split_sot

ROOT = Path(__file__).resolve().parents[2]
N_TEST = 3
SETS = [f"test_mini{k}mix_{noise}" for k in (2, 3) for noise in ("clean", "noisy")]
ONE_EPOCH = "--max_epoch 1 --batch_size 4 --num_workers 0 --use_tensorboard false"
MAX_BYTES = 12 * 2**20


def call(command, cwd):
    """As `recipe_copy.call`, for however long it takes."""
    return recipe_copy.call(command, cwd, timeout=None)


class Run:
    """A finished run: its recipe's folder, what it was asked, what it printed."""

    def __init__(self, recipe, corpus, options, done):
        self.recipe, self.corpus, self.done = recipe, corpus, done
        self.options = options
        self.phase1 = recipe / "exp" / "mtasr_phase1"
        self.phase2 = recipe / "exp" / "mtasr_phase2"
        self.decoded = self.phase2 / "decode_valid.loss_ctc.ave"

    def again(self, *options):
        return call(["./run.sh", *self.options, *options], self.recipe)

    def results(self):
        return json.loads((self.phase2 / "results.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    recipe = recipe_copy.copy_repository(root) / "egs2/mini_librimix/mtasr1"
    corpus = tmp_path_factory.mktemp("corpus")
    for subset, suffix in (
        ("train-clean-100", "flac"),
        ("dev-clean", "wav"),
        ("test-clean", "flac"),
    ):
        make_tiny_corpus(corpus, subset, rate=8000, seconds=(0.3, 2.5), suffix=suffix)
    options = ["--wham-noise", corpus / "wham_noise"]
    # One job a set: a Python start takes longer than decoding three mixtures.
    options += [
        "--inference_nj",
        1,
        "--n_train",
        4,
        "--n_dev",
        2,
        "--n_test",
        N_TEST,
        "--num_threads",
        1,
    ]
    options += ["--phase1_args", ONE_EPOCH, "--phase2_args", ONE_EPOCH]
    # Called from another folder, with a folder relative to that one.
    relative = ["--librispeech", "LibriSpeech"]
    done = call([recipe / "run.sh", *options, *relative], corpus)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return Run(recipe, corpus, options, done)


def test_all_stages_ran_and_results_were_printed(run):
    for stage in range(1, 14):
        assert f"Stage {stage} took" in run.done.stdout
    markdown = (run.phase2 / "RESULTS.md").read_text()
    for name in SETS:
        row = next(x for x in run.done.stdout.splitlines() if x.startswith(f"| {name}"))
        assert row in markdown
    checks = (run.phase1 / "perplexity_dev.md").read_text()
    assert checks in run.done.stdout and "| ratio |" in checks


def test_learning_curves_were_drawn(run):
    for folder in (run.phase1, run.phase2):
        picture = folder / "learning_curve.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"{folder.name}/{picture.name}; best epoch: 1, " in run.done.stdout


def test_results_have_the_documented_form(run):
    results = run.results()
    keys = "mixtures model text_normalizer decoding model_sha256 sets"
    assert list(results) == keys.split()
    assert results["decoding"] == "conf/decode.yaml"
    for name in ("results", "cpwer", "cpwer_by_num_speakers", "speaker_count"):
        copy = (run.phase2 / f"{name}.json").read_text()
        assert (run.decoded / f"{name}.json").read_text() == copy
    # Whoever reads the table must see that it is not the recipe's own corpus.
    assert results["mixtures"] == (
        "mixtures of LibriSpeech, onsets 0.5-1.0 s apart, noise of wham_noise"
    )
    markdown = (run.phase2 / "RESULTS.md").read_text()
    assert "./run.sh --wham-noise" in markdown and "cores" in markdown
    assert list(results["sets"]) == SETS
    for name, row in results["sets"].items():
        assert set(row) == set(
            "n_utt n_scored n_missing n_words fifo_wer cpwer cpwer_ci95 "
            "cpwer_oracle_count sub del ins n_utt_with_errors "
            "count_accuracy count_confusion by_overlap rtf orc_wer cer "
            "n_talkers n_missed_talkers missed_talkers "
            "n_false_alarm_talkers false_alarm_talkers by_onset_gap by_snr "
            "by_level_difference by_gender".split()
        )
        assert (row["n_utt"], row["n_scored"], row["n_missing"]) == (N_TEST, N_TEST, 0)
        talkers = int(name[len("test_mini")])
        # Each talker of the corpus says two words.
        assert row["n_words"] == 2 * talkers * N_TEST
        assert sum(row["count_confusion"][str(talkers)].values()) == N_TEST
        assert row["rtf"] > 0.0
        assert row["cpwer"] is not None and row["cpwer_oracle_count"] is not None
    for name in ("cpwer", "cpwer_by_num_speakers", "speaker_count"):
        assert json.loads((run.phase2 / f"{name}.json").read_text())


def test_no_utterance_is_missing_anywhere(run):
    for name in SETS:
        keys = list(read_table(run.recipe / "data" / name / "wav.scp"))
        assert len(keys) == N_TEST
        decoded = run.decoded / name
        assert list(read_table(decoded / "text")) == keys
        assert list(read_table(decoded / "logdir" / "keys.1.scp")) == keys
        log = (decoded / "logdir" / "mtasr_inference.1.log").read_text()
        # ESPnet's real-time-factor script counts these.
        assert log.count("speech length: ") == log.count("best hypo: ") == N_TEST


def test_oracle_uses_the_true_count(run):
    oracle = run.phase2 / "decode_valid.loss_ctc.ave_oracle"
    for name in SETS:
        truth = read_table(run.recipe / "data" / name / "utt2num_spk")
        for key, text in read_table(oracle / name / "text").items():
            assert len(split_sot(text)) == int(truth[key])


def test_data_was_brought_to_16_khz_and_lower_case(run):
    import soundfile

    train = run.recipe / "dump" / "raw" / "train"
    texts = read_table(train / "text")
    assert len(texts) == 8
    assert all(text == text.lower() for text in texts.values())
    for path in read_table(train / "wav.scp").values():
        assert soundfile.info(run.recipe / path).samplerate == 16000


def test_checkpoints_are_small_and_hold_no_language_model(run):
    base = run.recipe / "exp" / "models" / "llm" / "model.safetensors"
    from safetensors.torch import load_file

    sizes = {tuple(t.shape) for t in load_file(base).values() if t.dim() == 2}
    for exp, name in (
        (run.phase1, "valid.loss_sot.ave.pth"),
        (run.phase2, "valid.loss_ctc.ave.pth"),
    ):
        assert (exp / name).stat().st_size < MAX_BYTES
        state = torch.load(exp / name, weights_only=True)
        teacher = {k: v for k, v in state.items() if k.startswith("teacher.llm.")}
        assert any("lora_" in k for k in teacher)
        assert not [k for k, v in teacher.items() if tuple(v.shape) in sizes]


def test_phase_2_started_from_phase_1(run):
    """The trunk is frozen in both phases, the teacher in the second."""
    one = torch.load(run.phase1 / "valid.loss_sot.ave.pth", weights_only=True)
    two = torch.load(run.phase2 / "latest.pth", weights_only=True)
    frozen = [k for k in two if k.startswith(("encoder.trunk.", "teacher."))]
    assert any("lora_B" in k and one[k].abs().max() > 0 for k in frozen)
    assert all(torch.equal(one[k], two[k]) for k in frozen)
    moved = [k for k in two if k.startswith("encoder.branches.")]
    assert any(not torch.equal(one[k], two[k]) for k in moved)


def test_packing_and_what_would_be_uploaded(run):
    done = run.again("--stage", 14, "--hf_repo", "me/mini", "--dry_run", "true")
    assert done.returncode == 0, done.stderr
    folder = run.phase2 / "mtasr_phase2_valid.loss_ctc.ave"
    assert folder.with_name(f"{folder.name}.zip").is_file()
    assert f"{folder.relative_to(run.recipe)} has the files for" in done.stdout
    names = {path.name for path in folder.iterdir()}
    assert {"bpe.model", "results.json", "RESULTS.md", "learning_curve.png"} <= names
    card = (folder / "README.md").read_text()
    table = (run.phase2 / "RESULTS.md").read_text().split("\n\n")
    assert next(part for part in table if part.startswith("| set |")) in card
    # The recipe's own words are about its own corpus.
    assert "not trained on the recipe's own data" in card
    assert "./run.sh --wham-noise" in card and "pretrained/encoder" in card


def test_scoring_again_gives_the_same(run):
    before = {path: path.read_bytes() for path in run.phase2.glob("*.json")}
    # results, cpwer, cpwer_by_num_speakers, speaker_count, learning_curve, and the
    # routing of stage 12.
    assert len(before) == 6
    done = run.again("--stage", 13)
    assert done.returncode == 0, done.stderr
    assert before == {p: p.read_bytes() for p in before}


def test_batched_decoding_writes_the_same_texts(run):
    name = "test_mini3mix_noisy"
    batched = run.phase2 / "batched_valid.loss_ctc.ave" / name
    done = run.again(
        *("--stage", 12, "--stop-stage", 12),
        *("--test_sets", name, "--inference_tag", "batched"),
        *("--inference_args", "--batch_size 4"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file in ("text", "utt2num_spk"):
        expected = (run.decoded / name / file).read_text()
        assert (batched / file).read_text() == expected
    assert json.loads((batched / "rtf.json").read_text())["batch_size"] == 4


def test_phase_1s_language_model_decodes(run):
    """One set through stages 12 and 13; CTC's results stay what they are."""
    name = "test_mini3mix_noisy"
    before = (run.phase2 / "results.json").read_bytes()
    done = run.again(
        *("--stage", 12, "--test_sets", name, "--inference_config"),
        *("conf/decode_llm.yaml", "--inference_args", "--maxlen_ratio 4"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = "decode_llm_maxlen_ratio4_valid.loss_sot.ave"
    decoded, oracle = (run.phase1 / f"{folder}{x}" / name for x in ("", "_oracle"))
    for place in (decoded, oracle):
        texts, counts = (read_table(place / f) for f in ("text", "utt2num_spk"))
        assert list(texts) == list(read_table(run.recipe / "data" / name / "wav.scp"))
        for key, text in texts.items():
            assert str(len(split_sot(text))) == counts[key]
    row = json.loads((run.phase1 / folder / "results.json").read_text())["sets"][name]
    assert (row["n_utt"], row["n_missing"]) == (N_TEST, 0)
    assert row["rtf"] > 0.0 and row["cpwer_oracle_count"] is not None
    assert "decoded by its language model" in (run.phase1 / "RESULTS.md").read_text()
    assert (run.phase2 / "results.json").read_bytes() == before


def test_a_training_goes_on_with_its_own_data_and_options_only(run):
    """Else the old weights would be scored as if they were trained on the new data."""
    done = run.again(*("--stage", 8, "--stop_stage", 8), "--bpemode", "bpe")
    assert done.returncode == 2
    assert "tokens.txt: no such file; run the previous stages" in done.stderr
    options = ["--phase1_args", ONE_EPOCH + " --optim_conf lr=0.5"]
    done = run.again("--stage", 8, "--stop_stage", 8, *options)
    assert done.returncode == 2
    assert "mtasr_phase1 contains a training with other settings: optim_conf.lr: " in (
        done.stderr
    )
    assert "-> 0.5" in done.stderr and "log: exp" not in done.stderr
    before = (run.phase1 / "train.log").read_text()
    longer = ONE_EPOCH.replace("--max_epoch 1", "--max_epoch 2")
    longer = longer.replace("--batch_size 4", "--batch_size 2")
    done = run.again("--stage", 8, "--stop_stage", 8, "--phase1_args", longer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run.phase1 / "2epoch.pth").exists()
    log = (run.phase1 / "train.log").read_text()
    assert "resumes with other settings: max_epoch: 1 -> 2; " in log
    assert "batch_size: 4 -> 2" in log
    assert (run.phase1 / "train.1.log").read_text() == before
