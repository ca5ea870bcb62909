"""The model card: what it says, and that its figures are those of the files."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml
from helpers.tiny_results import make_results

from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo.model_files import KNOWN_MODELS
from espnet_mtasr.publishing.model_card import (
    format_card,
    read_pretrained,
    read_recipe_entries,
    write_card,
)

ROOT = Path(__file__).resolve().parents[3]
CARDS = sorted(ROOT.glob("egs2/*/mtasr1/conf/model_card*.yaml"))
FACTS = {
    "recipe": {
        "title": "Tiny",
        "language": ["en"],
        "license": "mit",
        "limits": ["Knows  two\nwords."],
        "data": [{"name": "Corpus", "licence": "CC0"}],
        "pretrained": {"a/encoder": "BSD"},
        "holds_for_mixtures": "tiny",
    },
    "mixtures": "tiny mixtures",
    "pretrained": {
        "encoder": {"source": "a/encoder", "revision": "123abc"},
        "llm": {"source": "b/llm", "revision": None},
    },
    "commands": ["./run.sh --nj 3", "./run.sh --stage 11"],
    "model_file": "best.pth",
    "dtype": "float16",
    "parameters": 1234567,
    "talker_counts": [2, 3],
    "token_type": "bpe",
    "units": 77,
    "sampling_rate": 8000,
    "versions": {"espnet": "1.2.3"},
}


@pytest.fixture
def results():
    return make_results()


def front_matter(card):
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def section(card, title):
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_all_is_told(results):
    card = format_card(FACTS, results, "me/tiny")
    matter = front_matter(card)
    assert matter["license"] == "mit" and matter["language"] == ["en"]
    # The hub would show code of ESPnet's that can't load the model.
    assert matter["library_name"] == "espnet_mtasr" and "espnet" not in matter["tags"]
    for tag in ("audio", "automatic-speech-recognition", "multi-talker"):
        assert tag in matter["tags"]
    assert "# Tiny\n" in card and "each of 2 or 3 talkers" in card
    assert "1,234,567 parameters, stored as float16; 77 CTC units (bpe); 8000" in card
    table = section(card, "Results")
    assert "| test_tiny | 1 | 0 | 3 | 33.33 |" in table and "| 0 / 1 / 0 |" in table
    assert "Measured on tiny mixtures" in table and "| 0.2500 |" in table
    assert (
        "rounded to float16" in table and "not with the packed checkpoint" not in table
    )
    assert 'MTASR.from_pretrained("me/tiny")' in section(card, "Use")
    assert "espnet-mtasr transcribe --model me/tiny mix.wav" in section(card, "Use")
    assert "- Knows two words.\n" in section(card, "Limits")
    licences = section(card, "Licences")
    assert "This model: mit." in licences and "| data: Corpus | CC0 |" in licences
    assert "encoder: a/encoder | BSD | revision 123abc |" in licences
    assert "b/llm | not known to the recipe; see its page |" in licences
    made = section(card, "How it was made")
    assert "./run.sh --nj 3\n./run.sh --stage 11\n" in made and "espnet 1.2.3" in made
    assert "arXiv:2603.10587" in card and "ESPnet" in section(card, "Citation")


def test_what_is_missing_is_said_to_be():
    card = format_card({}, None, "tiny.zip")
    for results in (None, {"sets": {}}):
        results = section(format_card({}, results, "tiny.zip"), "Results")
        assert "Missing: this model was packed without" in results
    assert "Mixtures: not stated." in card
    assert "The command that trained it was not recorded." in card
    assert "This model: not stated." in section(card, "Licences")
    assert "license" not in front_matter(card)


def test_results_of_another_checkpoint(results):
    card = format_card({**FACTS, "model_file": "last.pth"}, results, "me/tiny")
    assert "**Measured with best.pth, not with the packed checkpoint last.pth" in card


def test_results_from_before_the_checkpoint_was_trained_anew(results):
    said = "**Measured with an earlier best.pth; the packed one was trained again"
    measured = {**results, "model_sha256": "1"}
    assert said in format_card({**FACTS, "model_sha256": "2"}, measured, "me/tiny")
    for facts, found in ((FACTS, measured), ({**FACTS, "model_sha256": "2"}, results)):
        assert said not in format_card(facts, found, "me/tiny")
    assert said not in format_card({**FACTS, "model_sha256": "1"}, measured, "x")


def test_a_talker_count_that_the_decoder_was_told(results):
    assert "The talker count is predicted" in format_card(FACTS, results, "x")
    card = format_card(FACTS, {**results, "num_talkers": 2}, "x")
    assert "the decoder was told 2" in card and "is predicted" not in card


def test_other_data_than_the_recipes(results):
    card = format_card({**FACTS, "mixtures": "Corpus X"}, results, "me/tiny")
    assert "It was not trained on the recipe's own data" in card
    assert "Corpus |" not in card and "two words" not in card
    assert "license" not in front_matter(card)


def test_written_from_files(tmp_path, results):
    (tmp_path / "model_card.yaml").write_text(yaml.safe_dump(FACTS))
    (tmp_path / "results.json").write_text(json.dumps(results))
    write_card(tmp_path, "me/tiny")
    written = (tmp_path / "README.md").read_text()
    assert written == format_card(FACTS, results, "me/tiny")
    (tmp_path / "results.json").write_text('{"model": "x"}')
    with pytest.raises(UserError, match="can't make a card from its model_card.yaml"):
        write_card(tmp_path, "me/tiny")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match="results.json: is damaged"):
        write_card(tmp_path, "me/tiny")


def test_pins_tell_no_place(tmp_path):
    pins = tmp_path / "models.json"
    encoder = {"source": "/home/someone/wavlm", "revision": None, "sha256": {}}
    pins.write_text(json.dumps({"encoder": encoder}))
    assert read_pretrained(pins) == {"encoder": {"source": "wavlm", "revision": None}}
    pins.write_text('{"encoder": 3}')
    with pytest.raises(UserError, match="models.json: can't be read"):
        read_pretrained(pins)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parts[-4])
def test_the_recipes_own(path):
    entries = read_recipe_entries(path)
    for name in ("title", "summary", "language", "license", "limits", "data"):
        assert entries[name]


def test_the_mini_recipe_says_what_it_is():
    [path] = [path for path in CARDS if path.parts[-4] == "mini_librimix"]
    data = (path.parents[1] / "local" / "data.sh").read_text()
    entries = read_recipe_entries(path)
    # What stage 1 writes into data/mixtures.txt.
    assert entries["holds_for_mixtures"] in data
    card = format_card(
        {"recipe": entries, "mixtures": "the synthetic mini corpus"}, None, "x"
    )
    assert "knows a few dozen English words" in card


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such file; give another"),
        ("a: [", "card.yaml: is not YAML"),
        ("just words", "card.yaml: has no 'key: value' lines; fix it"),
        ("lisence: mit", "card.yaml: unknown entry lisence; known are title"),
        ("limits: few", "card.yaml: limits is not a list; fix it"),
        ("data: [{name: a}]", "an entry of data lacks name or licence; add it"),
    ],
)
def test_wrong_entries(tmp_path, content, message):
    path = tmp_path / "card.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        read_recipe_entries(path)


@pytest.mark.parametrize(
    "name, card",
    [
        ("mini", "mini_librimix/mtasr1/conf/model_card.yaml"),
        ("speech", "mini_librispeech_mix/mtasr1/conf/model_card_speech.yaml"),
    ],
)
def test_the_card_of_a_model_that_ships_is_todays(tmp_path, name, card):
    with zipfile.ZipFile(ROOT / "espnet_mtasr" / KNOWN_MODELS[name]) as archive:
        archive.extractall(tmp_path)
    shipped = (tmp_path / "README.md").read_text(encoding="utf-8")
    facts = yaml.safe_load((tmp_path / "model_card.yaml").read_text(encoding="utf-8"))
    assert facts["recipe"] == read_recipe_entries(ROOT / "egs2" / card)
    assert write_card(tmp_path, name) is None
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == shipped
