"""Turn errors of the Hugging Face hub into one line each.

`huggingface_hub` is imported where it is used: names and ids are checked before that.
"""

import contextlib
import re
from types import MappingProxyType
from typing import Iterator, Mapping, Optional

from espnet_mtasr.errors import UserError

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_repository_id(name: str) -> bool:
    """Return whether a name has the form `owner/name`.

    >>> is_repository_id("espnet/model"), is_repository_id("../model")
    (True, False)
    """
    return _REPOSITORY.fullmatch(name) is not None


@contextlib.contextmanager
def hub_errors(
    about: str, writing: bool = False, hints: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """Turn the hub client's errors into `UserError`.

    Args:
        about: Beginning of the message, for instance `--hf_repo owner/name`.
        writing: Whether it is an upload.
        hints: Name of the client's error to the end of the message; the name "" is for
            all others.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as e:
        reason = _reason(e, writing)
        if reason is None:
            raise
        hint = hints.get(type(e).__name__, hints.get("", ""))
        raise UserError(f"{about}: {reason}{hint}") from e


def endpoint() -> str:
    """Return the hub's address, which HF_ENDPOINT may set."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _reason(error: BaseException, writing: bool) -> Optional[str]:
    """Reason and fix; None for errors that aren't about the hub."""
    from huggingface_hub import errors

    # Most specific first, because some are base classes of others.
    known = {
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE blocks the hub; unset it",
        errors.LocalEntryNotFoundError: f"is not cached, and {endpoint()} can't be "
        "reached; check the network (HF_ENDPOINT, HF_HUB_OFFLINE) and try again",
        errors.GatedRepoError: "is gated; request access on its hub page and run "
        "'hf auth login'",
        errors.RevisionNotFoundError: "the hub has no such revision; its page lists "
        "them under 'History'",
        errors.RepositoryNotFoundError: "the hub has no such repository for you; check "
        "the name, and run 'hf auth login' if it is private",
        errors.HFValidationError: f"{error}; give another name",
    }
    for kind, reason in known.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error, writing)
    if isinstance(error, (_http_error(), ConnectionError, TimeoutError)):
        return (
            f"{endpoint()} can't be reached ({type(error).__name__}: {error}); check "
            f"the network and try again"
        )
    if isinstance(error, OSError):
        return f"{error}; check the token, and the free disk space (HF_HOME)"
    if isinstance(error, ValueError):
        # The client refuses a card that the hub rejects, or an unknown answer.
        return f"{error}; fix this and try again"
    if isinstance(error, RuntimeError):
        # The client's error for a file whose transfer failed.
        inner = error.__cause__ and _reason(error.__cause__, writing)
        return inner or f"the transfer failed ({error}); try again"
    return None


def _http_error() -> type:
    """Base of all errors of the HTTP library that the hub's client uses."""
    from huggingface_hub.errors import HfHubHTTPError

    [base] = [base for base in HfHubHTTPError.__bases__ if base is not OSError]
    return base


def _refusal(error, writing: bool) -> str:
    """Reason and fix of an answer that is an HTTP error."""
    status = error.response.status_code
    said = error.server_message or error.response.headers.get("X-Error-Message") or ""
    if status == 401:
        return (
            f"{endpoint()} rejects the token; run 'hf auth login', or set HF_TOKEN to "
            "a valid one"
        )
    if status == 403 and not writing:
        return (
            f"the token may not read it ({said or 'forbidden'}); request access on its "
            "hub page, or use a token with read access"
        )
    if status == 403:
        return (
            f"the token may not write to it ({said or 'forbidden'}); give one of your "
            "own repositories, or use a token with write access"
        )
    return f"{endpoint()} answers {status} ({said or error}); try again later"
