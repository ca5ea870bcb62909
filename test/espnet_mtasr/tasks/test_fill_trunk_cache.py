"""Stage 10's cache of the trunk's outputs, and phase 2's training that reads it."""

import os
import shutil

import pytest
import soundfile
import torch
from helpers.progress_patterns import counted
from helpers.tiny_data import make_tiny_data, phase_config, write_config
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.asr.trunk_cache import TrunkCache
from espnet_mtasr.bin import cache_trunk, check_config, mtasr_train
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.tasks import fill_trunk_cache
from espnet_mtasr.tasks.mtasr import MTASRTask

NAMES = ("wav.scp", "text", "utt2category", "speech_shape", "text_shape")


class Stage:
    """What check_alignable leaves for phase 2; alpha is 1, there is no teacher."""

    def __init__(self, root):
        self.root = root
        self.stats = root / "stats"
        no_dropout = {
            f"{name}_dropout": 0.0
            for name in ("hidden", "attention", "activation", "feat_proj")
        }
        encoder = make_tiny_wavlm(root / "encoder", **no_dropout)
        self.config = phase_config(encoder, make_tiny_llm(root / "llm"), 2)
        self.config["model_conf"]["ctc_weight"] = 1.0
        self.config["count_head_conf"]["dropout"] = 0.0
        self.data = make_tiny_data(root / "data", root / "llm", copies=2)
        utts = list(read_table(self.data / "wav.scp"))
        for part, ids in (("train", utts[:8]), ("valid", utts[8:])):
            for name in NAMES:
                table = read_table(self.data / name)
                path = self.stats / "lists" / part / name
                write_table(path, {utt: table[utt] for utt in ids})

    def options(self, **changes):
        path = write_config(self.root / "phase2.yaml", {**self.config, **changes})
        return ["--config", str(path), "--token_list", f"{self.data}/tokens.txt"]

    def cache(self, *more, **changes):
        cache_trunk.main(
            [
                *self.options(**changes),
                *("--stats_dir", str(self.stats), "--cache_dir", f"{self.root}/trunk"),
                *("--cache_batch_size", "3", "--shard_size", "5", *more),
            ]
        )

    def train(self, name, speech, **changes):
        options = [
            *self.options(**changes),
            *("--ngpu", "0", "--output_dir", f"{self.root}/{name}"),
        ]
        for part in ("train", "valid"):
            lists = self.stats / "lists" / part
            for entry in (speech, "text,text,text"):
                option = f"--{part}_data_path_and_name_and_type"
                options += [option, f"{lists}/{entry}"]
            for shape in ("speech_shape", "text_shape"):
                options += [f"--{part}_shape_file", f"{lists}/{shape}"]
        mtasr_train.main(options)
        path = self.root / name / "checkpoint.pth"
        return torch.load(path, weights_only=False)

    def folders(self):
        return sorted((self.root / "trunk").iterdir())


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A stage whose outputs are cached, by two jobs."""
    stage = Stage(tmp_path_factory.mktemp("ready"))
    for job in ("1", "2"):
        stage.cache("--num_jobs", "2", "--job", job)
    stage.cache("--num_jobs", "2", "--join", "true")
    return stage


@pytest.fixture
def stage(ready, tmp_path):
    """A copy of `ready`, to be spoilt."""
    copy = object.__new__(Stage)
    copy.__dict__.update(vars(ready), root=tmp_path, stats=tmp_path / "stats")
    shutil.copytree(ready.root / "trunk", tmp_path / "trunk")
    shutil.copytree(ready.stats, copy.stats)
    for part in ("train", "valid"):
        wavs = {}
        for utt, path in read_table(ready.stats / "lists" / part / "wav.scp").items():
            wavs[utt] = shutil.copy2(path, tmp_path)
        write_table(copy.stats / "lists" / part / "wav.scp", wavs)
        lines = read_table(copy.stats / "lists" / part / "trunk.scp")
        (folder,) = copy.folders()
        lines = {u: f"{folder} {line.split()[-1]}" for u, line in lines.items()}
        write_table(copy.stats / "lists" / part / "trunk.scp", lines)
    return copy


def test_the_lists(ready):
    (folder,) = ready.folders()
    cache = TrunkCache(folder)
    # Eight mixtures for training and four for validation.
    assert len(cache) == 12
    for part in ("train", "valid"):
        lists = ready.stats / "lists" / part
        lines = read_table(lists / "trunk.scp")
        shapes = read_table(lists / "speech_shape")
        assert list(lines) == list(shapes) == list(read_table(lists / "trunk.stat"))
        for utt, line in lines.items():
            assert line.rpartition(" ")[0] == str(folder)
            # 20 ms frames, the first of 340 samples.
            frames = (int(shapes[utt]) - 20) // 320
            assert cache.read(line.rpartition(" ")[2]).shape == (frames, 16)


def test_a_training_on_cached_outputs_is_the_training_without(ready):
    """Two epochs, validation and all; the losses agree to 1e-3."""
    without = ready.train("without", "wav.scp,speech,sound")
    cached = ready.train("cached", "trunk.scp,speech,text")
    names = ("loss", "loss_ctc", "loss_count", "loss_ctc_2spk", "loss_ctc_3spk")
    for epoch in (1, 2):
        for part in ("train", "valid"):
            a, b = (c["reporter"]["stats"][epoch][part] for c in (without, cached))
            for name in names:
                assert b[name] == pytest.approx(a[name], rel=1e-3), (epoch, part, name)
    # Else the comparison would be of a model that learns nothing.
    stats = cached["reporter"]["stats"]
    assert stats[2]["valid"]["loss"] < 0.95 * stats[1]["valid"]["loss"]


def test_nothing_is_computed_twice(stage, monkeypatch):
    monkeypatch.setattr(fill_trunk_cache, "encode", None)
    stage.cache()
    stage.cache("--join", "true")
    assert len(stage.folders()) == 1


def test_a_run_that_was_stopped_goes_on(stage, monkeypatch, capsys):
    shutil.rmtree(stage.root / "trunk")
    encode, seen = fill_trunk_cache.encode, []

    def stopped(model, speeches, read_source):
        if len(seen) + len(speeches) > 8:
            raise KeyboardInterrupt
        seen.extend(speeches)
        return encode(model, speeches, read_source)

    monkeypatch.setattr(fill_trunk_cache, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        stage.cache()
    # A shard of five was finished.
    (folder,) = stage.folders()
    assert len(TrunkCache(folder)) == 5
    capsys.readouterr()
    rest = []
    monkeypatch.setattr(
        fill_trunk_cache,
        "encode",
        lambda model, speeches, _: rest.extend(speeches) or encode(model, speeches),
    )
    stage.cache()
    assert len(rest) == 7 and not set(rest) & set(seen[:5])
    assert len(TrunkCache(folder)) == 12
    assert counted("Trunk", capsys.readouterr().out) == [(1, 2), (2, 2)]


def test_hashes_of_another_training_are_taken(stage, monkeypatch):
    other = stage.root / "other"
    shutil.copytree(stage.stats, other)
    known = ("--known_stats_dir", str(other))
    hashed = []
    speech_hash = fill_trunk_cache.speech_hash
    monkeypatch.setattr(
        fill_trunk_cache,
        "speech_hash",
        lambda speech, read: hashed.append(speech.value) or speech_hash(speech, read),
    )
    stage.cache(*known)
    assert not hashed
    path = next(iter(read_table(stage.stats / "lists" / "train" / "wav.scp").values()))
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], rate, "PCM_16")
    stage.cache(*known)
    assert hashed == [path]
    # Without cached outputs there, all are hashed.
    (other / "lists" / "valid" / "trunk.scp").unlink()
    stage.cache(*known)
    assert len(hashed) == 13


def test_a_changed_recording_is_refused_and_then_computed(stage, capsys):
    wavs = read_table(stage.stats / "lists" / "valid" / "wav.scp")
    utt, path = next(iter(wavs.items()))
    before = read_table(stage.stats / "lists" / "valid" / "trunk.scp")
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], rate, "PCM_16")
    with pytest.raises(UserError, match=f"{path} of {utt} has changed .*stage 10"):
        stage.train("never", "trunk.scp,speech,text")
    assert not (stage.root / "never").exists()
    stage.cache()
    assert "has 11 of 12 mixtures" in capsys.readouterr().out
    stage.cache("--join", "true")
    after = read_table(stage.stats / "lists" / "valid" / "trunk.scp")
    assert {u for u in after if after[u] != before[u]} == {utt}
    stage.train("after", "trunk.scp,speech,text", max_epoch=1)


def test_a_recording_that_was_only_touched_is_not_computed(stage, monkeypatch):
    path, *_ = read_table(stage.stats / "lists" / "train" / "wav.scp").values()
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match="has changed"):
        stage.train("never", "trunk.scp,speech,text")
    monkeypatch.setattr(fill_trunk_cache, "encode", None)
    stage.cache()
    stage.cache("--join", "true")
    stage.train("after", "trunk.scp,speech,text", max_epoch=1)


def test_another_trunk_is_refused_and_then_computed(stage):
    weights = stage.root / "other.pth"
    # As phase 1 hands its encoder over, with a teacher that stage 10 doesn't build.

    args = MTASRTask.get_parser().parse_args(stage.options())
    state = MTASRTask.build_model(args).state_dict()
    key = next(k for k in state if k.startswith("encoder.trunk.layers.0.attention"))
    state[key] = state[key] + 0.1
    state["teacher.projection.weight"] = torch.zeros(2, 2)
    torch.save(state, weights)
    init = [f"{weights}:encoder:encoder", f"{weights}:teacher:teacher"]
    with pytest.raises(UserError, match="another trunk .*stage 7 or 10"):
        stage.train("never", "trunk.scp,speech,text", init_param=init[:1])
    stage.cache(init_param=init)
    stage.cache("--join", "true")
    assert len(stage.folders()) == 2
    stage.train("after", "trunk.scp,speech,text", init_param=init[:1], max_epoch=1)


def test_lists_that_do_not_fit(stage):
    path = stage.stats / "lists" / "valid" / "trunk.scp"
    lines = read_table(path)
    utt = next(iter(lines))
    write_table(path, {u: line for u, line in lines.items() if u != utt})
    with pytest.raises(UserError, match=f"trunk.scp: lacks id {utt}"):
        stage.train("never", "trunk.scp,speech,text")
    folder = lines[utt].rpartition(" ")[0]
    write_table(path, {**lines, utt: f"{folder} {0:032x}"})
    with pytest.raises(UserError, match=f"lacks {utt}; run cache_trunk again"):
        stage.train("never", "trunk.scp,speech,text")


def test_float32(stage):
    stage.cache("--cache_dtype", "float32")
    assert [f.name.split("_")[1] for f in stage.folders()] == ["float16", "float32"]


REFUSED = [
    (dict(freeze_param=["encoder.branches"]), "freeze_param: lacks encoder.trunk"),
    (dict(specaug="specaug"), "specaug: specaug changes"),
    (dict(noise_scp="noise.scp"), "noise_scp: changes the recordings"),
    (dict(rir_scp="rir.scp"), "rir_scp: changes the recordings"),
    (dict(speech_volume_normalize=0.5), "speech_volume_normalize: changes"),
    (
        dict(preprocessor_conf=dict(min_sample_size=9)),
        "min_sample_size: changes the recordings",
    ),
    (dict(use_preprocessor=False), "use_preprocessor: false can't read"),
    (dict(train_dtype="float64"), "train_dtype: float64, but"),
]


def check(options):
    """As mtasr.sh does; the first options are `--config FILE`."""
    words = ["--cache_trunk", "true", "--phase2_config", options[1]]
    check_config.main([*words, "--task_options", *options[2:]])


@pytest.mark.parametrize("changes, message", REFUSED)
def test_settings_that_forbid_it(ready, changes, message):
    for step in (
        lambda: ready.cache(**changes),
        lambda: ready.train("never", "trunk.scp,speech,text", **changes),
        lambda: check(ready.options(**changes)),
    ):
        with pytest.raises(UserError, match=f"{message}.*--cache_trunk false"):
            step()
    assert not (ready.root / "never").exists()


def test_settings_that_allow_it(ready):
    check(ready.options(freeze_param=["encoder"]))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--num_jobs", "0"], "--num_jobs 0: give a number from 1"),
        (["--job", "2"], "--job 2: give a number from 1 to 1"),
        (
            ["--init_param", "no.pth:encoder:encoder"],
            "--init_param no.pth: no such file",
        ),
        (["--join", "true", "--num_jobs", "3"], "trunk.train.3: no such file"),
        (["--max_epok", "1"], "unrecognized arguments: --max_epok 1"),
    ],
)
def test_wrong_options(ready, capsys, options, message):
    with pytest.raises(SystemExit) as e:
        run_command_line(lambda cmd: ready.cache(*options))
    assert e.value.code == 2
    assert message in capsys.readouterr().err
