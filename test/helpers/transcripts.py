"""Transcripts written down briefly, and one with all that is hard to write."""

from espnet_mtasr.transcription.transcript import Talker, Transcript, Word


def make_talker(*words):
    """A talker of `(text, start, end)` or `(text, start, end, confidence)`."""
    return Talker(tuple(Word(*word, *[0.5][len(word) - 3 :]) for word in words))


def make_transcript(*talkers, recording="mix", seconds=4.0, probabilities=None):
    """A transcript of lists of words, as `make_talker` takes them."""
    return Transcript(
        recording, seconds, tuple(make_talker(*t) for t in talkers), probabilities
    )


def hard_transcript():
    """Three talkers: two overlap, with marks that formats know, and one said nothing.

    The second talker pauses for exactly a second, between "dot" and "done".
    """
    return make_transcript(
        [
            ("don't", 0.1, 0.5, 0.9),
            ("<i>", 0.5, 0.7),
            ("-->", 0.7, 0.7),
            ('say"é', 0.8, 1.0),
            ("日本", 1.0, 1.3),
        ],
        [
            ("{x}", 0.2996, 0.6004),
            ("a\\nb", 0.6, 0.9),
            ("&amp;", 0.9, 1.2),
            ("dot", 1.2, 1.3),
            ("done", 2.3, 4.2, 0.25),
        ],
        [],
        recording="a mix",
        probabilities={2: 0.034, 3: 0.966},
    )
