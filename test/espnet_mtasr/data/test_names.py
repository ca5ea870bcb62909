"""Names that become files, and paths that stay below their folder."""

import pytest

from espnet_mtasr.data.names import check_below, check_name
from espnet_mtasr.errors import UserError


@pytest.mark.parametrize("name", ["a", "1089-134686-0000", "ä.b_c", "..a", "x" * 200])
def test_good_names(name):
    check_name(name, "list:1: id")


BAD_NAMES = ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0b", "a\nb", "x" * 201]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(name):
    with pytest.raises(UserError, match="list:1: id .* can't name a file; use letters"):
        check_name(name, "list:1: id")


@pytest.mark.parametrize("path", ["a.flac", "x/y/a.flac", "./a.flac", "x/..a/b"])
def test_paths_below(path):
    check_below(path, "list:1:", "the corpus")


@pytest.mark.parametrize("path", ["../a", "x/../../a", "/etc/passwd", "a\0b"])
def test_paths_that_lead_out(path):
    with pytest.raises(UserError, match="list:1: .* leaves the corpus; give a"):
        check_below(path, "list:1:", "the corpus")
