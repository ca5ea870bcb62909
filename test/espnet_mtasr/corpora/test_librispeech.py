"""LibriSpeech-shaped corpora of people who have only a part of it, as links."""

import os

import pytest
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin.simulate import main as simulate
from espnet_mtasr.corpora.download.check import lacking_in_librispeech
from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError

TALKERS = ["11", "12", "13"]


@pytest.fixture
def whole(tmp_path):
    return make_tiny_corpus(tmp_path / "whole") / "LibriSpeech" / "test-clean"


@pytest.mark.parametrize("linked", [TALKERS, TALKERS[1:], TALKERS[:0]])
@pytest.mark.parametrize("what", ["talkers", "chapters"])
def test_links_to_folders_are_followed(tmp_path, whole, linked, what):
    """All, some and none of them; the check before a download looks as well."""
    subset = tmp_path / "corpus" / "test-clean"
    subset.mkdir(parents=True)
    for talker in TALKERS:
        if talker not in linked:
            os.rename(whole / talker, subset / talker)
        elif what == "talkers":
            (subset / talker).symlink_to(whole / talker)
        else:
            (subset / talker).mkdir()
            (subset / talker / "7").symlink_to(whole / talker / "7")
    scan = scan_corpus(tmp_path / "corpus", "test-clean")
    assert [u.talker for u in scan.utterances] == sorted(TALKERS * 3)
    assert scan.utterances[3].path == "test-clean/12/7/12-7-0000.flac"
    assert lacking_in_librispeech(subset) is None


def test_a_subset_that_is_a_link_and_one_that_is_a_loop(tmp_path, whole):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "test-clean").symlink_to(whole)
    (whole / "again").symlink_to(corpus)
    (whole / "11" / "up").symlink_to("..")
    assert len(scan_corpus(corpus, "test-clean").utterances) == 9


def test_single_talkers_behind_links_need_a_word_of_the_user(tmp_path, whole):
    subset = tmp_path / "corpus" / "dev"
    subset.mkdir(parents=True)
    (subset / "11").symlink_to(whole / "11")
    options = ["--librispeech", tmp_path / "corpus", "--audio", tmp_path / "audio"]
    options += ["--data", tmp_path / "data", "--single", "dev_single", "dev"]
    with pytest.raises(UserError, match="outside .*/corpus; .* --follow_links true"):
        simulate([str(word) for word in options])
    simulate([*map(str, options), "--follow_links", "true"])
    assert len(read_table(tmp_path / "data" / "dev_single" / "text")) == 3
