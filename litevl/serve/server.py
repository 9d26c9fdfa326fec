"""The server: the page, and the videos that it plays, under one address."""

import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litevl.data.cores import usable_cores
from litevl.search import VideoIndex

from .config import ServeConfig
from .decoders import Decoders
from .gate import Gate
from .media import Media, routes
from .speaking import Speaker
from .uploads import INCOMING, Uploads

MISSING = "the page is made with Gradio, which is not installed; pip install 'litevl[serve]'"
DECODERS = 8
"""Processes that decode for it, at most."""
CUTS = ".cuts"
"""Where parts of videos that browsers don't play are kept, below the uploads."""
CUT_SHARE = 0.05
"""Of the room for uploads, that such parts may take of it."""
PARTING = 3
"""Seconds that a server which is stopped waits for its answers: open pages have one that never ends."""


def make_app(index: VideoIndex, config: ServeConfig) -> Any:
    """The application, for any ASGI server.

    Returns:
        A FastAPI.

    Raises:
        ImportError: Gradio, or the vector store, is not installed.
        SearchError: the index does not open.
    """
    uploads_folder = config.uploads.resolve()
    # Gradio reads these when it is imported: uploads arrive below the one folder, and nobody is told of it.
    os.environ["GRADIO_TEMP_DIR"] = str(uploads_folder / INCOMING)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
        from fastapi import FastAPI
        from fastapi.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise ImportError(MISSING) from error
    from .layout import CSS, build
    from .page import Page

    # Loaded before threads share them.
    index.model, len(index.store)
    decoders = Decoders(min(usable_cores(), DECODERS), config.decode_timeout)
    index.call = decoders
    uploads = Uploads(index, config)
    media = Media(index, uploads_folder / CUTS, CUT_SHARE * 1e9 * config.max_total_gb)
    speaker = Speaker(config.answering, config.captioning, index.model.device, index.config.decoder, decoders)

    @asynccontextmanager
    async def stopping(app: Any) -> AsyncIterator[None]:
        yield
        decoders.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=stopping)
    if is_loopback(config.host):
        # Another site's page could give this machine's address a name of its own, and read what is here by it.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "::1", config.host])
    app.add_middleware(Gate, uploads=uploads)
    app.include_router(routes(media))
    font = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="blue", font=font, font_mono=["ui-monospace", "monospace"])
    return gr.mount_gradio_app(
        app, build(Page(index, config, media, uploads, speaker)), "/", config.host, config.port, footer_links=[],
        run_history=False, max_file_size=config.max_bytes, show_error=False, ssr_mode=False, theme=theme, css_paths=CSS,
    )  # fmt: skip


def listen(config: ServeConfig) -> socket.socket:
    """Takes the address, before anything is loaded.

    Raises:
        OSError: it is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            f"{config.host}, port {config.port}: can't listen there ({error.strerror}); name another --port"
        ) from error


def run(app: Any, listening: socket.socket) -> None:
    """Serves until it is interrupted."""
    import uvicorn

    name, port = listening.getsockname()[:2]
    host = f"[{name}]" if ":" in name else name
    print(f"open http://{host}:{port}/ in a browser; Ctrl-C stops", flush=True)
    try:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PARTING)
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        print("stopped")


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
