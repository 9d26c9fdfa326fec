"""What is let in to a server: what this page or a program sends, and uploads that there is room for."""

import asyncio

import httpx
import pytest

from litevl.serve.config import ServeConfig
from litevl.serve.gate import UPLOAD, Gate
from litevl.serve.uploads import Uploads

ADDRESS = "http://127.0.0.1:7860"


class Slow:
    """An application that answers when it is let, and says what has come to it."""

    def __init__(self):
        self.came, self.release = 0, asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.came += 1
        await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


@pytest.fixture
def client(index, tmp_path):
    app = Slow()
    app.release.set()
    uploads = Uploads(index, ServeConfig(tmp_path / "uploads", max_total_gb=1e-4))
    transport = httpx.ASGITransport(Gate(app, uploads))
    client = httpx.AsyncClient(transport=transport, base_url=ADDRESS)
    client.app = app
    return client


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"Origin": ADDRESS}, 200),
        ({"Origin": "https://videos.example", "Host": "videos.example"}, 200),
        # A proxy may give the server another name than the browser knows it by.
        ({"Origin": "https://videos.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_other_sites_send_nothing(client, headers, code):
    for path in (UPLOAD, "/gradio_api/queue/join", "/gradio_api/run/search"):
        assert asyncio.run(client.post(path, content=b"1", headers=headers)).status_code == code
    assert asyncio.run(client.get("/", headers=headers)).status_code == 200, "a link leads here from anywhere"


def test_an_upload_says_its_size(client):
    async def parts():
        yield b"1"

    async def codes():
        unsaid = await client.post(UPLOAD, content=parts())
        both = await client.post(
            UPLOAD, content=parts(), headers={"Content-Length": "1", "Transfer-Encoding": "chunked"}
        )
        false = await client.post(UPLOAD, content=b"1", headers={"Content-Length": "-1"})
        return [unsaid.status_code, both.status_code, false.status_code]

    assert asyncio.run(codes()) == [411] * 3
    assert client.app.came == 0


def test_uploads_at_once_share_the_room(client):
    async def codes():
        client.app.release.clear()
        begun = [asyncio.create_task(client.post(UPLOAD, content=bytes(40_000))) for _ in range(4)]
        while client.app.came + sum(task.done() for task in begun) < 4:
            await asyncio.sleep(0.01)
        client.app.release.set()
        came = sorted([(await task).status_code for task in begun])
        # What was kept for them is given back.
        return [*came, (await client.post(UPLOAD, content=bytes(80_000))).status_code]

    assert asyncio.run(codes()) == [200, 200, 413, 413, 200]
