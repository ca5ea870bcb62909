"""Dynamic mixing in training: every epoch, and no other, has its own mixtures."""

import json
import re

import pytest
import torch
from espnet2.train.distributed_utils import DistributedOption
from helpers.tiny_corpus import make_tiny_corpus
from helpers.tiny_data import phase_config, write_config
from helpers.tiny_models import CHARACTERS, make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.source_times import write_source_times
from espnet_mtasr.mixture.spec import MixtureSpec, Source
from espnet_mtasr.tasks.mtasr import MTASRTask

WORDS = "alpha bravo charlie delta echo foxtrot".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Lists of 8 mixtures of 2 talkers, out of 4 talkers with 3 utterances each."""
    root = make_tiny_corpus(tmp_path_factory.mktemp("data"), n_talkers=4)
    paths = sorted((root / "LibriSpeech").rglob("*.flac"))
    tables = {n: {} for n in ("utt2mixture", "text", "speech_shape", "wav.scp")}
    for u in range(8):
        pair = [paths[u], paths[(u + 4) % 12]]
        sources = tuple(Source(str(p), 1.0, p.parts[-3], 1.0) for p in pair)
        spec = MixtureSpec(sources, (0.0, 0.1 + 0.01 * u))
        utt = f"u{u}"
        tables["utt2mixture"][utt] = spec.to_line()
        tables["text"][utt] = f"{WORDS[u % 6]} a <sc> {WORDS[(u + 3) % 6]} b"
        tables["speech_shape"][utt] = 16000
        tables["wav.scp"][utt] = paths[u]
    for name, table in tables.items():
        write_table(root / name, table)
    (root / "tokens.txt").write_text("\n".join(CHARACTERS) + "\n")
    encoder, llm = make_tiny_wavlm(root / "encoder"), make_tiny_llm(root / "llm")
    write_config(root / "phase2.yaml", phase_config(encoder, llm, 2))
    return root


def parse(data, *options):
    words = ["--config", str(data / "phase2.yaml")]
    words += ["--token_list", str(data / "tokens.txt"), "--ngpu", "0"]
    words += ["--batch_type", "sorted", "--num_iters_per_epoch", "4"]
    for part, speech in (
        ("train", "utt2mixture,speech,json"),
        ("valid", "wav.scp,speech,sound"),
    ):
        for entry in (speech, "text,text,text"):
            words += [f"--{part}_data_path_and_name_and_type", f"{data}/{entry}"]
        words += [f"--{part}_shape_file", f"{data}/speech_shape"]
    return MTASRTask.get_parser().parse_args([*words, *options])


def batches(factory, epoch):
    """Utterance id to its samples and its first talker's ids."""
    found = {}
    for utts, batch in factory.build_iter(epoch, shuffle=False):
        for k, utt in enumerate(utts):
            speech = batch["speech"][k, : batch["speech_lengths"][k]]
            text = batch["text_spk1"][k, : batch["text_spk1_lengths"][k]]
            found[utt] = (speech, text.tolist())
    return found


def same(one, other):
    assert one.keys() == other.keys() and len(one) == 8
    return [
        len(one[u][0]) == len(other[u][0])
        and torch.equal(one[u][0], other[u][0])
        and one[u][1] == other[u][1]
        for u in one
    ]


def factory_of(args, mode):
    options = MTASRTask.build_iter_options(args, DistributedOption(), mode)
    return MTASRTask.build_sequence_iter_factory(args, options, mode)


@pytest.mark.parametrize("num_workers", ["0", "1"])
def test_every_epoch_has_its_own_mixtures(data, num_workers):
    args = parse(data, "--num_workers", num_workers)
    factory = factory_of(args, "train")
    first, second = batches(factory, 1), batches(factory, 2)
    assert sum(same(first, second)) <= 1
    # As after a resume: another process, which never saw the first epoch.
    assert all(same(second, batches(factory_of(args, "train"), 2)))
    assert all(same(first, batches(factory, 1)))


def test_the_text_is_that_of_the_new_mixture(data):
    texts = read_table(data / "text")
    heard = batches(factory_of(parse(data), "train"), 1)
    first_words = {utt: text.split(" <sc> ")[0] for utt, text in texts.items()}
    known = {
        tuple(CHARACTERS.index("<space>" if c == " " else c) for c in part)
        for text in texts.values()
        for part in text.split(" <sc> ")
    }
    assert {tuple(ids) for _, ids in heard.values()} <= known
    spoken = {
        utt: "".join(CHARACTERS[i] for i in ids).replace("<space>", " ")
        for utt, (_, ids) in heard.items()
    }
    assert spoken != first_words


def test_validation_keeps_its_recordings(data):
    factory = factory_of(parse(data), "valid")
    assert all(same(batches(factory, 1), batches(factory, 2)))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--max_cache_size", "100MB"], "max_cache_size: 100000000 would repeat"),
        (
            ["--iterator_type", "category"],
            "iterator_type: category can't be combined with dynamic mixing",
        ),
        (
            ["--use_preprocessor", "false"],
            "use_preprocessor: False can't be combined with dynamic mixing",
        ),
    ],
)
def test_settings_that_would_undo_it(data, options, message):
    with pytest.raises(UserError, match=message):
        MTASRTask.check_args(parse(data, *options))


def test_right_settings(data):
    MTASRTask.check_args(parse(data))


def flat_starts(factory, epoch):
    """Utterance id to its part of what a flat start adds to the batches."""
    found = {}
    for utts, batch in factory.build_iter(epoch, shuffle=False):
        for k, utt in enumerate(utts):
            found[utt] = {
                name: values[k]
                for name, values in batch.items()
                if name == "flat_start" or re.fullmatch("text_spk._times", name)
            }
    return found


@pytest.mark.parametrize("speech", ["utt2mixture,speech,json", "wav.scp,speech,sound"])
def test_flat_start(data, speech):
    """Of mixtures that are made anew, and of recordings whose specs are known."""
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=2")
    args.train_data_path_and_name_and_type[0] = tuple(f"{data}/{speech}".split(","))
    MTASRTask.check_args(args)
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    valid = MTASRTask.build_iter_factory(args, DistributedOption(), "valid")
    shares = {}
    for epoch in (1, 2, 3):
        found = flat_starts(factory, epoch)
        shares[epoch] = {float(f["flat_start"][0]) for f in found.values() if f}
        assert not any(flat_starts(valid, epoch).values())
        if epoch == 1:
            specs = read_table(data / "utt2mixture")
            for utt, arrays in found.items():
                first, second = arrays["text_spk1_times"], arrays["text_spk2_times"]
                assert first[0, 0] == 0.0
                # All sources last a second.
                assert second.max() == pytest.approx(1.0)
                if speech.startswith("wav"):
                    onset = json.loads(specs[utt])["onsets"][1]
                    assert second[0, 0] == pytest.approx(onset / (1 + onset), rel=1e-5)
    assert shares == {1: {1.0}, 2: {0.5}, 3: set()}


def test_aligned_start(data):
    """Tokens lie within their words, where the recordings' times say."""
    specs, texts = read_table(data / "utt2mixture"), read_table(data / "text")
    paths = [s["path"] for s in json.loads(specs["u0"])["sources"]]
    # Both words of the first talker; the second one's recording is not known.
    write_source_times(data / "times.jsonl", {paths[0]: [(0.1, 0.3), (0.6, 0.7)]})
    args = parse_flat(data)
    args.preprocessor_conf["source_times"] = str(data / "times.jsonl")
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    found = flat_starts(factory, 1)["u0"]
    assert texts["u0"].split(" <sc> ")[0] == "alpha a"
    seconds = 1.0 + json.loads(specs["u0"])["onsets"][1]
    times = found["text_spk1_times"][: len("alpha a")].double() * seconds
    assert times[0, 0] == pytest.approx(0.1) and times[4, 1] == pytest.approx(0.3)
    assert times[5].tolist() == pytest.approx([0.3, 0.6])
    assert times[6].tolist() == pytest.approx([0.6, 0.7])
    # As without times.
    evenly = MTASRTask.build_iter_factory(
        parse_flat(data), DistributedOption(), "train"
    )
    plain = flat_starts(evenly, 1)["u0"]
    assert torch.equal(found["text_spk2_times"], plain["text_spk2_times"])
    assert not torch.equal(found["text_spk1_times"], plain["text_spk1_times"])
    # Two epochs where nothing else is said; none would make no use of them.
    del args.preprocessor_conf["flat_start_epochs"]
    MTASRTask.check_args(args)
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    shares = [float(flat_starts(factory, e)["u0"]["flat_start"][0]) for e in (1, 2)]
    assert shares == [1.0, 0.5] and not flat_starts(factory, 3)["u0"]
    args.preprocessor_conf["flat_start_epochs"] = 0
    with pytest.raises(UserError, match="0 doesn't use source_times"):
        MTASRTask.check_args(args)
    args.preprocessor_conf["flat_start_epochs"] = 1
    args.preprocessor_conf["source_times"] = str(data / "nothing.jsonl")
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    with pytest.raises(UserError, match="nothing.jsonl: no such file"):
        flat_starts(factory, 1)


def test_parts_between_pauses(data):
    """From the epoch on that has several talkers."""
    # Recordings last 1 s; as if they lasted 5, with a pause.
    specs, words = {}, {}
    for utt, line in read_table(data / "utt2mixture").items():
        spec = json.loads(line)
        for source in spec["sources"]:
            source["seconds"] = 5.0
            words[source["path"]] = [(0.0, 2.6), (3.6, 4.0)]
        specs[utt] = json.dumps(spec)
    write_table(data / "long2mixture", specs)
    write_source_times(data / "parts.jsonl", words)
    args = parse_flat(data)
    args.train_data_path_and_name_and_type[0] = (
        f"{data}/long2mixture",
        "speech",
        "json",
    )
    args.preprocessor_conf.update(
        source_times=str(data / "parts.jsonl"),
        dynamic_mixing_conf=dict(cut_at_pauses=True),
    )
    MTASRTask.check_args(args)
    preprocessor = MTASRTask.build_preprocess_fn(args, True)
    preprocessor.first_epochs = {1: 1, 2: 3, 3: 3}
    counts = []
    for epoch in (1, 2, 3, 4):
        preprocessor.set_epoch(epoch)
        counts.append(len(preprocessor._mixer._sources))
    # Two parts of each of 16 sources.
    assert counts == [16, 16, 48, 48]
    del args.preprocessor_conf["source_times"]
    with pytest.raises(UserError, match="needs the words' times; train with --al"):
        MTASRTask.check_args(args)
    args.collect_stats = True
    MTASRTask.check_args(args)
    args.preprocessor_conf["dynamic_mixing_conf"] = dict(cut_at_pauses=2)
    with pytest.raises(UserError, match="cut_at_pauses: 2: give true or false"):
        MTASRTask.check_args(args)


def test_excerpts(data):
    """None in a flat start; then talkers may have several turns."""
    args = parse(data, "--model_conf", "activity_weight=0.5")
    args.preprocessor_conf["flat_start_epochs"] = 1
    args.preprocessor_conf["dynamic_mixing_conf"] = dict(excerpts=1.0)
    MTASRTask.check_args(args)
    preprocessor = MTASRTask.build_preprocess_fn(args, True)
    specs, text = read_table(data / "utt2mixture"), read_table(data / "text")
    turns = {}
    for epoch in range(1, 9):
        preprocessor.set_epoch(epoch)
        for utt in specs:
            given = dict(speech=json.loads(specs[utt]), text=text[utt])
            arrays = preprocessor(utt, given)
            times = arrays["talker_times"]
            assert times.shape[1:] == (3, 2) and times.max() <= 1.0
            assert ((times[..., 1] > 0).any(0) == [True, True, False]).all()
            turns.setdefault(epoch, []).append(len(times))
    assert set(turns[1]) == {1} and max(max(t) for t in turns.values()) > 1
    args.preprocessor_conf["dynamic_mixing_conf"] = dict(excerpts="some")
    with pytest.raises(UserError, match="excerpts: some: give a share from 0 to 1"):
        MTASRTask.check_args(args)


def parse_flat(data):
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=1")
    args.train_data_path_and_name_and_type[0] = (f"{data}/wav.scp", "speech", "sound")
    return args


@pytest.mark.parametrize("speech", ["utt2mixture,speech,json", "wav.scp,speech,sound"])
def test_talker_times(data, speech):
    """In every epoch, in training alone; all sources last a second."""
    args = parse(data, "--model_conf", "activity_weight=0.5")
    args.train_data_path_and_name_and_type[0] = tuple(f"{data}/{speech}".split(","))
    MTASRTask.check_args(args)
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    valid = MTASRTask.build_iter_factory(args, DistributedOption(), "valid")
    specs = read_table(data / "utt2mixture")
    for epoch in (1, 7):
        for utts, batch in factory.build_iter(epoch, shuffle=False):
            for utt, [times] in zip(utts, batch["talker_times"]):
                (first, second), absent = times[:2].tolist(), times[2:]
                assert first[0] == 0.0 and second[1] == pytest.approx(1.0)
                assert first[1] - first[0] == pytest.approx(second[1] - second[0])
                assert (absent == 0).all()
                if speech.startswith("wav"):
                    onset = json.loads(specs[utt])["onsets"][1]
                    assert second[0] == pytest.approx(onset / (1 + onset), rel=1e-5)
        for _, batch in valid.build_iter(epoch):
            assert "talker_times" not in batch


def test_flat_start_needs_specs(data, tmp_path):
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=-1")
    with pytest.raises(UserError, match="flat_start_epochs: -1: give a whole number"):
        MTASRTask.check_args(args)
    write_table(tmp_path / "text", read_table(data / "text"))
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=1")
    args.train_data_path_and_name_and_type = [
        (f"{data}/wav.scp", "speech", "sound"),
        (f"{tmp_path}/text", "text", "text"),
    ]
    with pytest.raises(UserError, match="flat_start_epochs: 1 needs utt2mixture"):
        MTASRTask.check_args(args)
    args.preprocessor_conf, args.model_conf = {}, {"activity_weight": 0.5}
    with pytest.raises(UserError, match="activity_weight: 0.5 needs utt2mixture"):
        MTASRTask.check_args(args)


def test_flat_start_refuses_what_would_repeat_an_epoch(data):
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=1")
    args.train_data_path_and_name_and_type[0] = (f"{data}/wav.scp", "speech", "sound")
    args.max_cache_size = 1.0
    with pytest.raises(UserError, match="max_cache_size: 1.0 would repeat"):
        MTASRTask.check_args(args)


def test_flat_start_of_what_no_spec_tells(data, tmp_path):
    """A transcript with another number of talkers than the spec's."""
    texts = read_table(data / "text")
    write_table(tmp_path / "utt2mixture", read_table(data / "utt2mixture"))
    write_table(tmp_path / "text", {utt: f"{t} <sc> a" for utt, t in texts.items()})
    args = parse(data, "--preprocessor_conf", "flat_start_epochs=1")
    args.train_data_path_and_name_and_type = [
        (f"{data}/wav.scp", "speech", "sound"),
        (f"{tmp_path}/text", "text", "text"),
    ]
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    with pytest.raises(UserError, match="doesn't have the texts of u.'s 3 talkers"):
        list(factory.build_iter(1, shuffle=False))
