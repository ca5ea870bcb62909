"""The `<sc>` grammar, at its edges."""

import pytest

from espnet_mtasr.text.sot import count_talkers, join_sot, split_sot


@pytest.mark.parametrize(
    "sot, texts",
    [
        ("", [""]),
        ("<sc>", ["", ""]),
        ("<sc> <sc>", ["", "", ""]),
        ("a <sc> <sc> b", ["a", "", "b"]),
        ("a", ["a"]),
        ("had had <sc> b c", ["had had", "b c"]),
    ],
)
def test_split_and_join_are_inverse(sot, texts):
    assert split_sot(sot) == texts
    assert join_sot(texts) == sot
    assert count_talkers(sot) == len(texts)


def test_a_missing_space_changes_no_talkers_words():
    """Weakness 6: what stands between the texts is no part of them."""
    for sot in ("a b <sc> c d", "a b<sc>c d", "a b <sc>c d", " a  b<sc> c\td "):
        assert split_sot(sot) == ["a b", "c d"]


def test_a_text_with_the_mark_in_it_is_refused():
    with pytest.raises(ValueError, match="must not hold <sc>: 'a <sc> b'"):
        join_sot(["a <sc> b", "c"])
