"""Videos and pictures of hits: by id alone, in ranges, and cut out where browsers do not play the file."""

import io
import os

import pytest
from PIL import Image

from litevl.data.video import read_frames
from litevl.data.video_index import index_video
from litevl.serve.media import Media, routes


@pytest.fixture
def media(index, tmp_path):
    return Media(index, tmp_path / "cuts")


@pytest.fixture
def client(media):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.include_router(routes(media))
    with TestClient(app) as client:
        yield client


def of(index, name):
    return [hit for hit in index.search("a shape", k=10, rerank=0) if hit.path.name == name]


def test_a_file_is_streamed_in_ranges(index, media, client):
    hit = of(index, "shapes.mp4")[0]
    address, content = media.address("video", hit.id), hit.path.read_bytes()
    whole = client.get(address)
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", content)
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert client.get(address, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    assert media.plays_whole(hit.id)


def test_what_browsers_do_not_play_is_cut_out(index, media, client, tmp_path):
    (hit,) = of(index, "old.avi")
    came = client.get(media.address("video", hit.id))
    assert (came.status_code, came.headers["content-type"]) == (200, "video/mp4")
    cut = tmp_path / "came.mp4"
    cut.write_bytes(came.content)
    found = index_video(cut)
    assert (found.codec, media.plays_whole(hit.id)) == ("h264", False)
    assert found.timestamps[-1] == pytest.approx(hit.end - hit.start, abs=0.2)
    ours, theirs = (read_frames(path, 3).astype(float) for path in (cut, hit.path))
    assert abs(ours - theirs).mean() < 6


def test_what_is_cut_out_goes_with_its_segment_and_has_a_limit(index, tmp_path):
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    (hit,) = of(index, "old.avi")
    others = [other for other in of(index, "shapes.mp4") if other.id != hit.id][:2]
    old, new = (cuts / f"{index.record.id}-{other.id}.mp4" for other in others)
    for age, cut in enumerate((new, old, cuts / f"{index.record.id}-9999.mp4", cuts / f"other-{hit.id}.mp4")):
        cut.write_bytes(bytes(60_000))
        os.utime(cut, (0, 1e9 - age))
    media = Media(index, cuts, 1e5)
    assert list(cuts.iterdir()) == [new], "the newest that a segment has"
    path, _ = media.file(hit.id)
    size = path.stat().st_size
    assert sorted(cuts.iterdir()) == sorted([path, new] if size <= 40_000 else [path])
    new.unlink(missing_ok=True)
    new.write_bytes(bytes(100_001 - size))
    media.tidy()
    assert list(cuts.iterdir()) == [new]
    assert media.file(hit.id)[0].is_file(), "it is cut out again"
    index.forget(hit.path)
    media.tidy()
    assert not path.exists()


def test_pictures_are_of_the_segment(index, media, client):
    colours = []
    for hit in sorted(of(index, "shapes.mp4"), key=lambda hit: hit.start):
        came = client.get(media.address("picture", hit.id))
        assert came.headers["content-type"] == "image/png"
        picture = Image.open(io.BytesIO(came.content))
        assert picture.size == media.picture(hit.id)[1]
        colours.append(picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2)))
    red, blue, yellow = colours
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert min(yellow[:2]) > yellow[2] + 50


def test_nothing_else_is_served(index, media, client):
    prefix = f"/media/{index.record.id}"
    for address in (f"{prefix}/9999/video", f"{prefix}/9999/picture", "/media/other/1/video"):
        assert client.get(address).status_code == 404
    for address in (f"{prefix}/..%2f..%2findex.json/video", f"{prefix}/1/../../../index.json"):
        assert client.get(address).status_code in (404, 422)


def test_a_video_that_is_gone_is_said_to_be(index, media, client, tmp_path):
    (hit,) = of(index, "old.avi")
    moved = hit.path.rename(tmp_path / "elsewhere.avi")
    try:
        assert client.get(media.address("picture", hit.id)).status_code == 404
        assert client.get(media.address("video", hit.id)).status_code == 404
    finally:
        moved.rename(hit.path)
