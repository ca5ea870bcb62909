"""Stage 9: the teacher's perplexity is that of all text tokens together."""

import json
import math
import shutil

import pytest
import torch
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.bin.mtasr_perplexity import main
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.teacher_check import (
    TeacherCheck,
    _batches,
    format_checks,
)

TEXTS = {
    "a": "had had <sc> over",
    "b": "a <sc> b <sc> c",
    "c": "the sea <sc> alpha bravo had",
    "d": "sea <sc> over the <sc> a",
    "e": "b <sc> had",
}
LENGTHS = (9000, 4000, 12345, 7001, 6000)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    import soundfile

    place = tmp_path_factory.mktemp("place")
    llm = make_tiny_llm(place / "llm")
    save_tiny_model(place / "exp", llm=llm, ctc_weight=0.0, count_weight=0.0)
    write_table(place / "dump" / "text", TEXTS)
    scp = {utt: place / f"{utt}.flac" for utt in TEXTS}
    write_table(place / "dump" / "wav.scp", scp)
    for path, wave in zip(scp.values(), noises(*LENGTHS)):
        soundfile.write(path, wave, 16000)
    return place


def measure(place, *more, model="model.pth"):
    out = place / "new" / "perplexity.json"
    main(
        [
            *("--mtasr_train_config", str(place / "exp" / "config.yaml")),
            *("--mtasr_model_file", str(place / "exp" / model)),
            *("--data_dir", str(place / "dump"), "--output", str(out)),
            *("--num_workers", "0", *more),
        ]
    )
    return json.loads(out.read_text())


def tokens_of_words(model, ids):
    tokenizer = model.teacher.tokenizer
    return [k for k, token in enumerate(ids.tolist()) if token != tokenizer.sc_id]


@torch.no_grad()
def words_loss(model, hidden, lengths, ids):
    """Summed cross entropy of a text's words, from the logits."""
    logits = model.teacher._text_logits(
        hidden, lengths, ids[None], torch.tensor([len(ids)])
    )
    losses = torch.nn.functional.cross_entropy(logits[0, :-1], ids, reduction="none")
    return float(losses[tokens_of_words(model, ids)].sum())


def test_perplexity_is_over_all_tokens(place, capsys):
    import soundfile

    model, args = MTASRTask.build_model_from_file(
        place / "exp" / "config.yaml", place / "exp" / "model.pth", with_teacher=True
    )
    model.eval()
    model.teacher.requires_grad_(False)
    expected = {2: [0, 0.0], 3: [0, 0.0]}
    frames, ids_of = {}, {}
    for utt, text in TEXTS.items():
        samples = torch.from_numpy(soundfile.read(place / f"{utt}.flac", dtype="f4")[0])
        ids = torch.tensor(model.teacher.tokenizer.encode(text))
        count = text.count("<sc>") + 1
        with torch.no_grad():
            trunk = model.encode_trunk(samples[None], torch.tensor([len(samples)]))
            hidden, lengths = model.encoder.encode_branch(trunk, count)
            taught = model.teacher(hidden, lengths, ids[None], torch.tensor([len(ids)]))
        # End of sentence counts as a token.
        expected[count][0] += len(ids) + 1
        expected[count][1] += float(taught.loss) * (len(ids) + 1)
        frames[utt], ids_of[utt] = (hidden, lengths), ids
    result = measure(place)
    assert [result[k]["n_utt"] for k in "23"] == [3, 2]
    for count, (tokens, loss) in expected.items():
        row = result[str(count)]
        assert row["n_tokens"] == tokens
        assert row["perplexity"] == pytest.approx(math.exp(loss / tokens), rel=1e-4)
        assert 0.0 <= row["accuracy"] <= 100.0
    # Each hears the next longer one of as many talkers, and the longest the shortest.
    neighbours = {"c": "e", "a": "c", "e": "a"}, {"d": "b", "b": "d"}
    for count, other_of in zip("23", neighbours):
        own = {utt: utt for utt in other_of}
        for key, speech_of in (("right", own), ("other", other_of)):
            loss, tokens = 0.0, 0
            for utt, speech in speech_of.items():
                loss += words_loss(model, *frames[speech], ids_of[utt])
                tokens += len(tokens_of_words(model, ids_of[utt]))
            wanted = math.exp(loss / tokens)
            assert result[count][key] == pytest.approx(wanted, rel=1e-4), (count, key)
        row = result[count]
        assert row["ratio"] == pytest.approx(row["other"] / row["right"])
    # In several batches: the same but for whose the other speech is.
    split = measure(place, "--batch_size", "2")
    for key in ("n_utt", "n_tokens", "perplexity", "accuracy", "right"):
        assert split["2"][key] == pytest.approx(result["2"][key], rel=1e-4)
    said = capsys.readouterr().out
    row = result["2"]
    assert f"| 2 | 3 | {row['perplexity']:.2f} |" in said
    assert (place / "new" / "perplexity.md").read_text() in said


def test_what_is_missing_is_named(place, tmp_path):
    with pytest.raises(UserError, match="none.pth: no such file; run stage 8 first"):
        measure(place, model="none.pth")
    with pytest.raises(UserError, match="wav.scp: no such file"):
        measure(place, "--data_dir", str(tmp_path))
    phase_2 = save_tiny_model(tmp_path / "exp", ctc_weight=1.0)
    with pytest.raises(UserError, match="model.pth: has no teacher; give a phase-1"):
        measure(
            place,
            *("--mtasr_train_config", str(phase_2.parent / "config.yaml")),
            *("--mtasr_model_file", str(phase_2)),
        )


def check(ratio):
    return TeacherCheck(9, 90, 3.0, 50.0, 2.0, 2.0 * ratio, ratio)


def test_a_deaf_teacher_is_called_deaf():
    said = format_checks({2: check(1.19), 3: check(1.1)})
    assert (
        "WARNING: the teacher ignores the audio (ratio below 1.2 for 2 and 3 talkers)"
        in said
    )
    assert "ratio below 1.2 for 3 talkers" in format_checks({2: check(4), 3: check(1)})
    assert "WARNING" not in format_checks({2: check(1.2), 3: check(9.0)})
    # Of a single mixture nothing can be told.
    alone = TeacherCheck(1, 9, 3.0, 50.0, 2.0, None, None)
    assert "| - | - |" in format_checks({2: alone})
    assert "WARNING" not in format_checks({2: alone})


def test_no_batch_of_one():
    lengths = dict(a=3, b=9, c=4, d=5, e=1)
    assert _batches("abcde", lengths, 2) == [["b", "d"], ["c", "a", "e"]]
    assert _batches("a", lengths, 2) == [["a"]]


def test_a_mixtures_noisy_version_is_no_other_mixture(place, tmp_path):
    """Its words are the same: a teacher that listens would seem half deaf."""
    alone = measure(place)
    shutil.copytree(place / "dump", tmp_path / "dump")
    for name in ("text", "wav.scp"):
        table = read_table(tmp_path / "dump" / name)
        twice = {f"{utt}_{kind}": v for utt, v in table.items() for kind in "cn"}
        write_table(tmp_path / "dump" / name, twice)
    both = measure(place, "--data_dir", str(tmp_path / "dump"))
    for count in "23":
        assert both[count]["n_utt"] == 2 * alone[count]["n_utt"]
        for key in ("perplexity", "right", "other", "ratio"):
            assert both[count][key] == pytest.approx(alone[count][key], rel=1e-4)
