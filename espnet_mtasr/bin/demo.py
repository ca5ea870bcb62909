"""`espnet-mtasr demo`: a page in the browser that shows who said what, and a mixer.

It needs no network. Only this machine can reach it unless `--host` says otherwise.
"""

import argparse
import contextlib
import socket
from importlib.util import find_spec
from typing import Optional, Sequence

from espnet_mtasr.bin.transcribe import (
    add_model_options,
    check_model_options,
    load_model,
)
from espnet_mtasr.console import own_words_only, say
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.progress import busy

EXTRA = "demo"


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description="Show who said what on a page in the browser: record or drop a "
        "file, click words to hear them, mix talkers. Ctrl-C stops it."
    )
    add = parser.add_argument
    add_model_options(parser)
    # Its samples are synthetic voices, whose words only this model knows.
    parser.set_defaults(model="mini")
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets others in your network use the page; "
        "default: %(default)s, this machine only",
    )
    add(
        "--port",
        type=int,
        default=7860,
        help="0: any free port; default: %(default)s",
    )
    add(
        "--max_seconds",
        "--max-seconds",
        type=float,
        default=120.0,
        help="longest recording that the page accepts; default: %(default)s",
    )
    add(
        "--verbose",
        action="store_true",
        help="also show messages of libraries on standard error",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Serve the page until Ctrl-C."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    with contextlib.nullcontext() if args.verbose else own_words_only():
        listening = listen(args.host, args.port)
        with listening:
            with busy(f"Loading {args.model}"):
                model = load_model(args)
                from espnet_mtasr.demo.server import serve
            host, port = listening.getsockname()[:2]
            say(f"open http://{host}:{port} in a browser; Ctrl-C stops the server")
            serve(model, listening, args.max_seconds)


def check_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for a bad option, or if gradio is missing."""
    check_model_options(args)
    if not 0 <= args.port < 1 << 16:
        raise UserError(f"--port {args.port}: give a number from 0 to 65535")
    if not args.max_seconds > 0:
        raise UserError(f"--max_seconds {args.max_seconds}: give more than 0")
    if find_spec("gradio") is None:
        raise UserError(f"needs gradio; run: pip install 'espnet_mtasr[{EXTRA}]'")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        UserError: the port is in use, or the address doesn't belong to this machine.
    """
    try:
        return socket.create_server((host, port))
    except OSError as e:
        raise UserError(
            f"--host {host} --port {port}: can't listen there ({e.strerror}); give "
            "another --port, or 0 for any free one"
        ) from e


if __name__ == "__main__":
    run_command_line(main)
