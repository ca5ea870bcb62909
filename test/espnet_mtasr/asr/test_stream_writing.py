"""What streams write, as statistics of validation."""

import pytest
import torch
from helpers.tiny_models import make_batch, make_model, make_tiny_llm

from espnet_mtasr.asr.stream_writing import stream_writing

PIECES = ["<blank>", "<unk>", "▁a", "b", "▁c"]
CHARACTERS = ["<blank>", "<unk>", "<space>", "a", "b"]
WORDS = ["<blank>", "<unk>", "one", "two", "three"]


def scores(*rows):
    """Log probabilities whose best tokens are these."""
    return torch.nn.functional.one_hot(torch.tensor(rows), 5).float().log()


@pytest.mark.parametrize(
    "tokens, words",
    [
        # "ab c a", "b", and the last one's second frame is padding: nothing.
        (PIECES, [3, 1, 0]),
        # " b b ", "a", nothing
        (CHARACTERS, [3, 1, 0]),
        (WORDS, [4, 1, 0]),
    ],
)
def test_words_and_blanks(tokens, words):
    best = [
        [2, 2, 3, 0, 4, 4, 2, 0],
        [0, 3, 3, 0, 0, 0, 0, 0],
        [0, 2, 0, 0, 0, 0, 0, 0],
    ]
    if tokens is CHARACTERS:
        best[0] = [4, 2, 4, 2, 2, 0, 4, 0]
    lengths = torch.tensor([8, 8, 1])
    [found] = stream_writing([scores(*best)], lengths, tokens)
    assert found.words.tolist() == words
    assert found.blank_rate.tolist() == pytest.approx([0.25, 0.75, 1.0])


def test_statistics_of_validation(tmp_path):
    model = make_model(make_tiny_llm(tmp_path), ctc_weight=1.0).eval()
    batch = make_batch((2, 2), (12, 15))
    with torch.no_grad():
        for parameter in model.ctc["2"].heads[1].parameters():
            parameter.zero_()
        # All frames of the second stream of two are blank.
        model.ctc["2"].heads[1].ctc_lo.bias[0] = 1.0
        _, stats, _ = model(**batch)
        # On every rank, whatever counts its batch has.
        assert {name for name in stats if "stream" in name} == {
            f"{name}_stream{k}_{count}spk_part"
            for name in ("blank_rate", "words")
            for count in (2, 3)
            for k in range(1, count + 1)
        }
        assert float(stats["blank_rate_stream2_2spk_part"]) == pytest.approx(1.0)
        assert float(stats["words_stream2_2spk_part"]) == 0.0
        assert float(stats["blank_rate_stream1_2spk_part"]) < 1.0
        assert float(stats["words_stream1_2spk_part"]) > 0.0
        model.train()
        assert not [name for name in model(**batch)[1] if "stream" in name]
