"""Stages 7 and 10: which mixtures CTC can't align, and the lists for training."""

import argparse

import pytest
import yaml
from espnet2.text.cleaner import TextCleaner
from helpers.tiny_models import CHARACTERS, HOP, make_tiny_wavlm

from espnet_mtasr.bin.check_alignable import check_longest, main
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError

# Text, and frames of 20 ms: as many as the hungrier talker's characters, and one more
# for each repeat.
TRAIN = {
    "a_fits": ("a <sc> abc", 3),
    "b_lacks_one": ("a <sc> abc", 2),
    "c_repeat_fits": ("abb <sc> a", 4),
    "d_repeat_lacks_one": ("abb <sc> a", 3),
    "e_apart": ("bab <sc> a", 3),
    "f_no_frame": ("a <sc> b", 0),
    "g_neighbours": ("ab <sc> bc", 2),
    "h_three": ("a <sc> b <sc> a b c", 5),
    "i_long": ("a <sc> b", 40),
}
UNALIGNABLE = {
    "b_lacks_one": "2 frames, 3 needed",
    "d_repeat_lacks_one": "3 frames, 4 needed",
    "f_no_frame": "0 frames, 1 needed",
}
VALID = {"v_lacks": ("a <sc> abc", 1), "w_fits": ("a <sc> b", 9)}


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    return make_tiny_wavlm(tmp_path_factory.mktemp("wavlm") / "model")


@pytest.fixture
def stage(tmp_path, wavlm):
    """What stages 3 to 7 leave; returns a function that runs the check."""
    for name, mixtures in (("train", TRAIN), ("valid", VALID)):
        dump, stats = tmp_path / "dump" / name, tmp_path / "stats" / name
        for utt, (text, frames) in mixtures.items():
            # One sample less would be a frame less.
            samples = frames * HOP + 20 if frames else 339
            for path, value in (
                (dump / "wav.scp", f"{utt}.flac"),
                (dump / "text", text),
                (dump / "utt2num_spk", text.count("<sc>") + 1),
                (dump / "onsets", "0"),
                (stats / "speech_shape", samples),
                (stats / "text_shape", len(text)),
            ):
                table = read_table(path) if path.exists() else {}
                write_table(path, {**table, utt: value})
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("\n".join(CHARACTERS) + "\n")
    config = dict(input_size=1, encoder_conf=dict(num_trunk_layers=1))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))

    def check(share, *more):
        main(
            [
                *("--config", f"{tmp_path}/train.yaml", "--max_unalignable", share),
                *("--stats_dir", f"{tmp_path}/stats"),
                *("--train_dir", f"{tmp_path}/dump/train"),
                *("--valid_dir", f"{tmp_path}/dump/valid"),
                *("--token_type", "char", "--token_list", str(tokens)),
                *("--encoder_conf", f"model={wavlm}", *more),
            ]
        )

    return check


def test_unalignable_mixtures_leave_all_lists(stage, tmp_path, capsys):
    stage("0.5")
    stats = tmp_path / "stats"
    assert read_table(stats / "unalignable.txt") == UNALIGNABLE
    left = [utt for utt in TRAIN if utt not in UNALIGNABLE]
    lists = stats / "lists" / "train"
    names = {"wav.scp", "text", "utt2category", "speech_shape", "text_shape"}
    assert {p.name for p in lists.iterdir()} == names
    for name in names:
        assert list(read_table(lists / name)) == left
    assert read_table(lists / "text")["h_three"] == TRAIN["h_three"][0]
    assert read_table(lists / "utt2category")["h_three"] == "3"
    assert read_table(lists / "utt2category")["a_fits"] == "2"
    # Validation keeps all: the model leaves them out of its own accord.
    for name in names:
        assert list(read_table(stats / "lists" / "valid" / name)) == list(VALID)
    assert "3 of 9 training mixtures (33.33 %) removed" in capsys.readouterr().out


def test_too_large_a_share_is_an_error(stage, tmp_path):
    with pytest.raises(
        UserError,
        match=r"3 of 9 training mixtures \(33.33 %\) have too few frames .*"
        r"unalignable.txt; .*--max_unalignable",
    ):
        stage("0.33")
    assert read_table(tmp_path / "stats" / "unalignable.txt") == UNALIGNABLE
    assert not (tmp_path / "stats" / "lists").exists()


def test_nothing_left_is_an_error_at_any_share(stage, tmp_path):
    stats = tmp_path / "stats" / "train"
    write_table(stats / "speech_shape", {utt: 20 for utt in TRAIN})
    with pytest.raises(UserError, match=r"9 of 9 training mixtures \(100.00 %\)"):
        stage("1.0")


def test_the_list_of_an_earlier_run_goes(stage, tmp_path):
    stage("1.0")
    shapes = {utt: 20000 for utt in TRAIN}
    write_table(tmp_path / "stats" / "train" / "speech_shape", shapes)
    lists = tmp_path / "stats" / "lists" / "train"
    (lists / "trunk.scp").write_text("u0 of-other-mixtures\n")
    stage("0.0")
    assert not (tmp_path / "stats" / "unalignable.txt").exists()
    assert list(read_table(lists / "wav.scp")) == list(TRAIN)
    assert not (lists / "trunk.scp").exists()


@pytest.fixture
def cleaner(monkeypatch):
    """One that drops the letter b."""
    monkeypatch.setattr(TextCleaner, "__call__", lambda _, text: text.replace("b", ""))
    return ["--cleaner", "tacotron"]


def test_talkers_that_a_cleaner_empties_are_reported(stage, tmp_path, capsys, cleaner):
    """The model would take a mixture of three for one of two, or fail hours later."""
    with pytest.raises(UserError, match=r"3 of 9 .* a talker without text, .*cleaner"):
        stage("0.3", *cleaner)
    capsys.readouterr()
    stage("0.34", *cleaner)
    stats = tmp_path / "stats"
    emptied = ["f_no_frame", "h_three", "i_long"]
    why = "talker 2: the cleaner tacotron removes all of 'b'"
    listed = read_table(stats / "unalignable.txt")
    assert listed == {utt: why for utt in [*emptied, "w_fits"]}
    left = [utt for utt in TRAIN if utt not in emptied]
    assert list(read_table(stats / "lists" / "train" / "text")) == left
    # A validation loss of the wrong branch would choose the best checkpoint.
    assert list(read_table(stats / "lists" / "valid" / "utt2category")) == ["v_lacks"]
    said = capsys.readouterr().out
    assert "all of a talker's text in 3 training and 1 validation mixtures" in said


def test_a_cleaner_that_leaves_no_validation_set(stage, tmp_path, cleaner):
    write_table(
        tmp_path / "dump" / "valid" / "text", {utt: "a <sc> b" for utt in VALID}
    )
    with pytest.raises(UserError, match="valid/text: the cleaner tacotron removes all"):
        stage("1.0", *cleaner)


def test_the_trainers_options_are_checked(stage):
    with pytest.raises(UserError, match="unrecognized arguments: --max_epok 1"):
        stage("1.0", "--max_epok", "1")
    # A short form would be taken from the trainer.
    stage("1.0", "--max_epoch", "1", "--train_dtype", "float32")


@pytest.mark.parametrize(
    "name, seconds, speeds, says",
    [
        ("train", 29.0, None, None),
        (
            "train",
            29.0,
            [0.9, 1.0],
            "u1 lasts 32.2 s .at the slowest .* to 33 ",
        ),
        ("valid", 29.0, [0.9, 1.0], None),
        ("valid", 30.5, None, "u1 lasts 30.5 s .*reads 30 s; set .*max_seconds to 31 "),
    ],
)
def test_mixtures_longer_than_the_encoder_reads(tmp_path, name, seconds, speeds, says):
    """Before hours of training, and for validation sets, which are never cut."""
    for part in ("train", "valid"):
        long = round(16000 * (seconds if part == name else 1.0))
        write_table(tmp_path / part / "speech_shape", {"u0": "16000", "u1": str(long)})
    args = argparse.Namespace(
        encoder="routed_whisper",
        encoder_conf={},
        sampling_rate=16000,
        preprocessor_conf={"dynamic_mixing_conf": {"speeds": speeds}} if speeds else {},
    )
    if says is None:
        check_longest(args, tmp_path)
        return
    with pytest.raises(UserError, match=says):
        check_longest(args, tmp_path)
    if speeds:
        # Lengths of drawn mixtures are at their speeds.
        check_longest(args, tmp_path, drawn=True)
    args.encoder_conf = {"max_seconds": 40}
    check_longest(args, tmp_path)
    args.encoder, args.encoder_conf = "routed_wavlm", {}
    check_longest(args, tmp_path)
