"""Stages 1 to 13 of the mini recipe with no mixture written; the same with recordings.

Both runs have the same mixtures; lists, statistics and transcripts must be equal.
"""

import pytest
from helpers.recipe_copy import call, copy_recipe
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.mixture.speech_list import read_speech_list

ONE_EPOCH = "--max_epoch 1 --batch_size 4 --num_workers 2 --use_tensorboard false"
SETS = ["test_mini2mix_clean", "test_mini3mix_noisy"]
LISTS = "exp/mtasr_stats_phase2/lists"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on the fly; returns its recipe and a way to call it again."""
    recipe = copy_recipe(tmp_path_factory.mktemp("repository"), "mini_librimix")
    corpus = tmp_path_factory.mktemp("corpus")
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        make_tiny_corpus(corpus, subset, rate=8000, seconds=(0.3, 2.5))
    data = f"--librispeech {corpus}/LibriSpeech --wham_noise {corpus}/wham_noise"
    options = [
        *("--train_set", "train", "--valid_set", "dev", "--test_sets", " ".join(SETS)),
        *("--local_data_opts", f"{data} --n_train 4 --n_dev 2 --n_test 2"),
        *("--nj", 2, "--inference_nj", 1, "--num_threads", 1, "--nbpe", 120),
        *("--max_unalignable", 1.0, "--encoder", "pretrained/encoder"),
        *("--llm", "pretrained/lm"),
        *("--phase1_args", ONE_EPOCH, "--phase2_args", ONE_EPOCH),
    ]

    def again(*more):
        done = call(["./mtasr.sh", *options, *more], recipe, timeout=None)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    return recipe, again, again("--on_the_fly", "true")


@pytest.mark.slow
def test_no_mixture_was_written(run):
    recipe, _, said = run
    for folder in ("data", "dump"):
        assert not [*(recipe / folder).rglob("*.flac"), *recipe.rglob("*.ark")]
        assert not [*(recipe / folder).rglob("wav.scp")]
    assert "MB of lists and no recordings, which would take" in said
    assert "dump/raw/org/train: 8 mixtures to be made while loading" in said
    for name in SETS:
        assert f"| {name} | 2 | 0 |" in said
    for phase in ("phase1", "phase2"):
        log = (recipe / "exp" / f"mtasr_{phase}" / "train.log").read_text()
        assert "lists/train/utt2mixture,speech,text" in log
        assert "lists/valid/utt2mixture,speech,text" in log


@pytest.mark.slow
def test_recordings_give_the_same_lists_and_transcripts(run):
    recipe, again, _ = run
    lists = {
        path.relative_to(recipe): path.read_text()
        for path in (recipe / LISTS).rglob("*")
        if path.is_file()
    }
    samples = {
        name: read_table(recipe / "dump" / "raw" / name / "utt2num_samples")
        for name in ("train", "dev", *SETS)
    }
    again("--stop_stage", 4, "--dumpdir", "recorded")
    again(
        *("--stage", 10, "--stop_stage", 10),
        *("--dumpdir", "recorded", "--phase2_tag", "recorded"),
    )
    for name, wanted in samples.items():
        folder = recipe / "recorded" / "raw" / name
        assert read_table(folder / "utt2num_samples") == wanted
    recorded = recipe / LISTS.replace("phase2", "recorded")
    for name in ("speech_shape", "text_shape", "utt2category", "utt2mixture"):
        for part in ("train", "valid"):
            wanted = lists[(recipe / LISTS / part / name).relative_to(recipe)]
            assert (recorded / part / name).read_text() == wanted
    again(
        *("--stage", 12, "--stop_stage", 12, "--dumpdir", "recorded"),
        *("--inference_tag", "recorded"),
    )
    exp = recipe / "exp" / "mtasr_phase2"
    for name in SETS:
        decoded = exp / "decode_valid.loss_ctc.ave" / name
        same = exp / "recorded_valid.loss_ctc.ave" / name
        for file in ("text", "utt2num_spk"):
            assert (decoded / file).read_text() == (same / file).read_text()


@pytest.mark.slow
def test_mixed_anew_in_each_epoch_and_cached_trunk(run):
    """After the test before, data/ has recordings too: the option decides."""
    recipe, again, _ = run
    on_the_fly = ("--on_the_fly", "true", "--skip_phase1", "true")
    alone = ("--phase2_args", f"{ONE_EPOCH} --model_conf ctc_weight=1.0")
    again("--on_the_fly", "true", "--stage", 3, "--stop_stage", 4)
    anew = (*on_the_fly, *alone, "--dynamic_mixing", "true", "--phase2_tag", "anew")
    again(*anew, "--stage", 10, "--stop_stage", 11)
    log = (recipe / "exp" / "mtasr_anew" / "train.log").read_text()
    assert "lists/train/utt2mixture,speech,json" in log
    assert "lists/valid/utt2mixture,speech,text" in log
    cached = (*on_the_fly, *alone, "--cache_trunk", "true", "--phase2_tag", "cached")
    said = again(*cached, "--stage", 10, "--stop_stage", 11)
    assert "mixtures cached in dump/trunk/" in said
    log = (recipe / "exp" / "mtasr_cached" / "train.log").read_text()
    assert "lists/train/trunk.scp,speech,text" in log


@pytest.mark.slow
def test_both_phases_read_cached_outputs_of_drawn_epochs(run):
    recipe, again, _ = run
    drawn = ("--dynamic_mixing", "true", "--drawn_epochs", "2", "--cache_trunk", "true")
    tags = ("--phase1_tag", "drawn1", "--phase2_tag", "drawn2")
    again(*drawn, *tags, "--stage", 4, "--stop_stage", 11)
    assert len(read_table(recipe / "dump" / "raw" / "train_drawn2" / "text")) == 16
    for tag in ("drawn1", "drawn2"):
        lists = recipe / "exp" / f"mtasr_stats_{tag}" / "lists" / "train"
        assert len(read_table(lists / "trunk.scp")) == 16
        log = (recipe / "exp" / f"mtasr_{tag}" / "train.log").read_text()
        assert "lists/train/trunk.scp,speech,text" in log
    # The second phase found what the first had computed.
    logs = recipe / "exp" / "mtasr_stats_drawn2" / "logdir"
    found = (logs / "cache_trunk.1.log").read_text()
    assert " mixtures" in found and "has 0 of" not in found
    # Lengths that stage 4 has computed are those of the mixtures.
    shapes = read_table(lists / "speech_shape")
    for utt, speech in read_speech_list(lists).items():
        assert len(speech.read()) == int(shapes[utt])


@pytest.mark.slow
def test_archives_from_stage_3_to_transcripts(run):
    """With recordings in data/, as the second test leaves them."""
    recipe, again, _ = run
    archived = (
        *("--audio_format", "flac.ark", "--dumpdir", "archived"),
        *("--phase2_tag", "archived", "--skip_phase1", "true"),
        *("--test_sets", SETS[1]),
        *("--phase2_args", f"{ONE_EPOCH} --model_conf ctc_weight=1.0"),
    )
    again(*archived, "--stage", 3, "--stop_stage", 4)
    again(*archived, "--stage", 10, "--stop_stage", 12)
    exp = recipe / "exp" / "mtasr_archived"
    log = (exp / "train.log").read_text()
    for part in ("train", "valid"):
        assert f"lists/{part}/wav.scp,speech,kaldi_ark" in log
    assert [*(recipe / "archived" / "raw" / "org" / "train").rglob("audio.1.ark")]
    # The model of archives hears the same in files.
    files = (*archived, "--audio_format", "flac", "--dumpdir", "recorded")
    again(*files, "--stage", 12, "--stop_stage", 12, "--inference_tag", "files")
    decoded = exp / "decode_valid.loss_ctc.ave" / SETS[1]
    same = exp / "files_valid.loss_ctc.ave" / SETS[1]
    assert (decoded / "text").read_text() == (same / "text").read_text()
