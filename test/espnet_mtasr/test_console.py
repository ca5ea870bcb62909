"""Own words reach standard error, and others' don't."""

import os
import sys

import pytest

from espnet_mtasr.console import own_words_only, say, stderr


def test_others_are_kept_away(capfd):
    with own_words_only():
        print("one", file=sys.stderr)
        os.write(2, b"two")
        say("own")
        with own_words_only():
            say("own again")
    print("three", file=sys.stderr)
    assert capfd.readouterr().err == "own\nown again\nthree\n"


def test_all_is_as_before_after_an_error(capfd):
    before = sys.stderr
    with pytest.raises(KeyError), own_words_only():
        raise KeyError
    assert sys.stderr is before is stderr()
    os.write(2, b"one")
    assert capfd.readouterr().err == "one"
