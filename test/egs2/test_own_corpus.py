"""own_corpus and its page: every command, configuration and snippet of it runs.

The commands for an ESPnet checkout are those of test_in_espnet_tree.py.
"""

import json
import re
import shlex

import pytest
import yaml
from helpers.own_corpus import (
    RECIPE,
    make_own_corpus,
    small_config,
    snippet,
    snippets,
    write_tone,
)
from helpers.recipe_copy import ROOT, call, copy_ready_recipe
from helpers.tiny_data import write_config
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.bin.check_config import check_training, decoding_options
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.text.sot import split_sot

# Added to commands of the page.
SMALL = "--n_train 3 --n_dev 2 --n_test 2 --nj 1 --stop_stage 1"
COMMANDS = ("--quick", "--pretrained_model", "$VCTK", "$NOISE", "$MIXTURES", "$ESPNET")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with the recipe, which the page's commands are called in."""
    root = tmp_path_factory.mktemp("repository")
    copy_ready_recipe(root, "own_corpus")
    return root


def run_page(root, block, more=SMALL, **variables):
    """Run a block of the page, with options behind its run.sh."""
    joined = re.sub(r"\\\n\s*", "", block)
    lines = re.sub(r"(?m)^(\S+/run\.sh .*)$", rf"\1 {more}", joined)
    assert lines != joined
    settings = [f"{name}={shlex.quote(str(v))}" for name, v in variables.items()]
    done = call(["bash", "-euc", "\n".join([*settings, lines])], root, timeout=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_page_has_these_commands():
    blocks = snippets("sh")
    assert len(blocks) == 1 + len(COMMANDS)
    assert all(snippet("sh", name) in blocks for name in COMMANDS)


def test_own_recordings(root, tmp_path):
    corpus = make_own_corpus(tmp_path / "c", 9, 2, ("wav", "ogg"), rate=22050)
    block = snippets("sh")[0]
    assert block == 'egs2/own_corpus/mtasr1/run.sh --corpus "$CORPUS"\n'
    run_page(root, block, CORPUS=corpus)
    data = root / "egs2/own_corpus/mtasr1/data"
    sets = {name: read_table(data / name / "utt2num_spk") for name in ("train", "dev")}
    assert sorted(sets["train"].values()) == ["2"] * 3 + ["3"] * 3
    assert sorted(sets["dev"].values()) == ["2"] * 2 + ["3"] * 2
    talkers = []
    for name in ("train", "dev", "test_own2mix_clean", "test_own3mix_clean"):
        ids = read_table(data / name / "text")
        counts = read_table(data / name / "utt2num_spk")
        for utt, text in ids.items():
            assert len(split_sot(text)) == int(counts[utt])
            assert re.fullmatch(r"[a-z <>]+", text)
        talkers.append({t for utt in ids for t in re.findall(r"talker\d", utt)})
    train, dev, test2, test3 = talkers
    assert not train & dev and not (train | dev) & (test2 | test3)
    for line in read_table(data / "test_own3mix_clean" / "onsets").values():
        first, second, third = map(float, line.split())
        assert first == 0.0 and 0.5 <= second <= 1.5 and 0.5 <= third - second <= 1.5
    assert "no test talker in train or dev" in (data / "mixtures.txt").read_text()


@pytest.mark.parametrize("option", ["--quick", "--pretrained_model"])
def test_quick_and_pretrained(root, tmp_path, option):
    """How they go on is in test_own_corpus_plan.py."""
    said = run_page(root, snippet("sh", option), CORPUS=make_own_corpus(tmp_path / "c"))
    assert said.index("It takes about") < said.index("Stage 1:")


def test_vctk(root, tmp_path):
    for k in range(225, 234):
        for mic in (1, 2):
            folder = tmp_path / "VCTK" / "wav48_silence_trimmed" / f"p{k}"
            write_tone(folder / f"p{k}_001_mic{mic}.flac", k, seconds=1.0)
        text = tmp_path / "VCTK" / "txt" / f"p{k}" / f"p{k}_001.txt"
        text.parent.mkdir(parents=True)
        text.write_text(f"Please call {'abcdefghi'[k - 225]}.")
    said = run_page(root, snippet("sh", "$VCTK"), VCTK=tmp_path / "VCTK")
    assert "data/local/corpus/train: 3 talkers, 3 recordings" in said
    texts = read_table(root / "egs2/own_corpus/mtasr1/data/train/text")
    assert all(t[:-1] == "please call " for x in texts.values() for t in split_sot(x))


def test_with_noise_and_a_teacher(root, tmp_path):
    corpus = make_own_corpus(tmp_path / "c")
    for split in ("tr", "cv", "tt"):
        write_tone(tmp_path / "noise" / split / "n.wav", 50)
    block = snippet("sh", "$NOISE")
    run_page(root, block, CORPUS=corpus, NOISE=tmp_path / "noise")
    data = root / "egs2/own_corpus/mtasr1/data"
    kinds = [utt.split("_")[1] for utt in read_table(data / "train" / "text")]
    assert sorted(kinds) == ["clean"] * 4 + ["noisy"] * 2
    assert len(read_table(data / "test_own2mix_noisy" / "text")) == 2


def test_recorded_mixtures_as_a_new_recipe(root, tmp_path):
    for name in ("train", "dev", "test"):
        for k, text in enumerate(("hello <sc> good morning", "a <sc> b <sc> c")):
            write_tone(tmp_path / "m" / name / f"{name}{k}.wav", 200 + k)
            (tmp_path / "m" / name / f"{name}{k}.txt").write_text(text)
    block = snippet("sh", "$MIXTURES")
    run_page(root, block, "--nj 1 --stop_stage 5", MIXTURES=tmp_path / "m")
    recipe = root / "egs2" / "recorded" / "mtasr1"
    counts = read_table(recipe / "dump" / "raw" / "train" / "utt2num_spk")
    assert counts == {"train0": "2", "train1": "3"}
    tokens = (recipe / "data" / "token_list" / "char" / "tokens.txt").read_text()
    assert sorted(tokens.split()) == sorted(
        ["<blank>", "<unk>", "<space>", "<sos/eos>", *"helogdmrniabc"]
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--corpus is missing; give the folder with a folder per talker"),
        (["--corpus", "/no/such"], "--corpus /no/such: no such folder; check"),
        (["--corpus", ".", "--split", "x"], "--split x: no such file; check the path"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus", ".", "--stage", "16"], "--stage 16: the last stage is"),
    ],
)
def test_run_sh_refuses(root, options, message):
    done = call([root / "egs2/own_corpus/mtasr1/run.sh", *options], root)
    assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.parametrize("text", snippets("yaml"))
def test_parts_of_the_page_can_be_swapped(text, tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "mask_separator.py").write_text(
        snippet("python", "class MaskSeparator")
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load((RECIPE / "conf" / "train_phase2.yaml").read_text())
    config.update(yaml.safe_load(text))
    file = write_config(tmp_path / "train.yaml", config)
    check_training(str(file))
    if config["encoder"] == "routed_espnet":
        build_model(file)


def build_model(config):
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = MTASRTask.parse_config(config)
    args.token_list = ["<blank>", "<unk>", "a", "<sos/eos>"]
    return MTASRTask.build_model(args)


def test_configurations_are_right():
    for path in sorted((RECIPE / "conf").glob("train_*.yaml")):
        check_training(str(path))
    for path in sorted((RECIPE / "conf").glob("decode*.yaml")):
        decoding_options(str(path))
    plain, teacher = (
        yaml.safe_load((RECIPE / "conf" / f"train_{name}.yaml").read_text())
        for name in ("phase2", "phase2_teacher")
    )
    # With and without a teacher, a training differs in nothing else.
    changed = {k for k in {*plain, *teacher} if plain.get(k) != teacher.get(k)}
    assert changed == {"teacher", "teacher_conf", "model_conf", "freeze_param"}


def test_the_separator_of_the_page_does_not_hear_padding():
    import torch

    scope = {}
    exec(snippet("python", "class MaskSeparator"), scope)
    torch.manual_seed(0)
    separator = scope["MaskSeparator"](4, num_talkers=3)
    hidden = torch.randn(2, 9, 4)
    together = separator(hidden, torch.tensor([9, 5]))
    alone = separator(hidden[1:, :5], torch.tensor([5]))
    assert len(together) == 3
    for one, other in zip(together, alone):
        assert torch.allclose(one[1, :5], other[0], atol=1e-6)


def test_python_of_the_page(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(snippet("python", "MTASRModel("), {})
    assert re.match(r"{'loss_ctc': [\d.]+, 'loss_sot'", capsys.readouterr().out)
    exec(snippet("python", "MTASRTask.build_model(args)"), {})
    assert re.fullmatch(r"\d+\.\d million parameters\n", capsys.readouterr().out)
    # The third is the separator, which other tests use.
    assert len(snippets("python")) == 3


@pytest.mark.slow
def test_all_stages_with_a_teacher(root, tmp_path):
    corpus = make_own_corpus(tmp_path / "c")
    recipe = root / "egs2" / "own_corpus" / "mtasr1"
    for name in ("train_phase1", "train_phase2_teacher"):
        full = yaml.safe_load((recipe / "conf" / f"{name}.yaml").read_text())
        same = ("teacher", "teacher_conf", "model_conf", "freeze_param")
        same += ("best_model_criterion",)
        kept = {option: full.get(option) for option in same if option in full}
        write_config(recipe / "conf" / f"small_{name}.yaml", small_config(kept))
    done = call(
        [
            *("egs2/own_corpus/mtasr1/run.sh", "--corpus", corpus, "--nj", 1),
            *("--llm", make_tiny_llm(tmp_path / "llm"), "--inference_nj", 1),
            *("--n_train", 3, "--n_dev", 2, "--n_test", 2, "--expdir", "exp/teacher"),
            *("--phase1_config", "conf/small_train_phase1.yaml", "--phase1_tag", "1"),
            *("--phase2_config", "conf/small_train_phase2_teacher.yaml"),
            *("--phase2_tag", "2", "--max_unalignable", "1.0", "--num_threads", 1),
        ],
        root,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for stage in range(1, 14):
        assert f"Stage {stage} took" in done.stdout
    results = json.loads((recipe / "exp/teacher/mtasr_2/results.json").read_text())
    assert [row["n_missing"] for row in results["sets"].values()] == [0, 0]
