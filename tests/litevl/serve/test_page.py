"""`litevl serve` as people meet it: in a real browser, and many at once."""

import json
import os
import re
import time
from pathlib import Path

import gradio_client
import httpx
import load
import pytest
from shape_films import HOSTILE, film

from litevl.__main__ import main
from litevl.serve import beside

pytestmark = pytest.mark.slow
PATIENCE = 60_000
"""Milliseconds that the page may take."""


@pytest.fixture
def page():
    try:
        found = beside.chromium()
    except RuntimeError as error:
        pytest.skip(f"{error}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


@pytest.fixture
def settle(page):
    """Waits until the page has all answers to what it asked."""
    open_requests = set()
    page.on("request", lambda request: open_requests.add(request) if request.method == "POST" else None)
    for ended in ("requestfinished", "requestfailed"):
        page.on(ended, lambda request: open_requests.discard(request))

    def wait():
        until = time.monotonic() + PATIENCE / 1000
        while True:
            page.wait_for_timeout(200)
            if not open_requests:
                return
            assert time.monotonic() < until, [request.url for request in open_requests]

    return wait


def expect(locator):
    """Waits for what is expected of a part of the page, and tells what was there instead."""
    return pytest.importorskip("playwright.sync_api").expect(locator)


def search(page, text):
    page.fill("#query input", text)
    page.keyboard.press("Enter")


@pytest.fixture
def spoiled(made):
    """Makes FFmpeg hang or crash on a video of the server."""
    videos, signs = made[0], []

    def spoil(name, how):
        signs.append(videos / f"{name}.{how}")
        signs[-1].touch()

    yield spoil
    for sign in signs:
        sign.unlink()
        os.utime(sign.with_suffix(""))  # changed, so it is tried again at once


def test_what_a_decoder_hangs_or_crashes_on_is_said_and_the_server_goes_on(page, settle, served, spoiled):
    spoiled("shapes.mp4", "hangs")
    spoiled("old.avi", "crashes")
    page.goto(served[0])
    page.wait_for_selector(".note")
    search(page, "a blue star")
    page.wait_for_selector(".hit")
    names, hits = page.locator(".hit b").all_inner_texts(), page.locator(".hit")
    hits.nth(names.index(HOSTILE)).click()  # while the first is waited for
    page.wait_for_selector("#why .frames figure")
    settle()
    assert HOSTILE in page.inner_text("#player h2"), "shown, and not what the first became of later"
    hits.nth(0).click()
    page.wait_for_selector("#player .alert >> text=shapes.mp4 can't be played: decoding it was stopped after 3 seconds")
    hits.nth(names.index("old.avi")).click()
    page.wait_for_selector("#player .alert >> text=the decoder crashed on it (SIGABRT)")


def test_a_person_searches_plays_asks_and_adds(page, served, tmp_path):
    address, where = served
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("text=3 videos, 0:20 in 5 segments")

    search(page, "a blue star")
    page.wait_for_selector("#why .frames figure")
    best = page.locator(".hit").first
    assert best.locator("b").inner_text() == "shapes.mp4"
    assert "0:04.0 to 0:08.0" in best.inner_text()
    assert best.get_attribute("aria-current") == "true"
    # It plays from its moment on, and stops at its end.
    page.wait_for_function("document.querySelector('#player video').currentTime > 4.2")
    page.wait_for_function("document.querySelector('#player video').paused", timeout=20_000)
    assert page.evaluate("document.querySelector('#player video').currentTime") == pytest.approx(8, abs=0.5)
    assert page.locator("#why .frame .over").count() == page.locator("#why figure").count() == 4
    assert "score" in page.inner_text("#player .score")

    names = page.locator(".hit b").all_inner_texts()
    assert HOSTILE in names, "shown as it is, and nothing more"
    page.locator(".hit").nth(names.index("old.avi")).click()
    page.wait_for_selector("#player h2:has-text('old.avi')")
    page.wait_for_function("document.querySelector('#player video').videoWidth > 0")
    page.locator(".hit").nth(names.index(HOSTILE)).click()
    page.wait_for_function("document.querySelector('#player h2').innerText.includes('{{value.note}}')")
    assert page.title() == "litevl"

    page.fill("#question input", "which shape appears first?")
    page.click("#asking")
    page.wait_for_selector("#said li >> text=sure of these words")
    page.click("#captioning")
    page.wait_for_selector("#said li >> text=square")

    page.fill("#after input", "0:05")
    page.fill("#before input", "8")
    search(page, "a shape")
    page.wait_for_selector(".note >> text=The 1 best of 5 segments")
    page.fill("#before input", "soon")
    page.keyboard.press("Enter")
    page.wait_for_selector(".note.alert >> text=expected a time within the video")
    page.fill("#after input", "")
    page.fill("#before input", "")

    search(page, "   ")
    page.wait_for_selector(".note.alert >> text=Say what to look for")
    assert page.locator(".hit").count() == 0

    new = film(tmp_path / "new.mp4", [("triangle", "purple")])
    (tmp_path / "false.mp4").write_bytes(b"no video")
    page.click("#add > button")
    page.set_input_files("#files input[type=file]", [new, tmp_path / "false.mp4"])
    page.wait_for_selector("#files >> text=false")
    page.click("#take")
    became = [re.compile("^new.mp4 can be searched$"), re.compile("^false.mp4 not taken: expected a readable video")]
    expect(page.locator("#taken li")).to_have_text(became, timeout=PATIENCE)
    assert [path.name for path in (where / "uploads").iterdir() if path.is_file()] == ["new.mp4"]
    search(page, "a purple triangle")
    page.wait_for_selector(".hit >> nth=0 >> text=new.mp4")

    assert not errors
    assert all(url.startswith((address, "data:", "blob:")) for url in asked), "nothing is asked of anybody else"


def test_who_is_in_a_hurry_gets_what_was_asked_last(page, settle, served):
    page.goto(served[0])
    page.wait_for_selector(".note")
    for text in ("a yellow triangle", "a green square", "a red circle", "a blue star"):
        search(page, text)
    hits = page.locator(".hit")
    expect(hits.first).to_contain_text("0:04.0 to 0:08.0", timeout=PATIENCE)
    settle()
    assert "0:04.0 to 0:08.0" in hits.first.inner_text()
    assert "0:04.0 to 0:08.0" in page.inner_text("#player h2")
    of_the_first = page.inner_text("#why")
    names = page.locator(".hit b").all_inner_texts()
    for number in (1, 2, 3, names.index("old.avi")):
        hits.nth(number).click()
    expect(page.locator("#player h2")).to_contain_text("old.avi", timeout=PATIENCE)
    page.wait_for_selector("#why .frames figure")
    settle()
    assert "old.avi" in page.inner_text("#player h2")
    assert page.inner_text("#why") != of_the_first
    with page.expect_request(lambda request: "which colour is it?" in (request.post_data or "")):
        for text in ("which shape?", "which colour is it?"):
            page.fill("#question input", text)
            page.click("#asking")
    page.wait_for_selector("#said li >> text=sure of these words")
    assert "old.avi" in page.inner_text("#said")


def test_programs_search_as_the_page_does(served):
    client = gradio_client.Client(served[0], verbose=False)
    try:
        list_html, hits = client.predict("a blue star", api_name="/search")
        _, early = client.predict("a blue star", before="0:03", api_name="/search")
    finally:
        client.close()
    assert (hits[0]["name"], hits[0]["start"], hits[0]["end"]) == ("shapes.mp4", 4.0, 8.0)
    assert "shapes.mp4" in list_html
    assert {hit["start"] for hit in early} == {0.0}


def test_many_at_once_lose_nothing(served, tmp_path):
    config = load.LoadConfig(clients=8, seconds=2.0, address=served[0], small=True, json=tmp_path / "figures.json")
    found = load.main(config)
    assert found.lost == 0
    assert found.searches >= 8
    (row,) = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert (row["searches"], row["lost"], row["reach"]) == (found.searches, 0, None)
    assert 0 < found.milliseconds["p50"] <= found.milliseconds["p95"] <= found.milliseconds["max"]


def test_other_names_large_uploads_and_files_are_refused(served):
    address, where = served
    with httpx.Client(base_url=address, timeout=60) as http:
        assert http.get("/", headers={"Host": "evil.example"}).status_code == 400
        upload = {"files": ("large.mp4", bytes(600_000), "video/mp4")}
        assert http.post("/gradio_api/upload", files=upload).status_code == 413
        small = {"files": ("small.mp4", b"1", "video/mp4")}
        for path in ("/gradio_api/upload", "/gradio_api/upload/"):
            foreign = http.post(path, files=small, headers={"Origin": "http://evil.example"}, follow_redirects=True)
            assert foreign.status_code == 403
        assert http.post("/gradio_api/upload", content=iter([b"1"])).status_code == 411
        for path in (where / "index.json", Path("/etc/hostname"), where / "uploads"):
            assert http.get(f"/gradio_api/file={path}").status_code in (403, 404)
        arrived = http.post("/gradio_api/upload", files={"files": ("../../x.mp4", b"1", "video/mp4")}).json()
    assert all((where / "uploads" / ".incoming") in Path(path).parents for path in arrived)


def test_a_server_stops_while_a_page_is_open(made, monkeypatch):
    monkeypatch.setattr(beside, "STOPPING", 15.0)
    options = ("--uploads", str(made[1].parent / "others"), "--device", "cpu")
    with httpx.Client(timeout=30) as http, beside.serving(made[1], *options) as address:
        lines = http.send(http.build_request("GET", f"{address}gradio_api/heartbeat/one"), stream=True).iter_lines()
        assert next(lines) == "data: ALIVE"  # and it is held open, as by a page


def test_chromium_is_found_by_its_name_or_said_to_be_missing(monkeypatch, tmp_path):
    browser = tmp_path / "chrome"
    browser.write_text("")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CHROMIUM", str(browser))
    assert beside.chromium() == str(browser)
    browser.unlink()
    with pytest.raises(RuntimeError, match="apt-get install chromium"):
        beside.chromium()


def test_what_can_not_be_served_is_said(made, capsys):
    for arguments, said in (
        (["--port", "70000"], "port: expected 0 to 65535, got 70000"),
        (["--max-upload-mb", "0"], "max_upload_mb: expected more than 0"),
        (["--host", "192.0.2.1"], "192.0.2.1, port 7860: can't listen there"),
    ):
        assert main(["serve", "--index", str(made[1]), "--device", "cpu", *arguments]) == 2
        assert said in capsys.readouterr().err
