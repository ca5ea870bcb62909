"""Stage 9: the teacher's perplexity is that of all text tokens together."""

import json
import math

import pytest
import torch
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.bin.mtasr_perplexity import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.mtasr import MTASRTask

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


def test_perplexity_is_over_all_tokens(place, capsys):
    import soundfile

    model, args = MTASRTask.build_model_from_file(
        place / "exp" / "config.yaml", place / "exp" / "model.pth", with_teacher=True
    )
    model.eval()
    expected = {2: [0, 0.0], 3: [0, 0.0]}
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
    result = measure(place)
    assert [result[k]["n_utt"] for k in "23"] == [3, 2]
    for count, (tokens, loss) in expected.items():
        row = result[str(count)]
        assert row["n_tokens"] == tokens
        assert row["perplexity"] == pytest.approx(math.exp(loss / tokens), rel=1e-4)
        assert row["perplexity_other_speech"] != pytest.approx(row["perplexity"])
        assert 0.0 <= row["accuracy"] <= 100.0
    # In two batches: the same but for whose the other speech is.
    split = measure(place, "--batch_size", "3")
    for key in ("n_utt", "n_tokens", "perplexity", "accuracy"):
        assert split["2"][key] == pytest.approx(result["2"][key], rel=1e-4)
    said = capsys.readouterr().out
    assert f"2 talkers: SOT perplexity {result['2']['perplexity']:.2f} (another" in said


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
