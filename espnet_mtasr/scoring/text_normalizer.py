"""Normalize texts before scoring: case, punctuation, numbers, spelling.

Source: the normalizers of Whisper (Radford et al., "Robust Speech Recognition via
Large-Scale Weak Supervision", 2022, appendix C), from the package whisper-normalizer.
"""

from typing import Callable

from espnet_mtasr.errors import UserError

NONE = "none"
NORMALIZERS = (NONE, "whisper_basic", "whisper_english")


def make_normalizer(name: str) -> Callable[[str], str]:
    """Return the function that normalizes one talker's text.

    Args:
        name: One of `NORMALIZERS`. `none` leaves words as they are; `whisper_basic`
            lower-cases and drops punctuation; `whisper_english` also writes numbers as
            digits, expands contractions and uses American spelling.

    Returns:
        Text to text, with single spaces between words.

    Raises:
        UserError: the name is unknown, or the package is missing.
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
