"""Listings of aligned words."""

from espnet_mtasr.scoring.alignment import format_alignment


def test_swapped_streams_and_all_kinds_of_errors():
    assert format_alignment(["a b c", "d"], ["d", "a xx c y"]) == [
        "talker 1, stream 2",
        "  ref: a b  c ***",
        "  hyp: a xx c y",
        "  err:   S    I",
        "talker 2, stream 1",
        "  ref: d",
        "  hyp: d",
        "  err:",
    ]


def test_absent_and_surplus_streams():
    assert format_alignment(["a b"], []) == [
        "talker 1, stream -",
        "  ref: a   b",
        "  hyp: *** ***",
        "  err: D   D",
    ]
    assert format_alignment(["a"], ["a", "b"])[4:] == [
        "talker -, stream 2",
        "  ref: ***",
        "  hyp: b",
        "  err: I",
    ]


def test_errors_are_red_where_color_is_asked_for():
    lines = format_alignment(["a b"], ["a xx"], color=True)
    assert lines[1:] == [
        "  ref: a \033[31mb \033[0m",
        "  hyp: a \033[31mxx\033[0m",
        "  err:   \033[31mS \033[0m",
    ]
