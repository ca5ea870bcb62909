"""A transcript as text of each format, and as JSON that keeps its schema."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from helpers.tiny_inference import noises, save_tiny_model
from helpers.transcripts import hard_transcript, make_transcript

from espnet_mtasr import MTASR, __version__
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats import FORMATS, render
from espnet_mtasr.transcription.transcript import Part, Talker, Transcript, Word

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "doc" / "transcript.schema.json").read_text())
WAVES = noises(9000, 4000)
ALL = {"vad_threshold": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp").parent


@pytest.mark.parametrize("format", FORMATS)
def test_a_method_per_format(format):
    transcript = hard_transcript()
    text = getattr(transcript, f"to_{format}")()
    assert text == transcript.render(format) == render([transcript], format) != ""


def test_no_such_format():
    with pytest.raises(UserError, match="unknown format 'doc': choose from txt"):
        hard_transcript().render("doc")


def valid(text):
    entry = json.loads(text)
    jsonschema.validate(entry, SCHEMA)
    return entry


def test_json_says_what_it_was_made_with(folder):
    model = MTASR.from_pretrained(folder, device="cpu", beam_size=2)
    stereo = np.stack([WAVES[0], WAVES[0][::-1]])
    entry = valid(
        model.transcribe(stereo, num_talkers=2, channel="each", **ALL).to_json()
    )
    assert entry["version"] == __version__
    assert (entry["model"], entry["revision"]) == (str(folder), None)
    assert entry["settings"] == dict(
        decoder="ctc",
        device="cpu",
        dtype="float32",
        beam_size=2,
        ngram=False,
        num_talkers=2,
        num_people=None,
        channel="each",
        window_seconds=20.0,
        vad_threshold=0.0,
    )
    assert {talker["channel"] for talker in entry["talkers"]} == {0, 1}
    assert any(talker["words"] for talker in entry["talkers"])
    plain = valid(model.transcribe(WAVES[1], channel=0, **ALL).to_json())
    assert plain["settings"] | dict(num_talkers=None, channel=0) == plain["settings"]
    with pytest.warns(UserWarning, match="too short"):
        short = valid(model.transcribe(WAVES[0][:100]).to_json())
    assert (short["talkers"], len(short["warnings"])) == ([], 1)


def test_the_models_own_zip_has_a_revision():
    model = MTASR.from_pretrained("mini", device="cpu")
    entry = valid(model.transcribe(WAVES[0]).to_json())
    assert entry["model"] == "mini" and len(entry["revision"]) == 64


def test_transcripts_that_no_model_made():
    for transcript in (
        hard_transcript(),
        make_transcript([]),
        Transcript("x", 1.0, ()),
    ):
        assert valid(transcript.to_json())["settings"] == {}


def test_the_schema_names_all_and_refuses_others():
    """Who adds an entry has to describe it."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    entry = hard_transcript().as_dict()
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == {*entry}
    fields = {field.name for field in dataclasses.fields(Transcript)}
    indirect = {"count_probabilities", "origin", "parts", "labelled"}
    assert fields - {*entry} == indirect
    for change in ({"more": 1}, {"seconds": -1}, {"talkers": [{"text": "a"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(entry | change, SCHEMA)
    for name in entry:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in entry.items() if k != name}, SCHEMA)


def in_parts():
    words = (Word("one", 1.0, 1.5, 0.5), Word("two", 31.0, 31.5, 0.5))
    parts = (
        Part(0.5, 2.0, (Talker(words[:1]),), {1: 0.9}),
        Part(30.0, 32.0, (Talker(()), Talker(words[1:]))),
    )
    talkers = (Talker(words[:1]), Talker(words[1:]))
    return Transcript("long", 40.0, talkers, parts=parts)


def test_parts():
    transcript = in_parts()
    assert valid(transcript.to_json())["labels"] == "part"
    one = dataclasses.replace(transcript.parts[1], continues=True)
    joined = dataclasses.replace(transcript, parts=(transcript.parts[0], one))
    assert valid(joined.to_json())["labels"] == "recording"
    lines = transcript.to_jsonl().splitlines()
    schema = {"$ref": "#/definitions/part", "definitions": SCHEMA["definitions"]}
    for line in [*lines, hard_transcript().to_jsonl(), make_transcript([]).to_jsonl()]:
        jsonschema.validate(json.loads(line), schema)
    (talker,) = json.loads(lines[1])["talkers"]
    assert (talker["talker"], talker["text"]) == (2, "two")
    assert transcript.to_txt() == (
        "long: in parts; a talker's number is valid within one part\n"
        "0:01 talker 1: one\n0:31 talker 2: two\n"
    )
