"""1 as a talker count, beside 2 and 3, from the statistics to the score."""

import json

import pytest
import torch
from helpers.tiny_data import (
    TEXTS,
    make_tiny_data,
    phase_config,
    training_options,
    write_config,
)
from helpers.tiny_models import (
    make_batch,
    make_model,
    make_tiny_llm,
    make_tiny_wavlm,
    rows_of,
)

from espnet_mtasr.bin import check_alignable, mtasr_inference, mtasr_score, mtasr_train
from espnet_mtasr.data.tables import read_data_dir, read_table

COUNTS = ["1", "2", "3"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """9 mixtures, 3 of each count, and a phase 2 with its teacher."""
    root = tmp_path_factory.mktemp("lab")
    encoder, llm = make_tiny_wavlm(root / "encoder"), make_tiny_llm(root / "llm")
    data = make_tiny_data(
        root / "data", llm, texts=[*TEXTS, "had had", "over the sea", "a b"]
    )
    (data / "utt2category").rename(data / "utt2num_spk")
    config = phase_config(encoder, llm, 2)
    config.update(max_epoch=1, batch_seconds=3.0, num_iters_per_epoch=None)
    write_config(root / "phase2.yaml", config)
    return root


def counts_option():
    return ["--talker_counts", *COUNTS]


@pytest.fixture(scope="module")
def trained(lab):
    """Statistics, lists and a training of one epoch, as stages 10 and 11 call them."""
    config = ["--config", str(lab / "phase2.yaml")]
    data, stats = lab / "data", lab / "stats"
    mtasr_train.main(
        [
            *(*config, "--collect_stats", "true", "--output_dir", str(stats)),
            *(*training_options(data), *counts_option()),
        ]
    )
    check_alignable.main(
        [
            *(*config, "--stats_dir", str(stats), "--train_dir", str(data)),
            *("--valid_dir", str(data), "--token_list", str(data / "tokens.txt")),
            *("--token_type", "char", *counts_option()),
        ]
    )
    lists = stats / "lists" / "train"
    (lists / "tokens.txt").write_text((data / "tokens.txt").read_text())
    folder = lab / "exp"
    options = training_options(lists)
    mtasr_train.main([*config, "--output_dir", str(folder), *options, *counts_option()])
    return folder


def test_the_data_directory(lab):
    tables = read_data_dir(lab / "data", talker_counts=[1, 2, 3])
    assert tables["utt2num_spk"]["utt06"] == "1"


def test_the_lists_and_the_statistics(lab, trained):
    assert not (lab / "stats" / "unalignable.txt").exists()
    lists = lab / "stats" / "lists" / "train"
    assert sorted(read_table(lists / "utt2category").values()) == sorted(COUNTS * 3)
    shapes = {
        k: read_table(lab / "stats" / "train" / f"text_spk{k}_shape") for k in (1, 2, 3)
    }
    # "over the sea", and nobody else.
    assert [shapes[k]["utt07"] for k in (1, 2, 3)] == ["12", "0", "0"]


def test_the_training(trained):
    state = torch.load(trained / "checkpoint.pth", weights_only=False)
    assert any(name.startswith("encoder.branches.1.") for name in state["model"])
    assert "ctc.1.heads.0.ctc_lo.weight" in state["model"]
    assert "ctc.1.heads.1.ctc_lo.weight" not in state["model"]
    valid = state["reporter"]["stats"][1]["valid"]
    for count in COUNTS:
        for name in ("loss_ctc", "loss_sot", "loss_count"):
            assert valid[f"{name}_{count}spk"] > 0.0, name


def test_decoding_and_scoring(lab, trained, tmp_path):
    data = lab / "data"
    mtasr_inference.main(
        [
            *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"),
            *("--mtasr_model_file", f"{trained}/1epoch.pth", "--num_workers", "0"),
            *("--utt2num_spk", f"{data}/utt2num_spk"),
            *("--output_dir", f"{tmp_path}/out"),
            *("--oracle_output_dir", f"{tmp_path}/oracle"),
        ]
    )
    true_counts = read_table(data / "utt2num_spk")
    given = read_table(tmp_path / "oracle" / "1best_recog" / "utt2num_spk")
    assert given == true_counts
    texts = read_table(tmp_path / "oracle" / "1best_recog" / "text")
    assert {u: str(t.count("<sc>") + 1) for u, t in texts.items()} == true_counts

    name = "test_mini_all"
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / name).symlink_to(data)
    for kind in ("out", "oracle"):
        (tmp_path / kind / name).symlink_to(tmp_path / kind / "1best_recog")
    # All right, but for a talker who is taken for two.
    perfect = read_table(data / "text")
    hyps = "".join(f"{utt} {text}\n" for utt, text in perfect.items())
    (tmp_path / "out" / name / "text").write_text(
        hyps.replace("utt06 had had", "utt06 had <sc> had")
    )
    numbers = "".join(f"{u} {2 if u == 'utt06' else n}\n" for u, n in given.items())
    (tmp_path / "out" / name / "utt2num_spk").write_text(numbers)
    mtasr_score.main(
        [
            *("--sets", name, "--data_dir", f"{tmp_path}/ref"),
            *("--decode_dir", f"{tmp_path}/out"),
            *("--oracle_decode_dir", f"{tmp_path}/oracle"),
            *("--output_dir", f"{tmp_path}/exp", *counts_option()),
            *("--mixtures", "noise", "--model", "tiny"),
        ]
    )
    (result,) = json.loads((tmp_path / "exp/results.json").read_text())["sets"].values()
    # Two errors: the second "had" is deleted, and inserted as another talker's.
    assert (result["n_words"], result["del"], result["ins"]) == (27, 1, 1)
    assert result["count_confusion"] == {
        "1": {"1": 2, "2": 1, "3": 0},
        "2": {"1": 0, "2": 3, "3": 0},
        "3": {"1": 0, "2": 0, "3": 3},
    }
    by_count = json.loads((tmp_path / "exp/cpwer_by_num_speakers.json").read_text())
    assert by_count == {"1": pytest.approx(100 * 2 / 7, abs=1e-4), "2": 0.0, "3": 0.0}


def test_a_batch_of_all_counts_gives_what_each_row_gives(tmp_path):
    llm = make_tiny_llm(tmp_path / "llm")
    model = make_model(llm, (1, 2, 3), ctc_weight=0.5, count_weight=1.0).eval()
    counts, frames = [1, 3, 2, 1], [9, 15, 12, 20]
    batch = make_batch(counts, frames)
    with torch.no_grad():
        _, stats, weight = model(**batch)
    assert weight == 4
    alone = [model(**rows_of(batch, [k]))[1]["loss"] for k in range(4)]
    assert float(stats["loss"]) == pytest.approx(float(sum(alone)) / 4, rel=1e-4)
    assert float(stats["loss_ctc_1spk_part"]) > 0.0
