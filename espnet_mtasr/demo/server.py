"""Serve the page; it may not load anything from another machine."""

import os
import signal
import socket
import sys
from tempfile import TemporaryDirectory

# Read when gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_SSR_MODE"] = "False"

import gradio as gr  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from espnet_mtasr.demo.page import ASSETS, build_page  # noqa: E402
from espnet_mtasr.transcription.mtasr import MTASR  # noqa: E402

# gradio evaluates code in the page, and requests fonts and scripts from elsewhere.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
LARGEST_UPLOAD = "500mb"


class OwnSourcesOnly:
    """Makes browsers load everything for the page from its own server only.

    Args:
        app: An ASGI application.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def build_app(model: MTASR, max_seconds: float):
    """Return the ASGI application."""
    app = gr.mount_gradio_app(
        FastAPI(),
        build_page(model, max_seconds),
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        max_file_size=LARGEST_UPLOAD,
        theme=gr.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css_paths=ASSETS / "page.css",
        head=f"<script>{(ASSETS / 'page.js').read_text(encoding='utf-8')}</script>",
    )
    return OwnSourcesOnly(app)


def serve(model: MTASR, listening: socket.socket, max_seconds: float) -> None:
    """Serve until Ctrl-C.

    Args:
        model: Transcribes.
        listening: Where browsers connect.
        max_seconds: Longest recording that the page accepts.
    """
    # Recordings are deleted when the page ends, also if a service manager ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="espnet_mtasr_demo_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        config = uvicorn.Config(
            build_app(model, max_seconds),
            log_level="warning",
            # An open browser keeps its connection.
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listening])
