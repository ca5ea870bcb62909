"""Texts made alike before they are compared: case, punctuation, numbers, spellings.

Source: the normalizers of Whisper (Radford et al., "Robust Speech Recognition via
Large-Scale Weak Supervision", 2022, appendix C), by the package whisper-normalizer.
"""

from typing import Callable

from espnet_mtasr.errors import UserError

NONE = "none"
NORMALIZERS = (NONE, "whisper_basic", "whisper_english")


def make_normalizer(name: str) -> Callable[[str], str]:
    """Return the function that normalizes one talker's text.

    Args:
        name: One of `NORMALIZERS`. `none` leaves words as they are; `whisper_basic`
            drops case and punctuation; `whisper_english` also writes numbers as digits,
            contractions in full and spellings the American way.

    Returns:
        Text to text, with single blanks between words.

    Raises:
        UserError: an unknown name, or the package is missing.
    """
    if name not in NORMALIZERS:
        raise UserError(f"--text_normalizer {name}: choose one of {NORMALIZERS}")
    if name == NONE:
        return _single_blanks
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise UserError(
            f"--text_normalizer {name}: needs a package; run: pip install "
            f"whisper-normalizer (or: pip install -e '.[normalizer]')"
        ) from None
    choices = {
        "whisper_basic": BasicTextNormalizer,
        "whisper_english": EnglishTextNormalizer,
    }
    normalize = choices[name]()
    return lambda text: _single_blanks(normalize(text))


def _single_blanks(text: str) -> str:
    return " ".join(text.split())
