"""Transcripts of a packed model's teacher: no times, in every format and setting."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr import MTASR
from espnet_mtasr.bin import mtasr_download, mtasr_pack
from espnet_mtasr.bin.main import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.rules import Rule
from espnet_mtasr.transcription.formats import FORMATS
from espnet_mtasr.transcription.formats.terminal import render_for_terminal
from espnet_mtasr.transcription.long.journal import Journal
from espnet_mtasr.transcription.long.stitching import Heard
from espnet_mtasr.transcription.long.windows import Place
from espnet_mtasr.transcription.speech_detector import SpeechDetector

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "doc" / "transcript.schema.json").read_text())
WAVES = noises(9000, 4000, 12345)
RATE = 16000
# The recordings are noise.
ALL = {"vad_threshold": 0.0}
PART = {**SCHEMA, **SCHEMA["definitions"]["part"]}
WITHOUT_TIMES = ["txt", "json", "jsonl"]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A model packed with its teacher, and without."""
    root = tmp_path_factory.mktemp("models")
    model = save_tiny_model(root / "exp", llm=make_tiny_llm(root / "llm"))
    found = {}
    for pack_teacher in ("true", "false"):
        out = found[pack_teacher] = root / f"{pack_teacher}.zip"
        words = ["--mtasr_model_file", str(model), "--outpath", str(out)]
        mtasr_pack.main([*words, "--pack_teacher", pack_teacher])
    return found


@pytest.fixture(scope="module")
def archive(archives):
    return archives["true"]


@pytest.fixture(scope="module")
def model(archive):
    return MTASR.from_pretrained(archive, device="cpu", decoder="teacher")


@pytest.fixture(scope="module")
def expected(archive):
    """Talkers' texts of `WAVES`, written without this package's recordings."""
    speech2text = Speech2TextLLM.from_pretrained(archive, guard_loops=True)
    return [[t.text for t in hypothesis.talkers] for hypothesis in speech2text(WAVES)]


def texts(transcript):
    return [talker.text for talker in transcript.talkers]


def test_it_writes_the_teachers_words(model, expected):
    transcripts = model.transcribe(WAVES, **ALL)
    assert [texts(t) for t in transcripts] == expected
    assert len({str(t) for t in expected}) == len(WAVES)
    for transcript in transcripts:
        assert transcript.origin.settings["decoder"] == "teacher"
        assert not transcript.timed
        assert all(talker.words == () for talker in transcript.talkers)
        entry = json.loads(transcript.to_json())
        jsonschema.validate(entry, SCHEMA)
        assert [t["text"] for t in entry["talkers"]] == texts(transcript)
        assert {t["words"] for t in entry["talkers"]} == {None}
        jsonschema.validate(json.loads(transcript.to_jsonl()), PART)
        said = [f"talker {n}: {t}".rstrip() for n, t in enumerate(texts(transcript), 1)]
        assert transcript.to_txt().splitlines()[1:] == said
        shown = render_for_terminal(transcript, color=False).splitlines()[1:]
        assert shown == [
            f"talker {n}  {t or 'no words'}" for n, t in enumerate(texts(transcript), 1)
        ]


def test_the_rule_for_speech_does_not_judge_it(model, expected, monkeypatch):
    """It reads the CTC's scores, which a teacher doesn't have."""
    monkeypatch.setattr(SpeechDetector, "hears_speech", lambda *args: True)
    never = Calibration(speech=Rule({"token": 1.0}, -100.0, 0.5))
    found = MTASR(model.speech2text, never).transcribe(WAVES)
    assert [len(t.talkers) for t in found] == [len(t) for t in expected]


def test_formats_that_need_times_say_so(model, tmp_path):
    transcript = model.transcribe(WAVES[0], **ALL)
    refused = []
    for format in FORMATS:
        try:
            transcript.render(format)
        except UserError as e:
            assert re.match(f"--format {format}: needs times of words, which a", str(e))
            refused.append(format)
    assert refused == [name for name in FORMATS if name not in WITHOUT_TIMES]
    with pytest.raises(UserError, match="can't be drawn, because a teacher gives no"):
        transcript.plot(tmp_path / "x.png")
    with pytest.raises(UserError, match="--num_people 2: needs times of words"):
        model.transcribe(WAVES[0], num_people=2)


def test_each_channel(model, expected):
    stereo = np.stack([WAVES[0], WAVES[0][::-1]])
    joined = model.transcribe(stereo, channel="each", **ALL)
    number = len(expected[0])
    assert texts(joined)[:number] == expected[0]
    assert [t.channel for t in joined.talkers[:number]] == number * [0]
    assert {t.channel for t in joined.talkers[number:]} == {1}


def test_a_long_recording(model):
    """Each window's text is in it once, in order, and parts begin where windows do."""
    (wave,) = noises(10 * RATE)
    options = dict(window_seconds=4.0, batch_seconds=8.0, **ALL)
    parts = list(model.parts(wave, **options))
    assert len(parts) >= 3 and not any(part.continues for part in parts)
    for before, after in zip(parts, parts[1:]):
        assert before.end == pytest.approx(after.start, abs=0.05)
    for part in parts:
        cut = wave[round(part.start * RATE) : round(part.end * RATE)]
        (alone,) = model.speech2text([cut])
        assert [t.text for t in part.talkers] == [t.text for t in alone.talkers]
    transcript = model.transcribe(wave, **options)
    assert transcript.parts == tuple(parts) and transcript.labels == "part"
    for number, talker in enumerate(transcript.talkers):
        said = [p.talkers[number].text for p in parts if number < len(p.talkers)]
        assert talker.text == " ".join(filter(None, said))
    jsonschema.validate(json.loads(transcript.to_json()), SCHEMA)
    lines = [json.loads(line) for line in transcript.to_jsonl().splitlines()]
    for line in lines:
        jsonschema.validate(line, PART)
    begins = [line.split(" talker")[0] for line in transcript.to_txt().splitlines()[1:]]
    assert begins == sorted(begins) and begins[0] == "0:00"


def test_a_journal_keeps_texts(tmp_path):
    heard = Heard(Place(0.0), 2.0, Place(2.0), ((), ()), {2: 1.0}, texts=("a b", ""))
    Journal(tmp_path / "x", {}, resume=False).keep(0, heard)
    assert Journal(tmp_path / "x", {}, resume=True).heard[0][1].texts == ("a b", "")


def test_it_is_guarded_against_loops(model):
    teacher = model.speech2text.model.teacher
    assert teacher.guards_loops
    ids = teacher.tokenizer.encode("had")

    def always(module, inputs, output):
        output.logits[..., ids[0]] = 1e4

    handle = teacher.llm.get_base_model().register_forward_hook(always)
    try:
        (hypothesis,) = model.speech2text([WAVES[0]], [2])
    finally:
        handle.remove()
    written = [t for talker in hypothesis.talkers for t in talker.token_ids]
    runs = re.findall("x+", "".join("x" if t == ids[0] else "." for t in written))
    assert len(written) > 5 and max(map(len, runs)) == 4


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("one.wav", WAVES[0], RATE, subtype="FLOAT")


def call(model, *words):
    options = ["--model", str(model), "--device", "cpu", "--vad_threshold", "0"]
    main(["transcribe", *options, "one.wav", "--decoder", *words])


def test_the_command(archive, recording, expected, capsys):
    call(archive, "teacher")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"one: {len(expected[0])} talker")
    assert lines[1:] == [f"talker {n}: {t}" for n, t in enumerate(expected[0], 1)]
    call(archive, "ctc", "--format", "json")
    entry = json.loads(capsys.readouterr().out)
    assert entry["settings"]["decoder"] == "ctc"
    assert all(isinstance(talker["words"], list) for talker in entry["talkers"])


@pytest.mark.parametrize(
    "words, message",
    [
        (["llm"], "--decoder llm: choose one of ctc, teacher"),
        (
            ["teacher", "--format", "srt"],
            "--format srt: needs times of words, which a ",
        ),
        (
            ["teacher", "--format", "txt,rttm", "--output_dir", "out"],
            "--format rttm: needs times .*; choose from txt, json, jsonl, or decode by",
        ),
        (["teacher", "--plot", "x.png"], "--plot x.png: needs times of words"),
        (["teacher", "--num_people", "2"], "--num_people 2: needs times of words"),
    ],
)
def test_refused_before_the_model_is_loaded(recording, words, message):
    with pytest.raises(UserError, match=message):
        call("none.zip", *words)
    assert not Path("out").exists()


def test_a_model_without_a_teacher(archives, recording):
    with pytest.raises(
        UserError, match="model.safetensors: has no teacher; decode "
    ) as e:
        call(archives["false"], "teacher")
    assert "packed with --pack_teacher true" in str(e.value)
    assert "\n" not in str(e.value)


def test_recipes_are_told_before_they_decode(archives, capsys):
    """What mtasr.sh calls for `--download_model` and `decoder: llm`."""
    mtasr_download.main(["--model", str(archives["true"]), "--decoder", "llm"])
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(
        UserError, match="false.zip: has no teacher, which decoder: llm"
    ):
        mtasr_download.main(["--model", str(archives["false"]), "--decoder", "llm"])


def test_what_is_not_finite_is_refused(model, monkeypatch):
    encoder = model.speech2text.model.encoder
    plain = encoder.encode_branch

    def overflows(*args):
        hidden, lengths = plain(*args)
        return hidden * float("inf"), lengths

    monkeypatch.setattr(encoder, "encode_branch", overflows)
    with pytest.raises(UserError, match="output is not finite: .* give --dtype"):
        model.transcribe(WAVES[0], **ALL)
