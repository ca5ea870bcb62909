"""The command line of stage 12: its files, and what it refuses before torch loads."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.bin import mtasr_inference
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.scoring.posteriors import unpack
from espnet_mtasr.text.tokenizer import SPECIAL_TOKENS

ROOT = Path(__file__).resolve().parents[3]
STORE = ["--store_posteriors", "true"]
LENGTHS = {"a": 9000, "b": 4000, "c": 100, "d": 7001}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp")


def make_data(folder):
    """wav.scp and utt2num_spk of four mixtures; c is too short for a frame."""
    folder.mkdir(exist_ok=True)
    for key, wave in zip(LENGTHS, noises(*LENGTHS.values())):
        soundfile.write(folder / f"{key}.wav", wave, 16000, "PCM_16")
    lines = [f"{key} {folder}/{key}.wav\n" for key in LENGTHS]
    (folder / "wav.scp").write_text("".join(lines))
    (folder / "utt2num_spk").write_text("a 2\nb 3\nc 3\nd 2\n")
    return folder


def options(data, model, *more):
    return [
        *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"),
        *("--mtasr_model_file", f"{model}", "--output_dir", f"{data}/out"),
        *("--num_workers", "0", *map(str, more)),
    ]


def decode(data, model, *more):
    mtasr_inference.main(options(data, model, *more))
    return {
        path.name: read_table(path)
        for path in (data / "out" / "1best_recog").iterdir()
        if path.name != "rtf"
    }


def test_files(model_file, tmp_path, caplog):
    data = make_data(tmp_path)
    with caplog.at_level(logging.INFO):
        tables = decode(
            data,
            model_file,
            *("--oracle_output_dir", data / "oracle"),
            *("--utt2num_spk", data / "utt2num_spk"),
            *STORE,
        )
    hypotheses = Speech2Text(None, model_file)(
        [soundfile.read(data / f"{key}.wav", dtype="float32")[0] for key in LENGTHS]
    )
    expected = {key: h.sot_text for key, h in zip(LENGTHS, hypotheses)}
    assert tables["text"] == expected
    assert expected["c"] == "<sc>"
    for k, key in enumerate(LENGTHS):
        talkers = [t.text for t in hypotheses[k].talkers]
        assert tables["utt2num_spk"][key] == str(len(talkers))
        assert [tables[f"text_spk{n + 1}"][key] for n in range(len(talkers))] == talkers
        assert tables["token_spk1"][key].split() == hypotheses[k].talkers[0].tokens
    oracle = read_table(data / "oracle" / "1best_recog" / "utt2num_spk")
    assert oracle == {"a": "2", "b": "3", "c": "3", "d": "2"}
    decoding, seconds, batch = (
        float(x) for x in (data / "out/1best_recog/rtf").read_text().split()
    )
    assert decoding > 0
    assert seconds == pytest.approx(sum(LENGTHS.values()) / 16000, abs=1e-4)
    assert batch == 1
    assert not (data / "oracle" / "1best_recog" / "posteriors").exists()
    for key, hypothesis in zip(LENGTHS, hypotheses):
        streams = unpack(tables["posteriors"][key])
        # Texts have no special tokens.
        written = [
            [token for _, token in stream.peaks if token not in SPECIAL_TOKENS]
            for stream in streams
        ]
        assert written == [talker.tokens for talker in hypothesis.talkers]
        assert {len(s.best) for s in streams} == {hypothesis.num_frames}
    # What ESPnet's script for the real-time factor looks for, utterance by utterance.
    marks = [m.split(":")[0] for m in caplog.messages]
    marks = [m for m in marks if m in ("speech length", "best hypo")]
    assert marks == ["speech length", "best hypo"] * len(LENGTHS)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_batches_and_lists(model_file, tmp_path, beam_size):
    data = make_data(tmp_path)
    search = ["--beam_size", beam_size, *STORE]
    alone = decode(data, model_file, *search)
    together = decode(data, model_file, *search, "--batch_size", 3)
    for name in alone:
        if name != "posteriors":
            assert together[name] == alone[name]
    for one, other in zip(
        together["posteriors"].values(), alone["posteriors"].values()
    ):
        for stream, same in zip(unpack(one), unpack(other), strict=True):
            assert stream.best == pytest.approx(same.best, abs=1)
            assert stream.blank == pytest.approx(same.blank, abs=1)
            assert stream.peaks == same.peaks
    (data / "keys").write_text("b\nd some more\n")
    some = decode(
        data, model_file, "--beam_size", beam_size, "--key_file", f"{data}/keys"
    )
    assert some["text"] == {key: alone["text"][key] for key in "bd"}


def test_mixtures_are_decoded_again_only_where_the_count_is_another(
    model_file, tmp_path, monkeypatch
):
    """And once for the posteriors, whatever the beam; the first time alone is timed."""
    data = make_data(tmp_path)
    given = ["--utt2num_spk", data / "utt2num_spk", "--beam_size", 3, *STORE]
    given += ["--oracle_output_dir", data / "oracle"]
    calls, plain = [], Speech2Text.in_batches

    def noting(self, speech, batch_size, counts=None):
        calls.append((len(speech), counts, self.keep_posteriors, self.beam_size))
        return plain(self, speech, batch_size, counts)

    monkeypatch.setattr(Speech2Text, "in_batches", noting)
    tables = decode(data, model_file, *given)
    predicted = [int(n) for n in tables["utt2num_spk"].values()]
    true = [2, 3, 3, 2]
    assert 0 < sum(p != t for p, t in zip(predicted, true)) < 4
    expected = []
    for p, t in zip(predicted, true):
        expected += [(1, None, False, 3), (1, [p], True, 1)]
        expected.append((0, [], False, 3) if p == t else (1, [t], False, 3))
    assert calls == expected
    oracle = read_table(data / "oracle" / "1best_recog" / "text")
    monkeypatch.undo()
    waves = [soundfile.read(data / f"{key}.wav", dtype="float32")[0] for key in LENGTHS]
    hypotheses = Speech2Text(None, model_file, beam_size=3)(waves, true)
    assert oracle == {k: h.sot_text for k, h in zip(LENGTHS, hypotheses)}


@pytest.mark.parametrize("value", ["true", "false"])
def test_true_and_false_as_yaml_has_them(tmp_path, value):
    conf = tmp_path / "decode.yaml"
    conf.write_text(f"store_posteriors: {value}\nrescore_routing: {value}\n")
    words = options(tmp_path, "model", "--config", conf)
    args = mtasr_inference.parse_arguments(words)
    assert (args.store_posteriors, args.rescore_routing) == (value, value)


def test_forced_count_and_config(model_file, tmp_path):
    data = make_data(tmp_path)
    conf = data / "decode.yaml"
    conf.write_text("num_talkers: 3\nbatch_size: 2\n")
    tables = decode(data, model_file, "--config", conf)
    assert set(tables["utt2num_spk"].values()) == {"3"}
    assert "posteriors" not in tables
    assert (data / "out/1best_recog/rtf").read_text().endswith(" 2\n")
    # The command line goes before the file.
    tables = decode(data, model_file, "--config", conf, "--num_talkers", 2)
    assert set(tables["utt2num_spk"].values()) == {"2"}


@pytest.fixture(scope="module")
def phase1(tmp_path_factory):
    place = tmp_path_factory.mktemp("phase1")
    llm = make_tiny_llm(place / "llm")
    return save_tiny_model(place / "exp", llm=llm, ctc_weight=0.0, count_weight=0.0)


@pytest.mark.parametrize("beam_size", [1, 2])
def test_decoding_by_the_language_model(phase1, tmp_path, caplog, beam_size):
    """Files as for CTC; the count is that of the texts, the given one's too."""
    data = make_data(tmp_path)
    conf = data / "decode.yaml"
    conf.write_text(f"decoder: llm\nbeam_size: {beam_size}\nmaxlen_ratio: 12\n")
    given = ["--config", conf, "--utt2num_spk", data / "utt2num_spk"]
    given += ["--oracle_output_dir", data / "oracle", *STORE]
    with caplog.at_level(logging.INFO):
        tables = decode(data, phase1, *given)
    speech2text = Speech2TextLLM(None, phase1, beam_size=beam_size, maxlen_ratio=12)
    waves = [soundfile.read(data / f"{key}.wav", dtype="float32")[0] for key in LENGTHS]
    oracle = data / "oracle" / "1best_recog"
    for counts, got in ((None, tables), ([2, 3, 3, 2], None)):
        if got is None:
            got = {n: read_table(oracle / n) for n in ("text", "utt2num_spk")}
        hypotheses = speech2text(waves, counts)
        assert got["text"] == {k: h.sot_text for k, h in zip(LENGTHS, hypotheses)}
        for key, hypothesis in zip(LENGTHS, hypotheses):
            assert got["utt2num_spk"][key] == str(hypothesis.num_talkers)
    assert "posteriors" not in tables
    assert tables["text"]["c"] == "" and all(tables["text"][key] for key in "abd")
    marks = [m.split(":")[0] for m in caplog.messages]
    marks = [m for m in marks if m in ("speech length", "best hypo")]
    assert marks == ["speech length", "best hypo"] * len(LENGTHS)
    assert (data / "out/1best_recog/rtf").read_text().endswith(" 1\n")
    assert decode(data, phase1, *given, "--batch_size", 3) == tables


def test_each_decoder_needs_its_model(model_file, phase1, tmp_path):
    data = make_data(tmp_path)
    with pytest.raises(UserError, match="model.pth: has no teacher; decode it by CTC"):
        decode(data, model_file, "--decoder", "llm")
    with pytest.raises(UserError, match="model.pth: has no CTC heads"):
        decode(data, phase1)


def test_nothing_is_written_when_decoding_breaks_off(model_file, tmp_path, monkeypatch):
    data = make_data(tmp_path)
    calls = []

    def breaks(self, speech, counts=None):
        calls.append(len(speech))
        if len(calls) > 3:
            raise KeyboardInterrupt
        return plain(self, speech, counts)

    plain = Speech2Text.__call__
    monkeypatch.setattr(Speech2Text, "__call__", breaks)
    with pytest.raises(KeyboardInterrupt):
        decode(data, model_file)
    assert len(calls) == 4
    assert not (data / "out").exists()


def test_counts_and_devices_that_do_not_exist(model_file, tmp_path, monkeypatch):
    data = make_data(tmp_path)
    with pytest.raises(UserError, match="--num_talkers 5: the model knows"):
        decode(data, model_file, "--num_talkers", 5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--ngpu 1: torch .* finds no usable GPU"):
        decode(data, model_file, "--ngpu", 1)
    assert not (data / "out").exists()


def write_wav(name, samples, rate=16000, subtype="PCM_16"):
    return lambda data: soundfile.write(data / name, samples, rate, subtype=subtype)


def write_text(name, text):
    def write(data):
        (data / name).write_text(text.replace("DATA", str(data)))

    return write


ORACLE = ["--oracle_output_dir", "DATA/oracle"]
# Name: what is spoilt, further options, what the one line says.
BAD = {
    "missing": (lambda d: (d / "b.wav").unlink(), [], "b.wav .*no such file"),
    "no samples": (write_wav("b.wav", np.zeros(0)), [], "utterance b.*has no samples"),
    "no audio": (write_text("b.wav", "RIFF"), [], "b.wav .*not readable audio"),
    "NaN": (
        write_wav("b.wav", np.array([0.0, np.nan]), subtype="FLOAT"),
        [],
        "utterance b.* has NaN or infinite samples",
    ),
    "rate": (write_wav("b.wav", np.ones(99), 8000), [], "8000 Hz .* needs 16000 Hz"),
    "stereo": (
        write_wav("b.wav", np.ones((99, 2))),
        [],
        "2 channels, but the model needs",
    ),
    "no scp": (lambda d: (d / "wav.scp").unlink(), [], "wav.scp: no such file"),
    "twice": (
        write_text("wav.scp", "a DATA/a.wav\nb DATA/b.wav\nb DATA/b.wav\n"),
        [],
        "wav.scp:3: duplicate id b",
    ),
    "unsorted": (
        write_text("wav.scp", "b DATA/b.wav\na DATA/a.wav\n"),
        [],
        "wav.scp:2: id a after b is not sorted; run: LC_ALL=C sort",
    ),
    "empty scp": (write_text("wav.scp", ""), [], "wav.scp: is empty"),
    "key": (
        write_text("keys", "a\nx\n"),
        ["--key_file", "DATA/keys"],
        "keys: x is not in .*wav.scp",
    ),
    "keys unsorted": (
        write_text("keys", "b\na\n"),
        ["--key_file", "DATA/keys"],
        "keys:2: id a after b is not sorted",
    ),
    "no keys": (None, ["--key_file", "DATA/keys"], "keys: no such file"),
    "data option": (
        None,
        ["--data_path_and_name_and_type", "DATA/wav.scp"],
        "--data_path_and_name_and_type .*: give wav.scp,speech,sound",
    ),
    "model": (None, ["--mtasr_model_file", "DATA/x.pth"], "--mtasr_model_file .*x.pth"),
    "train config": (
        None,
        ["--mtasr_train_config", "DATA/x.yaml"],
        "--mtasr_train_config .*x.yaml: no such file",
    ),
    "no config": (None, ["--config", "DATA/x.yaml"], "--config .*x.yaml: no such file"),
    "unknown key": (
        write_text("x.yaml", "beam_size: 2\nbeem_size: 3\n"),
        ["--config", "DATA/x.yaml"],
        "x.yaml: unknown key beem_size; remove it",
    ),
    "no mapping": (
        write_text("x.yaml", "beam_size\n"),
        ["--config", "DATA/x.yaml"],
        "x.yaml: has no 'key: value' lines",
    ),
    "no YAML": (
        write_text("x.yaml", "a: [1\nb: 2\n"),
        ["--config", "DATA/x.yaml"],
        "x.yaml: is not YAML",
    ),
    "bad value": (
        write_text("x.yaml", "beam_size: 1.5\n"),
        ["--config", "DATA/x.yaml"],
        "--beam_size 1.5: give a whole number from 1",
    ),
    "batch of none": (None, ["--batch_size", "0"], "--batch_size 0: give a whole"),
    "dtype": (
        write_text("x.yaml", "dtype: float8\n"),
        ["--config", "DATA/x.yaml"],
        "--dtype float8: choose one of float32",
    ),
    "decoder": (
        write_text("x.yaml", "decoder: lm\n"),
        ["--config", "DATA/x.yaml"],
        "--decoder lm: choose one of ctc, llm",
    ),
    "neither true nor false": (
        write_text("x.yaml", "store_posteriors: some\n"),
        ["--config", "DATA/x.yaml"],
        "--store_posteriors some: choose one of true, false",
    ),
    "another decoder's": (
        write_text("x.yaml", "maxlen_ratio: 20\n"),
        ["--config", "DATA/x.yaml"],
        "--maxlen_ratio 20: only for decoder llm; omit it",
    ),
    "ratio": (
        None,
        ["--decoder", "llm", "--maxlen_ratio", "0"],
        "--maxlen_ratio 0.0: give a number above 0",
    ),
    "penalty": (
        write_text("x.yaml", "decoder: llm\nlength_penalty: [2]\n"),
        ["--config", "DATA/x.yaml"],
        "--length_penalty .2.: give a number",
    ),
    "oracle alone": (None, ORACLE, "--oracle_output_dir needs --utt2num_spk"),
    "oracle lacks one": (
        write_text("utt2num_spk", "a 2\nb 2\nd 2\n"),
        [*ORACLE, "--utt2num_spk", "DATA/utt2num_spk"],
        "utt2num_spk: has no talker count for c",
    ),
    "oracle word": (
        write_text("utt2num_spk", "a 2\nb two\nc 2\nd 2\n"),
        [*ORACLE, "--utt2num_spk", "DATA/utt2num_spk"],
        "utt2num_spk: has no talker count for b",
    ),
}

# All in one process: Python's start is what would take the time.
TRY_ALL = """
import contextlib, io, json, sys
from espnet_mtasr.bin.mtasr_inference import main
from espnet_mtasr.errors import run_command_line
for name, words in json.load(sys.stdin).items():
    said, code = io.StringIO(), 0
    with contextlib.redirect_stderr(said):
        try:
            run_command_line(main, words)
        except SystemExit as e:
            code = e.code
    heavy = sorted({"torch", "espnet2", "transformers"} & set(sys.modules))
    print(json.dumps([name, code, said.getvalue(), heavy]))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    commands = {}
    model = tmp_path_factory.mktemp("no") / "model.pth"
    model.write_text("is never read")
    for name, (spoil, more, _) in BAD.items():
        data = make_data(tmp_path_factory.mktemp("data"))
        if spoil is not None:
            spoil(data)
        more = [word.replace("DATA", str(data)) for word in more]
        commands[name] = options(data, model, *more)
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL],
        input=json.dumps(commands),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (json.loads(line) for line in done.stdout.splitlines())
    return {row[0]: (*row[1:], commands[row[0]]) for row in rows}


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_line_before_anything_is_loaded(refused, name):
    code, said, heavy, command = refused[name]
    assert code == 2
    assert said.count("\n") == 1
    assert re.search(BAD[name][2], said), said
    assert heavy == []
    assert not (Path(command[command.index("--output_dir") + 1])).exists()
