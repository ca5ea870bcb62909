"""The examples in docstrings are true."""

import doctest

import pytest

from espnet_mtasr.asr import ctc_alignment, ctc_beam_search, serialized_ctc
from espnet_mtasr.mixture import progress
from espnet_mtasr.text import sot


@pytest.mark.parametrize(
    "module", [sot, serialized_ctc, ctc_alignment, ctc_beam_search, progress]
)
def test_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
