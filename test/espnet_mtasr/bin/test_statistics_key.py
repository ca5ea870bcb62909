"""Statistics are shared by trainings whose lists, texts and tokens are the same."""

import pytest
from helpers.tiny_lab import Lab

from espnet_mtasr.bin.statistics_key import main
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lengths = {utt: "16000" for utt in read_table(lab.data / "wav.scp")}
    write_table(lab.data / "utt2num_samples", lengths)
    return lab


@pytest.fixture
def key(lab, capsys):
    def key(*options, phase=2):
        main(lab.options(phase, "exp", *options))
        return capsys.readouterr().out.removeprefix("statistics_key ").strip()

    return key


@pytest.mark.parametrize(
    "options",
    [
        ["--optim_conf", "lr=0.5", "--max_epoch", "9", "--batch_seconds", "60"],
        ["--encoder_conf", "gradient_checkpointing=true"],
        ["--preprocessor_conf", "flat_start_epochs=2"],
        ["--model_conf", "ctc_weight=0.3"],
    ],
)
def test_other_trainings_on_the_same(key, options):
    assert len(key()) == 12
    assert key(*options) == key() == key(phase=1)


@pytest.mark.parametrize(
    "options",
    [
        ["--talker_counts", "2"],
        ["--cleaner", "tacotron"],
        # Without a teacher nobody reads its tokens.
        ["--model_conf", "ctc_weight=1.0"],
        ["--model_conf", "extract_feats_in_collect_stats=true"],
    ],
)
def test_what_it_depends_on(key, options):
    assert key(*options) != key()


@pytest.mark.parametrize("name", ["text", "wav.scp", "utt2num_samples", "tokens.txt"])
def test_files_count_by_their_content(lab, key, name):
    path, before = lab.data / name, key()
    content = path.read_text()
    path.touch()
    assert key() == before
    try:
        path.write_text(content + "more 1\n")
        assert key() != before
    finally:
        path.write_text(content)


def test_recordings_of_unknown_length_may_be_others(lab, key):
    path = lab.data / "utt2num_samples"
    content = path.read_text()
    path.unlink()
    try:
        assert key() == ""
    finally:
        path.write_text(content)


def test_a_missing_list(lab):
    words = [
        word.replace("text,text,text", "no,text,text") for word in lab.options(2, "exp")
    ]
    with pytest.raises(UserError, match="/no: no such file; run the previous stages"):
        main(words)
