"""Words' times of recordings, of CTC outputs that are made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from helpers.progress_patterns import counted
from helpers.tiny_models import CHARACTERS

from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.source_times import read_source_times, write_source_times
from espnet_mtasr.mixture.spec import MixtureSpec, Source
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.source_alignment import SourceAligner, read_sources


@pytest.fixture
def data(tmp_path):
    """Two mixtures of three recordings of 1 s; 20 frames each."""
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(16000, 0.1), 16000)
    specs, texts = {}, {}
    for utt, pair, text in (("u", "ab", "go <sc> he is"), ("v", "bc", "he is <sc> go")):
        sources = [Source(str(tmp_path / f"{n}.wav"), 1.0, n, 1.0) for n in pair]
        specs[utt] = MixtureSpec(tuple(sources), (0.0, 0.5)).to_line()
        texts[utt] = text
    write_table(tmp_path / "utt2mixture", specs)
    write_table(tmp_path / "text", texts)
    (tmp_path / "tokens.txt").write_text("\n".join(CHARACTERS) + "\n")
    return tmp_path


def aligner_of(data, **changes):
    words = ["--token_list", str(data / "tokens.txt"), "--token_type", "char"]
    args = MTASRTask.get_parser().parse_args([*words, "--talker_counts", "1"])
    facts = dict(talker_counts=(1,), ctc={}, cpu_bfloat16=False)
    return SourceAligner(SimpleNamespace(**{**facts, **changes}), args)


def said(**at):
    """Log probabilities of 20 frames: tokens at the given ones, blanks elsewhere."""
    probs = torch.full((20, len(CHARACTERS)), 0.001)
    probs[:, 0] = 1.0
    for token, frames in at.items():
        for frame in frames:
            probs[frame, CHARACTERS.index("<space>" if token == "_" else token)] = 9.0
    return (probs / probs.sum(1, keepdim=True)).log()


def test_times(data, monkeypatch, capsys):
    aligner = aligner_of(data)
    sources = read_sources(data)
    assert [text for text, _ in sources.values()] == ["go", "he is", "go"]
    rows = {
        "a": said(g=[4], o=[9]),
        "b": said(h=[2], e=[3], _=[6], i=[10], s=[15, 16]),
        "c": said(g=[0], o=[19]),
    }
    order = [path.split("/")[-1][0] for path in sources]
    monkeypatch.setattr(aligner, "_log_probs", lambda waves: [rows[n] for n in order])
    times, failed = aligner.align(sources)
    assert not failed
    assert counted("Aligning", capsys.readouterr().err) == [(1, 1)]
    found = {path.split("/")[-1][0]: spans for path, spans in times.items()}
    frame = 1.0 / 20
    assert np.allclose(found["a"], [(4 * frame, 10 * frame)])
    assert np.allclose(found["b"], [(2 * frame, 4 * frame), (10 * frame, 17 * frame)])
    assert np.allclose(found["c"], [(0.0, 1.0)])
    assert all(0.5 < p <= 1.0 for p in aligner.probabilities)
    write_source_times(data / "times.jsonl", times)
    assert read_source_times(data / "times.jsonl").keys() == times.keys()


def test_what_cant_be_aligned(data, monkeypatch):
    aligner = aligner_of(data)
    short = said()[:3]
    monkeypatch.setattr(aligner, "_log_probs", lambda waves: [short, short, said()])
    sources = dict(read_sources(data))
    paths = list(sources)
    cut = aligner.preprocessor.tokens_of
    monkeypatch.setattr(
        aligner.preprocessor, "tokens_of", lambda t: ["?"] if t == "odd" else cut(t)
    )
    sources[paths[2]] = ("odd", 1.0)
    times, failed = aligner.align(sources)
    # "go" has enough of three frames, "he is" has not.
    assert list(times) == [paths[0]]
    assert failed == {
        paths[1]: "too few frames for its text",
        paths[2]: "its tokens aren't the letters of its words",
    }


def test_mistakes(data):
    with pytest.raises(UserError, match=r"knows \[2, 3\] talkers"):
        aligner_of(data, talker_counts=(2, 3))
    texts = {"u": "go <sc> he is", "v": "he was <sc> go"}
    write_table(data / "text", texts)
    with pytest.raises(UserError, match="b.wav says 'he is' and, in v, 'he was'"):
        read_sources(data)
    with pytest.raises(UserError, match="no such file; run align_sources"):
        read_source_times(data / "nothing")
    (data / "bad").write_text('{"path": "a", "words": [[1]]}\n')
    with pytest.raises(UserError, match="bad:1: is not a line of word times"):
        read_source_times(data / "bad")
