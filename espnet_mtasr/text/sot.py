"""The `<sc>` grammar of serialized output training (SOT): split and join.

A SOT transcript holds the texts of all talkers of a mixture in the order in which
they began to speak (first in, first out): ``hello there <sc> good morning``.
Source: Kanda et al., "Serialized Output Training", Interspeech 2020, section 2.2.
"""

from typing import List, Sequence

SC = "<sc>"


def split_sot(text: str) -> List[str]:
    """Return one text per talker, in onset order, white space normalized.

    A talker who said nothing is an empty string.

    >>> split_sot("hello there <sc> good morning")
    ['hello there', 'good morning']
    >>> split_sot("hello  there")
    ['hello there']
    >>> split_sot("a <sc>")
    ['a', '']
    """
    return [" ".join(part.split()) for part in text.split(SC)]


def join_sot(texts: Sequence[str]) -> str:
    """Write the talkers' texts as one SOT transcript, the inverse of `split_sot`.

    Raises:
        ValueError: a text holds ``<sc>`` itself.

    >>> join_sot(["hello there", "good morning"])
    'hello there <sc> good morning'
    >>> join_sot(["", "a"])
    '<sc> a'
    """
    for text in texts:
        if SC in text:
            raise ValueError(f"a talker's text must not hold {SC}: {text!r}")
    return " ".join(f" {SC} ".join(texts).split())


def count_talkers(text: str) -> int:
    """Return the number of talkers of a SOT transcript.

    >>> count_talkers("a <sc> b <sc> c")
    3
    """
    return text.count(SC) + 1
