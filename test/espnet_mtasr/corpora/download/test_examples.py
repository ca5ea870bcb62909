"""The examples in the docstrings are true."""

import doctest

import pytest

from espnet_mtasr.corpora.download import archives, check, fetch, meter


@pytest.mark.parametrize("module", [archives, check, fetch, meter])
def test_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
