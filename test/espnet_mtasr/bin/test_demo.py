"""The command of the page, up to where gradio begins."""

import socket
import sys

import pytest

from espnet_mtasr.bin.demo import get_parser, listen, main
from espnet_mtasr.errors import UserError


def test_without_gradio(monkeypatch):
    """One line, before any model is looked for."""
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError) as caught:
        main(["--model", "missing.zip"])
    assert str(caught.value) == ("needs gradio; run: pip install 'espnet_mtasr[demo]'")


@pytest.mark.parametrize(
    "words, message",
    [
        ("--port 70000", "--port 70000: give a number from 0 to 65535"),
        ("--port -1", "--port -1: give"),
        ("--max_seconds 0", "--max_seconds 0.0: give more than 0"),
        ("--max-seconds nan", "--max_seconds nan: give more than 0"),
        ("--dtype int8", "--dtype int8"),
        ("--device gpu", "--device gpu: give auto"),
        ("--beam_size 0", "--beam_size 0: give 1"),
    ],
)
def test_bad_options(words, message):
    with pytest.raises(UserError, match=message):
        main(words.split())


def test_others_cannot_reach_it_unless_asked():
    assert get_parser().parse_args([]).host == "127.0.0.1"


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: can't listen there"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", 0) as free:
        assert free.getsockname()[1] > 0


def test_an_address_of_another_machine():
    with pytest.raises(UserError, match="--host 192.0.2.1 --port 0: can't listen"):
        listen("192.0.2.1", 0)
    with pytest.raises(UserError, match="--host no.such.host.invalid"):
        listen("no.such.host.invalid", 0)
