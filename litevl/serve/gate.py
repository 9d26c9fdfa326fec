"""What is asked of a server before it is let in: that no other web site sends it, and that there is room for it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from .errors import RefusedError
from .uploads import Uploads

UPLOAD = "/gradio_api/upload"
READING = ("GET", "HEAD", "OPTIONS")


class Gate:
    """Refuses what another site's page sends, and an upload that there is no room for, before either is read."""

    def __init__(self, app: Any, uploads: Uploads):
        self._app, self._uploads = app, uploads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request, as ASGI has it; what is let in goes on to the application."""
        from fastapi.datastructures import Headers
        from fastapi.responses import JSONResponse

        async def refuse(code: int, why: str) -> None:
            await JSONResponse({"detail": why}, code)(scope, receive, send)

        if scope["type"] != "http" or scope["method"] in READING:
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if foreign(headers):
            return await refuse(403, "expected a request of this page, got one of another site")
        if scope["path"].rstrip("/") != UPLOAD:
            return await self._app(scope, receive, send)
        size = headers.get("content-length", "")
        if not size.isdecimal() or "transfer-encoding" in headers:
            return await refuse(411, "expected an upload whose Content-Length says its size")
        try:
            await asyncio.to_thread(self._uploads.reserve, int(size))
        except RefusedError as error:
            return await refuse(413, str(error))
        try:
            await self._app(scope, receive, send)
        finally:
            self._uploads.reserve(-int(size))


def foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page sends a request; programs say nothing of it.

    A form can be sent anywhere without asking there first, so what comes is looked at.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")
