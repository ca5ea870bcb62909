"""Where a talker's words are cut."""

from helpers.transcripts import make_transcript

from espnet_mtasr.transcription.formats.segments import cut_at_pauses, in_order_of_time


def test_cut_at_pauses_of_a_second_or_more():
    transcript = make_transcript(
        # 2.3 - 1.3 is 0.9999999999999998 to a computer, and a second to everybody else.
        [("a", 0.5, 1.0), ("b", 1.0, 1.3), ("c", 2.3, 2.5), ("d", 3.499, 3.6)],
        [],
        [("e", 0.2, 0.4), ("f", 3.0, 3.1)],
    )
    segments = cut_at_pauses(transcript)
    assert [(s.talker, s.text, s.start, s.end) for s in segments] == [
        (1, "a b", 0.5, 1.3),
        (1, "c d", 2.3, 3.6),
        (3, "e", 0.2, 0.4),
        (3, "f", 3.0, 3.1),
    ]
    assert [s.text for s in in_order_of_time(segments)] == ["e", "a b", "c d", "f"]


def test_equal_starts_keep_the_talkers_order():
    segments = cut_at_pauses(make_transcript([("a", 1, 2)], [("b", 1, 2)]))
    assert [s.talker for s in in_order_of_time(segments[::-1])] == [1, 2]
