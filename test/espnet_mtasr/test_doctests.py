"""The examples in docstrings are true."""

import doctest

import pytest

from espnet_mtasr import progress
from espnet_mtasr.asr import (
    ctc_alignment,
    ctc_beam_search,
    flat_start,
    serialized_ctc,
)
from espnet_mtasr.model_zoo import hub, model_files
from espnet_mtasr.scoring import calibration_error, word_matches
from espnet_mtasr.text import sot
from espnet_mtasr.transcription import calibration, recordings, words

MODULES = [sot, serialized_ctc, ctc_alignment, ctc_beam_search, progress]
MODULES += [calibration_error, word_matches, calibration, recordings, words]
MODULES += [hub, model_files, flat_start]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
