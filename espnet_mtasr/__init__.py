"""Multi-talker ASR for ESPnet2: an LLM teaches the encoder, CTC writes the words."""

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from espnet_mtasr.transcription.mtasr import MTASR

__version__ = "0.1.0"
__all__ = ["MTASR", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `MTASR` only when it is used: torch and ESPnet take seconds."""
    if name == "MTASR":
        from espnet_mtasr.transcription.mtasr import MTASR

        return MTASR
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    """List `MTASR` too, for completion in notebooks."""
    return sorted({*globals(), *__all__})
