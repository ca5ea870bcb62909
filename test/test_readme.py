"""What README.md shows must run."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO|<this ", (ROOT / "README.md").read_text())


def test_classes_in_another_recipe(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(EXAMPLES[0], {})
    printed = capsys.readouterr().out
    assert printed.startswith("[[[") and printed.count("]]") == 4


def test_transcription(monkeypatch, capsys):
    class Speech2Text:
        def __init__(self, mtasr_model_file):
            assert mtasr_model_file.endswith("valid.loss_ctc.ave.pth")

        def __call__(self, waves):
            from espnet_mtasr.inference import MixtureHypothesis, TalkerHypothesis

            talkers = [TalkerHypothesis(text, [], []) for text in ("a b", "c")]
            return [MixtureHypothesis(talkers, None) for _ in waves]

    # A trained model and a recording are not at hand; names and types are.
    monkeypatch.setattr("espnet_mtasr.inference.Speech2Text", Speech2Text)
    monkeypatch.setattr("soundfile.read", lambda path: ([0.0], 16000))
    exec(EXAMPLES[1], {})
    assert capsys.readouterr().out == "2 a b <sc> c\n"
